"""How stored answers lie on Valkey/Redis; all under the hash tag of their shard, `{a0}` … by the fingerprint.

    e + tenant (16) + fingerprint (32)    an entry: head, who answered, the record of `cache.entry`; gone at its end
    i + tenant (16)                       a sorted set of the tenant's fingerprints, all of one score: in their order
    u                                     a sorted set of all entries (tenant and fingerprint), by their last use in ms
    s                                     a hash: what each of them takes, in bytes; after a colon how often it was used
    t                                     a hash: what each tenant's take, and under "" all of them with their OVERHEAD

The head: edition (8 bytes, other with each writing), stored and expiry (ms), cost (nano-dollars), tokens, length of
the name. The name is provider and model as the middle of a counter's name (`counting`).

What the server itself removes, by its time or its policy, is missed and taken off the shelf by whoever looks at it,
or by the sweep.
"""

import struct
from functools import lru_cache
from hashlib import blake2b
from os import urandom

from askonce.domain.answer import Entry
from askonce.state.counters import packed_word
from askonce.state.valkey.server import NOW, PREFIX, Script

HEAD = struct.Struct("<8sqqqqH")
TENANT = 16
OVERHEAD = 640  # bytes that an entry takes beside its own: five keys' worth of links, 634 to 685 measured
EVICT_MAX = 64  # in one act

_OFF = """
local tag = KEYS[1]
local function take_off(member)
  local size = redis.call('HGET', tag .. 's', member)
  redis.call('DEL', tag .. 'e' .. member)
  redis.call('ZREM', tag .. 'u', member)
  redis.call('ZREM', tag .. 'i' .. string.sub(member, 1, 16), string.sub(member, 17))
  if not size then return 0 end
  redis.call('HDEL', tag .. 's', member)
  size = string.match(size, '%d+')
  local tenant = string.sub(member, 1, 16)
  if redis.call('HINCRBY', tag .. 't', tenant, '-' .. size) <= 0 then redis.call('HDEL', tag .. 't', tenant) end
  redis.call('HINCRBY', tag .. 't', '', -size - OVERHEAD)
  return 1
end
""".replace("OVERHEAD", str(OVERHEAD))

# Finds an entry: `key`, what the caller has of it, the ms of now, and from when on it must be. Returns nothing, or the
# whole value and its head's fields.
LOOK = """
local function look(key, held, now_ms, fresh_after)
  local value = redis.call('GET', key)
  if not value then return end
  local edition, stored, expires, cost, tokens, name, at = struct.unpack('<c8i8i8i8i8I2', value)
  if expires <= now_ms or stored < fresh_after then return end
  return edition == held and 1 or value, cost, tokens, string.sub(value, at, at + name - 1)
end
"""
# Keys: each entry's. Arguments: now, from when on, and what is held of each.
FIND = Script(
    NOW
    + LOOK
    + """
local now_ms = math.floor(now_us() / 1000)
for number, key in ipairs(KEYS) do
  local value = look(key, ARGV[number + 2], now_ms, tonumber(ARGV[2]))
  if value then return {number, value} end
end
return {0}
"""
)
# Arguments: now, bound, member, value.
KEEP = Script(
    NOW
    + _OFF
    + """
local now_ms, bound, member, value = math.floor(now_us() / 1000), tonumber(ARGV[2]), ARGV[3], ARGV[4]
local expires = select(3, struct.unpack('<c8i8i8', value))
local need = #value + OVERHEAD
take_off(member)
local tries = 0
while (tonumber(redis.call('HGET', tag .. 't', '') or 0) + need > bound) do
  if tries >= EVICT_MAX then return 0 end
  local oldest = redis.call('ZRANGE', tag .. 'u', 0, 0)[1]
  if not oldest then redis.call('HDEL', tag .. 't', '') break end
  take_off(oldest)
  tries = tries + 1
end
if expires <= now_ms then return 1 end
redis.call('SET', tag .. 'e' .. member, value)
if ARGV[1] == '' then redis.call('PEXPIREAT', tag .. 'e' .. member, string.format('%.0f', expires)) end
redis.call('ZADD', tag .. 'u', string.format('%.0f', now_ms), member)
redis.call('ZADD', tag .. 'i' .. string.sub(member, 1, 16), 0, string.sub(member, 17))
redis.call('HSET', tag .. 's', member, #value)
redis.call('HINCRBY', tag .. 't', string.sub(member, 1, 16), #value)
redis.call('HINCRBY', tag .. 't', '', need)
return 1
""".replace("OVERHEAD", str(OVERHEAD)).replace("EVICT_MAX", str(EVICT_MAX))
)
# Lists a tenant's values behind a fingerprint, and their hits. Arguments: tenant, after, number, bytes. What is gone is
# taken off.
SCAN = Script(
    _OFF
    + """
local tenant, low = ARGV[1], '-'
if ARGV[2] ~= '' then low = '(' .. ARGV[2] end
local found, hits, size, last = {}, {}, 0, ''
local keys = redis.call('ZRANGEBYLEX', tag .. 'i' .. tenant, low, '+', 'LIMIT', 0, ARGV[3])
for _, key in ipairs(keys) do
  last = key
  local value = redis.call('GET', tag .. 'e' .. tenant .. key)
  if value then
    found[#found + 1] = value
    hits[#hits + 1] = tonumber(string.match(redis.call('HGET', tag .. 's', tenant .. key) or '', ':(%d+)') or 0)
    size = size + #value
    if size >= tonumber(ARGV[4]) then break end
  else
    take_off(tenant .. key)
  end
end
return {#keys < tonumber(ARGV[3]) and last == (keys[#keys] or '') and 1 or 0, last, found, hits}
"""
)
# Arguments: members.
DROP = Script(
    _OFF
    + """
local gone = 0
for _, member in ipairs(ARGV) do gone = gone + take_off(member) end
return gone
"""
)
# Takes off what is gone or expired, of some entries in the order of use. Arguments: now, place of the first, number.
SWEEP = Script(
    NOW
    + _OFF
    + """
local now_ms, place = math.floor(now_us() / 1000), tonumber(ARGV[2])
local members = redis.call('ZRANGE', tag .. 'u', place, place + ARGV[3] - 1)
local gone = 0
for _, member in ipairs(members) do
  local head = redis.call('GETRANGE', tag .. 'e' .. member, 0, 23)
  if #head < 24 or select(3, struct.unpack('<c8i8i8', head)) <= now_ms then gone = gone + take_off(member) end
end
return {#members, gone}
"""
)
# Notes uses of those that are there. Arguments: now; members, each with its number of times.
USE = Script(
    NOW
    + """
local now_ms = string.format('%.0f', math.floor(now_us() / 1000))
for number = 2, #ARGV, 2 do
  local size, hits = string.match(redis.call('HGET', KEYS[1] .. 's', ARGV[number]) or '', '(%d+):?(%d*)')
  if size then
    hits = string.format('%.0f', (tonumber(hits) or 0) + ARGV[number + 1])
    redis.call('ZADD', KEYS[1] .. 'u', now_ms, ARGV[number])
    redis.call('HSET', KEYS[1] .. 's', ARGV[number], size .. ':' .. hits)
  end
end
return 1
"""
)


def value_of(entry: Entry, record: bytes) -> bytes:
    """Return what is stored of an entry."""
    name = packed_word(entry.provider) + packed_word(entry.model)
    tokens = entry.prompt_tokens + entry.completion_tokens
    head = HEAD.pack(urandom(8), entry.stored_ms, entry.expires_ms, entry.cost_nano, tokens, len(name))
    return head + name + record


def record_of(value: bytes) -> bytes:
    """Return the entry's record of what is stored. Raises `struct.error` for what is no such thing."""
    length: int = HEAD.unpack_from(value)[-1]
    return value[HEAD.size + length :]


@lru_cache(maxsize=4096)
def tenant_hash(tenant: str) -> bytes:
    """Return what stands for a tenant in keys."""
    return blake2b(tenant.encode("utf-8", "surrogatepass"), digest_size=TENANT).digest()


def tag_of(shard: int) -> bytes:
    """Return what the keys of a shard begin with."""
    return PREFIX + b"{a%d}" % shard


def shard_of(key: bytes, shards: int) -> int:
    """Return the shard of a fingerprint."""
    return key[0] % shards if shards > 1 else 0


def member(tenant: str, key: bytes) -> bytes:
    """Return the name of an entry on its shard."""
    return tenant_hash(tenant) + key


def entry_key(tenant: str, key: bytes, shards: int) -> bytes:
    """Return the key of an entry."""
    return tag_of(shard_of(key, shards)) + b"e" + member(tenant, key)
