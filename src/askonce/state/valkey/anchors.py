"""The noted end of the audit's chain over Valkey or Redis (`{b}oa`), where it outlives the database's loss."""

import msgspec

from askonce.domain.ledger import Anchor
from askonce.state.valkey.server import BOOKS, Server

ANCHOR = BOOKS + b"oa"

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Anchor).decode


class ValkeyAnchors:
    """Remember for all processes of all nodes."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def read(self) -> Anchor | None:
        """Return the last that was noted."""
        stored = await self._server.call("GET", ANCHOR)
        return None if stored is None else _unpack(stored)

    async def note(self, anchor: Anchor) -> None:
        """Put an anchor in the former one's place."""
        await self._server.call("SET", ANCHOR, _pack(anchor))
