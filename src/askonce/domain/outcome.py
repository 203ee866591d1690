"""What became of a call: what the books need to know of those that cost nothing, and what all add up to."""

from typing import Literal

from msgspec import Struct


class Spared(Struct, frozen=True):
    """Book one answer that needed no provider call, with what that call cost when it was paid.

    The rest says of whose request, at which door, and whose answer it was.
    """

    tenant: str
    kind: Literal["exact", "coalesced", "resumed"]
    saved_nano: int
    saved_tokens: int
    at_ms: int = 0
    key_id: str = ""
    door: str = ""
    provider: str = ""
    model: str = ""


class Totals(Struct, frozen=True):
    """Hold a tenant's sums since `since_ms` (epoch milliseconds). Money in nano-dollars."""

    hits: int = 0
    misses: int = 0
    coalesced: int = 0
    failed: int = 0
    abandoned: int = 0
    uncounted: int = 0  # answered calls in mode `off`
    spent_nano: int = 0
    saved_exact_nano: int = 0
    saved_coalesced_nano: int = 0
    saved_tokens: int = 0
    saved_prompt_cache_nano: int = 0
    entries: int = 0
    bytes: int = 0
    since_ms: int = 0
    unpriced: int = 0  # calls that cost something, nobody knows how much: not in `spent_nano`
    estimated: int = 0  # calls whose tokens the vendor did not tell
    resumed: int = 0  # nodes of workflows that were found done
    saved_resumed_nano: int = 0
    estimated_nano: int = 0  # how much of `spent_nano` those are
