"""Records that cannot be stored as they are: made to fit, so that nobody's odd words or numbers stop the ledger.

Half characters become "?", numbers stay at 63 bits, words that are far too long are cut, and details that are too
large are left out and say so.
"""

from typing import TypeVar

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import astuple

from askonce.domain.ledger import Record, TextRow, pack_record

RECORD_BYTES_MAX = 64 << 10  # what a person writes down about one act is not longer
WORD_LETTERS = 1_000  # of words in a record that had to be mended
DETAILS_BYTES = 32 << 10
_MOST = 2**63 - 1

_S = TypeVar("_S", bound=Struct)


def packed(record: Record) -> bytes:
    """Write a record as bytes, whatever is in it."""
    if _has_room_for_numbers(record):
        try:
            written = pack_record(record)
        except UnicodeEncodeError:
            pass
        else:
            if len(written) <= RECORD_BYTES_MAX or isinstance(record, TextRow):
                return written
    return pack_record(_mended(record))


def _has_room_for_numbers(record: Record) -> bool:
    return all(type(value) is not int or -_MOST <= value <= _MOST for value in astuple(record))


def _mended(record: _S) -> _S:
    return type(record)(*map(_mend, astuple(record)))


def _mend(value: object) -> object:
    if isinstance(value, str):
        return value[:WORD_LETTERS].encode("utf-8", "replace").decode()
    if isinstance(value, Raw):
        size = len(bytes(value))
        return value if size <= DETAILS_BYTES else Raw(msgspec.json.encode({"omittedBytes": size}))
    if isinstance(value, Struct):
        return _mended(value)
    if type(value) is int:
        return max(-_MOST, min(value, _MOST))
    return value
