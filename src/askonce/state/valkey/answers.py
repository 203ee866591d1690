"""Stored answers on Valkey/Redis, within a bound of bytes, the least recently used leaving first.

Some of what was found stays in the process (`Held`), and is used only when the server says, in the very call that
looks it up, that its edition is still the one: nothing stale, nothing to invalidate, and an answer travels once.
"""

import asyncio
import logging
import struct
from collections import OrderedDict
from collections.abc import Sequence
from heapq import merge
from itertools import islice

from askonce.cache import entry as codec
from askonce.domain.answer import Entry
from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Filters, Page
from askonce.state.memory import matches
from askonce.state.valkey import shelves
from askonce.state.valkey.server import Hour, Server, Word, reason

SHARE_MAX = 8  # an entry over an eighth of the room would push out too much for one
HELD_BYTES = 16 << 20  # of one process
HELD_MAX_BYTES = 256 << 10  # a larger entry is fetched each time
TOUCHED_MAX = 8192  # entries whose uses wait to be told; uses of more are not noted
USED_AT_ONCE = 1000  # are told by one beat: some milliseconds of the server
SCAN, SCAN_BYTES = 100, 1 << 20  # listed in one act: some milliseconds of the server

_log = logging.getLogger("askonce.state")


class Held:
    """Hold entries in the process, with the edition that each is of; the least recently used leaves first."""

    def __init__(self, bound_bytes: int = HELD_BYTES) -> None:
        self._bound = bound_bytes
        self._size = 0
        self._held: OrderedDict[bytes, tuple[bytes, Entry, int]] = OrderedDict()

    def edition(self, place: bytes) -> bytes:
        """Return which edition is held, b"" for none."""
        held = self._held.get(place)
        return b"" if held is None else held[0]

    def get(self, place: bytes) -> Entry | None:
        """Return what is held, as used just now."""
        held = self._held.get(place)
        if held is None:
            return None
        self._held.move_to_end(place)
        return held[1]

    def put(self, place: bytes, edition: bytes, entry: Entry, size: int) -> None:
        """Hold an entry, letting others go."""
        self.drop(place)
        if size > HELD_MAX_BYTES:
            return
        self._held[place] = edition, entry, size
        self._size += size
        while self._size > self._bound:
            _, (_, _, gone) = self._held.popitem(last=False)
            self._size -= gone

    def drop(self, place: bytes) -> None:
        """Let an entry go."""
        held = self._held.pop(place, None)
        if held is not None:
            self._size -= held[2]


class ValkeyAnswers:
    """Keep entries for all nodes."""

    def __init__(self, server: Server, hour: Hour, clock: Clock, bound_bytes: int) -> None:
        self._server = server
        self._hour = hour
        self._clock = clock
        self._bound = max(1, bound_bytes // server.shards)
        self._held = Held()
        self._touched: dict[tuple[int, bytes], int] = {}
        self._sweep_at = (0, 0)
        self.shards = server.shards
        self.ailment = ""  # why answers are not kept; "" while they are

    async def find(self, tenant: str, keys: Sequence[bytes], fresh_after_ms: int) -> Entry | None:
        """Return the first of the keys that is stored and fresh. Books nothing."""
        if not keys:
            return None
        if self.shards == 1:
            return await self._find(tenant, keys, fresh_after_ms)
        for key in keys:
            entry = await self._find(tenant, (key,), fresh_after_ms)
            if entry is not None:
                return entry
        return None

    async def _find(self, tenant: str, keys: Sequence[bytes], fresh_after_ms: int) -> Entry | None:
        places = [shelves.entry_key(tenant, key, self.shards) for key in keys]
        args: list[Word] = [self._hour.told(), fresh_after_ms, *self.editions(places)]
        number, *value = await self._server.act(shelves.FIND, places, args)
        return self.read(tenant, keys[number - 1], places[number - 1], value[0]) if number else None

    def editions(self, places: Sequence[bytes]) -> list[bytes]:
        """Return which editions of these entries the process holds."""
        return [self._held.edition(place) for place in places]

    def read(self, tenant: str, key: bytes, place: bytes, value: bytes | int) -> Entry | None:
        """Return the entry that was found: held (a number), or a value. One that cannot be read is as good as none."""
        if isinstance(value, int):
            return self._held.get(place)
        entry = _decode(value)
        if entry is None or entry.key != key or entry.tenant != tenant:
            return None
        self._held.put(place, value[:8], entry, len(value))
        return entry

    def touch(self, entry: Entry) -> None:
        """Note that an entry was used, until the next beat."""
        used = shelves.shard_of(entry.key, self.shards), shelves.member(entry.tenant, entry.key)
        times = self._touched.get(used, 0)
        if times or len(self._touched) < TOUCHED_MAX:
            self._touched[used] = times + 1

    async def keep(self, entry: Entry) -> bool:
        """Store (replacing) an entry, evicting others where room is needed; False if that failed, for any reason."""
        try:
            record = codec.encode(entry)
        except ValueError:
            return False
        value = shelves.value_of(entry, record)
        if len(value) > self._bound // SHARE_MAX:
            return False
        tag = shelves.tag_of(shelves.shard_of(entry.key, self.shards))
        args: list[Word] = [self._hour.told(), self._bound, shelves.member(entry.tenant, entry.key), value]
        try:
            for _ in range(4):
                if await self._server.act(shelves.KEEP, [tag], args):
                    self.ailment = ""
                    return True
        except StoreUnavailable as error:
            self.ailment = reason(error)
        return False

    async def page(self, tenant: str, filters: Filters, after: bytes, size: int) -> Page:
        """List fresh entries behind the cursor, at most `size`, over all shards in the order of their keys."""
        now_ms = self._clock.wall_ms()
        found: list[list[tuple[Entry, int]]] = []
        for shard in range(self.shards):
            chosen: list[tuple[Entry, int]] = []
            cursor, ended = after, False
            while not ended and len(chosen) <= size:
                ended, cursor, scanned = await self._scan(shard, tenant, cursor)
                chosen += [(e, n) for e, n in scanned if e.expires_ms > now_ms and matches(e, filters, now_ms)]
            found.append(chosen)
        merged = list(merge(*found, key=lambda each: each[0].key))
        entries, hits = tuple(e for e, _ in merged[:size]), tuple(n for _, n in merged[:size])
        return Page(entries, entries[-1].key if len(merged) > size else b"", hits)

    async def hits(self, tenant: str, key: bytes) -> int:
        """Return how often an entry was found since it was stored; what was noted just now is not in it."""
        tag = shelves.tag_of(shelves.shard_of(key, self.shards))
        noted: bytes = await self._server.call("HGET", tag + b"s", shelves.member(tenant, key)) or b""
        return int(noted.partition(b":")[2] or 0)

    async def drop(self, tenant: str, key: bytes) -> bool:
        """Remove one entry; False if it was not there."""
        return await self._remove(shelves.shard_of(key, self.shards), [shelves.member(tenant, key)]) == 1

    async def purge(self, tenant: str, filters: Filters) -> int:
        """Remove all matching entries and return how many; if cancelled, what was removed stays removed."""
        removed, now_ms = 0, self._clock.wall_ms()
        for shard in range(self.shards):
            after, ended = b"", False
            while not ended:
                ended, after, scanned = await self._scan(shard, tenant, after)
                chosen = [shelves.member(tenant, e.key) for e, _ in scanned if matches(e, filters, now_ms)]
                removed += await self._remove(shard, chosen)
        return removed

    async def measure(self, tenant: str) -> tuple[int, int]:
        """Return how many entries a tenant has, and how many bytes they are."""
        name = shelves.tenant_hash(tenant)
        replies = await asyncio.gather(
            *(
                self._server.call(*words)
                for shard in range(self.shards)
                for words in (
                    ("ZCARD", shelves.tag_of(shard) + b"i" + name),
                    ("HGET", shelves.tag_of(shard) + b"t", name),
                )
            )
        )
        return sum(map(int, replies[::2])), sum(int(size or 0) for size in replies[1::2])

    async def beat(self) -> None:
        """Write down which entries were used, and how often. Store away: they count as not used."""
        touched = list(islice(self._touched.items(), USED_AT_ONCE))
        by_shard: dict[int, list[Word]] = {}
        for used, times in touched:
            del self._touched[used]
            by_shard.setdefault(used[0], []).extend((used[1], times))
        for shard, words in sorted(by_shard.items()):
            await self._server.act(shelves.USE, [shelves.tag_of(shard)], [self._hour.told(), *words])

    async def sweep(self, budget: int) -> None:
        """Take what is gone off the shelves, looking at the next so many entries."""
        shard, place = self._sweep_at
        args: list[Word] = [self._hour.told(), place, budget]
        seen, gone = await self._server.act(shelves.SWEEP, [shelves.tag_of(shard)], args)
        ended = seen < budget
        self._sweep_at = ((shard + 1) % self.shards, 0) if ended else (shard, place + seen - gone)

    async def _scan(self, shard: int, tenant: str, after: bytes) -> tuple[bool, bytes, list[tuple[Entry, int]]]:
        args: list[Word] = [shelves.tenant_hash(tenant), after, SCAN, SCAN_BYTES]
        ended, last, values, hits = await self._server.act(shelves.SCAN, [shelves.tag_of(shard)], args)
        read = zip(map(_decode, values), hits, strict=True)
        scanned = [(entry, times) for entry, times in read if entry is not None and entry.tenant == tenant]
        return bool(ended), last or after, scanned

    async def _remove(self, shard: int, members: list[bytes]) -> int:
        if not members:
            return 0
        return int(await self._server.act(shelves.DROP, [shelves.tag_of(shard)], members))


def _decode(value: bytes) -> Entry | None:
    try:
        return codec.decode(shelves.record_of(value))
    except (codec.EntryCorrupt, struct.error) as error:
        _log.warning("a stored answer is passed over: %s", error)
        return None
