"""The door `POST /v1/messages`: replies and events as Anthropic's clients read them. Pure.

Formats: Anthropic's API reference, "Messages", and its guide "Streaming messages". Decisions:
- Where an answer comes from shows in headers only: the shape has no room for it.
- Other vendors' reasoning is a thinking block with an empty signature. A client may send it back; it is then left out
  of what Anthropic is asked (see `anthropic_parts`).
- `message_start` tells the prompt's tokens where they are known: of a replay, and of a live answer whose vendor tells
  them at its beginning (Anthropic, Gemini) to this very process; else 0. `message_delta` has all counts, which clients
  take over.
- An answer that calls tools ends with `tool_use`, also where its vendor called that a plain stop. One that was paused
  (`pause_turn`) is known by its server tools. An overrun window is `max_tokens`.
- Parts of this shape alone are no pieces: they are written when the answer is whole, in their place, because nothing
  that follows them was passed on before (see `anthropic_stream`).
- One block is open at a time, as the guide has it. Vendors of other shapes may send calls side by side: what comes
  while the arguments of the open call are no whole object yet, waits for the end of the answer, as does all that
  follows, but for the open call's own pieces. What comes behind a whole object is not of a call's arguments.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from askonce.domain.answer import Answer, Delta, Entry, FinishReason, Piece, ThinkingDelta, ToolDelta
from askonce.domain.call import Ask, CacheWish
from askonce.domain.content import Foreign, Part, Text, Thinking, ToolCall
from askonce.domain.errors import AskonceError
from askonce.domain.usage import Usage
from askonce.wire import sse
from askonce.wire.anthropic_answers import FIVE_MINUTES, ONE_HOUR
from askonce.wire.anthropic_parts import CITATIONS, SHAPE, Json, input_of, object_of, reply_blocks
from askonce.wire.anthropic_read import read_messages
from askonce.wire.door import Facts, Writer

NAME = "anthropic/1"

_STOPS: dict[FinishReason, str] = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}

# Anthropic's "Errors": the type of each status; others are `invalid_request_error` below 500 and `api_error` above.
_ERRORS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

# Anthropic's "Service tiers": the words that its clients know; other vendors' are left out.
_TIERS = frozenset({"standard", "priority", "batch"})

_encode = msgspec.json.encode


class MessageReply(Struct, frozen=True):
    """Describe a message for the docs; `Messages.rendition` writes these very fields."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: tuple[Json, ...]
    stop_reason: str
    stop_sequence: str | None
    usage: Json


class TokenCount(Struct, frozen=True):
    """Hold the answer of POST /v1/messages/count_tokens."""

    input_tokens: int


class ErrorWords(Struct, frozen=True):
    """Hold what went wrong."""

    type: str
    message: str


class AnthropicError(Struct, frozen=True):
    """Hold the error that Anthropic's doors answer with (docs.claude.com, "Errors")."""

    type: Literal["error"]
    error: ErrorWords
    request_id: str


def error_body(error: AskonceError, request_id: str) -> bytes:
    """Return an error in Anthropic's shape."""
    return _encode(_error(error, request_id))


def _error(error: AskonceError, request_id: str) -> AnthropicError:
    kind = _ERRORS.get(error.status, "invalid_request_error" if error.status < 500 else "api_error")
    return AnthropicError("error", ErrorWords(kind, error.message), request_id)


class Messages:
    """Translate the shape of `POST /v1/messages`."""

    name = NAME

    def read(self, body: bytes, tenant: str, wish: CacheWish) -> Ask:
        """Turn a body into a question. Raises `Malformed` and `Invalid`."""
        return read_messages(body, tenant, wish)

    def rendition(self, answer: Answer) -> bytes:
        """Encode what all replies with this answer share, without the opening brace."""
        stop, sequence = _stop(answer)
        common = {
            "type": "message",
            "role": "assistant",
            "model": answer.model_version or answer.model,
            "content": reply_blocks(_parts(answer)),
            "stop_reason": stop,
            "stop_sequence": sequence,
            "usage": _usage(answer.usage),
        }
        return _encode(common)[1:]

    def render(self, entry: Entry, facts: Facts) -> bytes:
        """Return the message. Request ids are printable ASCII without quotes (api.requests)."""
        common = entry.rendition if entry.shape == NAME else self.rendition(entry.open())
        return b'{"id":"%b",%b' % (_message_id(facts.request_id), common)

    def writer(self, ask: Ask) -> Writer:
        """Return a writer of one message's events."""
        return MessageWriter()

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Return an error's body."""
        return error_body(error, request_id)


MESSAGES = Messages()


def _message_id(request_id: str) -> bytes:
    return b"msg_" + request_id.encode()


def _parts(answer: Answer) -> Sequence[Part]:
    return answer.parts or ((Text(answer.text),) if answer.text else ())


def _stop(answer: Answer) -> tuple[str, str | None]:
    """Return the stop reason and the stop sequence."""
    if answer.finish in _STOPS:
        return _STOPS[answer.finish], None
    if any(isinstance(part, ToolCall) for part in answer.parts):
        return "tool_use", None
    if answer.finish == "unknown" and any(_is_server_tool(part) for part in answer.parts):
        return "pause_turn", None
    return ("stop_sequence", answer.stop_sequence) if answer.stop_sequence else ("end_turn", None)


def _is_object(arguments: str) -> bool:
    return arguments.rstrip().endswith("}") and isinstance(input_of(arguments), Raw)


def _is_server_tool(part: Part) -> bool:
    return isinstance(part, Foreign) and part.shape == SHAPE and part.kind != CITATIONS


def _usage(usage: Usage) -> Json:
    said: Json = {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }
    if usage.cache_write_1h_tokens is not None:
        rest = usage.cache_write_tokens - usage.cache_write_1h_tokens
        said["cache_creation"] = {FIVE_MINUTES: rest, ONE_HOUR: usage.cache_write_1h_tokens}
    if usage.service_tier in _TIERS:
        said["service_tier"] = usage.service_tier
    if usage.reasoning_tokens:
        said["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return said


def _event(kind: str, **fields: Any) -> bytes:
    return sse.encode(kind, _encode({"type": kind, **fields}))


class MessageWriter:
    """Write one reply's events: blocks open when their first piece comes, and close when another kind follows."""

    def __init__(self) -> None:
        self._facts: Facts | None = None  # kept back until it is known whether this is a replay
        self._index = -1
        self._open = ""  # the kind of the open block; tool calls with their number
        self._sent: dict[str, int] = {}  # how much of the text, the thoughts and each call was written
        self._signed = 0
        self._call_open = -1  # the number of the call whose block is open
        self._arguments: list[str] = []  # of that call, as far as they were written
        self._waiting = False  # did something come while the open call was not whole?

    def start(self, facts: Facts) -> bytes:
        """Write `message_start`; for an answer from the store it is written with the rest, which knows its usage."""
        if facts.state == "hit":
            self._facts = facts
            return b""
        return _start(facts, facts.model, facts.told or Usage(0, 0))

    def piece(self, piece: Piece) -> bytes:
        """Write one piece, or leave it to `done` where its block cannot be open now."""
        if self._call_open >= 0 and not (isinstance(piece, ToolDelta) and piece.index == self._call_open):
            self._waiting = self._waiting or not _is_object("".join(self._arguments))
            if self._waiting:
                return b""
        if isinstance(piece, Delta):
            return self._text(piece.text)
        if isinstance(piece, ThinkingDelta):
            return self._think(piece)
        return self._call(piece)

    def still_here(self) -> bytes:
        """Write a ping."""
        return _event("ping")

    def done(self, entry: Entry, facts: Facts) -> bytes:
        """Write what is left of the answer, then its end."""
        answer = entry.open()
        start = b""
        if self._facts is not None:
            start = _start(facts, answer.model_version or answer.model, answer.usage)
        stop, sequence = _stop(answer)
        return b"".join(
            (
                start,
                self._rest(answer),
                self._close(),
                _event(
                    "message_delta", delta={"stop_reason": stop, "stop_sequence": sequence}, usage=_usage(answer.usage)
                ),
                _event("message_stop"),
            )
        )

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Write the last event of a stream that broke."""
        return sse.encode("error", error_body(error, request_id))

    def _text(self, text: str) -> bytes:
        if not text:
            return b""
        self._count("text", len(text))
        head = self._enter("text", {"type": "text", "text": ""})
        return head + self._delta({"type": "text_delta", "text": text})

    def _think(self, piece: ThinkingDelta) -> bytes:
        if piece.redacted:
            self._signed += 1
            block = {"type": "redacted_thinking", "data": piece.redacted}
            return self._enter("redacted", block) + self._close()
        self._count("thoughts", len(piece.text))
        events = self._enter("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        if piece.text:
            events += self._delta({"type": "thinking_delta", "thinking": piece.text})
        if piece.signature:
            self._signed += 1
            events += self._delta({"type": "signature_delta", "signature": piece.signature}) + self._close()
        return events

    def _call(self, piece: ToolDelta) -> bytes:
        name = f"call {piece.index}"
        events = b""
        if name not in self._sent:
            events = self._enter(name, {"type": "tool_use", "id": piece.id, "name": piece.name, "input": {}})
            self._call_open, self._arguments = piece.index, []
        elif piece.index != self._call_open:
            return b""  # its block was closed behind a whole object
        self._count(name, len(piece.arguments))
        self._arguments.append(piece.arguments)
        if not piece.arguments:
            return events
        return events + self._delta({"type": "input_json_delta", "partial_json": piece.arguments})

    def _rest(self, answer: Answer) -> bytes:
        """Write what was not passed on. What was, is the beginning of each text and of the calls."""
        events, calls = [self._rest_of_open_call(answer)], 0
        text, thoughts, signed = self._sent.get("text", 0), self._sent.get("thoughts", 0), self._signed
        for part in _parts(answer):
            if isinstance(part, Text):
                if not text and self._open == "text":
                    events.append(self._close())  # that block is another part's, with citations of its own
                if part.text[text:]:
                    events.append(self._text(part.text[text:]))
                text = max(0, text - len(part.text))
            elif isinstance(part, Thinking):
                left = part.text[thoughts:]
                thoughts = max(0, thoughts - len(part.text))
                if left or (not signed and (part.signature or part.redacted)):
                    events.append(self._think(ThinkingDelta(left, part.signature, part.redacted)))
                signed = max(0, signed - bool(part.signature or part.redacted))
            elif isinstance(part, ToolCall):
                if f"call {calls}" not in self._sent:
                    events.append(self._call(ToolDelta(calls, part.id, part.name, part.arguments)))
                calls += 1
            elif isinstance(part, Foreign) and part.shape == SHAPE:
                events.append(self._foreign(part))
        return b"".join(events)

    def _rest_of_open_call(self, answer: Answer) -> bytes:
        calls = [part for part in answer.parts if isinstance(part, ToolCall)]
        if not 0 <= self._call_open < len(calls):
            return b""
        left = calls[self._call_open].arguments[self._sent[f"call {self._call_open}"] :]
        return self._call(ToolDelta(self._call_open, arguments=left)) if left else b""

    def _foreign(self, part: Foreign) -> bytes:
        if part.kind != CITATIONS:
            return self._enter(f"foreign {self._index}", object_of(part.json)) + self._close()
        if self._open != "text":
            return b""
        citations = msgspec.json.decode(part.json, type=list[Json])
        return b"".join(self._delta({"type": "citations_delta", "citation": citation}) for citation in citations)

    def _enter(self, kind: str, block: Json) -> bytes:
        if self._open == kind:
            return b""
        closed = self._close()
        self._index += 1
        self._open = kind
        return closed + _event("content_block_start", index=self._index, content_block=block)

    def _delta(self, delta: Json) -> bytes:
        return _event("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> bytes:
        if not self._open:
            return b""
        self._open = ""
        self._call_open = -1
        return _event("content_block_stop", index=self._index)

    def _count(self, what: str, size: int) -> None:
        self._sent[what] = self._sent.get(what, 0) + size


def _start(facts: Facts, model: str, usage: Usage) -> bytes:
    message: Json = {
        "id": _message_id(facts.request_id).decode(),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _usage(replace(usage, completion_tokens=0, reasoning_tokens=0)),
    }
    return _event("message_start", message=message)
