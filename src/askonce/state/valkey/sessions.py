"""Logins over Valkey or Redis, for all processes of all nodes; one atomic act each.

    {b}is                  by digest: used, expires, the user's hash, then the session packed
    {b}iu + user's hash    a user's sessions, by when they were used last
    {b}ix                  all sessions, by when they end (epoch milliseconds)

A session's two times stand in front, where they can be changed without the rest; in the packed session they are 0.
Nothing has a TTL: what ran out is not found, and `sweep` deletes it.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec.structs import replace

from askonce.domain.identity import Session
from askonce.state.valkey.server import BOOKS, Script, Server, Word

# One user's; 64 browsers are more than anybody has, and a script that logs in for each request fills nothing.
PER_USER_MAX = 64
SESSIONS = BOOKS + b"is"

_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Session).decode

_BASIC = f"""
local SESSIONS, ENDS, OWNED = '{SESSIONS.decode()}', '{BOOKS.decode()}ix', '{BOOKS.decode()}iu'

local function times(stored)
  local used, ends, user, from = string.match(stored, '^(%d+) (%d+) (%x+) ()')
  return tonumber(used), tonumber(ends), user, from
end

local function live(digest, now)
  local stored = redis.call('HGET', SESSIONS, digest)
  if not stored then return nil end
  local _, ends = times(stored)
  return ends > tonumber(now) and stored
end

local function put(digest, used, ends, user, packed)
  redis.call('HSET', SESSIONS, digest, string.format('%d %d %s ', used, ends, user) .. packed)
  redis.call('ZADD', OWNED .. user, used, digest)
  redis.call('ZADD', ENDS, ends, digest)
end

local function close(digest)
  local stored = redis.call('HGET', SESSIONS, digest)
  if not stored then return 0 end
  local _, _, user = times(stored)
  redis.call('HDEL', SESSIONS, digest)
  redis.call('ZREM', ENDS, digest)
  redis.call('ZREM', OWNED .. user, digest)
  return 1
end
"""

_OPEN = Script(
    _BASIC
    + """
local digest, used, ends, user, packed, most = unpack(ARGV)
redis.call('ZADD', OWNED .. user, used, digest)
local many = redis.call('ZCARD', OWNED .. user) - tonumber(most)
for _, other in ipairs(redis.call('ZRANGE', OWNED .. user, 0, -1)) do
  if many <= 0 then break end
  if other ~= digest then
    close(other)
    many = many - 1
  end
end
put(digest, tonumber(used), tonumber(ends), user, packed)
"""
)
_PROLONG = Script(
    _BASIC
    + """
local digest, now, until_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local stored = live(digest, now)
if not stored then return 0 end
local used, ends, user, from = times(stored)
put(digest, math.max(used, now), math.max(ends, until_ms), user, string.sub(stored, from))
return 1
"""
)
_DESCRIBE = Script(
    _BASIC
    + """
local digest, now, packed = unpack(ARGV)
local stored = live(digest, now)
if not stored then return 0 end
local used, ends, user = times(stored)
put(digest, used, ends, user, packed)
return 1
"""
)
_OF_USER = Script(
    _BASIC
    + """
local found = {}
for _, digest in ipairs(redis.call('ZRANGE', OWNED .. ARGV[1], 0, -1)) do
  found[#found + 1] = redis.call('HGET', SESSIONS, digest) or nil
end
return found
"""
)
_CLOSE = Script(_BASIC + "return close(ARGV[1])")
_CLOSE_ALL = Script(
    _BASIC
    + """
local closed = 0
for _, digest in ipairs(redis.call('ZRANGE', OWNED .. ARGV[1], 0, -1)) do closed = closed + close(digest) end
return closed
"""
)
_SWEEP = Script(
    _BASIC
    + """
local closed = 0
for _, digest in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])) do
  closed = closed + close(digest)
end
return closed
"""
)


class ValkeySessions:
    """Keep logins for all processes of all nodes."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def open(self, session: Session) -> None:
        """Keep a new session; one too many ends the user's least recently used."""
        packed = _pack(replace(session, used_ms=0, expires_ms=0))
        user = _user(session.user_id)
        await self._act(_OPEN, session.digest, session.used_ms, session.expires_ms, user, packed, PER_USER_MAX)

    async def find(self, digest: bytes, now_ms: int) -> Session | None:
        """Return a session that has not run out."""
        stored = await self._server.call("HGET", SESSIONS, digest)
        session = None if stored is None else _read(stored)
        return session if session is not None and session.expires_ms > now_ms else None

    async def prolong(self, digest: bytes, now_ms: int, expires_ms: int) -> bool:
        """Note a use and move the end, never back; False where there is no such session any more."""
        return bool(await self._act(_PROLONG, digest, now_ms, expires_ms))

    async def describe(self, digest: bytes, agent: str, now_ms: int) -> bool:
        """Give a session another description; False where there is no such session any more."""
        session = await self.find(digest, now_ms)
        if session is None:
            return False
        packed = _pack(replace(session, agent=agent, used_ms=0, expires_ms=0))  # nothing else ever changes in it
        return bool(await self._act(_DESCRIBE, digest, now_ms, packed))

    async def of_user(self, user_id: str, now_ms: int) -> tuple[Session, ...]:
        """Return a user's sessions, newest first."""
        live = [session for session in map(_read, await self._of(user_id)) if session.expires_ms > now_ms]
        return tuple(sorted(live, key=lambda session: (-session.created_ms, session.digest)))

    async def close(self, digest: bytes) -> bool:
        """End one; False where there was none."""
        return bool(await self._act(_CLOSE, digest))

    async def close_all(self, user_id: str) -> int:
        """End all of a user's and return how many."""
        closed: int = await self._act(_CLOSE_ALL, _user(user_id))
        return closed

    async def sweep(self, now_ms: int, budget: int) -> int:
        """Delete those that ran out, at most `budget`, and return how many."""
        closed: int = await self._act(_SWEEP, now_ms, budget)
        return closed

    async def _of(self, user_id: str) -> Sequence[bytes]:
        found: Sequence[bytes] = await self._act(_OF_USER, _user(user_id))
        return found

    async def _act(self, script: Script, *words: Word) -> Any:
        return await self._server.act(script, (SESSIONS,), words)


def _read(stored: bytes) -> Session:
    used, expires, _, packed = stored.split(b" ", 3)
    return replace(_unpack(packed), used_ms=int(used), expires_ms=int(expires))


@lru_cache(maxsize=4096)
def _user(user_id: str) -> bytes:
    return blake2b(user_id.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest().encode()
