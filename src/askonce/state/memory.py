"""The reference: all ports in one process's memory, written to be plainly right.

Nothing here outlives the process. `SoloFlights` (solo.py) is also what a single worker uses in production.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from askonce.cache import entry as codec
from askonce.domain.answer import Entry
from askonce.domain.budget import Budgets, Settled
from askonce.domain.clock import Clock
from askonce.domain.ledger import CallRow, Tallied
from askonce.domain.outcome import Spared, Totals
from askonce.domain.ports import Books, Entered, Filters, Kept, Knock, Page, Promise, Verdict, Window
from askonce.limits import window as rule
from askonce.state import tally
from askonce.state.memory_budgets import MemoryBudgets, Vault
from askonce.state.memory_outbox import MemoryOutbox
from askonce.state.shelf import Shelf
from askonce.state.solo import Hangar, SoloFlights

# Some 30 MB. Only a flood from very many addresses has more at once, and only while the shared store is away.
WINDOWS_MAX = 100_000
CAPACITY_BYTES = 64 << 20  # enough for tests and demonstrations
PROMISES_SHARE = 8  # of that room, one part for promises: as on disk


class MemoryState:
    """Compose the parts over one clock."""

    def __init__(self, clock: Clock, owner: str = "0:memory", capacity_bytes: int = CAPACITY_BYTES) -> None:
        self.answers = MemoryAnswers(clock, capacity_bytes)
        self.promises = MemoryPromises(clock, capacity_bytes // PROMISES_SHARE)
        self.windows = MemoryWindows(clock)
        self.outbox = MemoryOutbox()
        self.budgets = MemoryBudgets(Vault(), clock, owner, self.outbox.put)
        self.books = MemoryBooks(clock, self.answers, self.outbox, self.budgets)
        self.threshold = MemoryThreshold(self.windows, self.answers, self.books, clock)
        self.flights = SoloFlights(Hangar(clock), owner)


class MemoryWindows:
    """Keep windows in a dict."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shelf = Shelf()

    async def take(self, window: Window) -> Verdict:
        """Admit one request if the window has room, and count it only then."""
        return rule.take(self._shelf, window, self._clock.steady_ns())

    def sweep(self) -> None:
        """Forget windows in which nothing counts any more; begin anew rather than hold more than `WINDOWS_MAX`."""
        now_ns = self._clock.steady_ns()
        for key in [key for key, value in self._shelf.items() if rule.expired(value, now_ns)]:
            del self._shelf[key]
        if len(self._shelf) > WINDOWS_MAX:
            self._shelf.clear()

    async def peek(self, window: Window) -> Verdict:
        """Say whether there is room and how much, without counting anything."""
        return rule.peek(self._shelf, window, self._clock.steady_ns())


class MemoryAnswers:
    """Keep entries in order of use; the least recently used goes first when room is needed.

    `weigh` says what an entry and its record take of the room.
    """

    def __init__(
        self, clock: Clock, capacity_bytes: int, weigh: Callable[[Entry, bytes], int] = lambda _, record: len(record)
    ) -> None:
        self._clock = clock
        self._capacity = capacity_bytes
        self._weigh = weigh
        self._records: OrderedDict[tuple[str, bytes], bytes] = OrderedDict()
        self._weights: dict[tuple[str, bytes], int] = {}
        self._hits: dict[tuple[str, bytes], int] = {}
        self.size = 0

    def __len__(self) -> int:
        return len(self._records)

    async def find(self, tenant: str, keys: Sequence[bytes], fresh_after_ms: int) -> Entry | None:
        """Return the first of the keys that is stored and fresh."""
        now_ms = self._clock.wall_ms()
        for key in keys:
            record = self._records.get((tenant, key))
            if record is not None:
                entry = codec.decode(record)
                if entry.expires_ms > now_ms and entry.stored_ms >= fresh_after_ms:
                    return entry
        return None

    def touch(self, entry: Entry) -> None:
        """Mark an entry as used."""
        place = entry.tenant, entry.key
        self._records.move_to_end(place)
        self._hits[place] = self._hits.get(place, 0) + 1

    async def keep(self, entry: Entry) -> bool:
        """Store an entry; False if it is larger than everything that may be kept."""
        record = codec.encode(entry)
        weight = self._weigh(entry, record)
        if weight > self._capacity:
            return False
        self._remove((entry.tenant, entry.key))
        while self.size + weight > self._capacity:
            self._remove(next(iter(self._records)))
        self._records[entry.tenant, entry.key] = record
        self._weights[entry.tenant, entry.key] = weight
        self.size += weight
        return True

    async def page(self, tenant: str, filters: Filters, after: bytes, size: int) -> Page:
        """List fresh entries behind the cursor, at most `size`."""
        now_ms = self._clock.wall_ms()
        fresh = [e for e in self._of(tenant) if e.key > after and e.expires_ms > now_ms and matches(e, filters, now_ms)]
        hits = tuple(self._hits.get((tenant, e.key), 0) for e in fresh[:size])
        return Page(tuple(fresh[:size]), fresh[size - 1].key if len(fresh) > size else b"", hits)

    async def hits(self, tenant: str, key: bytes) -> int:
        """Return how often an entry was found since it was stored."""
        return self._hits.get((tenant, key), 0)

    async def drop(self, tenant: str, key: bytes) -> bool:
        """Remove one entry; False if it was not there."""
        return self._remove((tenant, key))

    async def purge(self, tenant: str, filters: Filters) -> int:
        """Remove all matching entries, expired ones too, and return how many."""
        now_ms = self._clock.wall_ms()
        return sum(self._remove((tenant, e.key)) for e in self._of(tenant) if matches(e, filters, now_ms))

    def measure(self, tenant: str) -> tuple[int, int]:
        """Return how many entries a tenant has, and how many bytes they are."""
        sizes = [len(record) for (owner, _), record in self._records.items() if owner == tenant]
        return len(sizes), sum(sizes)

    def _of(self, tenant: str) -> list[Entry]:
        keys = sorted(key for owner, key in self._records if owner == tenant)
        return [codec.decode(self._records[tenant, key]) for key in keys]

    def _remove(self, place: tuple[str, bytes]) -> bool:
        self.size -= self._weights.pop(place, 0)
        self._hits.pop(place, None)
        return self._records.pop(place, None) is not None


def matches(entry: Entry, filters: Filters, now_ms: int) -> bool:
    """Say whether an entry is one of those that the filters choose."""
    return (
        filters.provider in ("", entry.provider)
        and filters.model in ("", entry.model)
        and (filters.older_than_s is None or now_ms - entry.stored_ms > filters.older_than_s * 1000)
    )


class MemoryPromises:
    """Keep what was promised in order of time; what would expire first goes first when room is needed."""

    def __init__(self, clock: Clock, capacity_bytes: int) -> None:
        self._clock = clock
        self._capacity = capacity_bytes
        self._records: dict[bytes, tuple[Kept, bytes]] = {}

    async def question(self, key: bytes) -> bytes | None:
        """Return which question a promise's key stands for."""
        kept = await self.find(key)
        return None if kept is None else kept.promise.question

    async def find(self, key: bytes) -> Kept | None:
        """Return what is kept under a promise's key and has not expired."""
        kept, _ = self._records.get(key, (None, b""))
        return kept if kept is not None and kept.expires_ms > self._clock.wall_ms() else None

    async def keep(self, entry: Entry, until_ms: Mapping[Promise, int]) -> bool:
        """Keep them unless something is kept there; False if the answer is larger than everything that may be kept."""
        record = codec.encode(entry)
        if len(record) > self._capacity:
            return False
        for promise, expires_ms in until_ms.items():
            if await self.find(promise.key) is None:
                self._records[promise.key] = (Kept(promise, entry, expires_ms), record)
        while self._size() > self._capacity:
            del self._records[min(self._records, key=lambda key: self._records[key][0].expires_ms)]
        return True

    async def purge(self, tenant: str, filters: Filters) -> None:
        """Forget all promises whose answers match."""
        now_ms = self._clock.wall_ms()
        for key, (kept, _) in list(self._records.items()):
            if kept.entry.tenant == tenant and matches(kept.entry, filters, now_ms):
                del self._records[key]

    def _size(self) -> int:
        """Return how many bytes the answers are, each counted once."""
        return sum(map(len, {record for _, record in self._records.values()}))


class MemoryBooks:
    """Keep sums in a dict."""

    def __init__(self, clock: Clock, answers: MemoryAnswers, outbox: MemoryOutbox, budgets: Budgets) -> None:
        self._clock = clock
        self._answers = answers
        self._outbox = outbox
        self._budgets = budgets
        self._since_ms = clock.wall_ms()
        self._sums: dict[str, bytes] = {}

    async def book(self, ending: CallRow | Spared, settled: Settled | None = None) -> None:
        """Add one ending to its tenant's sums, tell the ledger of it and settle what was reserved for it."""
        tenant = tally.tenant_of(ending)
        self._sums[tenant] = tally.add(self._sums.get(tenant, tally.NOTHING), ending)
        if isinstance(ending, CallRow):
            await self._outbox.append(ending)
        else:
            what = Tallied(ending.tenant, ending.key_id, ending.door, ending.provider, ending.model, ending.kind)
            await self._outbox.count(ending.at_ms // 60_000, what, ending.saved_nano, ending.saved_tokens)
        if settled is not None:
            await self._budgets.settle(settled.reservation, settled.actual)

    async def totals(self, tenant: str) -> Totals:
        """Return the sums of one tenant."""
        sums = tally.read(self._sums.get(tenant, tally.NOTHING))
        return sums.totals(*self._answers.measure(tenant), self._since_ms)


class MemoryThreshold:
    """Admit, look up and count, one after the other: nothing comes between in one process without an await."""

    def __init__(self, windows: MemoryWindows, answers: MemoryAnswers, books: Books, clock: Clock) -> None:
        self._clock = clock
        self._windows = windows
        self._answers = answers
        self._books = books

    async def enter(self, knock: Knock) -> Entered:
        """Admit by the window; if admitted, look up; if found, book the hit and touch the entry."""
        verdict = await self._windows.take(knock.window) if knock.window else None
        if verdict is not None and not verdict.admitted:
            return Entered(verdict, None)
        entry = await self._answers.find(knock.tenant, knock.keys, knock.fresh_after_ms)
        if entry is not None:
            saved_tokens = entry.prompt_tokens + entry.completion_tokens
            await self._books.book(
                Spared(
                    knock.tenant,
                    "exact",
                    entry.cost_nano,
                    saved_tokens,
                    self._clock.wall_ms(),
                    knock.key_id,
                    knock.door,
                    entry.provider,
                    entry.model,
                )
            )
            self._answers.touch(entry)
        return Entered(verdict, entry)
