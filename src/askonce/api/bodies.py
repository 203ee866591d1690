"""The bodies of the doors that are ours alone: what they look like, in one place, for encoding and for the docs.

Field names are camelCase on the wire. Times are epoch milliseconds, money nano-dollars where the name ends in `Nano`
and dollars with a sign elsewhere.
"""

from typing import Annotated, Literal
from urllib.parse import parse_qsl

from msgspec import UNSET, Meta, Struct, UnsetType

from askonce.api.rankings import Order
from askonce.domain.answer import CacheState
from askonce.domain.errors import Malformed
from askonce.routing.explain import RoutingField
from askonce.wire.fences import File
from askonce.wire.native_answer import UsageField

QUERY_FIELDS_CEILING = 20


PROVIDER = Meta(description="only entries that this provider answered")
MODEL = Meta(description="only entries that this model answered")
OLDER_THAN = Meta(description="only entries older than so many seconds")
ORDER = Meta(
    description="key: page by page; newest, oldest, size, cost, hits, saved: the first of that order, no pages"
)


class Body(Struct, frozen=True, rename="camel"):
    """Write field names in camelCase."""


class GeneratedMetadata(Body, frozen=True):
    """Say where an answer came from and what it cost."""

    cached: bool
    cache: CacheState
    provider: str
    model: str
    model_version: str
    routing_mode: str
    finish_reason: str
    usage: UsageField
    cost: str
    cost_nano: int
    saved: str
    saved_nano: int
    age_seconds: int
    latency_ms: int
    request_id: str
    warnings: tuple[str, ...]
    routing: RoutingField
    priced: Literal[False] | UnsetType = UNSET


class Generated(Body, frozen=True):
    """Hold a generated answer. Encoded by `wire.native_answer`, which writes these very fields."""

    code: str
    files: tuple[File, ...]
    metadata: GeneratedMetadata


class Savings(Body, frozen=True):
    """Hold what was saved by kind, in nano-dollars."""

    exact: int
    coalesced: int
    resumed: int = 0
    provider_prompt_cache: int = 0
    semantic: int = 0


class CacheStats(Body, frozen=True):
    """Hold the statistics of one tenant over all processes and restarts.

    `spent` leaves out what `unpriced` calls cost: no price is known for them. `estimated` calls are those whose tokens
    the vendor did not tell, mostly because they were hung up; `estimated_nano` is how much of `spent_nano` they are.
    """

    hits: int
    misses: int
    hit_rate: float
    estimated_savings: str
    savings_nano: int
    coalesced: int
    entries: int
    bytes: int
    saved_tokens: int
    savings: Savings
    spent: str
    spent_nano: int
    failed: int
    abandoned: int
    uncached: int
    unpriced: int
    estimated: int
    estimated_nano: int
    since: int
    advice: str


class EntryBrief(Body, frozen=True):
    """Describe a stored answer. `hits`: how often it was found since it was stored; `saved`: what that spared.

    Both are told a moment later, and lack the last moment of a process that was killed; statistics are exact.
    """

    key: str
    provider: str
    model: str
    stored_at: int
    expires_at: int
    age_seconds: int
    cost: str
    cost_nano: int
    prompt_tokens: int
    completion_tokens: int
    bytes: int
    hits: int
    saved: str
    saved_nano: int


class EntryWhole(EntryBrief, frozen=True):
    """Hold a stored answer."""

    text: str
    finish_reason: str
    model_version: str


class EntryList(Body, frozen=True):
    """Hold a page of entries; `next` is the cursor of the following page, or null.

    `complete` false: for this order not all of the tenant's entries were looked at, but 100,000 of them.
    """

    entries: tuple[EntryBrief, ...]
    next: str | None
    complete: bool = True


class EntriesQuery(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Choose and page entries. `after`: the cursor of the page before; `older_than`: seconds.

    `order` `key` has pages; any other one has its first entries.
    """

    provider: Annotated[str, PROVIDER] = ""
    model: Annotated[str, MODEL] = ""
    older_than: Annotated[Annotated[int, Meta(ge=0, le=10**9)] | None, OLDER_THAN] = None
    after: Annotated[str, Meta(pattern="^([0-9a-f]{2}){0,64}$", description="the page before's next")] = ""
    limit: Annotated[int, Meta(ge=1, le=500, description="entries on a page")] = 50
    order: Annotated[Literal["key", Order], ORDER] = "key"


class PurgeQuery(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Choose entries to forget; without any field: all. `older_than`: seconds."""

    provider: Annotated[str, PROVIDER] = ""
    model: Annotated[str, MODEL] = ""
    older_than: Annotated[Annotated[int, Meta(ge=0, le=10**9)] | None, OLDER_THAN] = None


class Deleted(Body, frozen=True):
    """Say how many entries were forgotten."""

    deleted: int


class ModelPrices(Body, frozen=True):
    """Hold dollars per million tokens, as decimal texts; null where not known."""

    input: str | None
    output: str | None
    cache_read: str | None = None
    cache_write: str | None = None
    cache_write_1h: str | None = None


class ModelRow(Body, frozen=True):
    """Describe a model that can be asked now."""

    id: str
    provider: str
    name: str
    default: bool
    context_window: int | None
    prices: ModelPrices | None
    capabilities: tuple[str, ...]
    aliases: tuple[str, ...]
    note: str = ""


class ModelList(Body, frozen=True):
    """List models."""

    models: tuple[ModelRow, ...]


class ProviderRow(Body, frozen=True):
    """Describe a provider; `reason` says why it is not configured or not healthy."""

    name: str
    title: str
    configured: bool
    healthy: bool | None
    reason: str
    breaker: Literal["closed", "open", "half-open"] = "closed"
    default_model: str = ""
    base_url: str = ""


class ProviderList(Body, frozen=True):
    """List providers."""

    providers: tuple[ProviderRow, ...]


class Health(Body, frozen=True):
    """Say that the process answers."""

    status: Literal["ok"] = "ok"
    version: str = ""


class Part(Body, frozen=True):
    """Describe one part: `ok`, `degraded` (serves, with less), `down` (does not serve), `off`."""

    status: Literal["ok", "degraded", "down", "off"]
    detail: str = ""


class Readiness(Body, frozen=True):
    """Hold every part that exists; `ready` is false where one that is needed is down."""

    ready: bool
    parts: dict[str, Part]
    reasons: tuple[str, ...]


def query_fields(query: bytes) -> dict[str, str]:
    """Return a query string's fields; the last of duplicates counts. Raises `Malformed`."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=QUERY_FIELDS_CEILING)
    except ValueError:
        raise Malformed("The query string cannot be read.") from None
    return dict(pairs)
