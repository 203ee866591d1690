"""What people ask the ledger, and what it answers. Times are epoch milliseconds (UTC), money is nano-dollars."""

from typing import Literal, Protocol, get_args

from msgspec import Struct

from askonce.domain.durations import Spread
from askonce.domain.ledger import CountKind

# How calls that reached a provider are counted; `uncounted` were answered in mode `off`.
PaidKind = Literal["answered", "uncounted", "failed", "abandoned"]
Kind = PaidKind | CountKind
KINDS: tuple[Kind, ...] = (*get_args(PaidKind), *get_args(CountKind))
Group = Literal["hour", "day", "month", "tenant", "key", "door", "provider", "model"]

PAGE_MAX = 200  # requests on one page
ROWS_MAX = 10_000  # of a report: more is not read, and the sums stand in `total` anyway


class Narrow(Struct, frozen=True):
    """Look at some only. None: all; "" is a value: those of no key, of no provider."""

    tenant: str | None = None
    key_id: str | None = None
    door: str | None = None
    provider: str | None = None
    model: str | None = None


class UsageQuestion(Struct, frozen=True):
    """Ask for sums from `start_ms` up to but without `end_ms`, both widened to whole hours.

    Of hour, day and month at most one stands in `by`.
    """

    start_ms: int
    end_ms: int
    by: tuple[Group, ...] = ()
    narrow: Narrow = Narrow()


class Figures(Struct, gc=False):
    """Hold sums. Requests by how they ended, money, tokens of every kind, times of paid calls added up.

    `misses`: answered by a provider and counted as such; `uncounted`: answered in mode `off`. Refusals are counted
    apart and are not among `requests`.
    """

    hits: int = 0
    coalesced: int = 0
    resumed: int = 0
    misses: int = 0
    uncounted: int = 0
    failed: int = 0
    abandoned: int = 0
    rate_limited: int = 0
    over_budget: int = 0
    unauthorized: int = 0
    forbidden: int = 0
    refused: int = 0
    saved_exact_nano: int = 0
    saved_coalesced_nano: int = 0
    saved_resumed_nano: int = 0
    cost_nano: int = 0
    saved_prompt_cache_nano: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    saved_tokens: int = 0
    estimated: int = 0  # paid calls whose tokens are guesses
    unpriced: int = 0  # paid calls whose cost is not known
    took_ms: int = 0
    first_tokens: int = 0  # paid calls whose first token was seen coming
    first_token_ms: int = 0

    @property
    def requests(self) -> int:
        """Return how many were let in: paid, spared and failed ones."""
        return self.hits + self.coalesced + self.resumed + self.paid

    @property
    def paid(self) -> int:
        """Return how many reached a provider."""
        return self.misses + self.uncounted + self.failed + self.abandoned

    @property
    def saved_nano(self) -> int:
        """Return what all avoided calls would have cost."""
        return self.saved_exact_nano + self.saved_coalesced_nano + self.saved_resumed_nano


class UsageRow(Struct, frozen=True, gc=False):
    """Hold the sums of one group. What is not grouped by is "", and `at_ms` 0."""

    figures: Figures
    at_ms: int = 0
    tenant: str = ""
    key_id: str = ""
    door: str = ""
    provider: str = ""
    model: str = ""


class UsageReport(Struct, frozen=True):
    """Answer with groups in the order of `by`, and the sums of all, also of those past `ROWS_MAX` (`cut`).

    Without groups there are no rows, only the total.
    """

    start_ms: int
    end_ms: int
    rows: tuple[UsageRow, ...]
    total: Figures
    cut: bool = False


class RequestQuestion(Struct, frozen=True):
    """Ask for requests, newest first; `after` is a page's own cursor. Empty `kinds`: all."""

    narrow: Narrow = Narrow()
    kinds: tuple[Kind, ...] = ()
    request_id: str = ""
    error_code: str = ""
    start_ms: int = 0
    end_ms: int = 1 << 62
    after: str = ""
    size: int = 50


class RequestRow(Struct, frozen=True):
    """Hold one request: of those that reached a provider all, of the others samples, whose tokens are not known.

    `id` is the row's own: one request has as many rows as it made calls.
    """

    at_ms: int
    tenant: str
    key_id: str
    user_id: str
    door: str
    request_id: str
    trace_id: str
    provider: str
    model: str
    kind: Kind
    took_ms: int
    saved_nano: int = 0
    model_version: str = ""
    stored: bool = False
    cost_nano: int = 0
    saved_prompt_cache_nano: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    first_token_ms: int = 0
    error_code: str = ""
    priced: bool = True
    cache_write_1h_tokens: int = 0
    story: str = ""  # `domain.stories`
    id: str = ""


class RequestPage(Struct, frozen=True):
    """Answer with one page; `after` leads to the next, "" at the end."""

    items: tuple[RequestRow, ...]
    after: str = ""


class Told(Struct, frozen=True):
    """Hold what was asked and answered in one paid call, as JSON; `cut` where that ends in the middle."""

    at_ms: int
    provider: str
    model: str
    question: str
    answer: str
    cut: bool
    tenant: str = ""


Range = Literal["15m", "1h", "6h", "24h", "7d", "30d", "90d", "1y"]


class Moment(Struct, frozen=True):
    """Hold what happened in one step of a range, which begins at `at_ms`."""

    at_ms: int
    figures: Figures


class ModelSums(Struct, frozen=True):
    """Hold what one model did in a range."""

    provider: str
    model: str
    figures: Figures


class Latency(Struct, frozen=True):
    """Hold how long answers from the store took, paid calls, and these until their first token."""

    hit: Spread
    miss: Spread
    first_token: Spread


class Overview(Struct, frozen=True):
    """Hold a range step by step, what is left out being zero, and the same time before it; None where nothing was then.

    `first_ms`: when anything first happened in the range, 0 where nothing did.
    """

    start_ms: int
    end_ms: int
    step_ms: int
    moments: tuple[Moment, ...]
    total: Figures
    before: Figures | None
    latency: Latency
    latency_before: Latency | None
    models: tuple[ModelSums, ...]
    first_ms: int


class Reports(Protocol):
    """Read the ledger. Who may see what is the caller's to say, by `narrow.tenant`.

    All methods raise `LedgerUnavailable`, also where the answer would take too long, and `Invalid`.
    """

    async def usage(self, question: UsageQuestion) -> UsageReport:
        """Return sums, exact to the nano-dollar and as new as the last batch. Reads sums only, never rows."""
        ...

    async def overview(self, span: Range, tenant: str | None, now_ms: int) -> Overview:
        """Return the latest time of that length; `tenant` None: of all. Reads sums only, never rows."""
        ...

    async def requests(self, question: RequestQuestion) -> RequestPage:
        """Return a page of requests."""
        ...

    async def texts(self, request_id: str, tenant: str | None) -> tuple[Told, ...]:
        """Return what a request's paid calls asked and were answered, oldest first; none where that is not kept.

        `tenant` None: of any.
        """
        ...
