"""What an answer with embeddings is made of: one foreign part that holds the rows of OpenAI's `data`. Pure.

Rows stand as they came from the vendor: numbers as JSON, or base64 of 32-bit floats, least significant byte first
(OpenAI's API reference, "Create embeddings", `encoding_format`; its Python library reads them so). The part's kind
says which. A caller who wants the other form gets it computed: from base64 to numbers nothing is lost; the other way
what a 32-bit float does not hold, which is what base64 means.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw

from askonce.domain.answer import Answer
from askonce.domain.content import Foreign
from askonce.domain.errors import ProviderFailed

SHAPE = "openai"
Encoding = Literal["float", "base64"]
_KINDS: dict[str, str] = {"float": "embeddings", "base64": "embeddings in base64"}
_FLOAT_BYTES = 4

Row = dict[str, Raw]


def part_of(rows: Raw, count: int, who: str) -> Foreign:
    """Make the part of a vendor's rows. Raises `ProviderFailed` unless there is an embedding for each of the inputs."""
    try:
        found = _rows.decode(rows)
        quoted = [bytes(row["embedding"])[:1] == b'"' for row in found]
    except (msgspec.DecodeError, UnicodeError, KeyError):
        raise ProviderFailed(f"{who} sent embeddings that make no sense.") from None
    if len(found) != count:
        raise ProviderFailed(f"{who} sent {len(found)} embeddings for {count} inputs.")
    return Foreign(SHAPE, _KINDS["base64" if all(quoted) else "float"], Raw(bytes(rows)))


def part_of_numbers(vectors: Sequence[Raw], who: str) -> Foreign:
    """Make the part of bare vectors, in the order of their inputs. Raises `ProviderFailed` for what is none."""
    if not all(bytes(vector)[:1] == b"[" for vector in vectors):
        raise ProviderFailed(f"{who} sent embeddings that make no sense.")
    rows = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return Foreign(SHAPE, _KINDS["float"], Raw(msgspec.json.encode(rows)))


def rows_of(answer: Answer, wanted: Encoding | None) -> bytes:
    """Return the rows as JSON in an encoding; None: as they came. Raises `ProviderFailed` for an answer without any."""
    for part in answer.parts:
        if isinstance(part, Foreign) and part.kind in _KINDS.values():
            if wanted is None or part.kind == _KINDS[wanted]:
                return bytes(part.json)
            return _converted(part.json, _as_base64 if wanted == "base64" else _as_numbers)
    raise ProviderFailed(f"{answer.provider} answered without embeddings.")


def in_base64(vector: Sequence[float]) -> str:
    """Write a vector as base64 of 32-bit floats. Raises `OverflowError` for a number that none holds."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def _converted(rows: Raw, convert: Any) -> bytes:
    """Write rows with their embeddings converted; what is no vector of floats stays as it is."""
    changed = []
    for row in _rows.decode(rows):
        try:
            changed.append(row | {"embedding": convert(row["embedding"])})
        except (msgspec.DecodeError, binascii.Error, struct.error, OverflowError):
            changed.append(row)
    return msgspec.json.encode(changed)


def _as_base64(numbers: Raw) -> str:
    return in_base64(_floats.decode(numbers))


def _as_numbers(text: Raw) -> tuple[float, ...]:
    data = base64.b64decode(_text.decode(text), validate=True)
    return struct.unpack(f"<{len(data) // _FLOAT_BYTES}f", data)


_rows = msgspec.json.Decoder(list[Row])
_floats = msgspec.json.Decoder(list[float])
_text = msgspec.json.Decoder(str)
