"""What became of a call: what the books need to know, and what they add up to."""

from typing import Literal

from msgspec import Struct

# A paid call's ending. Only `answered` is a miss in the statistics; the others are counted as failed.
Ending = Literal["answered", "failed", "abandoned"]


class Paid(Struct, frozen=True):
    """Book one call that reached a provider. Tokens and cost are 0 where nothing was reported."""

    tenant: str
    provider: str
    model: str
    ending: Ending
    counted: bool  # is it a miss in the statistics (modes default and refresh)?
    cost_nano: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    saved_prompt_cache_nano: int = 0  # what the vendor's own prompt cache took off the price
    priced: bool = True  # is it known what it cost? The cost is 0 otherwise
    estimated: bool = False  # were the tokens, and with them the cost, not told by the vendor?


class PaidRecord(Struct, frozen=True):
    """Describe a paid call for those who watch: the booking, the request that made it leave, and how it went."""

    paid: Paid
    request_id: str
    took_ms: int
    first_token_ms: int
    stored: bool
    error_code: str = ""
    error_message: str = ""


class Spared(Struct, frozen=True):
    """Book one answer that needed no provider call, with what that call cost when it was paid."""

    tenant: str
    kind: Literal["exact", "coalesced"]
    saved_nano: int
    saved_tokens: int


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
    estimated_nano: int = 0  # how much of `spent_nano` those are
