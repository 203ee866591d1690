"""Pictures in `data:` addresses, as the vendors want them that take base64 only. Pure.

The format is RFC 2397: `data:[type][;name=value ...][;base64],data`, its words in any case, its data percent-encoded.
"""

import base64
import re
from urllib.parse import unquote, unquote_to_bytes

from askonce.domain.content import Image

_HEAD = re.compile(r"data:([\w.+-]+/[\w.+-]+)((?:;[^;,]*)*),", re.IGNORECASE)
_URL_SAFE = str.maketrans("-_", "+/")


def is_data(url: str) -> bool:
    """Say whether an address is its own content."""
    return url[:5].lower() == "data:"


def inline(image: Image) -> Image | None:
    """Return a picture whose address holds its data as base64 data with its type; others as they are.

    None where the address names no type, without which no vendor takes it.
    """
    if not is_data(image.url):
        return image
    head = _HEAD.match(image.url)
    if head is None:
        return None
    data = image.url[head.end() :]
    if head[2].lower().endswith(";base64"):
        plain = "".join((unquote(data) if "%" in data else data).split()).translate(_URL_SAFE)
    else:
        plain = base64.b64encode(unquote_to_bytes(data)).decode()
    return Image(media_type=head[1].lower(), data=plain, detail=image.detail)
