"""Windows, sums and the threshold over LMDB: one write transaction each, without an await inside.

    w…, b…         windows, laid out by `limits.window`
    c + tenant     the tenant's sums, laid out by `tally`
    o…, q…         what the ledger is to know, and budgets: written in the same acts (`lmdb_outbox`, `lmdb_budgets`)

Open or closed: when the books are away all of it raises `StoreUnavailable`. When only the cache is away the threshold
admits and finds nothing.
"""

from functools import lru_cache, partial
from hashlib import blake2b

import lmdb

from askonce.domain.answer import Entry
from askonce.domain.budget import Settled
from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import CallRow, Tallied
from askonce.domain.outcome import Spared, Totals
from askonce.domain.ports import Entered, Knock, Verdict, Window
from askonce.limits import window as rule
from askonce.state import counters, lmdb_errors, tally
from askonce.state.lmdb_answers import LmdbAnswers
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_files import Txn
from askonce.state.lmdb_outbox import LmdbOutbox

SUMS = b"c"
MINUTE_MS = 60_000
_NAME_BYTES = 255  # longer tenant names are hashed; LMDB's keys have at most 511 bytes


class LmdbWindows:
    """Admit requests that look nothing up."""

    def __init__(self, desk: Desk, clock: Clock) -> None:
        self._desk = desk
        self._clock = clock

    async def take(self, window: Window) -> Verdict:
        """Admit one request if the window has room, and count it only then."""
        return self._desk.admit(lambda txn: rule.take(txn, window, self._clock.steady_ns()))

    async def peek(self, window: Window) -> Verdict:
        """Say whether there is room and how much, without counting anything."""
        return self._desk.read(lambda txn: rule.peek(txn, window, self._clock.steady_ns()))


class LmdbBooks:
    """Count what was paid and what was spared."""

    def __init__(
        self, desk: Desk, answers: LmdbAnswers, since_ms: int, outbox: LmdbOutbox, budgets: LmdbBudgets
    ) -> None:
        self._desk = desk
        self._answers = answers
        self._since_ms = since_ms
        self._outbox = outbox
        self._budgets = budgets

    async def book(self, ending: CallRow | Spared, settled: Settled | None = None) -> None:
        """Add one ending to its tenant's sums, tell the ledger of it and settle what was reserved for it: one act."""
        try:
            self._desk.write(partial(self._book, ending, settled))
        except StoreUnavailable:
            if settled is not None:
                self._budgets.defer(settled.reservation, settled.actual)
            raise

    def _book(self, ending: CallRow | Spared, settled: Settled | None, txn: Txn) -> None:
        key = sums_key(tally.tenant_of(ending))
        txn.put(key, tally.add(txn.get(key) or tally.NOTHING, ending))
        if isinstance(ending, CallRow):
            self._outbox.append_in(txn, ending)
        else:
            what = Tallied(ending.tenant, ending.key_id, ending.door, ending.provider, ending.model, ending.kind)
            counters.count(txn, ending.at_ms // MINUTE_MS, what, ending.saved_nano, ending.saved_tokens)
        if settled is not None:
            self._budgets.settle_in(txn, settled.reservation, settled.actual)

    async def totals(self, tenant: str) -> Totals:
        """Return the sums of one tenant, with what is stored now (expired entries count until they are swept)."""
        key = sums_key(tenant)
        packed = self._desk.read(lambda txn: txn.get(key)) or tally.NOTHING
        try:
            entries, stored_bytes = self._answers.measure(tenant)
        except lmdb.Error as error:
            raise lmdb_errors.unavailable(error) from error
        return tally.read(packed).totals(entries, stored_bytes, self._since_ms)


class LmdbThreshold:
    """Admit, look up and count a request in one write transaction of the books."""

    def __init__(self, desk: Desk, clock: Clock, answers: LmdbAnswers) -> None:
        self._desk = desk
        self._clock = clock
        self._answers = answers

    async def enter(self, knock: Knock) -> Entered:
        """Admit by the window; if admitted, look up; if found, book the hit and touch the entry.

        Without a window the look-up comes first, so that a miss writes nothing.
        """
        if knock.window is not None:
            return self._desk.admit(partial(self._admit, knock, knock.window))
        entry = self._look_up(knock)
        if entry is not None:
            self._desk.write(partial(self._book, knock, entry))
        return Entered(None, entry)

    def _admit(self, knock: Knock, window: Window, txn: Txn) -> Entered:
        verdict = rule.take(txn, window, self._clock.steady_ns())
        if not verdict.admitted:
            return Entered(verdict, None)
        entry = self._look_up(knock)
        if entry is not None:
            self._book(knock, entry, txn)
        return Entered(verdict, entry)

    def _look_up(self, knock: Knock) -> Entry | None:
        return self._answers.look_up_or_suffer(knock) if knock.keys else None

    def _book(self, knock: Knock, entry: Entry, txn: Txn) -> None:
        key = sums_key(entry.tenant)
        saved_tokens = entry.prompt_tokens + entry.completion_tokens
        txn.put(key, tally.add_hit(txn.get(key) or tally.NOTHING, entry.cost_nano, saved_tokens))
        what = Tallied(entry.tenant, knock.key_id, knock.door, entry.provider, entry.model, "exact")
        counters.count(txn, self._clock.wall_ms() // MINUTE_MS, what, entry.cost_nano, saved_tokens)
        self._answers.touch(entry)


@lru_cache(maxsize=4096)
def sums_key(tenant: str) -> bytes:
    """Return the key of a tenant's sums."""
    raw = tenant.encode("utf-8", "surrogatepass")
    if len(raw) > _NAME_BYTES:
        raw = b"\xff" + blake2b(raw, digest_size=32).digest()  # no UTF-8 starts with 0xff
    return SUMS + raw
