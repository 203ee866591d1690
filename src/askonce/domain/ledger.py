"""What goes into the ledger: one row per ending that reached a provider, exact counters for all else, the audit's rows.

Whatever happens is written into the outbox of shared state in the same act that counts it; a process of its own brings
it into the database, exactly once. Times are epoch milliseconds, money is nano-dollars.
"""

from typing import Literal, Protocol

from msgspec import Raw, Struct

from askonce.domain.outcome import Ending

# What a counter counts: answers that cost nothing (from the store, joined, a workflow's step found done), and refusals.
CountKind = Literal[
    "exact", "coalesced", "resumed", "rate_limited", "over_budget", "unauthorized", "forbidden", "refused"
]
Severity = Literal["info", "notice", "warning", "critical"]


class Origin(Struct, frozen=True, array_like=True):
    """Tell where a request came from. `door` is a name of the table of doors; ids are "" where there is none."""

    tenant: str
    key_id: str = ""
    user_id: str = ""
    door: str = ""
    request_id: str = ""
    trace_id: str = ""


class CallRow(Struct, frozen=True, array_like=True, tag="call"):
    """Hold one ending that reached a provider. Tokens are 0 where nothing was reported; `estimated` marks guesses."""

    at_ms: int
    origin: Origin
    provider: str
    model: str
    model_version: str
    ending: Ending
    counted: bool  # is it a miss in the statistics (modes default and refresh)?
    stored: bool
    cost_nano: int = 0
    saved_prompt_cache_nano: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    took_ms: int = 0
    first_token_ms: int = 0
    error_code: str = ""


class CountRow(Struct, frozen=True, array_like=True, tag="count"):
    """Hold what one minute adds to one counter. `minute` is epoch milliseconds divided by 60,000."""

    minute: int
    tenant: str
    key_id: str
    door: str
    provider: str
    model: str
    kind: CountKind
    count: int
    saved_nano: int = 0
    saved_tokens: int = 0


class SampleRow(Struct, frozen=True, array_like=True, tag="sample"):
    """Hold one of the answers that cost nothing, in detail: some are kept, so that people can look at them."""

    at_ms: int
    origin: Origin
    provider: str
    model: str
    kind: CountKind
    saved_nano: int
    took_ms: int


class AuditRow(Struct, frozen=True, array_like=True, tag="audit"):
    """Hold one act that changes or reveals something. `details` is a JSON object without secrets.

    `actor` is who did it (`key:…`, `user:…`, `addr:…`, `system`), `action` a dotted word (`key.created`), `subject`
    what it was done to.
    """

    at_ms: int
    actor: str
    action: str
    subject: str = ""
    tenant: str = ""
    address: str = ""
    request_id: str = ""
    severity: Severity = "info"
    details: Raw = Raw(b"{}")


Record = CallRow | CountRow | SampleRow | AuditRow


class Batch(Struct, frozen=True):
    """Hold records that leave an outbox together: those numbered `first` to `last` of the outbox `source`."""

    source: str
    first: int
    last: int
    records: tuple[Record, ...]


class Outbox(Protocol):
    """Keep what the ledger has not got yet. Numbers of one source never repeat and have no gaps."""

    async def append(self, *records: Record) -> None:
        """Add records, all or none. Raises `StoreUnavailable`."""
        ...

    async def head(self, size: int) -> Batch | None:
        """Return the oldest records, at most `size`, None where there are none. Raises `StoreUnavailable`."""
        ...

    async def settle(self, last: int) -> None:
        """Forget the records up to `last`: the ledger has them. Raises `StoreUnavailable`."""
        ...


class LedgerUnavailable(Exception):
    """Tell that the database is away; what was to be written is still in the outbox."""


class Ledger(Protocol):
    """Keep what must never be lost."""

    async def apply(self, batch: Batch) -> None:
        """Write a batch, once, however often it is given. Raises `LedgerUnavailable`."""
        ...
