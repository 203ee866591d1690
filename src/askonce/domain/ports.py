"""The sockets of the house: what the road needs, named for the atomic act. Adapters are chosen in `wiring` only.

Every method may wait, so all are `async`; adapters over LMDB never suspend, so that a hit can be answered without
giving up the processor. All raise `StoreUnavailable` where the store is away, unless they say otherwise.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from askonce.domain.answer import Answer, Entry, Piece
from askonce.domain.budget import Settled
from askonce.domain.call import Call
from askonce.domain.errors import AskonceError, StoreUnavailable
from askonce.domain.ledger import CallRow
from askonce.domain.money import Price
from askonce.domain.outcome import Spared, Totals
from askonce.domain.usage import Usage
from askonce.domain.watching import Course, Served, Worked


class Window(Struct, frozen=True):
    """Name a sliding window: no more than `limit` (at least 1) admissions in any `span_ns`."""

    name: str
    limit: int
    span_ns: int


class Verdict(Struct, frozen=True):
    """Say what the window answered.

    `reset_ns`: in so many nanoseconds the oldest counted request leaves the window (0 when none is counted).
    A refused request may come again in `reset_ns`.
    """

    admitted: bool
    remaining: int
    reset_ns: int


class Knock(Struct, frozen=True):
    """Hold what one request brings to shared state in one act: its window, then its look-up.

    `window` None: not limited. `keys`: fingerprints in order of preference; none: no look-up. `fresh_after_ms`:
    entries stored before that epoch millisecond do not count; expired ones never do. A hit is counted for the key
    (its public id) and the door.
    """

    tenant: str
    window: Window | None = None
    keys: tuple[bytes, ...] = ()
    fresh_after_ms: int = 0
    key_id: str = ""
    door: str = ""


class Entered(Struct, frozen=True):
    """Answer a knock. `verdict` is None without a window; `entry` is None for a miss or a refusal."""

    verdict: Verdict | None
    entry: Entry | None


class Threshold(Protocol):
    """Admit, look up and count a request in one atomic act."""

    async def enter(self, knock: Knock) -> Entered:
        """Admit by the window; if admitted, look up; if found, book the hit and touch the entry.

        The hit is booked as `exact` with the entry's cost and tokens, and counted for the ledger, in the same act as
        the admission.
        """
        ...


class Filters(Struct, frozen=True):
    """Choose entries. Empty strings and None match everything; `older_than_s` compares with the entry's age."""

    provider: str = ""
    model: str = ""
    older_than_s: int | None = None


class Page(Struct, frozen=True):
    """Hold one page of entries in key order; `after` is the cursor of the next page or b"" at the end.

    `hits` says for each how often it was found (`Answers.hits`).
    """

    entries: tuple[Entry, ...]
    after: bytes
    hits: tuple[int, ...]


class Answers(Protocol):
    """Keep answers for one tenant at a time; nobody sees another tenant's."""

    async def find(self, tenant: str, keys: Sequence[bytes], fresh_after_ms: int) -> Entry | None:
        """Return the first of the keys that is stored and fresh. Books nothing."""
        ...

    async def keep(self, entry: Entry) -> bool:
        """Store (replacing) an entry, evicting others where room is needed; False if there is no room for it."""
        ...

    async def page(self, tenant: str, filters: Filters, after: bytes, size: int) -> Page:
        """List fresh entries behind the cursor `after`, at most `size`."""
        ...

    async def hits(self, tenant: str, key: bytes) -> int:
        """Return how often an entry was found since it was stored, as far as that is written down.

        Uses are written a moment later, and those of the last moment are lost with their process: this is for people.
        What is exact is booked by the threshold.
        """
        ...

    async def drop(self, tenant: str, key: bytes) -> bool:
        """Remove one entry; False if it was not there."""
        ...

    async def purge(self, tenant: str, filters: Filters) -> int:
        """Remove all matching entries and return how many."""
        ...


class Promise(Struct, frozen=True):
    """Name one request of one caller, whose retries are to be told the same: `key` who asked and by what name,
    `question` what was asked. Digests of 32 bytes."""

    key: bytes
    question: bytes


class Kept(Struct, frozen=True):
    """Hold a promise that has come true, until `expires_ms` (epoch milliseconds)."""

    promise: Promise
    entry: Entry
    expires_ms: int


class Promises(Protocol):
    """Keep what callers were told under their own names for it, apart from the stored answers: a newer answer to the
    same question does not change it."""

    async def question(self, key: bytes) -> bytes | None:
        """Return which question a promise's key stands for; None where nothing is kept. Costs less than `find`."""
        ...

    async def find(self, key: bytes) -> Kept | None:
        """Return what is kept under a promise's key and has not expired."""
        ...

    async def keep(self, entry: Entry, until_ms: Mapping[Promise, int]) -> bool:
        """Keep one answer for all these promises, each until its epoch millisecond, in one act.

        What would expire first gives way where room is needed; False if there is no room for it. What is kept under
        a key already, and has not expired, stays: the first answer is the promise.
        """
        ...

    async def purge(self, tenant: str, filters: Filters) -> None:
        """Forget all promises whose answers match."""
        ...


class Windows(Protocol):
    """Admit requests that look nothing up."""

    async def take(self, window: Window) -> Verdict:
        """Admit one request if the window has room, and count it only then."""
        ...

    async def peek(self, window: Window) -> Verdict:
        """Say what `take` would, without counting anything: `remaining` is the room that there is now."""
        ...


class Books(Protocol):
    """Count what was paid and what was spared. What was booked survives the death of any process."""

    async def book(self, ending: CallRow | Spared, settled: Settled | None = None) -> None:
        """Add one ending to its tenant's sums, tell the ledger of it and settle what was reserved for it: one act.

        Store away: nothing of it happened, but that the settling is made up for later.
        """
        ...

    async def totals(self, tenant: str) -> Totals:
        """Return the sums of one tenant, right over all processes and restarts."""
        ...


class Lease(Struct, frozen=True):
    """Tell who leads a flight. `led`: we do; otherwise another process does. `generation` names this very flight."""

    led: bool
    generation: int


class Landing(Struct, frozen=True):
    """End a flight: with the entry (stored or not), or with an error's code and message.

    `cut`: not every piece is in the log; followers take what they have not had from the entry.
    """

    entry: Entry | None
    error_code: str = ""
    error_message: str = ""
    retry_after_s: int | None = None
    cut: bool = False


class LeaderLost(Exception):
    """Tell a follower that the lease ran out without a landing."""


class Flights(Protocol):
    """Let one process ask and all others follow.

    A flight is a lease on a key and a log of its pieces. The leader boards, appends, and lands; followers follow.
    A lease that is not renewed for its span runs out, and the next to board leads a new generation.
    """

    async def board(self, flight: bytes) -> Lease:
        """Take the lease if it is free, expired or landed; otherwise say who leads."""
        ...

    async def append(self, flight: bytes, generation: int, pieces: Sequence[Piece]) -> None:
        """Log pieces for the followers. Ignored when the generation is not the leader's any more."""
        ...

    async def renew(self, flight: bytes, generation: int) -> bool:
        """Prolong the lease; False if it was lost."""
        ...

    async def land(self, flight: bytes, generation: int, landing: Landing) -> None:
        """End the flight; followers still get everything for a few seconds."""
        ...

    async def followed(self, flight: bytes, generation: int) -> bool:
        """Say whether any other process follows right now."""
        ...

    def follow(self, flight: bytes, generation: int) -> AsyncIterator[Piece | Landing]:
        """Yield every piece from the first on, then the landing. Raises `LeaderLost`."""
        ...


class Provider(Protocol):
    """Ask one vendor's endpoint."""

    name: str
    # Does hanging up not stop the vendor's charging, so that an abandoned call is read to its end?
    # For streams, and for plain calls.
    drains: bool
    drains_plain: bool

    def ask(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Piece | Usage | Answer]:
        """Make one call: deltas (only if `call.stream`), then the whole answer, last.

        In between come the counts that the vendor has told so far, where it tells them before the end (`estimated`
        while they are not the last word): what a call has cost that breaks off.
        `deadline_s` is seconds from now for everything. Closing the iterator hangs up. Raises the provider errors
        of `domain.errors`; a stream that ends early raises `ProviderFailed` after its deltas.
        """
        ...

    async def probe(self) -> str:
        """Return "" if the endpoint answers an unpaid request, else the reason why it does not."""
        ...

    async def models(self) -> tuple[str, ...]:
        """Return the names of the models that the endpoint lists (an unpaid request); empty if it cannot say."""
        ...


class Shape(Protocol):
    """Render a door's replies; `name` tells the shapes apart in stored entries."""

    name: str

    def rendition(self, answer: Answer) -> bytes:
        """Return the part of a reply that every hit on this answer has in common."""
        ...


class Prices(Protocol):
    """Know what models cost."""

    def price(self, provider: str, model: str, version: str) -> Price | None:
        """Return the price of the model as asked for, or of the vendor's version of it; None if neither is known."""
        ...


class PriceSource(Prices, Protocol):
    """Know what models cost, once that is there."""

    async def loaded(self) -> None:
        """Wait, within a bound, until prices are known at all: a first start compiles them."""
        ...


class Meter(Protocol):
    """Count tokens where the vendor did not."""

    async def usage(self, call: Call, model: str, text: str) -> Usage:
        """Return the tokens of a call and of the text that came, marked as estimated."""
        ...


class Observer(Protocol):
    """Watch from beside the road. Must not raise; what it does changes nothing."""

    def served(self, served: Served) -> None:
        """Take note of a request that has ended at its door, whatever it was. Called for every hit."""
        ...

    def paid(self, row: CallRow, course: Course) -> None:
        """Take note of a call that reached a provider, and how it went."""
        ...

    def worked(self, worked: Worked) -> None:
        """Take note of work in the background that has ended, or of a part of it."""
        ...

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Take note of an ending that could not be booked, in full, so that it can be added by hand."""
        ...

    def failed(self, error: AskonceError) -> None:
        """Take note of a request that ended with an error that is not its caller's."""
        ...

    def defect(self, error: BaseException) -> None:
        """Take note of an error that nobody expected."""
        ...
