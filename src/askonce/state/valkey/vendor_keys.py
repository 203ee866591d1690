"""Providers' keys on their way from the database to the gateways, sealed, over Valkey or Redis.

    {b}ov    s a number that is another one after each change, k the sealed keys as they came

The number is the microsecond of the change, or one more than the last: what begins anew does not begin with a number
that was there before.
"""

from askonce.domain.handover import NEVER
from askonce.state.valkey.server import BOOKS, NOW, Hour, Script, Server

RECORD = BOOKS + b"ov"

_PUT = Script(
    NOW
    + """
local former = tonumber(redis.call('HGET', KEYS[1], 's') or '0')
redis.call('HSET', KEYS[1], 's', string.format('%d', math.max(former + 1, now_us())), 'k', ARGV[2])
"""
)


class ValkeyVendorKeys:
    """Hand them over, for all processes of all nodes. Nothing here can open them."""

    def __init__(self, server: Server, hour: Hour) -> None:
        self._server = server
        self._hour = hour

    async def stamp(self) -> int:
        """Return a number that is another one whenever `read` may answer differently; `NEVER` before the first."""
        return int(await self._server.call("HGET", RECORD, "s") or NEVER)

    async def read(self) -> tuple[int, bytes]:
        """Return the stamp, and what was put last."""
        stamp, sealed = await self._server.call("HMGET", RECORD, "s", "k")
        return (NEVER, b"") if stamp is None else (int(stamp), sealed)

    async def put(self, sealed: bytes) -> None:
        """Put keys in the former ones' place."""
        await self._server.act(_PUT, (RECORD,), (self._hour.told(), sealed))
