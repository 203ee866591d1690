"""Counters of what costs nothing, as they are stored: one record per minute and thing counted, until they are rolled.

    oc + minute (4) + hash of what is counted (16)    count, nano-dollars, tokens; then what is counted, packed

Counting reads one record and writes it; it works inside an act that the caller has opened anyway. Sums are exact; like
a tenant's sums they stay at 63 bits rather than stop the books.
"""

import struct
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Protocol

import msgspec

from askonce.domain.ledger import CountRow, Tallied

COUNTER = b"oc"
HOUR = 60  # minutes
NAME_LETTERS = 200  # of each word of what is counted; no name that we gave ourselves is longer
_HASH = 16  # bytes; nobody finds two things with the same
_FIELDS = Tallied.__struct_fields__
_MOST = 2**63 - 1
_SUMS = struct.Struct("<3q")
_MINUTE = struct.Struct(">I")

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Tallied).decode


class Store(Protocol):
    """Hold bytes by key, inside the one atomic act that the caller has opened."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value, or None where there is none."""
        ...

    def put(self, key: bytes, value: bytes, /) -> object:
        """Write the value."""
        ...


def count(store: Store, minute: int, what: Tallied, saved_nano: int = 0, saved_tokens: int = 0) -> None:
    """Count one. `minute` is epoch milliseconds divided by 60,000."""
    key, place = _place(minute, what)
    stored = store.get(key)
    if stored is None:
        store.put(key, _SUMS.pack(1, min(saved_nano, _MOST), min(saved_tokens, _MOST)) + place)
        return
    number, nano, tokens = _SUMS.unpack_from(stored)
    store.put(key, _SUMS.pack(number + 1, min(nano + saved_nano, _MOST), min(tokens + saved_tokens, _MOST)) + place)


def merge(store: Store, key: bytes, value: bytes) -> None:
    """Add a whole counter to that of its hour."""
    row = read(key, value)
    hours = _key(row.minute - row.minute % HOUR, key[-_HASH:])
    stored = store.get(hours)
    sums = _SUMS.unpack_from(value)
    if stored is not None:
        sums = tuple(min(mine + more, _MOST) for mine, more in zip(sums, _SUMS.unpack_from(stored), strict=True))
    store.put(hours, _SUMS.pack(*sums) + value[_SUMS.size :])


def read(key: bytes, value: bytes) -> CountRow:
    """Read a counter."""
    number, nano, tokens = _SUMS.unpack_from(value)
    return row_of(minute_of(key), value[_SUMS.size :], number, nano, tokens)


def minute_of(key: bytes) -> int:
    """Return the minute of a counter's key."""
    minute: int = _MINUTE.unpack_from(key, len(COUNTER))[0]
    return minute


def start(minute: int) -> bytes:
    """Return where the counters of a minute begin."""
    return COUNTER + _MINUTE.pack(minute)


def key_of(minute: int, what: Tallied) -> bytes:
    """Return the key of a counter; they are rolled in this order."""
    return _place(minute, what)[0]


def row_of(minute: int, name: bytes, count: int, nano: int, tokens: int) -> CountRow:
    """Make the row of a counter, by its packed name."""
    what = _unpack(name)
    return CountRow(
        minute, what.tenant, what.key_id, what.door, what.provider, what.model, what.kind, count, nano, tokens
    )


def packed_name(what: Tallied) -> bytes:
    """Return what is counted as it is stored."""
    return _place(0, what)[1]


def packed_word(word: str) -> bytes:
    """Return one word of what is counted as it is stored: names are arrays of six."""
    return _pack(_clip(word))


@lru_cache(maxsize=8192)
def _place(minute: int, what: Tallied) -> tuple[bytes, bytes]:
    """Return the key and the packed name of a counter; the same few are counted over and over."""
    packed = _pack(_clipped(what))
    return _key(minute, blake2b(packed, digest_size=_HASH).digest()), packed


def _key(minute: int, name: bytes) -> bytes:
    return COUNTER + _MINUTE.pack(minute) + name


def _clipped(what: Tallied) -> Tallied:
    words: Iterator[Any] = (_clip(getattr(what, field)) for field in _FIELDS)
    return Tallied(*words)


def _clip(word: str) -> str:
    return word[:NAME_LETTERS].encode("utf-8", "replace").decode()
