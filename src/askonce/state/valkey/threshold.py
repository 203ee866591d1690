"""The threshold on Valkey/Redis: admit, look up and count a request in one call.

On a Cluster window, entry and books are on different nodes: there it is done in three acts, one after the other.
"""

from functools import lru_cache

from askonce.domain.answer import Entry
from askonce.domain.ports import Entered, Knock, Verdict
from askonce.state import tally
from askonce.state.counters import packed_word
from askonce.state.valkey import shelves
from askonce.state.valkey.answers import ValkeyAnswers
from askonce.state.valkey.books import sums_name
from askonce.state.valkey.counting import ADD
from askonce.state.valkey.server import BOOKS, NOW, Hour, Script, Server, Word
from askonce.state.valkey.windows import WINDOW, ValkeyWindows, span_us, verdict_of, window_key

_HITS, _SAVED, _TOKENS = map(tally.Tally._fields.index, ("hits", "saved_exact_nano", "saved_tokens"))
_EXACT = packed_word("exact")

_HIT = (
    """
local function hit(base, now, tenant, name, cost, tokens)
  local sums = base .. 'c' .. tenant
  cost, tokens = string.format('%.0f', cost), string.format('%.0f', tokens)
  add(sums, 'HITS', 1)
  if cost ~= '0' then add(sums, 'SAVED', cost) end
  if tokens ~= '0' then add(sums, 'TOKENS', tokens) end
  count(base, string.format('%.0f', math.floor(now / 60000000)), name, '1', cost, tokens)
end
""".replace("HITS", str(_HITS))
    .replace("SAVED", str(_SAVED))
    .replace("TOKENS", str(_TOKENS))
)

# Keys: the books, the window, the entries. Arguments: now; limit (0: no window) and span; from when on entries count;
# the tenant, begin and end of the counter's name; what is held of each entry. Returns the verdict's three numbers, the
# number of the entry (0: none) and the entry.
_ENTER = Script(
    NOW
    + WINDOW
    + shelves.LOOK
    + ADD
    + _HIT
    + """
local now, limit = now_us(), tonumber(ARGV[2])
local admitted, remaining, reset = 1, 0, 0
if limit > 0 then
  admitted, remaining, reset = window(KEYS[2], now, limit, tonumber(ARGV[3]), true)
  if admitted == 0 then return {0, remaining, reset, 0} end
end
local now_ms, fresh_after = math.floor(now / 1000), tonumber(ARGV[4])
for number = 3, #KEYS do
  local value, cost, tokens, name = look(KEYS[number], ARGV[number + 5], now_ms, fresh_after)
  if value then
    hit(KEYS[1], now, ARGV[5], ARGV[6] .. name .. ARGV[7], cost, tokens)
    return {admitted, remaining, reset, number - 2, value}
  end
end
return {admitted, remaining, reset, 0}
"""
)
# Arguments: now, tenant, name, nano-dollars, tokens.
_COUNT_HIT = Script(
    NOW
    + ADD
    + _HIT
    + """
hit(KEYS[1], now_us(), ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]))
return 1
"""
)


class ValkeyThreshold:
    """Admit, look up and count a request."""

    def __init__(self, server: Server, hour: Hour, windows: ValkeyWindows, answers: ValkeyAnswers) -> None:
        self._server = server
        self._hour = hour
        self._windows = windows
        self._answers = answers

    async def enter(self, knock: Knock) -> Entered:
        """Admit by the window; if admitted, look up; if found, book the hit and touch the entry."""
        if self._server.shards > 1:
            return await self._enter_apart(knock)
        if not knock.keys:
            return Entered(None if knock.window is None else await self._windows.take(knock.window), None)
        window = knock.window
        tenant = knock.tenant
        places = [shelves.entry_key(tenant, key, 1) for key in knock.keys]
        before = counted(tenant, knock.key_id, knock.door)
        args: list[Word] = [self._hour.told(), 0, 1, knock.fresh_after_ms, sums_name(tenant), before, _EXACT]
        key = BOOKS
        if window is not None:
            key = window_key(window.name, 1)
            args[1], args[2] = window.limit, span_us(window)
        args += self._answers.editions(places)
        reply = await self._server.act(_ENTER, [BOOKS, key, *places], args)
        verdict: Verdict | None = None if window is None else verdict_of(reply)
        number = reply[3]
        if not number:
            return Entered(verdict, None)
        entry = self._answers.read(tenant, knock.keys[number - 1], places[number - 1], reply[4])
        if entry is not None:
            self._answers.touch(entry)
        return Entered(verdict, entry)

    async def _enter_apart(self, knock: Knock) -> Entered:
        verdict = None if knock.window is None else await self._windows.take(knock.window)
        if verdict is not None and not verdict.admitted:
            return Entered(verdict, None)
        entry = await self._answers.find(knock.tenant, knock.keys, knock.fresh_after_ms)
        if entry is not None:
            await self._count(knock, entry)
            self._answers.touch(entry)
        return Entered(verdict, entry)

    async def _count(self, knock: Knock, entry: Entry) -> None:
        name = counted(knock.tenant, knock.key_id, knock.door)
        name += packed_word(entry.provider) + packed_word(entry.model) + _EXACT
        tokens = entry.prompt_tokens + entry.completion_tokens
        args: list[Word] = [self._hour.told(), sums_name(knock.tenant), name, entry.cost_nano, tokens]
        await self._server.act(_COUNT_HIT, [BOOKS], args)


@lru_cache(maxsize=8192)
def counted(tenant: str, key_id: str, door: str) -> bytes:
    """Return the beginning of the name of a counter of hits (`counters.packed_name`)."""
    return b"\x96" + packed_word(tenant) + packed_word(key_id) + packed_word(door)
