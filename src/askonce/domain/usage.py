"""Token counts of one call."""

from msgspec import Struct

# A thousand times the largest context window there is: more is not a count.
TOKENS_CEILING = 10**9


class Usage(Struct, frozen=True, array_like=True):
    """Count a call's tokens.

    `prompt_tokens` includes `cached_tokens` (read from the vendor's own prompt cache) and `cache_write_tokens`;
    `completion_tokens` includes `reasoning_tokens`. `estimated` marks counts that the vendor did not report.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        """Return prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def is_possible(self) -> bool:
        """Say whether these counts can be true: none below nothing, no part larger than its whole, no monstrous sum."""
        counts = (
            self.cached_tokens,
            self.cache_write_tokens,
            self.reasoning_tokens,
            self.prompt_tokens - self.cached_tokens - self.cache_write_tokens,
            self.completion_tokens - self.reasoning_tokens,
        )
        return min(counts) >= 0 and self.total_tokens <= TOKENS_CEILING
