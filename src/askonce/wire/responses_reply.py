"""Answers as OpenAI's response objects: what all replies with one answer share, and the ends of responses.

The format is OpenAI's API reference, "The response object". An answer that was cut off, or filtered, is incomplete
and says why; a refusal is whole. What only another shape can say of an answer has no place here and is left out.
"""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from askonce.domain.answer import Answer, Delta, FinishReason, ToolDelta
from askonce.domain.progress import Progress
from askonce.domain.usage import Usage
from askonce.wire.openai_messages import custom_call
from askonce.wire.openai_parts import Json
from askonce.wire.openai_reply import own_fields
from askonce.wire.responses_output import COMPLETED, INCOMPLETE, Events, Output

_WHOLE = b'"object":"response","status":"%b","error":null,"incomplete_details":%b,"model":%b,"output":%b,"usage":%b}'
_REASONS: dict[FinishReason, str] = {"length": "max_output_tokens", "content_filter": "content_filter"}


class ResponseReply(Struct, frozen=True):
    """Describe a response for the docs, without the fields that it repeats of its request."""

    id: str
    object: Literal["response"]
    created_at: int
    status: Literal["completed", "incomplete", "failed", "in_progress"]
    error: Json | None
    incomplete_details: Json | None
    model: str
    output: tuple[Json, ...]
    usage: Json | None
    parallel_tool_calls: bool
    tool_choice: str | Json
    tools: tuple[Json, ...]
    store: Literal[False]
    instructions: str | None = None
    metadata: Json | None = None
    previous_response_id: None = None
    temperature: float | None = None
    top_p: float | None = None


def complete(answer: Answer, output: Output, progress: Progress) -> bytes:
    """Give the output what of the answer it has not got yet, and close it; return the events of that."""
    fields = own_fields(answer)
    refusal = fields.get("refusal")
    rest = progress.rest(answer)
    if refusal is not None and not output.spoke:  # told as what it is only, where it has not gone out as text
        rest = [piece for piece in rest if not isinstance(piece, Delta)]
    rest.sort(key=lambda piece: not (isinstance(piece, ToolDelta) and output.has_begun(piece.index)))
    output.in_order = True  # from here on; what was begun before is told to its end first
    events = [output.add(piece) for piece in rest]
    events += [output.add_custom(call) for part in answer.parts if (call := custom_call(part)) is not None]
    if refusal is not None:
        events.append(output.refuse(refusal))
    if "reasoning_details" in fields:
        events.append(output.seal(fields["reasoning_details"]))
    events.append(output.cite([_flat(one) for one in fields.get("annotations") or ()]))
    events.append(output.end(incomplete=_reason(answer, refusal) is not None))
    return b"".join(events)


def shared(answer: Answer, output: Output) -> bytes:
    """Return what of a reply is the answer's, encoded without the opening brace; `output` is complete."""
    reason = _reason(answer, own_fields(answer).get("refusal"))
    return _WHOLE % (
        COMPLETED if reason is None else INCOMPLETE,
        msgspec.json.encode(None if reason is None else {"reason": reason}),
        msgspec.json.encode(answer.model_version or answer.model),
        output.items(),
        msgspec.json.encode(_usage(answer.usage)),
    )


def is_complete(answer: Answer) -> bool:
    """Say whether the answer came to its own end."""
    return _reason(answer, own_fields(answer).get("refusal")) is None


def whole(answer: Answer, request_id: bytes) -> bytes:
    """Return what of a plain reply is the answer's, encoded without the opening brace."""
    output = Output(Events(), request_id)
    complete(answer, output, Progress())
    return shared(answer, output)


def _reason(answer: Answer, refusal: Any) -> str | None:
    return None if refusal is not None else _REASONS.get(answer.finish)


def _flat(annotation: Json) -> Json:
    """Return a citation as it is written here: what stands under its type stands beside it."""
    kind = annotation.get("type")
    inner = annotation.get(kind) if isinstance(kind, str) else None
    return {"type": kind, **inner} if isinstance(inner, dict) else annotation


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        },
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.total_tokens,
    }
