"""The OpenAI shape of chat completions, as a client speaks it: calls out, answers and stream pieces in. Pure.

The format is OpenAI's API reference, "Chat" (`POST /v1/chat/completions`); where vendors differ, the place names them.
Readers are tolerant: fields that we do not know are skipped, usage that makes no sense counts as absent. What is not
an answer at all raises `ProviderFailed`.
"""

import re
from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from askonce.domain.answer import FinishReason
from askonce.domain.call import Call
from askonce.domain.errors import ProviderFailed
from askonce.domain.usage import Usage

DONE = b"[DONE]"  # the data of the event that ends a stream

# Models that refuse `max_tokens` and want `max_completion_tokens` (OpenAI's reference, "Reasoning models").
_REASONING = re.compile(r"^(?:[\w.-]+/)?(?:o\d|gpt-[5-9])")


class Dialect(Struct, frozen=True):
    """Hold how an endpoint differs from the plain shape.

    `max_completion_tokens`: does it know that name, so that reasoning models must be asked with it?
    `stream_options`: does it accept them? Without, usage in streams is hoped for and otherwise counted by us.
    `seed`: what it calls the seed.
    """

    max_completion_tokens: bool = False
    stream_options: bool = True
    seed: str = "seed"


def encode_call(call: Call, model: str, dialect: Dialect) -> bytes:
    """Write the request's body. Absent parameters stay absent, so that the vendor's defaults hold."""
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": message.role, "content": message.content} for message in call.messages],
    }
    params = call.params
    long_name = dialect.max_completion_tokens and _REASONING.match(model)
    named = {
        "temperature": params.temperature,
        "max_completion_tokens" if long_name else "max_tokens": params.max_tokens,
        "top_p": params.top_p,
        dialect.seed: params.seed,
        "stop": params.stop,
    }
    body |= {name: value for name, value in named.items() if value is not None}
    if call.stream:
        body["stream"] = True
        if dialect.stream_options:
            body["stream_options"] = {"include_usage": True}
    return msgspec.json.encode(body)


class Part(Struct, frozen=True):
    """Hold what one message of the vendor brought: a whole answer, or one piece of a stream.

    `finish`, `usage` and `model_version` are None or "" where it did not say.
    """

    text: str = ""
    finish: FinishReason | None = None
    usage: Usage | None = None
    model_version: str = ""


def decode_answer(body: bytes, who: str) -> Part:
    """Read a whole completion. Raises `ProviderFailed`."""
    found, part = _decode(body, who)
    if not found:
        raise ProviderFailed(f"{who} sent an answer without a choice.")
    return part if part.finish else Part(part.text, "unknown", part.usage, part.model_version)


def decode_piece(data: bytes | str, who: str) -> Part:
    """Read one event's data of a stream (never `DONE`). Raises `ProviderFailed`, also for an error in its midst."""
    return _decode(data, who)[1]


# How vendors spell the same endings, in lower case. OpenAI: the first five. Mistral: model_length. Together: eos.
# Hugging Face TGI: eos_token, stop_sequence. Cohere: complete, max_tokens. Gemini: safety, recitation and the like.
_FINISHES: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "model_length": "length",
    "eos": "stop",
    "eos_token": "stop",
    "stop_sequence": "stop",
    "complete": "stop",
    "end_turn": "stop",
    "max_tokens": "length",
    "safety": "content_filter",
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "blocklist": "content_filter",
}


def finish_reason(word: str | None) -> FinishReason | None:
    """Translate a vendor's finish reason; a word that we do not know is `unknown`, none yet is None."""
    return _FINISHES.get(word.lower(), "unknown") if word else None


class _Chunk(Struct):
    """One part of a list-valued content (Mistral's reasoning models); only text parts are the answer."""

    type: str = ""
    text: str = ""


class _Message(Struct):
    content: str | list[_Chunk] | None = None
    refusal: str | None = None


class _Choice(Struct):
    index: int = 0
    message: _Message | None = None
    delta: _Message | None = None
    finish_reason: str | None = None


_ABSENT = Raw()


class _Groq(Struct):
    usage: Raw = _ABSENT


class _Body(Struct):
    choices: list[_Choice] | None = None
    model: str | None = None
    usage: Raw = _ABSENT  # read on its own, so that nonsense in it does not cost the answer
    x_groq: _Groq | None = None  # where Groq puts a stream's usage
    error: Raw = _ABSENT


class _Details(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None  # OpenRouter
    reasoning_tokens: int | None = None


class _Usage(Struct):
    prompt_tokens: int
    completion_tokens: int = 0
    total_tokens: int | None = None
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek


_body = msgspec.json.Decoder(_Body)
_usage = msgspec.json.Decoder(_Usage | None)


def _decode(data: bytes | str, who: str) -> tuple[bool, Part]:
    """Return whether there is a choice at all (a stream's usage comes without one), and what is in it."""
    try:
        body = _body.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        raise ProviderFailed(f"{who} sent an answer that makes no sense.") from None
    if bytes(body.error) not in (b"", b"null"):
        raise ProviderFailed(f"{who} broke the answer off with an error of its own.")
    choice = next((choice for choice in body.choices or () if choice.index == 0), None)
    groq = body.x_groq.usage if body.x_groq else _ABSENT
    usage = read_usage(bytes(body.usage) or bytes(groq))
    if choice is None:
        return False, Part("", None, usage, body.model or "")
    if choice.finish_reason == "error":  # OpenRouter's mark for an upstream that failed in the middle
        raise ProviderFailed(f"{who} broke the answer off with an error of its own.")
    text, refused = _text(choice.message or choice.delta or _Message())
    finish = finish_reason(choice.finish_reason)
    return True, Part(text, "content_filter" if refused and finish else finish, usage, body.model or "")


def _text(message: _Message) -> tuple[str, bool]:
    """Return the text and whether it is a refusal (OpenAI's `refusal` field stands in for the content)."""
    if message.refusal and not message.content:
        return message.refusal, True
    if isinstance(message.content, list):
        return "".join(chunk.text for chunk in message.content if chunk.type == "text"), False
    return message.content or "", False


def read_usage(raw: bytes) -> Usage | None:
    """Read a usage object; None where it is absent (b"" or null) or its numbers cannot be true.

    Some vendors leave the reasoning tokens out of `completion_tokens` and in `total_tokens` (xAI, Gemini); they are
    charged as output, so the total decides where it is higher.
    """
    try:
        found = _usage.decode(raw)
    except msgspec.DecodeError:
        return None
    if found is None:
        return None
    before, after = found.prompt_tokens_details or _Details(), found.completion_tokens_details or _Details()
    hidden = max((found.total_tokens or 0) - found.prompt_tokens - found.completion_tokens, 0)
    usage = Usage(
        prompt_tokens=found.prompt_tokens,
        completion_tokens=found.completion_tokens + hidden,
        cached_tokens=before.cached_tokens or found.prompt_cache_hit_tokens or 0,
        cache_write_tokens=before.cache_write_tokens or 0,
        reasoning_tokens=after.reasoning_tokens or hidden,
    )
    return usage if _is_possible(usage) else None


# A thousand times the largest context window there is: more is not a count.
TOKENS_CEILING = 10**9


def _is_possible(usage: Usage) -> bool:
    counts: Sequence[int] = (
        usage.completion_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
        usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        usage.completion_tokens - usage.reasoning_tokens,
    )
    return min(counts) >= 0 and usage.prompt_tokens + usage.completion_tokens <= TOKENS_CEILING


class _Model(Struct):
    id: str


class _Models(Struct):
    data: list[_Model]


_models = msgspec.json.Decoder(_Models | list[_Model])


def decode_models(body: bytes, who: str) -> tuple[str, ...]:
    """Read the names in a `GET /v1/models` answer (Together sends the bare list). Raises `ProviderFailed`."""
    try:
        found = _models.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        raise ProviderFailed(f"{who} sent a list of models that makes no sense.") from None
    rows = found if isinstance(found, list) else found.data
    return tuple(row.id for row in rows)
