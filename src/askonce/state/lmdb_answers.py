"""Stored answers over LMDB: one tenant's at a time, within a share of the file, the least recently used leaving first.

Uses are noted in the process and written down by `beat`. A full or failing disk means that answers are not
kept; it is told by `ailment`, and nothing else suffers.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import islice

import lmdb

from askonce.cache import entry as codec
from askonce.domain.answer import Entry
from askonce.domain.clock import Clock
from askonce.domain.ports import Filters, Knock, Page
from askonce.state import lmdb_errors
from askonce.state import lmdb_records as records
from askonce.state.lmdb_files import Room, Txn
from askonce.state.memory import matches

FILL = 0.9  # LMDB writes pages anew before it frees the old ones, and large values need pages side by side
SHARE_MAX = 8  # an entry over an eighth of the room would push out too much for one
EVICT_TOGETHER = 16  # once room is needed, make some more, so that not every `keep` pays for it
EVICT_MAX = 4096  # per `keep`: bounds how long one write transaction lasts
KEEP_TRIES = 4  # evictions before giving up when the file is full in spite of FILL (fragments)
TOUCHED_MAX = 8192  # entries whose uses wait to be written; uses of more are not noted
USED_AT_ONCE = 1000  # are written by one beat: some milliseconds
SCAN = 256  # records looked at before others get their turn
SCAN_BYTES = 4 << 20  # decoded at once at the most, but for a single larger entry: some milliseconds of the loop
PAGE_BYTES = 4096

_log = logging.getLogger("askonce.state")


class LmdbAnswers:
    """Keep entries in the `cache` environment."""

    def __init__(self, room: Room, clock: Clock) -> None:
        self._room = room
        self._clock = clock
        self._bound = int(room.env.info()["map_size"] * FILL)
        self._touched: dict[bytes, int] = {}
        self.ailment = ""  # why answers are not kept or found; "" while they are

    async def find(self, tenant: str, keys: Sequence[bytes], fresh_after_ms: int) -> Entry | None:
        """Return the first of the keys that is stored and fresh. Books nothing."""
        try:
            return self.look_up(tenant, keys, fresh_after_ms)
        except lmdb.Error as error:
            self._suffer(error)
            raise lmdb_errors.unavailable(error) from error

    def look_up(self, tenant: str, keys: Sequence[bytes], fresh_after_ms: int) -> Entry | None:
        """Find without waiting; raises LMDB's errors. A record that cannot be read is as good as none."""
        shelf = records.shelf(tenant)
        now_ms = self._clock.wall_ms()
        with self._room.env.begin() as txn:
            for key in keys:
                record = txn.get(shelf + key)
                if record is None:
                    continue
                entry = _decode(record)
                if (
                    entry is not None
                    and entry.expires_ms > now_ms
                    and entry.key == key
                    and entry.tenant == tenant
                    and entry.stored_ms >= fresh_after_ms
                ):
                    return entry
        return None

    def look_up_or_suffer(self, knock: Knock) -> Entry | None:
        """Find without waiting; a cache that cannot be read has nothing."""
        try:
            return self.look_up(knock.tenant, knock.keys, knock.fresh_after_ms)
        except lmdb.Error as error:
            self._suffer(error)
            return None

    def touch(self, entry: Entry) -> None:
        """Note that an entry was used, until the next beat."""
        used = records.use_key(entry.tenant, entry.key)
        times = self._touched.get(used, 0)
        if times or len(self._touched) < TOUCHED_MAX:
            self._touched[used] = times + 1

    async def keep(self, entry: Entry) -> bool:
        """Store an entry, evicting others where room is needed; False if that failed, whatever the reason."""
        try:
            record = codec.encode(entry)
        except ValueError:
            return False
        if len(record) > self._bound // SHARE_MAX:
            return False
        return self.write(len(record), lambda txn: records.put(txn, entry, record, self._clock.wall_ms()))

    def write(self, size: int, act: Callable[[Txn], None]) -> bool:
        """Do one act that adds so many bytes, evicting entries where room is needed; False if that failed."""
        for _ in range(KEEP_TRIES):
            try:
                with self._room.env.begin(write=True) as txn:
                    self._make_room(txn, size)
                    act(txn)
            except lmdb.MapFullError as error:
                self._suffer(error)
                if not self._evict_some():
                    return False
            except lmdb.Error as error:
                self._suffer(error)
                return False
            else:
                self.ailment = ""
                return True
        return False

    async def page(self, tenant: str, filters: Filters, after: bytes, size: int) -> Page:
        """List fresh entries behind the cursor, at most `size`. Gives others their turn while it searches."""
        chosen: list[Entry] = []
        hits: list[int] = []
        now_ms = self._clock.wall_ms()
        while True:
            scanned, ended = self._scan(tenant, after)
            for key, entry, used in scanned:
                if entry is not None and entry.expires_ms > now_ms and matches(entry, filters, now_ms):
                    if len(chosen) == size:
                        return Page(tuple(chosen), after, tuple(hits))
                    chosen.append(entry)
                    hits.append(used)
                after = key
            if ended:
                return Page(tuple(chosen), b"", tuple(hits))
            await asyncio.sleep(0)

    async def hits(self, tenant: str, key: bytes) -> int:
        """Return how often an entry was found since it was stored; what was noted just now is not in it."""
        try:
            with self._room.env.begin() as txn:
                return records.hits(txn, records.use_key(tenant, key))
        except lmdb.Error as error:
            raise lmdb_errors.unavailable(error) from error

    async def drop(self, tenant: str, key: bytes) -> bool:
        """Remove one entry; False if it was not there."""
        return self._remove([records.use_key(tenant, key)]) == 1

    async def purge(self, tenant: str, filters: Filters) -> int:
        """Remove all matching entries, expired ones too, and return how many.

        Gives others their turn between batches; if cancelled, what was removed stays removed.
        """
        removed, after, now_ms = 0, b"", self._clock.wall_ms()
        while True:
            scanned, ended = self._scan(tenant, after)
            chosen = [key for key, entry, _ in scanned if entry is None or matches(entry, filters, now_ms)]
            removed += self._remove([records.use_key(tenant, key) for key in chosen])
            if ended:
                return removed
            after = scanned[-1][0]
            await asyncio.sleep(0)

    def measure(self, tenant: str) -> tuple[int, int]:
        """Return how many entries a tenant has, and how many bytes they are; raises LMDB's errors."""
        with self._room.env.begin() as txn:
            return records.measure(txn, tenant)

    def beat(self, most: int = USED_AT_ONCE) -> None:
        """Write down which entries were used, and how often, at most so many; forget readers that died."""
        touched = list(islice(self._touched.items(), most))
        for used, _ in touched:
            del self._touched[used]
        now_ms = self._clock.wall_ms()
        try:
            self._room.env.reader_check()
            if touched:
                with self._room.env.begin(write=True) as txn:
                    for used, times in touched:
                        records.use(txn, used, now_ms, times)
        except lmdb.Error as error:
            self._suffer(error)

    def sweep(self, after: bytes, budget: int) -> bytes:
        """Remove the expired ones among the next `budget` entries; returns where to go on, b"" at the end."""
        now_ms = self._clock.wall_ms()
        expired: list[bytes] = []
        try:
            with self._room.env.begin() as txn, txn.cursor() as cursor:
                walk = records.walk(cursor, records.FIRST_USE, after or records.FIRST_USE)
                for _, (key, use) in zip(range(budget), walk, strict=False):
                    if records.is_expired(use, now_ms):
                        expired.append(key)
                following = next(walk, (b"", b""))[0]
            if expired:
                with self._room.env.begin(write=True) as txn:
                    for key in expired:
                        if records.is_expired(txn.get(key), now_ms):  # it may have been stored anew meanwhile
                            records.remove(txn, key)
        except lmdb.Error as error:
            self._suffer(error)
            return b""
        return following

    def _make_room(self, txn: Txn, need: int) -> None:
        """Evict until `need` more bytes fit under the bound."""
        need += 2 * PAGE_BYTES  # a long record begins a page of its own, and the tree may grow by one
        evicted = 0
        while self._used(txn) + need > self._bound and evicted < EVICT_MAX:
            for _ in range(EVICT_TOGETHER):
                if not records.evict(txn, self._clock.wall_ms()):
                    return
                evicted += 1

    def _evict_some(self) -> bool:
        """Evict in a transaction of its own, because only its end makes the pages free; False if that fails."""
        try:
            with self._room.env.begin(write=True) as txn:
                return any([records.evict(txn, self._clock.wall_ms()) for _ in range(EVICT_TOGETHER)])  # noqa: C419 all are to go
        except lmdb.Error as error:
            self._suffer(error)
            return False

    def _used(self, txn: Txn) -> int:
        stat = txn.stat(self._room.db)
        return (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]

    def _scan(self, tenant: str, after: bytes) -> tuple[list[tuple[bytes, Entry | None, int]], bool]:
        """Return some of the tenant's entries behind a fingerprint with their hits, and whether those were the last.

        At most SCAN, and no more once they come to SCAN_BYTES; None stands for an entry that cannot be read.
        """
        shelf = records.shelf(tenant)
        found: list[tuple[bytes, Entry | None, int]] = []
        size = 0
        try:
            with self._room.env.begin() as txn, txn.cursor() as cursor:
                for key, record in records.walk(cursor, shelf, shelf + after):
                    entry = _decode(record)
                    if key != shelf + after and (entry is None or entry.tenant == tenant):
                        fingerprint = key[len(shelf) :]
                        found.append((fingerprint, entry, records.hits(txn, records.use_key(tenant, fingerprint))))
                        size += len(record) if entry is None else len(bytes(entry.answer)) + len(entry.rendition)
                    if len(found) == SCAN or size >= SCAN_BYTES:
                        return found, False
        except lmdb.Error as error:
            raise lmdb_errors.unavailable(error) from error
        return found, True

    def _remove(self, used: list[bytes]) -> int:
        if not used:
            return 0
        try:
            with self._room.env.begin(write=True) as txn:
                return sum(records.remove(txn, key) for key in used)
        except lmdb.Error as error:
            raise lmdb_errors.unavailable(error) from error

    def suffer(self, error: lmdb.Error) -> None:
        """Take note of an error of a neighbour in the same file."""
        self._suffer(error)

    def _suffer(self, error: lmdb.Error) -> None:
        if not self.ailment:
            _log.warning("stored answers: %s", lmdb_errors.reason(error))
        self.ailment = lmdb_errors.reason(error)


def _decode(record: bytes) -> Entry | None:
    try:
        return codec.decode(record)
    except codec.EntryCorrupt as error:
        _log.warning("a stored answer is passed over: %s", error)
        return None
