"""The events of a streamed message, as a client reads them: pieces as they come, then the whole. Pure.

The format is Anthropic's guide "Streaming messages": `message_start`, for each block `content_block_start`, deltas and
`content_block_stop`, then `message_delta` (its counts are totals) and `message_stop`; `ping` and events that we do
not know are passed over, `error` ends it.

A part that only this shape has (citations, a server's tools) is no piece. From the first such part on, and from a
text that follows a text directly, nothing more is passed on: whoever writes the stream gets the rest with the whole
answer, in its right order.
"""

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from askonce.domain.answer import Delta, FinishReason, Piece, ThinkingDelta, ToolDelta
from askonce.domain.content import Part, ToolCall
from askonce.domain.errors import ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.anthropic_answers import (
    Body,
    ErrorField,
    UsageField,
    Whole,
    broken_off,
    finish_reason,
    parts_of,
    read_usage,
    usage_of,
)
from askonce.wire.anthropic_parts import Json


class _Delta(Struct, frozen=True):
    type: str = ""
    text: str = ""
    thinking: str = ""
    signature: str = ""
    partial_json: str = ""
    stop_reason: str | None = None
    stop_sequence: str | None = None


class _Event(Struct, frozen=True):
    type: str = ""
    index: int = 0
    message: Body | None = None
    content_block: Json | None = None
    delta: _Delta | None = None
    usage: msgspec.Raw = msgspec.Raw()
    error: ErrorField | None = None


class _Loose(Struct, frozen=True):
    delta: Json = {}


_event_decoder = msgspec.json.Decoder(_Event)
_loose_decoder = msgspec.json.Decoder(_Loose)
_object_decoder = msgspec.json.Decoder(Json)

_SPOKEN = ("text", "thinking", "redacted_thinking", "tool_use")


class _Block:
    """Hold one block while it grows."""

    def __init__(self, begun: Json) -> None:
        self.kind = str(begun.get("type", ""))
        self.begun = begun
        self.grown: dict[str, list[str]] = {}  # the pieces of each text
        self.json: list[str] = []  # the pieces of a tool's input
        self.call = -1  # the number of the tool call that this is

    def grow(self, name: str, value: Any) -> None:
        if isinstance(value, str):
            if name not in self.grown:
                begun = self.begun.get(name)
                self.grown[name] = [begun] if isinstance(begun, str) else []
            self.grown[name].append(value)
        else:
            self.begun[name] = value

    def whole(self, who: str) -> tuple[Part, ...]:
        self.begun |= {name: "".join(pieces) for name, pieces in self.grown.items()}
        self.grown.clear()
        text = "".join(self.json)
        if text and self.call < 0:
            try:
                self.begun["input"] = _object_decoder.decode(text)
            except msgspec.DecodeError:
                raise ProviderFailed(f"{who} sent an answer that makes no sense.") from None
        parts = parts_of([self.begun], who)
        if text and len(parts) == 1 and isinstance(parts[0], ToolCall):
            return (ToolCall(parts[0].id, parts[0].name, text),)
        return parts


class StreamReader:
    """Read one stream, event by event. `done` once the message is whole."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._blocks: dict[int, _Block] = {}
        self._usages: list[UsageField] = []
        self._finish: FinishReason | None = None
        self._stop_sequence = ""
        self._model_version = ""
        self._calls = 0
        self._final = False  # has the vendor's last word on usage come?
        self._holding = False
        self._last = ""  # the kind of the block before
        self.done = False

    def take(self, data: bytes) -> list[Piece]:
        """Read one event's data. Raises `ProviderFailed`, `ProviderBusy`."""
        try:
            event = _event_decoder.decode(data)
        except (msgspec.DecodeError, UnicodeError):
            raise ProviderFailed(f"{self._who} sent an answer that makes no sense.") from None
        if event.type == "content_block_delta" and event.delta is not None:
            return self._passed(self._grow(event.index, event.delta, data))
        if event.type == "content_block_start" and event.content_block is not None:
            return self._passed(self._begin(event.index, event.content_block))
        if event.type == "content_block_stop":
            return self._passed(self._end(event.index))
        self._note(event)
        return []

    @property
    def told(self) -> int:
        """Return how often usage was told."""
        return len(self._usages)

    @property
    def usage_so_far(self) -> Usage | None:
        """Return what was told of usage: the prompt's from the start, the answer's with its last event."""
        usage = usage_of(self._usages)
        return usage if usage is None or self._final else replace(usage, estimated=True)

    def whole(self) -> Whole:
        """Return the message. Raises `ProviderFailed` where it did not come to its end."""
        if self._finish is None:
            raise ProviderFailed(f"{self._who} ended the stream before the answer was whole.")
        parts = tuple(part for _, block in sorted(self._blocks.items()) for part in block.whole(self._who))
        usage = usage_of(self._usages)
        return Whole(parts, self._finish, usage, self._model_version, self._stop_sequence)

    def _passed(self, pieces: list[Piece]) -> list[Piece]:
        return [] if self._holding else pieces

    def _note(self, event: _Event) -> None:
        if event.type == "message_start" and event.message is not None:
            self._model_version = event.message.model
            self._usages.append(read_usage(bytes(event.message.usage)))
        elif event.type == "message_delta":
            if event.delta is not None and event.delta.stop_reason:
                self._finish = finish_reason(event.delta.stop_reason)
                self._stop_sequence = event.delta.stop_sequence or ""
            self._usages.append(read_usage(bytes(event.usage)))
            self._final = True
        elif event.type == "message_stop":
            self.done = True
        elif event.type == "error":
            raise broken_off(event.error or ErrorField(), self._who)

    def _begin(self, index: int, begun: Json) -> list[Piece]:
        block = self._blocks[index] = _Block(begun)
        before, self._last = self._last, block.kind
        caller = begun.get("caller")
        own = block.kind == "tool_use" and (caller not in (None, {"type": "direct"}) or begun.get("toolset_name"))
        if block.kind not in _SPOKEN or own or (block.kind == "text" == before):
            self._holding = True
        if block.kind == "text":
            return [Delta(begun["text"])] if begun.get("text") else []
        if block.kind == "thinking":
            return [ThinkingDelta(begun["thinking"])] if begun.get("thinking") else []
        if block.kind == "redacted_thinking":
            return [ThinkingDelta(redacted=str(begun.get("data", "")))]
        if block.kind == "tool_use" and not own:
            block.call = self._calls
            self._calls += 1
            return [ToolDelta(block.call, str(begun.get("id", "")), str(begun.get("name", "")))]
        return []

    def _grow(self, index: int, delta: _Delta, data: bytes) -> list[Piece]:
        block = self._blocks.get(index)
        if block is None:
            raise ProviderFailed(f"{self._who} sent an answer that makes no sense.")
        if delta.type == "text_delta" and block.kind == "text":
            block.grow("text", delta.text)
            return [Delta(delta.text)] if delta.text else []
        if delta.type == "input_json_delta":
            block.json.append(delta.partial_json)
            return [ToolDelta(block.call, arguments=delta.partial_json)] if delta.partial_json else []
        if delta.type == "thinking_delta":
            block.grow("thinking", delta.thinking)
            return [ThinkingDelta(delta.thinking)] if delta.thinking else []
        if delta.type == "signature_delta":
            block.begun["signature"] = delta.signature
            return []
        self._holding = True
        self._grow_loosely(block, _loose_decoder.decode(data).delta)
        return []

    def _grow_loosely(self, block: _Block, delta: Json) -> None:
        """Take in a delta of another kind: a citation joins its list, texts grow, all else is set."""
        for name, value in delta.items():
            if name == "citation":
                block.begun["citations"] = [*(block.begun.get("citations") or ()), value]
            elif name != "type":
                block.grow(name, value)

    def _end(self, index: int) -> list[Piece]:
        block = self._blocks.get(index)
        if block is None:
            return []
        if block.kind == "thinking" and block.begun.get("signature"):
            return [ThinkingDelta(signature=str(block.begun["signature"]))]
        if block.call >= 0 and not any(block.json):
            given = msgspec.json.encode(block.begun.get("input") or {}).decode()
            block.json.append(given)
            return [ToolDelta(block.call, arguments=given)]
        return []
