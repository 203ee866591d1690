"""Token counts of one call."""

from msgspec import Struct


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
