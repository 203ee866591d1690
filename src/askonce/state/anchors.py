"""The noted end of the audit's chain: in the `books` environment (`oa`), where it outlives the database's loss."""

import msgspec

from askonce.domain.ledger import Anchor
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_files import Txn

ANCHOR = b"oa"

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Anchor).decode


class LmdbAnchors:
    """Remember for all processes of the machine."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def read(self) -> Anchor | None:
        """Return the last that was noted."""
        return self._desk.read(read)

    async def note(self, anchor: Anchor) -> None:
        """Put an anchor in the former one's place."""
        self._desk.write(lambda txn: note(txn, anchor))


def read(txn: Txn) -> Anchor | None:
    """Return the last that was noted, within a greater act."""
    stored = txn.get(ANCHOR)
    return None if stored is None else _unpack(stored)


def note(txn: Txn, anchor: Anchor) -> None:
    """Put an anchor in the former one's place, within a greater act."""
    txn.put(ANCHOR, _pack(anchor))


class MemoryAnchors:
    """Remember for one process."""

    def __init__(self) -> None:
        self._anchor: Anchor | None = None

    async def read(self) -> Anchor | None:
        """Return the last that was noted."""
        return self._anchor

    async def note(self, anchor: Anchor) -> None:
        """Put an anchor in the former one's place."""
        self._anchor = anchor
