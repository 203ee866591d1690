"""Flights over Valkey/Redis: a lease and a log per generation, read by followers on any node.

    {f…}c              the generation in the air, or the last that was
    {f…}h + generation a hash: owner `o`, when the lease runs out `x`, landing `l`, bytes of the log `b`, `cut`
    {f…}p + generation a list: packed pieces
    {f…}w + generation a sorted set: owners that follow, by until when

All of it runs out by itself. A generation is the microsecond in which it boarded, so that none comes twice. Followers
are told by a message to their process (`ear`) that there is something to read, and look by themselves now and then.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from askonce.domain.answer import Piece
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Landing, LeaderLost, Lease
from askonce.domain.progress import Progress
from askonce.state.lmdb_log import (
    LEASE_NS,
    LINGER_NS,
    LOG_MAX,
    READ_MAX,
    name,
    pack_landing,
    unpack_landing,
    unpack_pieces,
)
from askonce.state.valkey.ear import CHANNEL, Ear
from askonce.state.valkey.server import NOW, PREFIX, Hour, Script, Server, Word, away

WATCH_S = 0.25  # how often a follower looks by itself
_LEASE_US = LEASE_NS // 1000
_TTL_MS = (LEASE_NS + LINGER_NS) // 1_000_000
_PIECES_BYTES = 8 << 20  # read at once at the most

_BASIC = f"""
local LEASE, TTL, base = {_LEASE_US}, {_TTL_MS}, KEYS[1]
local function led(generation, now)
  local lease = redis.call('HMGET', base .. 'h' .. generation, 'x', 'l')
  return lease[1] and not lease[2] and tonumber(lease[1]) > now and redis.call('GET', base .. 'c') == generation
end
local function last(generation)
  for _, kind in ipairs({{'h', 'p', 'w'}}) do redis.call('PEXPIRE', base .. kind .. generation, TTL) end
  redis.call('PEXPIRE', base .. 'c', TTL)
end
local function tell(generation, now, name)
  for _, owner in ipairs(redis.call('ZRANGEBYSCORE', base .. 'w' .. generation, now, '+inf')) do
    redis.call('PUBLISH', '{CHANNEL.decode()}' .. owner, name)
  end
end
"""
# Arguments: now, owner. Returns whether it leads, and the generation.
_BOARD = Script(
    NOW
    + _BASIC
    + """
local now = now_us()
local current = redis.call('GET', base .. 'c')
if current and led(current, now) then
  redis.call('ZADD', base .. 'w' .. current, now + LEASE, ARGV[2])
  last(current)
  return {0, current}
end
local generation = now
if current and tonumber(current) >= generation then generation = tonumber(current) + 1 end
generation = string.format('%.0f', generation)
redis.call('SET', base .. 'c', generation)
redis.call('HSET', base .. 'h' .. generation, 'o', ARGV[2], 'x', now + LEASE, 'b', 0)
last(generation)
return {1, generation}
"""
)
# Arguments: now, generation, name, packed pieces.
_APPEND = Script(
    NOW
    + _BASIC
    + f"""
local now, generation = now_us(), ARGV[2]
if not led(generation, now) then return 0 end
local head = base .. 'h' .. generation
if redis.call('HEXISTS', head, 'cut') == 0 then
  if redis.call('HINCRBY', head, 'b', #ARGV[4]) > {LOG_MAX} then
    redis.call('HSET', head, 'cut', 1)
  else
    redis.call('RPUSH', base .. 'p' .. generation, ARGV[4])
  end
end
redis.call('HSET', head, 'x', now + LEASE)
last(generation)
tell(generation, now, ARGV[3])
return 1
"""
)
# Arguments: now, generation.
_RENEW = Script(
    NOW
    + _BASIC
    + """
local now, generation = now_us(), ARGV[2]
if not led(generation, now) then return 0 end
redis.call('HSET', base .. 'h' .. generation, 'x', now + LEASE)
last(generation)
return 1
"""
)
# Arguments: now, generation, name, packed landing, whether it is cut.
_LAND = Script(
    NOW
    + _BASIC
    + """
local now, generation = now_us(), ARGV[2]
local head = base .. 'h' .. generation
if redis.call('GET', base .. 'c') ~= generation or redis.call('HEXISTS', head, 'o') == 0 then return 0 end
if redis.call('HSETNX', head, 'l', ARGV[4]) == 0 then return 0 end
if ARGV[5] == '1' then redis.call('HSET', head, 'cut', 1) end
last(generation)
tell(generation, now, ARGV[3])
return 1
"""
)
# Arguments: now, generation, owner. Returns whether others follow.
_FOLLOWED = Script(
    NOW
    + """
for _, owner in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1] .. 'w' .. ARGV[2], '(' .. now_us(), '+inf')) do
  if owner ~= ARGV[3] then return 1 end
end
return 0
""".replace("'(' .. now_us()", "string.format('(%.0f', now_us())")
)
# Arguments: now, generation, owner, records seen. Notes that it follows. Returns records, whether it was all of them,
# the landing, whether the log was cut, whether the leader is lost.
_READ = Script(
    NOW
    + _BASIC
    + f"""
local now, generation, seen = now_us(), ARGV[2], tonumber(ARGV[4])
local head, list = base .. 'h' .. generation, base .. 'p' .. generation
local records, size, number = {{}}, 0, redis.call('LLEN', list)
while seen < number and #records < {READ_MAX} and size < {_PIECES_BYTES} do
  local record = redis.call('LINDEX', list, seen)
  records[#records + 1] = record
  size, seen = size + #record, seen + 1
end
local lease = redis.call('HMGET', head, 'l', 'cut', 'o')
if lease[3] and not lease[1] then
  redis.call('ZADD', base .. 'w' .. generation, now + LEASE, ARGV[3])
  redis.call('PEXPIRE', base .. 'w' .. generation, TTL)
end
local ended = seen >= number
return {{records, ended and lease[1] or '', lease[2] and 1 or 0, not lease[1] and not led(generation, now) and 1 or 0}}
"""
)


class ValkeyFlights:
    """Board, feed and follow flights as one process among those of all nodes: `owner` is its name."""

    def __init__(self, server: Server, hour: Hour, owner: str) -> None:
        self._server = server
        self._hour = hour
        self._owner = owner.encode()
        self._ear = Ear(server, self._owner)

    async def board(self, flight: bytes) -> Lease:
        """Take the lease if it is free, expired or landed; otherwise say who leads, and count as its follower."""
        led, generation = await self._act(_BOARD, flight, self._owner)
        return Lease(bool(led), int(generation))

    async def append(self, flight: bytes, generation: int, pieces: Sequence[Piece]) -> None:
        """Log pieces and prolong the lease; ignored when the generation leads no more.

        Where the log is at its bound it is cut: followers get the rest with the landing.
        """
        await self._act(_APPEND, flight, generation, name(flight), msgspec.msgpack.encode(pieces))

    async def renew(self, flight: bytes, generation: int) -> bool:
        """Prolong the lease; False if it was lost."""
        return bool(await self._act(_RENEW, flight, generation))

    async def land(self, flight: bytes, generation: int, landing: Landing) -> None:
        """End the flight; followers still get everything for a few seconds."""
        try:
            packed = pack_landing(landing)
        except ValueError as error:
            raise away("this answer is too large to be shared with others who ask the same") from error
        await self._act(_LAND, flight, generation, name(flight), packed, int(landing.cut))

    async def followed(self, flight: bytes, generation: int) -> bool:
        """Say whether any other process follows right now."""
        return bool(await self._act(_FOLLOWED, flight, generation, self._owner))

    async def follow(self, flight: bytes, generation: int) -> AsyncIterator[Piece | Landing]:
        """Yield every piece from the first on, then the landing; raises `LeaderLost`. Closing it stops following."""
        seen, progress = 0, Progress()
        changed = self._ear.join(name(flight))
        try:
            while True:
                changed.clear()
                records, landing, cut, lost = await self._act(_READ, flight, generation, self._owner, seen)
                seen += len(records)
                for record in records:
                    for piece in unpack_pieces(record):
                        progress.add(piece)
                        yield piece
                if landing:
                    end = unpack_landing(landing)
                    if cut and end.entry is not None:
                        for piece in progress.rest(end.entry.open()):
                            yield piece
                    yield end
                    return
                if lost and not records:
                    raise LeaderLost
                if not records:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(WATCH_S):
                            await changed.wait()
        finally:
            self._ear.leave(name(flight), changed)
            with contextlib.suppress(StoreUnavailable):  # it runs out by itself
                await self._server.call("ZREM", _base(flight) + b"w%d" % generation, self._owner)

    async def close(self) -> None:
        """Listen no more."""
        await self._ear.close()

    async def _act(self, script: Script, flight: bytes, *words: Word) -> Any:
        return await self._server.act(script, [_base(flight)], [self._hour.told(), *words])


def _base(flight: bytes) -> bytes:
    return PREFIX + b"{f" + name(flight).hex().encode() + b"}"
