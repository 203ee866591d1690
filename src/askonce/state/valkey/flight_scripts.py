"""How flights lie in Valkey/Redis, and the scripts that work on one. Every key runs out by itself.

    {f…}c              the generation in the air, or the last that was
    {f…}h + generation a hash: owner `o`, its try to board `t`, when the lease runs out `x`, landing `l`, bytes of the
                       log `b`, `cut`
    {f…}p + generation a list: packed pieces
    {f…}w + generation a sorted set: owners that follow, by until when

Each script has one key, with which all keys of the flight begin.
"""

from askonce.state.lmdb_log import LEASE_NS, LINGER_NS, LOG_MAX, READ_MAX
from askonce.state.valkey.ear import CHANNEL
from askonce.state.valkey.server import NOW, Script

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
# Arguments: now, owner, its try. Returns whether it leads, and the generation.
BOARD = Script(
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
redis.call('HSET', base .. 'h' .. generation, 'o', ARGV[2], 't', ARGV[3], 'x', now + LEASE, 'b', 0)
last(generation)
return {1, generation}
"""
)
# Arguments: now, owner, its try, name. Gives a lease back that was taken in this very try, or in any ("").
GIVE_BACK = Script(
    NOW
    + _BASIC
    + """
local now, generation = now_us(), redis.call('GET', base .. 'c')
if not generation or not led(generation, now) then return 0 end
local taken = redis.call('HMGET', base .. 'h' .. generation, 'o', 't')
if taken[1] ~= ARGV[2] or (ARGV[3] ~= '' and taken[2] ~= ARGV[3]) then return 0 end
redis.call('HSET', base .. 'h' .. generation, 'x', now)
tell(generation, now, ARGV[4])
return 1
"""
)
# Arguments: now, generation, name, packed pieces.
APPEND = Script(
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
RENEW = Script(
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
LAND = Script(
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
FOLLOWED = Script(
    NOW
    + """
for _, owner in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1] .. 'w' .. ARGV[2], '(' .. now_us(), '+inf')) do
  if owner ~= ARGV[3] then return 1 end
end
return 0
""".replace("'(' .. now_us()", "string.format('(%.0f', now_us())")
)
# Arguments: now, generation, owner, records seen. Notes that it follows. Returns records, whether it was all of them,
# the landing, whether the log was cut, whether the leader is lost, who leads.
READ = Script(
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
local lost = not lease[1] and not led(generation, now)
return {{records, ended and lease[1] or '', lease[2] and 1 or 0, lost and 1 or 0, lease[3] or ''}}
"""
)
