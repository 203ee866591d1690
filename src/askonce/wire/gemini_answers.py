"""Google's GenerateContentResponse, whole or as the pieces of a stream, read. Pure.

The format is Google's "Gemini API reference", version v1beta (`GenerateContentResponse`). A stream's events are such
responses too, each with what is new. Decisions:
- Fields that we do not know are skipped; counts that make no sense count as absent; a part that we do not know (code
  that Google ran, a picture) is `Foreign`. What is not an answer at all raises `ProviderFailed`.
- A signature of a call is kept, in a `Thinking` in front of it (see `gemini_contents`). One of text is not: Google
  does not demand it back, and thinking behind the text is what clients of other shapes do not expect.
- A call without an id gets one from the conversation's length and its place, so that the same question gives the same
  ids and no two calls of one conversation share theirs.
- A call that the model made wrongly is no answer: another try may end differently.
"""

from typing import Any

import msgspec
from msgspec import Raw, Struct

from askonce.domain.answer import Delta, FinishReason, Piece, ThinkingDelta, ToolDelta
from askonce.domain.content import Foreign, Part, Text, Thinking, ToolCall, canonical_json
from askonce.domain.errors import ContentRefused, ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.gemini_contents import SEAL

SHAPE = "gemini"

# API reference, `Candidate.FinishReason`. What is not in a table here is `unknown`, so that it is not kept.
_FINISHES: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",  # Google Cloud's
}
_MISCARRIED = {
    "MALFORMED_FUNCTION_CALL": "wrote a function call that cannot be read",
    "UNEXPECTED_TOOL_CALL": "called a tool that it was not given",
    "MALFORMED_RESPONSE": "wrote an answer that cannot be read",
}
MAX_REASON = 60  # characters of a vendor's reason that we pass on


class _FunctionCall(Struct):
    name: str = ""
    id: str | None = None
    args: Raw = Raw()


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None


class _Content(Struct):
    parts: list[Raw] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None
    index: int | None = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None


class _Response(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: Raw = Raw()
    model_version: str | None = None
    error: Raw = Raw()


class _Counts(Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


_responses = msgspec.json.Decoder(_Response)
_parts = msgspec.json.Decoder(_Part)
_counts = msgspec.json.Decoder(_Counts | None)


class Gathering:
    """Add an answer's responses up, and say which pieces each brings. `turns`: how long the conversation was."""

    def __init__(self, who: str, turns: int) -> None:
        self._who = who
        self._turns = turns
        self._whole: list[Part] = []
        self._calls = 0
        self._finish: FinishReason | None = None
        self.usage: Usage | None = None
        self.model_version = ""

    @property
    def text(self) -> str:
        """Return all text so far."""
        return "".join(part.text for part in self._whole if isinstance(part, Text))

    @property
    def parts(self) -> tuple[Part, ...]:
        """Return what came, in order; empty where that is nothing but text."""
        whole = tuple(self._whole)
        return whole if any(not isinstance(part, Text) for part in whole) else ()

    @property
    def finish(self) -> FinishReason | None:
        """Return why the answer ended; None while it has not. Google says STOP where calls are waiting, too.

        It also says so of answers that hold nothing at all, which are no answers to keep: they are `unknown`.
        """
        if self._finish != "stop":
            return self._finish
        return "tool_calls" if self._calls else "stop" if self._whole else "unknown"

    def add(self, data: bytes) -> list[Piece]:
        """Take a response in and return its pieces. Of several counts the last holds: each is a total.

        Raises `ContentRefused` where the prompt was blocked, `ProviderFailed` for what is no answer.
        """
        response = self._decode(data)
        if response.prompt_feedback is not None and (reason := response.prompt_feedback.block_reason):
            raise ContentRefused(f"{self._who} refused the prompt: {reason[:MAX_REASON]}.")
        self.usage = read_usage(bytes(response.usage_metadata)) or self.usage
        self.model_version = response.model_version or self.model_version
        pieces: list[Piece] = []
        for candidate in response.candidates or ():
            if not candidate.index:
                content = candidate.content.parts if candidate.content else None
                pieces += [piece for part in content or () for piece in self._part(part)]
                self._end(candidate.finish_reason)
        return pieces

    def end(self) -> None:
        """Check that the answer is whole. Raises `ProviderFailed`."""
        if self._finish is None:
            raise ProviderFailed(f"{self._who} ended before the answer was whole.")

    def _decode(self, data: bytes) -> _Response:
        try:
            response = _responses.decode(data)
        except (msgspec.DecodeError, UnicodeError):
            raise ProviderFailed(f"{self._who} sent an answer that makes no sense.") from None
        if bytes(response.error) not in (b"", b"null"):
            raise ProviderFailed(f"{self._who} broke the answer off with an error of its own.")
        return response

    def _end(self, reason: str | None) -> None:
        if reason in _MISCARRIED:
            spoiled = ProviderFailed(f"{self._who} {_MISCARRIED[reason]}.")
            spoiled.is_down = False
            raise spoiled
        if reason and reason != "FINISH_REASON_UNSPECIFIED":
            self._finish = _FINISHES.get(reason, "unknown")

    def _part(self, raw: Raw) -> list[Piece]:
        try:
            part = _parts.decode(raw)
        except (msgspec.DecodeError, UnicodeError):
            raise ProviderFailed(f"{self._who} sent an answer that makes no sense.") from None
        if part.function_call is not None:
            return self._called(part.function_call, part.thought_signature or "")
        if part.text is None:
            return self._foreign(raw)
        if not part.text:
            return []
        if part.thought:
            return self._thought(part.text, "")
        last = self._whole[-1] if self._whole else None
        if isinstance(last, Text):
            self._whole[-1] = Text(last.text + part.text)
        else:
            self._whole.append(Text(part.text))
        return [Delta(part.text)]

    def _thought(self, text: str, signature: str) -> list[Piece]:
        last = self._whole[-1] if self._whole else None
        if isinstance(last, Thinking) and not last.signature:
            self._whole[-1] = Thinking(last.text + text, signature)
        else:
            self._whole.append(Thinking(text, signature))
        return [ThinkingDelta(text, signature)]

    def _called(self, call: _FunctionCall, signature: str) -> list[Piece]:
        if not call.name:
            raise ProviderFailed(f"{self._who} called a function without a name.")
        pieces = self._thought("", SEAL + signature) if signature else []
        index, self._calls = self._calls, self._calls + 1
        name_of_call = call.id or f"call_{self._turns}_{index}"
        # Plain answers come with white space and streams without; the arguments are the same.
        arguments = msgspec.json.format(bytes(call.args) or b"{}", indent=-1).decode()
        self._whole.append(ToolCall(name_of_call, call.name, arguments))
        return [*pieces, ToolDelta(index, name_of_call, call.name, arguments)]

    def _foreign(self, raw: Raw) -> list[Piece]:
        fields: dict[str, Any] = msgspec.json.decode(raw)
        fields.pop("thoughtSignature", None)
        fields.pop("thought", None)
        if fields:
            self._whole.append(Foreign(SHAPE, next(iter(fields)), canonical_json(fields)))
        return []


def read_usage(raw: bytes) -> Usage | None:
    """Read `usageMetadata`; None where it is absent (b"" or null) or its numbers cannot be true.

    The prompt's count includes what was cached, but not the prompts of tools that Google ran; the candidates' leaves
    the thoughts out, which are charged as output.
    """
    try:
        found = _counts.decode(raw) if raw else None
    except (msgspec.DecodeError, UnicodeError):
        return None
    if found is None or found.prompt_token_count is None:
        return None
    thoughts = found.thoughts_token_count or 0
    usage = Usage(
        prompt_tokens=found.prompt_token_count + (found.tool_use_prompt_token_count or 0),
        completion_tokens=(found.candidates_token_count or 0) + thoughts,
        cached_tokens=found.cached_content_token_count or 0,
        reasoning_tokens=thoughts,
    )
    told = (found.prompt_token_count, found.tool_use_prompt_token_count or 0)
    return usage if min(told) >= 0 and usage.is_possible else None


class _Model(Struct, rename="camel"):
    name: str
    supported_generation_methods: list[str] | None = None


class _Models(Struct):
    models: list[_Model] = []


_models = msgspec.json.Decoder(_Models)


def decode_models(body: bytes, who: str) -> tuple[str, ...]:
    """Read the names in an answer of `GET /v1beta/models` that can be asked for content. Raises `ProviderFailed`."""
    try:
        found = _models.decode(body)
    except (msgspec.DecodeError, UnicodeError):
        raise ProviderFailed(f"{who} sent a list of models that makes no sense.") from None
    return tuple(
        model.name.removeprefix("models/")
        for model in found.models
        if model.supported_generation_methods is None or "generateContent" in model.supported_generation_methods
    )
