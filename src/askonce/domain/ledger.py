"""What goes into the ledger: one row per ending that reached a provider, exact counters for all else, the audit's rows.

Whatever happens is written into the outbox of shared state in the same act that counts it; a process of its own brings
it into the database, exactly once. Times are epoch milliseconds, money is nano-dollars.
"""

from typing import Literal, Protocol

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

# A paid call's ending. Only `answered` is a miss in the statistics; the others are counted as failed.
Ending = Literal["answered", "failed", "abandoned"]
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
    """Hold one ending that reached a provider. Tokens are 0 where nothing was reported; `estimated` marks guesses.

    `priced` is false where what it cost is not known (the cost is 0 then). `story` is how it went on the road, as JSON
    (`domain.stories`), "" where that is not known.
    """

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
    priced: bool = True
    cache_write_1h_tokens: int = 0
    story: str = ""


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


class Tallied(Struct, frozen=True, array_like=True):
    """Name what a counter counts. `provider` and `model` are names that we know, "" for what a caller made up."""

    tenant: str
    key_id: str
    door: str
    provider: str
    model: str
    kind: CountKind


class SampleRow(Struct, frozen=True, array_like=True, tag="sample"):
    """Hold one of the answers that cost nothing, in detail: some are kept, so that people can look at them."""

    at_ms: int
    origin: Origin
    provider: str
    model: str
    kind: CountKind
    saved_nano: int
    took_ms: int


class TextRow(Struct, frozen=True, array_like=True, tag="text"):
    """Hold what was asked and answered in a call that was paid, where the owner wants that kept.

    Both are JSON, `cut` where they were longer than what is kept: then they end in the middle.
    """

    at_ms: int
    origin: Origin
    provider: str
    model: str
    question: str
    answer: str
    cut: bool = False


class TimesRow(Struct, frozen=True, array_like=True, tag="times"):
    """Hold how long answers from the store took in one minute: how many by bucket (`domain.durations`), and the sum.

    `minute` is epoch milliseconds divided by 60,000.
    """

    minute: int
    tenant: str
    counts: dict[int, int]
    total_us: int


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


Record = CallRow | CountRow | SampleRow | TextRow | TimesRow | AuditRow
# What people look at, and nothing is added up from: the first to go where room gets scarce.
LOOKED_AT = (SampleRow, TextRow, TimesRow)


def pack_record(record: Record) -> bytes:
    """Write a record as MessagePack. An audit row's details, which are JSON, travel as bytes.

    Raises `UnicodeEncodeError` for half characters, `OverflowError` for numbers of more than 64 bits.
    """
    if isinstance(record, AuditRow):
        record = replace(record, details=Raw(msgspec.msgpack.encode(bytes(record.details))))
    return _pack(record)


def unpack_record(packed: bytes) -> Record:
    """Read what `pack_record` wrote. Raises `msgspec.DecodeError`."""
    record: Record = _unpack(packed)
    if isinstance(record, AuditRow):
        return replace(record, details=Raw(msgspec.msgpack.decode(record.details, type=bytes)))
    return record


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(Record).decode


class Batch(Struct, frozen=True):
    """Hold records that leave an outbox together: those numbered `first` to `last` of the outbox `source`."""

    source: str
    first: int
    last: int
    records: tuple[Record, ...]


class Outbox(Protocol):
    """Keep what the ledger has not got yet. Numbers of one source never repeat and have no gaps.

    Where room gets scarce, texts and samples are dropped first; then counters wait outside, hour by hour instead of
    minute by minute; then the audit's rows are refused; paid calls have all the room that there is.
    """

    async def append(self, *records: Record) -> None:
        """Add records, all or none, samples and texts apart. Raises `StoreUnavailable`."""
        ...

    async def head(self, size: int) -> Batch | None:
        """Return the oldest records, at most `size`, None where there are none. Raises `StoreUnavailable`."""
        ...

    async def settle(self, last: int) -> None:
        """Forget the records up to `last`: the ledger has them. Raises `StoreUnavailable`."""
        ...


LEASE_MS = 5_000  # so long a worker that died is still held to be on duty


class Duty(Protocol):
    """Let one worker of all that share a state do what is to be done once for all of them.

    `shared`: are there others at all?
    """

    shared: bool

    async def take(self, ledger: str) -> str:
        """Take the duty, or keep it, for `LEASE_MS`: return "", or the database of the worker that has it.

        `ledger` names ours. Raises `StoreUnavailable`; if cancelled, it may have been taken.
        """
        ...

    async def leave(self) -> None:
        """Let others have it now. Raises `StoreUnavailable`: then they have it when it lapses."""
        ...


class Stock(Struct, frozen=True):
    """Say how an outbox stands: its oldest and its next number, its bytes, how many samples were dropped.

    `source` is "" until the first record.
    """

    source: str = ""
    first: int = 1
    next: int = 1
    bytes: int = 0
    dropped: int = 0


class Counters(Protocol):
    """Count what costs nothing, by the minute, until it goes into the outbox. All raise `StoreUnavailable`."""

    async def count(self, minute: int, what: Tallied, saved_nano: int = 0, saved_tokens: int = 0) -> None:
        """Count one."""
        ...

    async def roll(self, open_minute: int) -> int:
        """Bring the counters of all minutes but the open one into the outbox, each exactly once; returns how many.

        What is counted late for such a minute makes a further row of it: rows of one counter and minute add up. If
        cancelled, the rest waits for the next time.
        """
        ...


class Anchor(Struct, frozen=True, array_like=True):
    """Hold the end of the audit's chain as it was once seen: the last row's number and seal, and when that was."""

    number: int
    seal: bytes
    at_ms: int = 0


class Anchors(Protocol):
    """Remember the end of the audit's chain outside the database. Both raise `StoreUnavailable`."""

    async def read(self) -> Anchor | None:
        """Return the last that was noted, None where none was."""
        ...

    async def note(self, anchor: Anchor) -> None:
        """Put an anchor in the former one's place."""
        ...


class LedgerUnavailable(Exception):
    """Tell that the database is away; what was to be written is still in the outbox."""


class Ledger(Protocol):
    """Keep what must never be lost."""

    async def apply(self, batch: Batch) -> None:
        """Write a batch, once, however often it is given. Raises `LedgerUnavailable`."""
        ...
