"""Answers in OpenAI's shape of chat completions, whole and in pieces, read. Pure.

The format is OpenAI's API reference, "The chat completion object" and "The chat completion chunk object"; where
vendors differ, the place names them. Readers are tolerant: fields that we do not know are skipped, usage that makes no
sense counts as absent. What is not an answer at all raises `ProviderFailed`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from askonce.domain.answer import Delta, FinishReason, Piece, ThinkingDelta, ToolDelta
from askonce.domain.content import Foreign, Part, Text, ToolCall, canonical_json
from askonce.domain.errors import ProviderFailed
from askonce.domain.usage import Usage, read_tier
from askonce.wire.openai_messages import CustomCall
from askonce.wire.openai_parts import SHAPE
from askonce.wire.openai_thoughts import joined, read_thoughts

DONE = b"[DONE]"  # the data of the event that ends a stream
REFUSAL = "message.refusal"
ANNOTATIONS = "message.annotations"


class Portion(Struct, frozen=True):
    """Hold what one message of the vendor brought: a whole answer, or one piece of a stream.

    `finish`, `usage` and `model_version` are None or "" where it did not say. `calls` and `customs` have the vendor's
    own indexes, and as much of each call as came. `refused`: the text is a refusal. `annotations` and `details` are
    annotations and OpenRouter's `reasoning_details` as they came.
    """

    text: str = ""
    finish: FinishReason | None = None
    usage: Usage | None = None
    model_version: str = ""
    thinking: str = ""
    calls: tuple[ToolDelta, ...] = ()
    refused: bool = False
    customs: tuple[tuple[int, CustomCall], ...] = ()
    annotations: tuple[Any, ...] = ()
    details: tuple[Any, ...] = ()
    service_tier: str = ""


def decode_answer(body: bytes, who: str) -> Portion:
    """Read a whole completion. Raises `ProviderFailed`."""
    found, portion = _decode(body, who)
    if not found:
        raise ProviderFailed(f"{who} sent an answer without a choice.")
    return portion if portion.finish else msgspec.structs.replace(portion, finish="unknown")


def decode_piece(data: bytes | str, who: str) -> Portion:
    """Read one event's data of a stream (never `DONE`). Raises `ProviderFailed`, also for an error in its midst."""
    return _decode(data, who)[1]


class Gathering:
    """Add the portions of one answer up, and say which pieces they bring."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls: list[_Call] = []
        self._at: dict[int, _Call] = {}
        self._customs: list[CustomCall] = []
        self._custom_at: dict[int, int] = {}
        self._annotations: list[Any] = []
        self._details: list[Any] = []
        self._refused = False
        self._finish: FinishReason | None = None
        self.usage: Usage | None = None
        self.model_version = ""
        self._tier = ""

    @property
    def text(self) -> str:
        """Return the text so far."""
        return "".join(self._texts)

    @property
    def finish(self) -> FinishReason | None:
        """Return why the answer ended; None while it has not.

        Some vendors end with `stop` where they call tools (Gemini, Ollama), and OpenAI does where a tool was named by
        `tool_choice`: an answer that calls tools ends with `tool_calls`. A refusal counts as filtered.
        """
        if self._finish == "stop" and (self._calls or self._customs):
            return "tool_calls"
        return "content_filter" if self._finish and self._refused else self._finish

    def add(self, portion: Portion) -> list[Piece]:
        """Take a portion in and return its pieces. Of several usages the last counts: vendors that repeat it add up."""
        pieces: list[Piece] = []
        if portion.thinking:
            self._thoughts.append(portion.thinking)
            pieces.append(ThinkingDelta(portion.thinking))
        # A refusal that only repeats what came as text is one that a gateway named at the end.
        repeated = portion.refused and not self._refused and portion.text == self.text
        if portion.text and not repeated:
            self._texts.append(portion.text)
            pieces.append(Delta(portion.text))
        if portion.calls:
            pieces += [piece for delta in portion.calls if (piece := self._call(delta)) is not None]
        for index, custom in portion.customs:
            self._custom(index, custom)
        self._annotations += portion.annotations
        self._details += portion.details
        self._refused |= portion.refused
        self._finish = portion.finish or self._finish
        self._tier = portion.service_tier or self._tier
        self.usage = portion.usage or self.usage
        self.model_version = portion.model_version or self.model_version
        return pieces

    def tiered(self, usage: Usage) -> Usage:
        """Return usage with the service tier that the vendor named, wherever in the answer it did."""
        return msgspec.structs.replace(usage, service_tier=self._tier) if self._tier else usage

    def _call(self, delta: ToolDelta) -> Piece | None:
        """Add to the call with the vendor's index, or begin one; another id at one index is another call (Gemini)."""
        call = self._at.get(delta.index)
        if call is None or (delta.id and call.told and delta.id != call.id):
            call = self._begin(delta)
            call.pieces.append(delta.arguments)
            return ToolDelta(call.index, call.id, call.name, delta.arguments)
        if not delta.arguments:
            return None
        call.pieces.append(delta.arguments)
        return ToolDelta(call.index, arguments=delta.arguments)

    def _begin(self, delta: ToolDelta) -> "_Call":
        index = len(self._calls)
        call = _Call(index, delta.id or f"call_{index}", delta.name, bool(delta.id), [])
        self._calls.append(call)
        self._at[delta.index] = call
        return call

    def _custom(self, index: int, came: CustomCall) -> None:
        """Add to the custom call with the vendor's index, or begin one: its input may come in pieces."""
        at = self._custom_at.get(index)
        begun = None if at is None else self._customs[at]
        if at is None or begun is None or (came.id and came.id != begun.id):
            self._custom_at[index] = len(self._customs)
            call_id = came.id or f"custom_{len(self._customs)}"
            self._customs.append(CustomCall(call_id, came.name, came.input))
        else:
            self._customs[at] = CustomCall(begun.id, begun.name or came.name, begun.input + came.input)

    def parts(self) -> tuple[Part, ...]:
        """Return the answer's parts in the canonical order; none where there is nothing but text."""
        thoughts = self._reasoning()
        calls: list[Part] = [ToolCall(call.id, call.name, "".join(call.pieces)) for call in self._calls]
        calls += [custom.part() for custom in self._customs]
        fields = [
            Foreign(SHAPE, kind, canonical_json(value))
            for kind, value in ((ANNOTATIONS, self._annotations), (REFUSAL, self._refused and self.text))
            if value
        ]
        if not (thoughts or calls or fields):
            return ()
        text = [Text(self.text)] if self.text else []
        return (*thoughts, *text, *calls, *fields)

    def _reasoning(self) -> tuple[Part, ...]:
        details = joined(self._details)
        return read_thoughts({"reasoning_content": "".join(self._thoughts), "reasoning_details": details})


class _Call(Struct):
    index: int
    id: str
    name: str
    told: bool  # is the id the vendor's own?
    pieces: list[str]


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
    """One part of a list-valued content (Mistral's reasoning models): text, or thinking that is a list of texts."""

    type: str = ""
    text: str = ""
    thinking: str | list["_Chunk"] | None = None


class _Function(Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None  # some local servers send the object itself


class _Custom(Struct):
    name: str | None = None
    input: str | None = None


class _ToolCall(Struct):
    index: int | None = None
    id: str | None = None
    type: str | None = None
    function: _Function | None = None
    custom: _Custom | None = None


class _Message(Struct):
    content: str | list[_Chunk] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[Any] | None = None
    tool_calls: list[_ToolCall] | None = None
    function_call: _Function | None = None
    annotations: list[Any] | None = None


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
    service_tier: Any = None
    x_groq: _Groq | None = None  # where Groq puts a stream's usage
    error: Raw = _ABSENT


class _Details(Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
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
_NOTHING = _Message()


def _decode(data: bytes | str, who: str) -> tuple[bool, Portion]:
    """Return whether there is a choice at all (a stream's usage comes without one), and what is in it."""
    try:
        body = _body.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        raise ProviderFailed(f"{who} sent an answer that makes no sense.") from None
    if body.error is not _ABSENT and bytes(body.error) != b"null":
        raise ProviderFailed(f"{who} broke the answer off with an error of its own.")
    said = body.x_groq.usage if body.usage is _ABSENT and body.x_groq else body.usage
    usage = None if said is _ABSENT else read_usage(bytes(said))
    choice = _first(body.choices or ())
    tier = read_tier(body.service_tier)
    if choice is None:
        return False, Portion("", None, usage, body.model or "", service_tier=tier)
    if choice.finish_reason == "error":  # OpenRouter's mark for an upstream that failed in the middle
        raise ProviderFailed(f"{who} broke the answer off with an error of its own.")
    portion = _portion(choice.message or choice.delta or _NOTHING, choice, usage, body.model or "")
    return True, msgspec.structs.replace(portion, service_tier=tier) if tier else portion


def _first(choices: Sequence[_Choice]) -> _Choice | None:
    """Return the choice number 0, which nearly always is the first."""
    for choice in choices:
        if choice.index == 0:
            return choice
    return None


def _portion(message: _Message, choice: _Choice, usage: Usage | None, version: str) -> Portion:
    if isinstance(message.content, str) and message == _Message(message.content):  # nearly every piece
        return Portion(message.content, finish_reason(choice.finish_reason), usage, version)
    text, thinking = _words(message)
    calls = _calls(message) if message.tool_calls or message.function_call else ()
    return Portion(
        text=text or message.refusal or "",
        finish=finish_reason(choice.finish_reason),
        usage=usage,
        model_version=version,
        thinking=message.reasoning_content or message.reasoning or thinking,
        calls=calls,
        refused=bool(message.refusal),
        customs=_customs(message),
        annotations=tuple(message.annotations or ()),
        details=tuple(message.reasoning_details or ()),
    )


def _words(message: _Message) -> tuple[str, str]:
    """Return text and thinking of a message's content."""
    content = message.content
    if not isinstance(content, list):
        return content or "", ""
    thoughts = [chunk.thinking for chunk in content if chunk.type == "thinking" and chunk.thinking]
    thinking = [t if isinstance(t, str) else "".join(chunk.text for chunk in t) for t in thoughts]
    return "".join(chunk.text for chunk in content if chunk.type == "text"), "".join(thinking)


def _calls(message: _Message) -> tuple[ToolDelta, ...]:
    if message.function_call is not None and not message.tool_calls:
        return (_call_piece(0, "", message.function_call),)
    return tuple(
        _call_piece(at if call.index is None else call.index, call.id or "", call.function or _Function())
        for at, call in enumerate(message.tool_calls or ())
        if call.custom is None
    )


def _call_piece(index: int, call_id: str, function: _Function) -> ToolDelta:
    arguments = function.arguments or ""
    if isinstance(arguments, dict):
        arguments = msgspec.json.encode(arguments).decode()
    return ToolDelta(index, call_id, function.name or "", arguments)


def _customs(message: _Message) -> tuple[tuple[int, CustomCall], ...]:
    return tuple(
        (
            at if call.index is None else call.index,
            CustomCall(call.id or "", call.custom.name or "", call.custom.input or ""),
        )
        for at, call in enumerate(message.tool_calls or ())
        if call.custom is not None
    )


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
    return usage if usage.is_possible else None
