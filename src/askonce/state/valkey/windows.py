"""The exact sliding window on Valkey/Redis: the rule of `limits.window`, in one script, by the server's clock.

    {w}+name    a sorted set: each admission's number (of one width: equal stamps are in the order of their letters), by
                the microsecond in which it was

A request at `t` is admitted if fewer than N admissions lie in (t - span, t]. Stamps never fall: where the clock goes
back, the newest stamp stands in for it, which can only refuse more. What has left the window is deleted with the next
admission, and the whole with its last stamp.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from askonce.domain.ports import Verdict, Window
from askonce.state.valkey.server import NOW, PREFIX, Hour, Script, Server, Word

_NAME_BYTES = 255  # longer names are hashed
_TAGS = 64  # of a Cluster

# Returns whether it is admitted, what remains, and in how many microseconds the oldest leaves.
WINDOW = """
local function window(key, now, limit, span, record)
  local last = redis.call('ZREVRANGE', key, 0, 0, 'WITHSCORES')
  local at, counted, number = now, 0, 0
  if last[1] then
    number = tonumber(last[1])
    local newest = tonumber(last[2])
    if newest > at then at = newest end
    if newest > at - span then
      counted = redis.call('ZCOUNT', key, string.format('(%.0f', at - span), '+inf')
      if counted > limit then counted = limit end
    end
  end
  local oldest = at
  if counted > 0 then
    oldest = tonumber(redis.call('ZREVRANGE', key, counted - 1, counted - 1, 'WITHSCORES')[2])
  end
  if not record then
    return counted < limit and 1 or 0, limit - counted, counted > 0 and oldest + span - now or 0
  end
  if counted >= limit then return 0, 0, oldest + span - now end
  redis.call('ZADD', key, string.format('%.0f', at), string.format('%016.0f', number + 1))
  if counted == 0 then
    redis.call('ZREMRANGEBYRANK', key, 0, -2)
  else
    redis.call('ZREMRANGEBYSCORE', key, '-inf', string.format('%.0f', at - span))
  end
  redis.call('PEXPIRE', key, string.format('%.0f', math.ceil(span / 1000) + 1000))
  return 1, limit - counted - 1, oldest + span - now
end
"""
_TAKE = Script(
    NOW
    + WINDOW
    + """
local admitted, remaining, reset = window(KEYS[1], now_us(), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4] == '1')
return {admitted, remaining, reset}
"""
)


class ValkeyWindows:
    """Admit requests that look nothing up."""

    def __init__(self, server: Server, hour: Hour) -> None:
        self._server = server
        self._hour = hour

    async def take(self, window: Window) -> Verdict:
        """Admit one request if the window has room, and count it only then."""
        return await self._ask(window, 1)

    async def peek(self, window: Window) -> Verdict:
        """Say whether there is room and how much, without counting anything."""
        return await self._ask(window, 0)

    async def _ask(self, window: Window, record: int) -> Verdict:
        key = window_key(window.name, self._server.shards)
        args: list[Word] = [self._hour.told(), window.limit, span_us(window), record]
        return verdict_of(await self._server.act(_TAKE, [key], args))


def span_us(window: Window) -> int:
    """Return a window's span in whole microseconds, at least one."""
    return max(1, -(-window.span_ns // 1000))


def verdict_of(reply: Sequence[Any]) -> Verdict:
    """Read what `WINDOW` returned."""
    return Verdict(bool(reply[0]), int(reply[1]), int(reply[2]) * 1000)


@lru_cache(maxsize=8192)
def window_key(name: str, shards: int) -> bytes:
    """Return the key of a window."""
    raw = name.encode("utf-8", "surrogatepass")
    if len(raw) > _NAME_BYTES:
        raw = b"\xff" + blake2b(raw, digest_size=32).digest()  # no UTF-8 starts with 0xff
    tag = b"w" if shards == 1 else b"w%d" % (blake2b(raw, digest_size=1).digest()[0] % _TAGS)
    return PREFIX + b"{" + tag + b"}" + raw
