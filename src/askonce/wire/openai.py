"""The OpenAI shape of chat completions, as a client speaks it: calls out. Pure.

The format is OpenAI's API reference, "Create chat completion" (`POST /v1/chat/completions`); where vendors differ, the
place names them. Answers are read in `wire.openai_answers`.

Encoding is deterministic and in the order of the messages, so that a conversation that grows keeps its prefix, byte
for byte, and with it the vendor's prompt cache. What the shape or the endpoint has no word for is refused by name.
"""

import re
from typing import Any

import msgspec
from msgspec import Struct

from askonce.domain.call import Call, Format, Params, Reasoning, ToolChoice
from askonce.domain.errors import ProviderFailed
from askonce.wire.openai_messages import Manner, marks_of, write_messages
from askonce.wire.openai_parts import SHAPE, Findings, Json, write_tool
from askonce.wire.prefill import PROBLEM, is_prefilled

# Models that refuse `max_tokens` and want `max_completion_tokens` (OpenAI's reference, "Reasoning models").
_REASONING = re.compile(r"^(?:[\w.-]+/)?(?:o\d|gpt-[5-9])")

# Effort for a budget of thinking tokens: Google's table for its OpenAI shape ("OpenAI compatibility", Thinking) read
# backwards. A budget of 0 is the effort `none`.
_EFFORTS: tuple[tuple[int, str], ...] = ((0, "none"), (1024, "low"), (8192, "medium"))

# OpenAI wants a name for every schema; Anthropic's shape has none.
SCHEMA_NAME = "answer"


class Dialect(Struct, frozen=True):
    """Hold how an endpoint differs from the plain shape.

    `max_completion_tokens`: does it know that name, so that reasoning models must be asked with it?
    `stream_options`: does it accept them? Without, usage in streams is hoped for and otherwise counted by us.
    `seed`: what it calls the seed. `developer`: does it know that role? Elsewhere it is `system`.
    `thinking`: the field in which it wants an assistant's reasoning back; "parts": as a part of the content (Mistral);
    "reasoning_details": there with what seals it, else in `reasoning` (OpenRouter); "": nowhere.
    `closed`: does it refuse fields that OpenAI does not document (`top_k`, `cache_control`)?
    `cache_control`: does it read Anthropic's marks, also those of questions in Anthropic's shape?
    """

    max_completion_tokens: bool = False
    stream_options: bool = True
    seed: str = "seed"
    developer: bool = False
    thinking: str = "reasoning_content"
    closed: bool = False
    cache_control: bool = False


def encode_call(call: Call, model: str, dialect: Dialect) -> bytes:
    """Write the request's body. Absent parameters stay absent, so that the vendor's defaults hold.

    Raises `Invalid` that names everything which this shape, or this endpoint, has no word for.
    """
    findings = Findings()
    if call.kind != "chat":
        findings.wrong("model", f"{model!r} is asked for embeddings, which who would answer does not make")
    marks, own = marks_of(call, dialect.cache_control or (call.shape == SHAPE and not dialect.closed))
    manner = Manner(developer=dialect.developer, thinking=dialect.thinking)
    body: Json = {"model": model, "messages": write_messages(call, manner, marks, findings)}
    if is_prefilled(call):
        findings.wrong(f"messages[{len(call.messages) - 1}]", PROBLEM)
    if call.tools:
        body["tools"] = [
            write_tool(tool, at, findings) | marks.get(("tools", at, -1), {}) for at, tool in enumerate(call.tools)
        ]
    body |= _params(call.params, model, dialect, findings)
    if call.shape == SHAPE:
        body |= dict(call.extra)
    else:
        for name, _ in call.extra:
            findings.wrong(name, f"is known to the shape {call.shape} only, which this endpoint does not speak")
    options = own.pop("stream_options", None)
    body |= own
    if call.stream:
        body["stream"] = True
        if dialect.stream_options:
            body["stream_options"] = _options(options)
    findings.refuse()
    return msgspec.json.encode(body)


def _options(asked: Any) -> Json:
    """Ask for the stream's usage, whatever the caller wants to see of it."""
    told = msgspec.json.decode(asked) if asked is not None else {}
    return (told if isinstance(told, dict) else {}) | {"include_usage": True}


def _params(params: Params, model: str, dialect: Dialect, findings: Findings) -> Json:
    long_name = dialect.max_completion_tokens and _REASONING.match(model)
    if params.top_k is not None and dialect.closed:
        findings.wrong("top_k", "is not known to the endpoint that would answer")
    named = {
        "temperature": params.temperature,
        "max_completion_tokens" if long_name else "max_tokens": params.max_tokens,
        "top_p": params.top_p,
        "top_k": params.top_k,
        dialect.seed: params.seed,
        "stop": params.stop,
        "frequency_penalty": params.frequency_penalty,
        "presence_penalty": params.presence_penalty,
        "tool_choice": _choice(params.tool_choice),
        "parallel_tool_calls": params.parallel_tools,
        "response_format": _format(params.format),
        "reasoning_effort": _effort(params.reasoning, thinks=bool(not dialect.max_completion_tokens or long_name)),
    }
    return {name: value for name, value in named.items() if value is not None}


def _choice(choice: ToolChoice | None) -> object:
    if choice is None or choice.mode != "named":
        return choice and choice.mode
    return {"type": "function", "function": {"name": choice.name}}


def _format(wanted: Format | None) -> Json | None:
    if wanted is None:
        return None
    if wanted.kind != "schema":
        return {"type": "text" if wanted.kind == "text" else "json_object"}
    schema: Json = {"name": wanted.name or SCHEMA_NAME}
    if wanted.description:
        schema["description"] = wanted.description
    if bytes(wanted.schema) != b"null":
        schema["schema"] = wanted.schema
    if wanted.strict is not None:
        schema["strict"] = wanted.strict
    return {"type": "json_schema", "json_schema": schema}


def _effort(reasoning: Reasoning | None, *, thinks: bool) -> str | None:
    """Return the effort; a model that does not think need not be told not to, and refuses to be."""
    if reasoning is None:
        return None
    if reasoning.effort or reasoning.budget_tokens is None:
        return reasoning.effort or None
    budget = reasoning.budget_tokens
    if budget <= 0 and not thinks:
        return None
    return next((effort for ceiling, effort in _EFFORTS if budget <= ceiling), "high")


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
