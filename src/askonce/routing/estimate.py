"""What a call may need, roughly, before it is made: tokens and money."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import replace

from askonce.domain.call import Aside, Call, Tool
from askonce.domain.content import text_of
from askonce.domain.money import Price
from askonce.domain.usage import Usage

# Few texts have more tokens than a third of their bytes (English and code have a quarter, dense symbols a half).
BYTES_PER_TOKEN = 3
TOKENS_PER_MESSAGE = 8  # the role and its marks; 4 at OpenAI, more in some templates
# What an answer is taken to have where the caller sets no bound: longer ones are rare for code.
ASSUMED_ANSWER_TOKENS = 4096
# Anthropic's mark for what is to be written to the prompt cache, and its word for the longer of two times.
CACHE_MARK, HOUR = "cache_control", "1h"
# No vocabulary puts more than this many bytes into a token on average, over any text but runs of the same sign.
MAX_BYTES_PER_TOKEN = 8


_marks = msgspec.json.Decoder(dict[str, Any] | None)


def estimate_nano(call: Call, price: Price) -> int:
    """Estimate a call's cost in nano-dollars, on the high side.

    ⌈bytes of the messages and tools ÷ 3⌉ + 8 per message at the input's price, plus `maxTokens` (4,096 without) at the
    output's; nothing is taken to be in the vendor's prompt cache. Where the caller has it written there, all of the
    prompt is taken to be written, for as long as the longest of the marks says.
    """
    usage = likely_usage(call)
    return max(price.cost_nano(usage), price.cost_nano(Usage(usage.prompt_tokens, usage.completion_tokens)))


def likely_usage(call: Call) -> Usage:
    """Estimate a call's tokens, on the high side; vectors have no tokens of their own."""
    limit, prompt = call.params.max_tokens, likely_tokens(call)
    limit = ASSUMED_ANSWER_TOKENS if limit is None else limit
    marks = [mark for aside in call.asides if CACHE_MARK in aside.at and (mark := _mark(aside))]
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=0 if call.kind == "embedding" else limit,
        cache_write_tokens=prompt if marks else 0,
        estimated=True,
        cache_write_1h_tokens=prompt if any(mark.get("ttl") == HOUR for mark in marks) else 0,
    )


def _mark(aside: Aside) -> dict[str, Any]:
    try:
        return _marks.decode(aside.json) or {}
    except msgspec.DecodeError:
        return {}


def likely_tokens(call: Call) -> int:
    """Estimate a prompt's tokens, on the high side."""
    return -(-_size(_texts(call)) // BYTES_PER_TOKEN) + TOKENS_PER_MESSAGE * len(call.messages)


def exceeds(call: Call, window: int) -> int:
    """Return the tokens that a prompt has at the very least, if those are more than the window; else 0.

    Of embeddings each text is read by itself, so that the longest counts.
    White space is folded before it is counted, because vocabularies have single tokens for long runs of it.
    """
    if call.kind == "embedding":
        longest = max(call.messages, key=lambda message: len(text_of(message.content)))
        call = replace(call, kind="chat", messages=(longest,))
    if _size(_texts(call)) // MAX_BYTES_PER_TOKEN <= window:
        return 0
    least = _size(" ".join(text.split()) for text in _texts(call)) // MAX_BYTES_PER_TOKEN
    return least if least > window else 0


def _texts(call: Call) -> Iterable[str]:
    for message in call.messages:
        yield text_of(message.content)
    for tool in call.tools:
        yield bytes(tool.schema if isinstance(tool, Tool) else tool.json).decode("utf-8", "replace")


def _size(texts: Iterable[str]) -> int:
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts)
