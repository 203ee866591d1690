"""Answers in OpenAI's shape of chat completions, whole and as chunks: what they look like, and how answers become them.

The format is OpenAI's API reference, "The chat completion object" and "The chat completion chunk object". Beside it
stand the fields in which others send reasoning (`wire.openai_thoughts`). What only another shape can say of an answer
(a citation of Anthropic's, say) has no place here and is left out; its text never is.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from askonce.domain.answer import Answer, FinishReason
from askonce.domain.content import Foreign, Thinking, ToolCall
from askonce.domain.usage import Usage
from askonce.wire.openai_messages import CUSTOM_CALL, FIELD
from askonce.wire.openai_parts import SHAPE, as_json
from askonce.wire.openai_thoughts import DETAILS, is_sealed, spoken, write_details

Finish = Literal["stop", "length", "tool_calls", "content_filter"]


class PromptDetails(Struct, frozen=True):
    """Hold which of the prompt's tokens came from, or went into, the vendor's own prompt cache."""

    cached_tokens: int
    cache_write_tokens: int | UnsetType = UNSET


class CompletionDetails(Struct, frozen=True):
    """Hold how many of the answer's tokens were reasoning."""

    reasoning_tokens: int


class UsageReply(Struct, frozen=True):
    """Hold token counts."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class FunctionReply(Struct, frozen=True):
    """Hold the function that is to be called, with its arguments as JSON text."""

    arguments: str
    name: str | UnsetType = UNSET


class CallReply(Struct, frozen=True):
    """Hold a tool call, or a piece of one (with its `index`, and after the first piece without `id` and `type`)."""

    index: int | UnsetType = UNSET
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionReply | UnsetType = UNSET


class ChoiceMessage(Struct, frozen=True):
    """Hold the model's message. `reasoning_details` only where reasoning is signed or redacted."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str | UnsetType = UNSET
    reasoning_details: Any | UnsetType = UNSET
    tool_calls: tuple[CallReply | Raw, ...] | UnsetType = UNSET
    annotations: Any | UnsetType = UNSET


class ChoiceReply(Struct, frozen=True):
    """Hold the one choice."""

    index: int
    message: ChoiceMessage
    logprobs: None
    finish_reason: Finish


class ChatCompletion(Struct, frozen=True):
    """Hold a whole reply. `model` is the vendor's word for the model that answered; `created` epoch seconds."""

    id: str
    created: int
    object: Literal["chat.completion"]
    model: str
    choices: tuple[ChoiceReply, ...]
    usage: UsageReply


class Common(Struct, frozen=True):
    """Hold what all replies with one answer share."""

    object: Literal["chat.completion"]
    model: str
    choices: tuple[ChoiceReply, ...]
    usage: UsageReply


class DeltaReply(Struct, frozen=True):
    """Hold what a chunk adds to the message."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    refusal: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning_details: Any | UnsetType = UNSET
    tool_calls: tuple[Any, ...] | UnsetType = UNSET
    annotations: Any | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True):
    """Hold the one choice of a chunk."""

    index: int
    delta: DeltaReply
    logprobs: None
    finish_reason: Finish | None


def finish_word(finish: FinishReason, *, refused: bool) -> Finish:
    """Return OpenAI's word: a refusal ends with `stop` there, and an ending that nobody knows is one."""
    return "stop" if refused or finish == "unknown" else finish


def usage_reply(usage: Usage) -> UsageReply:
    """Write token counts."""
    written = usage.cache_write_tokens
    return UsageReply(
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        prompt_tokens_details=PromptDetails(usage.cached_tokens, written or UNSET),
        completion_tokens_details=CompletionDetails(usage.reasoning_tokens),
    )


def common(answer: Answer) -> Common:
    """Return what all replies with this answer share."""
    message = message_of(answer)
    finish = finish_word(answer.finish, refused=message.refusal is not None)
    choice = ChoiceReply(0, message, None, finish)
    return Common("chat.completion", answer.model_version or answer.model, (choice,), usage_reply(answer.usage))


def message_of(answer: Answer) -> ChoiceMessage:
    """Write the model's message."""
    fields = own_fields(answer)
    calls = tuple(_call(part) for part in answer.parts if _is_call(part))
    thoughts = [part for part in answer.parts if isinstance(part, Thinking)]
    refusal = fields.get("refusal")
    content = None if refusal is not None or (calls and not answer.text) else answer.text
    return ChoiceMessage(
        role="assistant",
        content=content,
        refusal=refusal,
        reasoning_content=spoken(thoughts) or UNSET,
        reasoning_details=_details(thoughts, fields),
        tool_calls=calls or UNSET,
        annotations=fields.get("annotations", UNSET),
    )


def own_fields(answer: Answer) -> dict[str, Any]:
    """Return what this shape alone says of an answer: `refusal`, `annotations`, `reasoning_details`."""
    return {
        part.kind.removeprefix(FIELD): as_json(part.json)
        for part in answer.parts
        if isinstance(part, Foreign) and part.shape == SHAPE and part.kind.startswith(FIELD)
    }


def late_fields(answer: Answer) -> DeltaReply | None:
    """Return what of an answer no piece carries, as the last thing that a stream adds; None where there is nothing."""
    fields = own_fields(answer)
    thoughts = [part for part in answer.parts if isinstance(part, Thinking)]
    numbered = sum(isinstance(part, ToolCall) for part in answer.parts)  # custom calls are numbered behind these
    found = [part.json for part in answer.parts if isinstance(part, Foreign) and _is_call(part)]
    customs = tuple({"index": at} | msgspec.json.decode(call) for at, call in enumerate(found, numbered))
    late = DeltaReply(
        refusal=fields.get("refusal", UNSET),
        reasoning_details=_details(thoughts, fields),
        tool_calls=customs or UNSET,
        annotations=fields.get("annotations", UNSET),
    )
    return None if late == DeltaReply() else late


def _details(thoughts: Sequence[Thinking], fields: dict[str, Any]) -> Any:
    if is_sealed(thoughts):
        return write_details(thoughts)
    return fields.get(DETAILS.removeprefix(FIELD), UNSET)


def _is_call(part: object) -> bool:
    if isinstance(part, Foreign):
        return part.shape == SHAPE and part.kind == CUSTOM_CALL
    return isinstance(part, ToolCall)


def _call(part: Any) -> CallReply | Raw:
    if isinstance(part, ToolCall):
        return CallReply(id=part.id, type="function", function=FunctionReply(part.arguments, part.name))
    raw: Raw = part.json
    return raw
