"""Answers in the shape of Anthropic's Messages, whole; their streams: `anthropic_stream`. Pure.

The format is Anthropic's API reference, "Messages". Counts that make no sense count as absent; what is not an answer
at all raises `ProviderFailed`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from askonce.domain.answer import FinishReason
from askonce.domain.content import Part
from askonce.domain.errors import AskonceError, ProviderBusy, ProviderFailed
from askonce.domain.usage import Usage, read_tier
from askonce.wire.anthropic_parts import Json, Problems, read_blocks

# The parts of `cache_creation`.
FIVE_MINUTES, ONE_HOUR = "ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"


class Whole(Struct, frozen=True):
    """Hold what the vendor answered; `usage` is None where it did not say."""

    parts: tuple[Part, ...]
    finish: FinishReason
    usage: Usage | None
    model_version: str
    stop_sequence: str = ""


class UsageField(Struct, frozen=True):
    """Hold the vendor's counts; those that it did not send are None."""

    input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens: int | None = None
    output_tokens_details: dict[str, Any] | None = None
    cache_creation: Any = None
    service_tier: Any = None


class ErrorField(Struct, frozen=True):
    """Hold an error of the vendor's."""

    type: str = ""
    message: str = ""


class Body(Struct, frozen=True):
    """Hold a reply, as far as it matters here."""

    type: str = ""
    content: list[Json] = []
    model: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Raw = Raw()
    error: ErrorField | None = None


_body_decoder = msgspec.json.Decoder(Body)
_usage_decoder = msgspec.json.Decoder(UsageField | None)
_models_decoder = msgspec.json.Decoder(dict[str, Any])


def decode_answer(body: bytes, who: str) -> Whole:
    """Read a whole reply. Raises `ProviderFailed`, `ProviderBusy`."""
    try:
        found = _body_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        raise ProviderFailed(f"{who} sent an answer that makes no sense.") from None
    if found.error is not None:
        raise broken_off(found.error, who)
    if found.type != "message":
        raise ProviderFailed(f"{who} sent something that is not a message.")
    return Whole(
        parts=parts_of(found.content, who),
        finish=finish_reason(found.stop_reason),
        usage=usage_of([read_usage(bytes(found.usage))]),
        model_version=found.model,
        stop_sequence=found.stop_sequence or "",
    )


def parts_of(content: list[Json], who: str) -> tuple[Part, ...]:
    """Read a reply's blocks. Raises `ProviderFailed`."""
    problems = Problems()
    blocks = read_blocks(content, "content", problems)
    if problems.found:
        raise ProviderFailed(f"{who} sent an answer that makes no sense.")
    return tuple(part for block in blocks for part in block.parts)


def broken_off(error: ErrorField, who: str) -> AskonceError:
    """Return what an error in the place or the midst of an answer means to us."""
    if error.type in ("overloaded_error", "rate_limit_error"):
        return ProviderBusy(f"{who} is overloaded.", retry_after_s=BUSY_WAIT_S)
    return ProviderFailed(f"{who} broke the answer off with an error of its own.")


BUSY_WAIT_S = 5  # an overload names no time; about a token bucket's refill

# `pause_turn` is no ending: its answer is to be sent back to go on. It is `unknown`, so that it is not kept.
_FINISHES: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}


def finish_reason(word: str | None) -> FinishReason:
    """Translate a stop reason."""
    return _FINISHES.get(word or "", "unknown")


def read_usage(raw: bytes) -> UsageField:
    """Read counts; those that make no sense count as absent."""
    try:
        return _usage_decoder.decode(raw) or UsageField()
    except (msgspec.DecodeError, UnicodeError):
        return UsageField()


def usage_of(said: Sequence[UsageField]) -> Usage | None:
    """Add up what was said about usage: each count is a total, the last word on it counts.

    Anthropic's `input_tokens` leaves out what was read from and written to its cache; ours holds all. Its
    `cache_creation` tells apart for how long it was written ("Prompt caching", "1-hour cache duration").
    """
    counts: dict[str, int] = {}
    tier = ""
    for field in said:
        tier = read_tier(field.service_tier) or tier
        if isinstance(field.cache_creation, dict):
            for name in (FIVE_MINUTES, ONE_HOUR):
                if isinstance(value := field.cache_creation.get(name), int):
                    counts[name] = value
        for name in UsageField.__struct_fields__[:4]:
            value = getattr(field, name)
            if isinstance(value, int):
                counts[name] = value
        thought = (field.output_tokens_details or {}).get("thinking_tokens")
        if isinstance(thought, int):
            counts["thinking"] = thought
    if "input_tokens" not in counts or "output_tokens" not in counts or min(counts.values()) < 0:
        return None
    read, hour = counts.get("cache_read_input_tokens", 0), counts.get(ONE_HOUR)
    # The sum is told in any case; should it ever be left out, the parts are all there is.
    written = counts.get("cache_creation_input_tokens", counts.get(FIVE_MINUTES, 0) + (hour or 0))
    output = counts["output_tokens"]
    usage = Usage(
        prompt_tokens=counts["input_tokens"] + read + written,
        completion_tokens=output,
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=min(counts.get("thinking", 0), output),
        cache_write_1h_tokens=hour,
        service_tier=tier,
    )
    return usage if usage.is_possible else None


def decode_count(body: bytes, who: str) -> int:
    """Read the answer of `count_tokens`. Raises `ProviderFailed`."""
    usage = read_usage(body)
    if usage.input_tokens is None or usage.input_tokens < 0:
        raise ProviderFailed(f"{who} sent a count of tokens that makes no sense.")
    return usage.input_tokens


def decode_models(body: bytes, who: str) -> tuple[str, ...]:
    """Read the names in an answer of `GET /v1/models`. Raises `ProviderFailed`."""
    try:
        rows = _models_decoder.decode(body)["data"]
        return tuple(str(row["id"]) for row in rows)
    except (msgspec.DecodeError, UnicodeError, KeyError, TypeError):
        raise ProviderFailed(f"{who} sent a list of models that makes no sense.") from None
