"""Vectors that a script plays: of a text always the same, of different texts almost surely different ones."""

import array
import hashlib
import math
import struct

import msgspec
from msgspec import Raw

from askonce.domain.call import Call, Message
from askonce.domain.content import Foreign
from askonce.domain.errors import ProviderRejected
from askonce.providers.script import MAX_DIMENSIONS
from askonce.wire.vectors import in_base64, part_of

_HALF = 2**31


def vectors(call: Call, dimensions: int) -> Foreign:
    """Return a vector for each input; the caller's own `dimensions` win over the script's.

    A vector is SHAKE-256 of the input read as 32-bit numbers, scaled to length 1, of 32-bit floats: so that it is the
    same whichever way it travels. Raises `ProviderRejected` for other fields, and for more than `MAX_DIMENSIONS`.
    """
    for name, value in call.extra:
        if name != "dimensions":
            raise ProviderRejected(f"The scripted provider does not know the field {name!r}.")
        dimensions = msgspec.json.decode(value)
    if dimensions > MAX_DIMENSIONS:
        raise ProviderRejected(f"The scripted provider makes at most {MAX_DIMENSIONS} dimensions.")
    rows = [
        {"object": "embedding", "index": at, "embedding": in_base64(vector(_bytes_of(message), dimensions))}
        for at, message in enumerate(call.messages)
    ]
    return part_of(Raw(msgspec.json.encode(rows)), len(rows), "The scripted provider")


def vector(text: bytes, dimensions: int) -> list[float]:
    """Return the vector of a text."""
    drawn = struct.unpack(f"<{dimensions}I", hashlib.shake_256(text).digest(4 * dimensions))
    numbers = [number / _HALF - 1 for number in drawn]
    length = math.sqrt(sum(number * number for number in numbers)) or 1.0
    return array.array("f", [number / length for number in numbers]).tolist()


def _bytes_of(message: Message) -> bytes:
    if isinstance(message.content, str):
        return message.content.encode("utf-8", "surrogatepass")
    return b"".join(bytes(part.json) for part in message.content if isinstance(part, Foreign))
