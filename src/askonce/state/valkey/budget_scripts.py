"""What happens to budgets inside Valkey or Redis, each in one atomic act. What it means stands in `limits.budget`.

    {b}qm + hash (16) + start (8)   a meter: e end, u0 u1 u2 used, r0 r1 r2 reserved, a0 a1 a2 alerted (absent: 0)
    {b}qe                           meters by when they may be deleted (epoch milliseconds)
    {b}qr + owner's hash            what one process has reserved: by id, the estimate and the keys of the meters
    {b}qd                           by id until when it is reserved or, of what lapsed, until when that is remembered
    {b}qo                           processes by the end of their last sign of life

Times are microseconds where nothing else is said. None of these keys has a TTL, so that a server that throws away what
runs out (`maxmemory-policy volatile-…`) never throws away sums; `SWEEP` bounds them.

Amounts have up to 63 bits, Lua's numbers 53. So they are added by `HINCRBY` and compared as digits. A sum that would
need more bits stays at the greatest number.

A server without memory refuses the first write of a script that asks for some, and none after another write. So what
gives back deletes first, and is done even then; what reserves is refused.
"""

from askonce.limits.budget import LEASE_NS, MARK_NS, RENEWED_NS
from askonce.limits.meters import KEY_BYTES
from askonce.state.valkey.counting import ADD, TELL
from askonce.state.valkey.server import BOOKS, NOW, Script

ROUTE = BOOKS + b"q"  # says which server of a Cluster; all keys of budgets are there
OWNER_LETTERS = 16  # of an id: whose reservation it is
_POSTPONED_MS = 60_000  # a meter that ended and has something reserved still

# Needed by all others.
BASIC = f"""
local HOME = '{BOOKS.decode()}'
local OWNERS, DUE, ENDS = HOME .. 'qo', HOME .. 'qd', HOME .. 'qe'
local PLACES = {{'0', '1', '2'}}

local function shelf_of(id)
  return HOME .. 'qr' .. string.sub(id, 1, {OWNER_LETTERS})
end

local function meters_in(joined, from)
  local keys = {{}}
  for at = from, #joined, {KEY_BYTES} do
    keys[#keys + 1] = string.sub(joined, at, at + {KEY_BYTES - 1})
  end
  return keys
end

-- Takes what was reserved out of a meter. Calls in flight have one without an end, which goes with the last of them.
local function take_out(meter, held)
  local key = HOME .. meter
  local ends = redis.call('HGET', key, 'e')
  if not ends then return end
  for place, name in ipairs(PLACES) do
    if held[place] ~= '0' then
      redis.call('HINCRBY', key, 'r' .. name, '-' .. held[place])
    end
  end
  if ends == '0' and tonumber(redis.call('HGET', key, 'r0') or '0') <= 0 then
    redis.call('DEL', key)
  end
end

local function opened(record)
  local requests, tokens, nano, from = string.match(record, '^(%d+) (%d+) (%d+) ()')
  return {{requests, tokens, nano}}, from
end

local function give_back(record)
  local held, from = opened(record)
  for _, meter in ipairs(meters_in(record, from)) do take_out(meter, held) end
end

-- Makes sure that a meter is there, and is deleted when it is old.
local function put_up(meter, ends, over)
  if redis.call('HSETNX', HOME .. meter, 'e', ends) == 1 and ends ~= '0' then
    redis.call('ZADD', ENDS, over, meter)
  end
end
"""

# `settle(at)` settles what the words from ARGV[at] on say, which are `ValkeyBudgets.settling`, and tells the outbox of
# alerts. Stands behind `BASIC`, and `ADD` and `TELL` of `counting`, as a part of other acts.
SETTLE = """
local function reaches(digits, others)
  return #digits > #others or (#digits == #others and digits >= others)
end

-- A row of the audit with the sum that was reached; bytes of MessagePack have their length in front.
local function letter(head, before, used, after)
  local size = #before + #used + #after
  if size < 256 then
    head = head .. string.char(0xc4, size)
  else
    head = head .. string.char(0xc5, math.floor(size / 256), size % 256)
  end
  return head .. before .. used .. after
end

local function settle(at)
  local id = ARGV[at]
  if id == '' then return end
  local shelf = shelf_of(id)
  local record = redis.call('HGET', shelf, id)
  redis.call('HDEL', shelf, id)
  if redis.call('ZREM', DUE, id) == 0 and not record then return end
  local held = record and opened(record)
  local took = {ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]}
  local word = at + 5
  for _ = 1, tonumber(ARGV[at + 4]) do
    local meter, ends, over, caps = ARGV[word], ARGV[word + 1], ARGV[word + 2], tonumber(ARGV[word + 3])
    local key = HOME .. meter
    word = word + 4
    if held then take_out(meter, held) end
    if ends ~= '0' then
      put_up(meter, ends, over)
      for place, name in ipairs(PLACES) do
        if took[place] ~= '0' then add(key, 'u' .. name, took[place]) end
      end
      local used = caps > 0 and redis.call('HMGET', key, 'u0', 'u1', 'u2')
      local alerted = caps > 0 and redis.call('HMGET', key, 'a0', 'a1', 'a2')
      local higher = {}
      for _ = 1, caps do
        local place, threshold = tonumber(ARGV[word]) + 1, ARGV[word + 1]
        local reached, former = used[place] or '0', alerted[place] or '0'
        if reaches(reached, threshold) and not reaches(former, threshold) then
          tell(letter(ARGV[word + 2], ARGV[word + 3], reached, ARGV[word + 4]))
          if reaches(threshold, higher[place] or '0') then higher[place] = threshold end
        end
        word = word + 5
      end
      for place, threshold in pairs(higher) do redis.call('HSET', key, 'a' .. PLACES[place], threshold) end
    end
  end
end
"""

# Arguments: nothing, the outbox's name if it has none, then those of `settle`.
SETTLE_ALONE = Script(BASIC + ADD + TELL + SETTLE + "settle(3)")

# Answers with {0, now in ms} where the plan is not of this instant, and {1, now} where it was reserved.
# Where there is no room, with {2, now, …}: what each meter has used and reserved.
RESERVE = Script(
    NOW
    + BASIC
    + f"""
local function parts(digits)
  if #digits <= 9 then return 0, tonumber(digits) end
  return tonumber(string.sub(digits, 1, -10)), tonumber(string.sub(digits, -9))
end

local function is_over(used, reserved, need, amount)
  local high, low = 0, 0
  for _, digits in ipairs({{used, reserved, need}}) do
    local upper, lower = parts(digits)
    high, low = high + upper, low + lower
  end
  local upper, lower = parts(amount)
  return (high - upper) * 1e9 + (low - lower) > 0  -- rounding never changes the sign
end

local owner, id, lease = ARGV[2], ARGV[3], tonumber(ARGV[4])
local now = now_us()
local ms = math.floor(now / 1000)
if ms < tonumber(ARGV[5]) or ms >= tonumber(ARGV[6]) then return {{0, ms}} end
if redis.call('HEXISTS', shelf_of(id), id) == 1 then return {{1, ms}} end
local sign = redis.call('ZSCORE', OWNERS, owner)
if not sign or tonumber(sign) - {(LEASE_NS - RENEWED_NS) // 1000} <= now then
  redis.call('ZADD', OWNERS, now + {LEASE_NS // 1000}, owner)
end
local needs, kept, joined = {{ARGV[7], ARGV[8], ARGV[9]}}, {{ARGV[10], ARGV[11], ARGV[12]}}, ARGV[13]
local meters, word, full, told = meters_in(joined, 1), 14, false, {{2, ms}}
local ends, over = {{}}, {{}}
for number, meter in ipairs(meters) do
  local row = redis.call('HMGET', HOME .. meter, 'u0', 'u1', 'u2', 'r0', 'r1', 'r2')
  for column = 1, 6 do told[#told + 1] = row[column] or '0' end
  ends[number], over[number] = ARGV[word], ARGV[word + 1]
  local caps = tonumber(ARGV[word + 2])
  word = word + 3
  for _ = 1, caps do
    local place = tonumber(ARGV[word]) + 1
    local need = needs[place]
    full = full or (need ~= '0' and is_over(row[place] or '0', row[place + 3] or '0', need, ARGV[word + 1]))
    word = word + 2
  end
end
if full then return told end
for number, meter in ipairs(meters) do
  put_up(meter, ends[number], over[number])
  for place, name in ipairs(PLACES) do
    if kept[place] ~= '0' then redis.call('HINCRBY', HOME .. meter, 'r' .. name, kept[place]) end
  end
end
redis.call('HSET', shelf_of(id), id, table.concat(kept, ' ') .. ' ' .. joined)
redis.call('ZADD', DUE, now + lease, id)
return {{1, ms}}
"""
)

STATE = Script(
    BASIC
    + """
local told = {}
for _, meter in ipairs(meters_in(ARGV[1], 1)) do
  local row = redis.call('HMGET', HOME .. meter, 'u0', 'u1', 'u2', 'r0', 'r1', 'r2')
  for column = 1, 6 do told[#told + 1] = row[column] or '0' end
end
return told
"""
)

# Signs for a process, and answers with the time in ms and the names of those that did not.
RENEW = Script(
    NOW
    + BASIC
    + f"""
local now = now_us()
redis.call('ZADD', OWNERS, now + {LEASE_NS // 1000}, ARGV[2])
return {{math.floor(now / 1000), redis.call('ZRANGEBYSCORE', OWNERS, '-inf', now)}}
"""
)

# `take(shelf, size, mark)` gives back a slice of what a process holds, and remembers it where `mark` is a time.
# Answers with how many it were, and whether there is more.
_TAKE = """
local function take(owner, shelf, size, mark)
  local cursor, taken = '0', 0
  repeat  -- a page may be empty although there is more
    local page = redis.call('HSCAN', shelf, cursor, 'COUNT', size)
    cursor = page[1]
    for at = 1, #page[2], 2 do
      local id = page[2][at]
      redis.call('HDEL', shelf, id)
      give_back(page[2][at + 1])
      if mark then redis.call('ZADD', DUE, mark, id) else redis.call('ZREM', DUE, id) end
      taken = taken + 1
    end
  until taken > 0 or cursor == '0'
  local more = redis.call('EXISTS', shelf)
  if more == 0 then redis.call('ZREM', OWNERS, owner) end
  return {taken, more}
end
"""

LAPSE = Script(
    NOW
    + BASIC
    + _TAKE
    + f"""
local now = now_us()
local sign = redis.call('ZSCORE', OWNERS, ARGV[2])
if not sign or tonumber(sign) > now then return {{0, 0}} end  -- another one did it, or it was only frozen
return take(ARGV[2], HOME .. 'qr' .. ARGV[3], ARGV[4], now + {MARK_NS // 1000})
"""
)

ERASE = Script(BASIC + _TAKE + "return take(ARGV[1], HOME .. 'qr' .. ARGV[2], ARGV[3], nil)")

SWEEP = Script(
    NOW
    + BASIC
    + f"""
local now, budget = now_us(), tonumber(ARGV[2])
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, budget)
for _, id in ipairs(due) do
  local record = redis.call('HGET', shelf_of(id), id)
  if record then
    redis.call('HDEL', shelf_of(id), id)
    give_back(record)
    redis.call('ZADD', DUE, now + {MARK_NS // 1000}, id)
  else
    redis.call('ZREM', DUE, id)
  end
end
local ms, gone = math.floor(now / 1000), #due
for _, meter in ipairs(redis.call('ZRANGEBYSCORE', ENDS, '-inf', ms, 'LIMIT', 0, budget - #due)) do
  local held = false
  for _, amount in ipairs(redis.call('HMGET', HOME .. meter, 'r0', 'r1', 'r2')) do
    held = held or (amount and amount ~= '0')
  end
  if held then
    redis.call('ZADD', ENDS, ms + {_POSTPONED_MS}, meter)
  else
    redis.call('DEL', HOME .. meter)
    redis.call('ZREM', ENDS, meter)
    gone = gone + 1
  end
end
return gone
"""
)
