"""What is needed to answer one question, decided before anything is paid."""

import time

from msgspec import Struct

from askonce.cache.fingerprint import Fingerprints
from askonce.domain.budget import Account, accounts_of
from askonce.domain.call import Ask, CacheMode, Candidate
from askonce.domain.caller import Caller
from askonce.domain.ledger import Origin
from askonce.domain.ports import Promise, Shape, Window
from askonce.routing.route import Route


class Visit(Struct, frozen=True):
    """Hold who came through which door with a question: what of a request is not the question.

    `door` is its name in the table of doors, `shape` what its replies look like, `window` what it counts in.
    `trace_id` is that of the W3C trace that it belongs to, "" for none. `began_ns`: when it was read, by
    `time.perf_counter_ns`. `traceparent` is the W3C context that it came with, "" for none. `span` is what its calls
    are a part of; "": the request itself.
    """

    caller: Caller
    window: Window | None
    shape: Shape
    door: str
    request_id: str
    trace_id: str = ""
    began_ns: int = 0
    traceparent: str = ""
    span: str = ""

    def origin(self, tenant: str) -> Origin:
        """Return where the request came from, for the ledger."""
        caller = self.caller
        return Origin(tenant, caller.key_id, caller.user_id, self.door, self.request_id, self.trace_id)

    def took_ms(self) -> int:
        """Return the milliseconds since the request was read."""
        return (time.perf_counter_ns() - self.began_ns) // 1_000_000


class Plan(Struct, frozen=True):
    """Hold a question with its keys and who may answer it.

    Entries stored before `fresh_after_ms` (epoch milliseconds) are too old for it. `promise` is what is promised to
    retries of its request.
    """

    ask: Ask
    mode: CacheMode
    route: Route
    keys: Fingerprints
    fresh_after_ms: int
    visit: Visit
    promise: Promise | None = None

    @property
    def is_alone(self) -> bool:
        """Say that nobody may join: the cache is off for it, and there is no name by which a retry would be known."""
        return self.mode == "off" and self.promise is None

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Return those whose answers are looked for, as many as `keys.entries` and in the same order."""
        return self.route.candidates

    @property
    def tenant(self) -> str:
        """Return who shares the answer."""
        return self.ask.call.tenant

    @property
    def origin(self) -> Origin:
        """Return where the request came from, for the ledger."""
        return self.visit.origin(self.tenant)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """Return whose budgets a paid call counts into; none for callers whom nothing bounds."""
        standing = self.visit.caller.standing
        return () if standing is None else accounts_of(standing)
