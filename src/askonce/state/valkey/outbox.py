"""The outbox of the ledger on Valkey/Redis: what happened, in order, until the ledger has it, for all nodes.

Counters go from their minutes into the outbox exactly once: a slice is read, written as records, and exchanged in one
act for those counters that nobody has added to meanwhile.
"""

from collections.abc import Sequence

from askonce.domain.ledger import Batch, CountRow, Record, Stock, Tallied, unpack_record
from askonce.state import counters
from askonce.state.lmdb_outbox import BATCH_BYTES, OVERHEAD, SHARES, full
from askonce.state.mending import packed
from askonce.state.valkey.counting import ADD, APPEND, append_args
from askonce.state.valkey.server import BOOKS, Script, Server, Word

OUTBOX_BYTES = 128 << 20  # some 600,000 records: nothing else keeps them while the database is away
SLICE = 200  # counters exchanged, or records forgotten, in one act

_APPEND = Script(
    APPEND
    + """
local _, room = append(KEYS[1], 1)
return room and 1 or 0
"""
)
_COUNT = Script(
    ADD
    + """
count(KEYS[1], ARGV[1], ARGV[2], '1', ARGV[3], ARGV[4])
return 1
"""
)
# Arguments: number of records, bytes of all.
_HEAD = Script("""
local first = redis.call('HGET', KEYS[1] .. 'oh', 'first') or '1'
local records, weight = redis.call('LRANGE', KEYS[1] .. 'ol', 0, ARGV[1] - 1), 0
for number, record in ipairs(records) do
  weight = weight + #record
  if number > 1 and weight > tonumber(ARGV[2]) then
    for gone = #records, number, -1 do records[gone] = nil end
    break
  end
end
return {redis.call('HGET', KEYS[1] .. 'oh', 'source') or '', first, records}
""")
# Arguments: the last that the ledger has, records at once. Returns 1 if there is more, -1 for one never written.
_SETTLE = Script(
    """
local head, list, last = KEYS[1] .. 'oh', KEYS[1] .. 'ol', tonumber(ARGV[1])
local first = tonumber(redis.call('HGET', head, 'first') or 1)
if last >= first + redis.call('LLEN', list) then return -1 end
local number = math.min(last - first + 1, tonumber(ARGV[2]))
if number < 1 then return 0 end
local size = 0
for _, record in ipairs(redis.call('LRANGE', list, 0, number - 1)) do size = size + #record + OVERHEAD end
redis.call('LTRIM', list, number, -1)
redis.call('HINCRBY', head, 'bytes', -size)
redis.call('HSET', head, 'first', string.format('%.0f', first + number))
return first + number <= last and 1 or 0
""".replace("OVERHEAD", str(OVERHEAD))
)
_STOCK = Script("""
local head = redis.call('HMGET', KEYS[1] .. 'oh', 'source', 'first', 'bytes', 'dropped')
return {head[1] or '', head[2] or '1', redis.call('LLEN', KEYS[1] .. 'ol'), head[3] or '0', head[4] or '0'}
""")
# Reads some counters of a minute: name, number, nano-dollars, tokens of each.
_SLICE = Script("""
local key, cursor, found = KEYS[1] .. 'k' .. ARGV[1], '0', {}
repeat
  local page = redis.call('HSCAN', key, cursor, 'MATCH', 'c*', 'COUNT', ARGV[2] * 3)
  cursor = page[1]
  for place = 1, #page[2], 2 do
    local name = string.sub(page[2][place], 2)
    local more = redis.call('HMGET', key, 'n' .. name, 't' .. name)
    for _, field in ipairs({name, page[2][place + 1], more[1] or '0', more[2] or '0'}) do found[#found + 1] = field end
  end
until cursor == '0' or #found >= ARGV[2] * 4
if #found == 0 then
  redis.call('ZREM', KEYS[1] .. 'km', ARGV[1])
  redis.call('DEL', key)
end
return found
""")
# Exchanges counters for records or, where there is no room, for an addition to their hour's. Arguments: minute, hour,
# bytes up to which there is room, the outbox's name if it has none, then of each: name, the three sums, the record.
# Returns how many became records, and how many were added to their hour's.
_ROLL = Script(
    ADD
    + """
local base, minute, hour = KEYS[1], ARGV[1], ARGV[2]
local key, head, rolled, merged, size = base .. 'k' .. minute, base .. 'oh', 0, 0, 0
local crowded = tonumber(redis.call('HGET', head, 'bytes') or 0) >= tonumber(ARGV[3])
if crowded and minute == hour then return {0, 0} end
for place = 5, #ARGV, 5 do
  local name = ARGV[place]
  local sums = redis.call('HMGET', key, 'c' .. name, 'n' .. name, 't' .. name)
  if sums[1] == ARGV[place + 1] and (sums[2] or '0') == ARGV[place + 2] and (sums[3] or '0') == ARGV[place + 3] then
    if crowded then
      count(base, hour, name, sums[1], sums[2] or '0', sums[3] or '0')
      merged = merged + 1
    else
      redis.call('RPUSH', base .. 'ol', ARGV[place + 4])
      size = size + #ARGV[place + 4] + OVERHEAD
      rolled = rolled + 1
    end
    redis.call('HDEL', key, 'c' .. name, 'n' .. name, 't' .. name)
  end
end
if size > 0 then
  redis.call('HSETNX', head, 'source', ARGV[4])
  redis.call('HINCRBY', head, 'bytes', size)
end
if redis.call('EXISTS', key) == 0 then redis.call('ZREM', base .. 'km', minute) end
return {rolled, merged}
""".replace("OVERHEAD", str(OVERHEAD))
)


class ValkeyOutbox:
    """Hold what the ledger has not got yet, for all nodes."""

    def __init__(self, server: Server, bound_bytes: int = OUTBOX_BYTES) -> None:
        self._server = server
        self.bound = bound_bytes

    async def append(self, *records: Record) -> None:
        """Add records, all or none, samples apart."""
        if not await self._server.act(_APPEND, [BOOKS], append_args(records, self.bound)):
            raise full()

    async def head(self, size: int) -> Batch | None:
        """Return the oldest records, at most `size`."""
        source, first, values = await self._server.act(_HEAD, [BOOKS], [size, BATCH_BYTES])
        if not values:
            return None
        number = int(first)
        return Batch(source.decode(), number, number + len(values) - 1, tuple(map(unpack_record, values)))

    async def settle(self, last: int) -> None:
        """Forget the records up to `last`, in slices. Raises `ValueError` for one that was never written."""
        more = 1
        while more == 1:
            more = await self._server.act(_SETTLE, [BOOKS], [last, SLICE])
        if more < 0:
            raise ValueError(f"record {last} was never written")

    async def count(self, minute: int, what: Tallied, saved_nano: int = 0, saved_tokens: int = 0) -> None:
        """Count one, where nothing else is written."""
        await self._server.act(_COUNT, [BOOKS], [minute, counters.packed_name(what), saved_nano, saved_tokens])

    async def roll(self, open_minute: int) -> int:
        """Bring the counters of all minutes but the open one into the outbox, in slices; returns how many."""
        total = 0
        for word in await self._server.call("ZRANGE", BOOKS + b"km", 0, -1):
            if int(word) != open_minute:
                total += await self._roll(int(word))
        return total

    async def _roll(self, minute: int) -> int:
        total = 0
        while True:
            found = await self._server.act(_SLICE, [BOOKS], [minute, SLICE])
            if not found:
                return total
            rolled, merged = await self._exchange(minute, [found[at : at + 4] for at in range(0, len(found), 4)])
            total += rolled
            if not rolled and not merged:
                return total  # no room; or others added to all of them just now: the next time

    async def _exchange(self, minute: int, slice_: Sequence[Sequence[bytes]]) -> tuple[int, int]:
        room = int(SHARES[CountRow] * self.bound)
        args: list[Word] = [minute, minute - minute % counters.HOUR, room, *append_args((), 0)[1:]]
        for name, *sums in slice_:
            args += [name, *sums, packed(counters.row_of(minute, name, *map(int, sums)))]
        rolled, merged = await self._server.act(_ROLL, [BOOKS], args)
        return rolled, merged

    async def fullness(self) -> float:
        """Say how full it is; 1 is the bound."""
        return (await self.stock()).bytes / self.bound

    async def stock(self) -> Stock:
        """Say how it stands."""
        source, first, length, size, dropped = await self._server.act(_STOCK, [BOOKS])
        return Stock(source.decode(), int(first), int(first) + int(length), int(size), int(dropped))
