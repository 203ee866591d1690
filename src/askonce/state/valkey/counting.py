"""Lua by which books count: sums, counters by the minute, records of the outbox. All under `{b}`.

    c + tenant     a hash: the tenant's sums, by the place of each in `tally.Tally`
    k + minute     a hash: counters of a minute. `c`, `n`, `t` + name: number, nano-dollars, tokens
    km             a sorted set of the minutes that have counters
    oh             a hash: the outbox's name (`source`), oldest number (`first`), `bytes`, dropped samples (`dropped`)
    ol             a list: its records

Sums are exact to 63 bits and stay there: a sum that would be larger never stops the books.
"""

from collections.abc import Sequence

from askonce.domain.credentials import mint_id
from askonce.domain.ledger import LOOKED_AT, AuditRow, CallRow, CountRow, Record, SampleRow, TextRow, TimesRow
from askonce.state.lmdb_outbox import OVERHEAD, SHARES
from askonce.state.mending import packed
from askonce.state.valkey.server import BOOKS, Word

UNBOUNDED = 1 << 52  # bytes

ADD = """
local function add(key, field, more)
  local done = redis.pcall('HINCRBY', key, field, more)
  if type(done) == 'table' and done.err then
    if not string.find(done.err, 'overflow', 1, true) then return error(done.err) end
    redis.call('HSET', key, field, '9223372036854775807')
  end
end
local function count(base, minute, name, number, nano, tokens)
  local key = base .. 'k' .. minute
  if redis.call('HINCRBY', key, 'c' .. name, number) == tonumber(number) then
    redis.call('ZADD', base .. 'km', minute, minute)
  end
  if nano ~= '0' then add(key, 'n' .. name, nano) end
  if tokens ~= '0' then add(key, 't' .. name, tokens) end
end
"""
# Appends records, all or none but those that may be dropped. `from`: the place in ARGV of their number, which is
# followed by the outbox's name if it has none, and per record: the bytes up to which it is taken, whether it may be
# dropped, the record. Returns the place behind them, and whether there was room.
APPEND = """
local function append(base, from)
  local number, head, list = tonumber(ARGV[from]), base .. 'oh', base .. 'ol'
  local behind = from + 2 + 3 * number
  local size, dropped, taken = tonumber(redis.call('HGET', head, 'bytes') or 0), 0, {}
  local before = size
  for place = from + 2, behind - 1, 3 do
    if size < tonumber(ARGV[place]) then
      taken[#taken + 1] = ARGV[place + 2]
      size = size + #ARGV[place + 2] + OVERHEAD
    elseif ARGV[place + 1] == '1' then
      dropped = dropped + 1
    else
      return behind, false
    end
  end
  if number > 0 then redis.call('HSETNX', head, 'source', ARGV[from + 1]) end
  for _, record in ipairs(taken) do redis.call('RPUSH', list, record) end
  if size > before then redis.call('HINCRBY', head, 'bytes', size - before) end
  if dropped > 0 then redis.call('HINCRBY', head, 'dropped', dropped) end
  return behind, true
end
""".replace("OVERHEAD", str(OVERHEAD))


# Appends one record whatever room there is: for what is rare and must not undo the act that it is told in. The
# outbox's name, if it has none, is ARGV[2].
TELL = f"""
local function tell(record)
  redis.call('HSETNX', '{BOOKS.decode()}oh', 'source', ARGV[2])
  redis.call('RPUSH', '{BOOKS.decode()}ol', record)
  redis.call('HINCRBY', '{BOOKS.decode()}oh', 'bytes', #record + {OVERHEAD})
end
"""


def append_args(records: Sequence[Record], bound: float) -> list[Word]:
    """Return the arguments of `APPEND`; `bound` in bytes."""
    args: list[Word] = [len(records), mint_id()]
    for record in records:
        limit = min(SHARES[_kind(record)] * bound, UNBOUNDED)
        args += [int(limit), int(isinstance(record, LOOKED_AT)), packed(record)]
    return args


def _kind(record: Record) -> type[CallRow | CountRow | SampleRow | TextRow | TimesRow | AuditRow]:
    return type(record)
