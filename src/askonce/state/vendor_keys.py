"""Providers' keys on their way from the database to the gateways, sealed: in the `books` environment.

ov     a number that is another one after each change (8 bytes), then the sealed keys as they came
"""

import struct

from askonce.domain.handover import NEVER
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_files import Txn

RECORD = b"ov"
_STAMP = struct.Struct("<q")


class LmdbVendorKeys:
    """Hand them over, for all processes of the machine. Nothing here can open them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def stamp(self) -> int:
        """Return a number that is another one whenever `read` may answer differently; `NEVER` before the first."""
        return self._desk.read(_stamp)

    async def read(self) -> tuple[int, bytes]:
        """Return the stamp, and what was put last."""
        return self._desk.read(_read)

    async def put(self, sealed: bytes) -> None:
        """Put keys in the former ones' place."""
        self._desk.write(lambda txn: txn.put(RECORD, _STAMP.pack(_stamp(txn) + 1) + sealed))


def _stamp(txn: Txn) -> int:
    return _read(txn)[0]


def _read(txn: Txn) -> tuple[int, bytes]:
    stored = txn.get(RECORD)
    return (NEVER, b"") if stored is None else (_STAMP.unpack_from(stored)[0], bytes(stored[_STAMP.size :]))
