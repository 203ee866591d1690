"""Counting tokens ourselves, for answers whose vendor did not: exact where the tokenizer is public, else estimated.

Either way the count is marked `estimated`, because only the vendor knows what it charges. The tokenizer takes half a
second and 60 MB to load (each vocabulary its own): it is loaded at the first need, in a thread, and only for models
that use it.
"""

import asyncio
import importlib
import re
from collections.abc import Sequence

from askonce.domain.call import Call
from askonce.domain.content import text_of
from askonce.domain.usage import Usage

BYTES_PER_TOKEN = 4  # English prose and code come to 3.5 to 4.5 UTF-8 bytes a token in today's vocabularies
# OpenAI's cookbook, "How to count tokens with tiktoken": so much around each message, and before the answer.
TOKENS_PER_MESSAGE = 4
TOKENS_BEFORE_ANSWER = 3

# Which public vocabulary a model uses; the first that fits. A vendor's prefix (`openai/`) does not matter. gpt-oss has
# o200k_harmony, which differs in control tokens only.
_ENCODINGS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?:^|/)(?:gpt-oss|gpt-4o|gpt-4\.1|gpt-4\.5|gpt-[5-9]|chatgpt-4o|o\d)"), "o200k_base"),
    (re.compile(r"(?:^|/)(?:gpt-4|gpt-3\.5)"), "cl100k_base"),
)


def encoding_of(model: str) -> str | None:
    """Name the vocabulary of a model, or None where there is no public one."""
    return next((name for pattern, name in _ENCODINGS if pattern.search(model)), None)


async def count_usage(call: Call, model: str, text: str) -> Usage:
    """Count a call's tokens; marked `estimated`. Works in a thread where a tokenizer is needed."""
    texts = [*(text_of(message.content) for message in call.messages), text]
    encoding = encoding_of(model)
    counts = estimate(texts) if encoding is None else await asyncio.to_thread(_count, texts, encoding)
    overhead = TOKENS_PER_MESSAGE * len(call.messages) + TOKENS_BEFORE_ANSWER
    return Usage(sum(counts[:-1]) + overhead, counts[-1], estimated=True)


class Meter:
    """Count tokens where the vendor did not; the port `Meter`."""

    async def usage(self, call: Call, model: str, text: str) -> Usage:
        """Count a call's tokens and those of the text that came; marked `estimated`."""
        return await count_usage(call, model, text)


def estimate(texts: Sequence[str]) -> list[int]:
    """Guess each text's tokens from its length in UTF-8."""
    return [-(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN) for text in texts]


def _count(texts: list[str], encoding: str) -> list[int]:
    counter = importlib.import_module("toktok")  # 0.5 s and 60 MB: see the head of this file
    counts: list[int] = counter.batch_count(texts, encoding, threads=1)
    return counts
