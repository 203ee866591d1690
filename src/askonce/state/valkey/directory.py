"""The directory over Valkey or Redis: what of the database's keys is in force, for all nodes.

    {b}ik   by digest, a key: version, lengths of its user's and its tenant's names, these, then the card packed
    {b}ih   by name, a holder: version, then the holder packed
    {b}ie   the edition: up to which number, of which database
    {b}ic   a number that grows with each change, from the microsecond of the first on

Until the database was read once nothing is known, which is told from "no such key" by the missing edition.

A process asks for the number of changes at most ten times a second, and remembers what it found until that is another
one. So a revocation is in force everywhere within a second, and most requests need no call. While the server is away
what a process knows stays in force for a minute; what it does not know, nobody can say.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Edition, Holder, KeyCard, Standing
from askonce.state.valkey.server import BOOKS, NOW, Hour, Script, Server, Word

FRESH_NS = 100_000_000  # so long a stamp is believed without asking
KNOWN_NS = 60_000_000_000  # so long what is known stays in force while the server is away
SLICE = 200  # records of one act: about a millisecond
REMEMBERED = 20_000  # keys, as many as there may be in force; then what was found first goes
CARDS, HOLDERS, EDITION, CHANGES = BOOKS + b"ik", BOOKS + b"ih", BOOKS + b"ie", BOOKS + b"ic"

_pack = msgspec.msgpack.Encoder().encode
_card = msgspec.msgpack.Decoder(KeyCard).decode
_holder = msgspec.msgpack.Decoder(Holder).decode

Known = KeyCard | Holder
_K = TypeVar("_K")
_T = TypeVar("_T")

_BASIC = (
    NOW
    + f"""
local CARDS, HOLDERS, EDITION, CHANGES = '{CARDS.decode()}', '{HOLDERS.decode()}', '{EDITION.decode()}',
  '{CHANGES.decode()}'

local function version_of(stored)
  return tonumber(string.match(stored, '^%d+'))
end

local function note_change()
  local former = tonumber(redis.call('GET', CHANGES) or '0')
  redis.call('SET', CHANGES, string.format('%d', math.max(former + 1, now_us())))
end

local function source()
  local edition = redis.call('GET', EDITION)
  return edition and string.match(edition, '^%d+ (.*)')
end
"""
)
# Answers with the edition, a key with its user and its tenant, and the number of changes.
_FIND = Script(
    _BASIC
    + """
local edition, changes = redis.call('GET', EDITION), redis.call('GET', CHANGES)
local card = redis.call('HGET', CARDS, ARGV[2])
if not card then return {edition, false, false, false, changes} end
local user_size, tenant_size, from = string.match(card, '^%d+ (%d+) (%d+) ()')
local tenant_from = from + user_size
local user = string.sub(card, from, tenant_from - 1)
local tenant = string.sub(card, tenant_from, tenant_from + tenant_size - 1)
user = user ~= '' and redis.call('HGET', HOLDERS, user)
return {edition, card, user, redis.call('HGET', HOLDERS, tenant), changes}
"""
)
_HOLDERS = Script(
    _BASIC
    + """
local found = #ARGV > 1 and redis.call('HMGET', HOLDERS, unpack(ARGV, 2)) or {}
return {redis.call('GET', EDITION), redis.call('GET', CHANGES), found}
"""
)
# Takes in what is newer than what stands there: threes of table, field and record.
_FORWARD = Script(
    _BASIC
    + """
if ARGV[2] == 'of' and source() ~= ARGV[3] then return end
redis.call('DEL', EDITION .. '-')  -- after a deletion a server without memory takes the rest: revocations must not fail
local changed = false
for at = 4, #ARGV, 3 do
  local key, field, record = ARGV[at] == 'k' and CARDS or HOLDERS, ARGV[at + 1], ARGV[at + 2]
  local stored = redis.call('HGET', key, field)
  if not stored or version_of(record) > version_of(stored) then
    redis.call('HSET', key, field, record)
    changed = true
  end
end
if changed then note_change() end
"""
)
# Deletes what the database did not have at that number.
_DROP = Script(
    _BASIC
    + """
local changed = false
for at = 3, #ARGV, 2 do
  local key, field = ARGV[at] == 'k' and CARDS or HOLDERS, ARGV[at + 1]
  local stored = redis.call('HGET', key, field)
  if stored and version_of(stored) <= tonumber(ARGV[2]) then
    redis.call('HDEL', key, field)
    changed = true
  end
end
if changed then note_change() end
"""
)
# Notes the edition up to which everything is known, never an earlier one of the same source.
_CLOSE = Script(
    _BASIC
    + """
local known = source()
if ARGV[2] == 'of' and known ~= ARGV[3] then return end
if known ~= ARGV[3] or version_of(redis.call('GET', EDITION)) < tonumber(ARGV[4]) then
  redis.call('SET', EDITION, ARGV[4] .. ' ' .. ARGV[3])
end
"""
)
_FORGET = Script(
    _BASIC
    + """
redis.call('UNLINK', EDITION, CARDS, HOLDERS)
note_change()
"""
)


class ValkeyDirectory:
    """Know the keys for all processes of all nodes."""

    def __init__(self, server: Server, hour: Hour, clock: Clock) -> None:
        self._server = server
        self._hour = hour
        self._clock = clock
        self._stamp = -1
        self._fresh_until_ns = self._known_until_ns = clock.steady_ns()
        self._standings: dict[bytes, Standing] = {}
        self._holders: dict[tuple[str, ...], tuple[Holder, ...]] = {}

    async def find(self, digest: bytes) -> Standing | None:
        """Return the key with this keyed hash, and whom it belongs to, in at most one call."""
        stamp = await self.stamp()
        standing = self._standings.get(digest)
        if standing is not None:
            return standing
        edition, card, user, tenant, changes = await self._act(_FIND, digest)
        if edition is None:
            raise not_filled()
        if card is None:
            return None
        standing = Standing(_read_card(card), _read_holder(user), _read_holder(tenant))
        if _number(changes) == stamp == self._stamp:
            _remember(self._standings, digest, standing)
        return standing

    async def holders(self, *names: str) -> tuple[Holder, ...]:
        """Return those holders of whom something is known."""
        stamp = await self.stamp()
        known = self._holders.get(names)
        if known is not None:
            return known
        edition, changes, found = await self._act(_HOLDERS, *map(_name, names))
        if edition is None:
            raise not_filled()
        known = tuple(holder for holder in map(_read_holder, found) if holder is not None)
        if _number(changes) == stamp == self._stamp:
            _remember(self._holders, names, known)
        return known

    async def stamp(self) -> int:
        """Return the number of changes as it was at most a tenth of a second ago; while the server is away, a minute.

        Raises `StoreUnavailable` after that.
        """
        now_ns = self._clock.steady_ns()
        if now_ns < self._fresh_until_ns:
            return self._stamp
        try:
            stamp = _number(await self._server.call("GET", CHANGES))
        except StoreUnavailable:
            if now_ns >= self._known_until_ns:
                raise
            return self._stamp
        if stamp != self._stamp:
            self._standings.clear()
            self._holders.clear()
            self._stamp = stamp
        self._fresh_until_ns, self._known_until_ns = now_ns + FRESH_NS, now_ns + KNOWN_NS
        return stamp

    async def has_keys(self) -> bool | None:
        """Say whether any key is known, whatever its state; None until first filled."""
        if await self._server.call("HLEN", CARDS):
            return True
        return None if await self.edition() is None else False

    async def put(self, source: str, *records: Known) -> None:
        """Put new states in force at once, for all processes."""
        for piece in _slices(records):
            await self._change(_FORWARD, "of", _name(source), *_threes(piece))

    async def edition(self) -> Edition | None:
        """Return up to where everything is known."""
        stored = await self._server.call("GET", EDITION)
        if stored is None:
            return None
        number, _, source = stored.partition(b" ")
        return Edition(source.decode("utf-8", "surrogatepass"), int(number))

    async def catch_up(self, records: Sequence[Known], edition: Edition) -> None:
        """Take in what changed, then the new edition."""
        await self.put(edition.source, *records)
        await self._change(_CLOSE, "of", _name(edition.source), edition.number)

    async def replace(self, records: Sequence[Known], edition: Edition) -> None:
        """Put exactly these in force. Only differences are written; what is newer than the edition stays.

        Another source's records go first, all of them; until the end nothing is known then.
        """
        former = await self.edition()
        if former is None or former.source != edition.source:
            await self.forget()
        wanted = {_place(record): record for record in records}
        stored = {place: version async for place, version in self._walk()}
        for places in _slices([place for place in stored if place not in wanted]):
            await self._change(_DROP, edition.number, *(word for place in places for word in place))
        changed = [record for place, record in wanted.items() if record.version > stored.get(place, -1)]
        for piece in _slices(changed):
            await self._change(_FORWARD, "any", "", *_threes(piece))
        await self._change(_CLOSE, "any", _name(edition.source), edition.number)

    async def forget(self) -> None:
        """Know nothing again, at once."""
        await self._change(_FORGET)

    async def _walk(self) -> AsyncIterator[tuple[tuple[bytes, bytes], int]]:
        """Yield the places of all records with their versions."""
        for table, key in ((b"k", CARDS), (b"h", HOLDERS)):
            cursor = b""
            while cursor != b"0":
                cursor, page = await self._server.call("HSCAN", key, cursor or b"0", "COUNT", SLICE)
                for field, stored in zip(page[::2], page[1::2], strict=True):
                    yield (table, field), int(stored[: stored.index(b" ")])

    async def _change(self, script: Script, *words: Word) -> None:
        """Change something; this process sees it at once."""
        self._fresh_until_ns = self._clock.steady_ns()
        await self._act(script, *words)
        self._fresh_until_ns = self._clock.steady_ns()

    async def _act(self, script: Script, *words: Word) -> Any:
        return await self._server.act(script, (EDITION,), (self._hour.told(), *words))


def not_filled() -> StoreUnavailable:
    """Make the refusal of a moment in which nobody can say which keys there are."""
    return StoreUnavailable("The keys have not been read from the database yet. Try again.", retry_after_s=1)


def _threes(records: Sequence[Known]) -> Iterator[Word]:
    for record in records:
        yield from _place(record)
        yield _written(record)


def _place(record: Known) -> tuple[bytes, bytes]:
    return (b"k", record.digest) if isinstance(record, KeyCard) else (b"h", _name(record.name))


def _written(record: Known) -> bytes:
    if isinstance(record, Holder):
        return b"%d " % record.version + _pack(record)
    user, tenant = _name(f"user:{record.user_id}") if record.user_id else b"", _name(f"tenant:{record.tenant}")
    return b"%d %d %d " % (record.version, len(user), len(tenant)) + user + tenant + _pack(record)


def _read_card(stored: bytes) -> KeyCard:
    _, user_size, tenant_size, rest = stored.split(b" ", 3)
    return _card(rest[int(user_size) + int(tenant_size) :])


def _read_holder(stored: bytes | None) -> Holder | None:
    return None if stored is None else _holder(stored[stored.index(b" ") + 1 :])


def _number(stored: bytes | None) -> int:
    return int(stored or 0)


def _name(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _remember(memory: dict[_K, _T], key: _K, value: _T) -> None:
    if len(memory) >= REMEMBERED:
        del memory[next(iter(memory))]
    memory[key] = value


def _slices(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    return (items[start : start + SLICE] for start in range(0, len(items), SLICE))
