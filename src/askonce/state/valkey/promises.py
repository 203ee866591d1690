"""Promises over Valkey/Redis; all of it runs out by itself, at the hour that was promised.

    {p…} + key (32)        expires (epoch ms, 8), question (32), place of the answer
    {r…} + digest (32)     the encoded entry, once for all promises of it, until the last of them expires; by tenant
    {r…}i                  a sorted set of a tenant's answers that were promised, by when they expire (ms)

Each promise is kept by itself: none is made that another already stands for. One whose answer is gone, by a purge or by
the server's policy, is as good as none, and its name is free again.
"""

import asyncio
import hashlib
import logging
import struct
from collections.abc import Mapping, Sequence

from askonce.cache import entry as codec
from askonce.domain.answer import Entry
from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Filters, Kept, Promise
from askonce.state.memory import matches
from askonce.state.valkey.server import NOW, PREFIX, Hour, Script, Server
from askonce.state.valkey.shelves import tenant_hash

LARGEST_BYTES = 32 << 20
LOOKED_AT = 16  # answers of a purge at once
_HEAD = struct.Struct(">q32s")  # expires, question; the place of the answer follows

_log = logging.getLogger("askonce.state")

# Keys: the answer, the index. Arguments: now, until when (ms), the digest, the record.
_STORE = Script(
    NOW
    + """
local now_ms = math.floor(now_us() / 1000)
local until_ms = tonumber(ARGV[2])
local former = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[3]) or 0)
if former > until_ms then until_ms = former end
redis.call('SET', KEYS[1], ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now_ms)
redis.call('ZADD', KEYS[2], until_ms, ARGV[3])
if ARGV[1] == '' then
  redis.call('PEXPIREAT', KEYS[1], until_ms)
  local last = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  redis.call('PEXPIREAT', KEYS[2], last[2])
end
return 1
"""
)
# Keys: the promise. Arguments: now, expires (ms), the head, the former head that has no answer any more.
_PROMISE = Script(
    NOW
    + """
local now_ms = math.floor(now_us() / 1000)
local head = redis.call('GET', KEYS[1])
if head and head ~= ARGV[4] then
  local high, low = struct.unpack('>I4I4', head)
  if high * 4294967296 + low > now_ms then return 0 end
end
redis.call('SET', KEYS[1], ARGV[3])
if ARGV[1] == '' then redis.call('PEXPIREAT', KEYS[1], ARGV[2]) end
return 1
"""
)


class ValkeyPromises:
    """Keep promises for all nodes."""

    def __init__(self, server: Server, hour: Hour, clock: Clock) -> None:
        self._server = server
        self._hour = hour
        self._clock = clock

    async def question(self, key: bytes) -> bytes | None:
        """Return which question a promise's key stands for."""
        head = await self._head(key)
        if head is None or not await self._server.call("EXISTS", head[_HEAD.size :]):
            return None
        expires_ms, question = _HEAD.unpack_from(head)
        return question if expires_ms > self._clock.wall_ms() else None

    async def find(self, key: bytes) -> Kept | None:
        """Return what is kept under a promise's key and has not expired."""
        head = await self._head(key)
        if head is None:
            return None
        expires_ms, question = _HEAD.unpack_from(head)
        if expires_ms <= self._clock.wall_ms():
            return None
        record = await self._server.call("GET", head[_HEAD.size :])
        entry = None if record is None else _decode(record)
        return None if entry is None else Kept(Promise(key, question), entry, expires_ms)

    async def keep(self, entry: Entry, until_ms: Mapping[Promise, int]) -> bool:
        """Keep one answer for all these promises; False if that failed, for any reason."""
        try:
            record = codec.encode(entry)
        except ValueError:
            return False
        if not until_ms or len(record) > LARGEST_BYTES:
            return not until_ms
        digest = hashlib.sha256(record).digest()
        tag = b"{r%s}" % tenant_hash(entry.tenant).hex().encode()
        place = PREFIX + tag + digest
        try:
            words = (self._hour.told(), max(until_ms.values()), digest, record)
            await self._server.act(_STORE, [place, PREFIX + tag + b"i"], words)
            await asyncio.gather(*(self._promise(promise, until, place) for promise, until in until_ms.items()))
        except StoreUnavailable:
            return False
        return True

    async def purge(self, tenant: str, filters: Filters) -> None:
        """Forget all promises whose answers match; if cancelled, what was removed stays removed."""
        tag = PREFIX + b"{r%s}" % tenant_hash(tenant).hex().encode()
        now_ms = self._clock.wall_ms()
        cursor = b"0"
        while True:
            cursor, members = await self._server.call("ZSCAN", tag + b"i", cursor, "COUNT", LOOKED_AT)
            digests = members[::2]  # each is followed by when it expires
            for at in range(0, len(digests), LOOKED_AT):
                await self._purge(tag, digests[at : at + LOOKED_AT], filters, now_ms)
            if cursor == b"0":
                return

    async def _purge(self, tag: bytes, digests: Sequence[bytes], filters: Filters, now_ms: int) -> None:
        places = [tag + digest for digest in digests]
        entries = [None if record is None else _decode(record) for record in await self._server.call("MGET", *places)]
        gone = [at for at, entry in enumerate(entries) if entry is None or matches(entry, filters, now_ms)]
        if gone:
            await self._server.call("UNLINK", *(places[at] for at in gone))
            await self._server.call("ZREM", tag + b"i", *(digests[at] for at in gone))

    async def _promise(self, promise: Promise, until_ms: int, place: bytes) -> None:
        former = await self._head(promise.key)
        if former is not None and await self._server.call("EXISTS", former[_HEAD.size :]):
            former = None  # what was promised is there: only its end makes the name free
        head = _HEAD.pack(until_ms, promise.question) + place
        words = (self._hour.told(), until_ms, head, former or b"")
        await self._server.act(_PROMISE, [_key(promise.key)], words)

    async def _head(self, key: bytes) -> bytes | None:
        head: bytes | None = await self._server.call("GET", _key(key))
        return head


def _key(key: bytes) -> bytes:
    return PREFIX + b"{p%s}" % key[:4].hex().encode() + key


def _decode(record: bytes) -> Entry | None:
    try:
        return codec.decode(record)
    except codec.EntryCorrupt as error:
        _log.warning("a promised answer is passed over: %s", error)
        return None
