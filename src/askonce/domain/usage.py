"""Token counts of one call."""

from msgspec import Struct

# A thousand times the largest context window there is: more is not a count.
TOKENS_CEILING = 10**9
MAX_TIER_CHARS = 32  # the longest word for a service tier that we know has eleven


def read_tier(value: object) -> str:
    """Return a vendor's word for the service tier, in lower case; "" for what is no such word."""
    return value.lower() if isinstance(value, str) and len(value) <= MAX_TIER_CHARS else ""


class Usage(Struct, frozen=True, array_like=True):
    """Count a call's tokens.

    `prompt_tokens` includes `cached_tokens` (read from the vendor's own prompt cache) and `cache_write_tokens`;
    `completion_tokens` includes `reasoning_tokens`. `estimated` marks counts that the vendor did not report.
    `cache_write_tokens` includes `cache_write_1h_tokens`, those to be kept for an hour instead of minutes; None where
    the vendor did not tell them apart. `service_tier` is the vendor's word for how it served the call, "" for none.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cache_write_1h_tokens: int | None = None
    service_tier: str = ""

    @property
    def total_tokens(self) -> int:
        """Return prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def hour_tokens(self) -> int:
        """Return the tokens that are known to have been written to the vendor's cache for an hour."""
        return self.cache_write_1h_tokens or 0

    @property
    def is_possible(self) -> bool:
        """Say whether these counts can be true: none below nothing, no part larger than its whole, no monstrous sum."""
        counts = (
            self.cached_tokens,
            self.cache_write_tokens - self.hour_tokens,
            self.hour_tokens,
            self.reasoning_tokens,
            self.prompt_tokens - self.cached_tokens - self.cache_write_tokens,
            self.completion_tokens - self.reasoning_tokens,
        )
        return min(counts) >= 0 and self.total_tokens <= TOKENS_CEILING
