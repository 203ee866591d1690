"""What a response puts out: items that grow with the pieces of an answer, told as events and as a whole. Pure.

The format is OpenAI's API reference, "The response object" and "Streaming events": an item is added, its parts are,
pieces follow, and each is told whole when it is done. A plain reply is what a stream comes to, written by the same
hand. An item closes when the next one opens; only calls that a live stream begins stay open to its end, because
vendors may send theirs side by side.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from askonce.domain.answer import Delta, Piece, ThinkingDelta
from askonce.domain.content import Thinking
from askonce.wire.openai_messages import CustomCall
from askonce.wire.openai_parts import Json
from askonce.wire.responses_seals import write_details_seal, write_seal

_encode = msgspec.json.encode

COMPLETED, INCOMPLETE, IN_PROGRESS = b"completed", b"incomplete", b"in_progress"


class Events:
    """Write events with their numbers."""

    def __init__(self) -> None:
        self._number = 0

    def write(self, kind: bytes, fields: bytes) -> bytes:
        """Write one event; `fields` are encoded, without braces."""
        number, self._number = self._number, self._number + 1
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (kind, kind, number, fields)


class _Item:
    """Hold one item: its number, its id, and what it has come to."""

    prefix = b""

    def __init__(self, events: Events, request_id: bytes, number: int) -> None:
        self._events = events
        self.id = b"%b_%b_%d" % (self.prefix, request_id, number)
        self.number = number
        self.status = IN_PROGRESS

    def begin(self) -> bytes:
        """Tell that it is there."""
        fields = b'"output_index":%d,"item":%b' % (self.number, self.whole())
        return self._events.write(b"response.output_item.added", fields)

    def end(self, status: bytes) -> bytes:
        """Tell it whole."""
        last = self.finish()
        self.status = status
        fields = b'"output_index":%d,"item":%b' % (self.number, self.whole())
        return last + self._events.write(b"response.output_item.done", fields)

    def whole(self) -> bytes:
        """Return it encoded."""
        raise NotImplementedError

    def finish(self) -> bytes:
        """Tell the end of what is in it."""
        return b""

    def _tell(self, kind: bytes, fields: bytes) -> bytes:
        place = b'"item_id":"%b","output_index":%d' % (self.id, self.number)
        return self._events.write(kind, b"%b,%b" % (place, fields))


class _Message(_Item):
    """Words of the model, or its refusal, or (where it was known too late as one) both."""

    prefix = b"msg"

    def __init__(self, events: Events, request_id: bytes, number: int) -> None:
        super().__init__(events, request_id, number)
        self._texts: list[str] | None = None
        self._refusal: str | None = None
        self.annotations: list[Json] = []

    def say(self, text: str) -> bytes:
        begun = b""
        if self._texts is None:
            self._texts = []
            part = b'"content_index":0,"part":%b' % _text_part("", ())
            begun = self._tell(b"response.content_part.added", part)
        if not text:
            return begun
        self._texts.append(text)
        fields = b'"content_index":0,"delta":%b,"logprobs":[]' % _encode(text)
        return begun + self._tell(b"response.output_text.delta", fields)

    def refuse(self, words: str) -> bytes:
        done = self._finish_text()
        self._refusal = words
        at, empty, said = self._refusal_index(), _refusal_part(""), _encode(words)
        return b"".join(
            (
                done,
                self._tell(b"response.content_part.added", b'"content_index":%d,"part":%b' % (at, empty)),
                self._tell(b"response.refusal.delta", b'"content_index":%d,"delta":%b' % (at, said)),
                self._tell(b"response.refusal.done", b'"content_index":%d,"refusal":%b' % (at, said)),
                self._tell(b"response.content_part.done", b'"content_index":%d,"part":%b' % (at, _refusal_part(words))),
            )
        )

    def cite(self, annotation: Json) -> bytes:
        fields = b'"content_index":0,"annotation_index":%d,"annotation":%b'
        told = fields % (len(self.annotations), _encode(annotation))
        self.annotations.append(annotation)
        return self._tell(b"response.output_text.annotation.added", told)

    def finish(self) -> bytes:
        return self._finish_text() if self._refusal is None else b""

    def whole(self) -> bytes:
        parts = []
        if self.status != IN_PROGRESS:
            if self._texts is not None:
                parts.append(_text_part("".join(self._texts), self.annotations))
            if self._refusal is not None:
                parts.append(_refusal_part(self._refusal))
        head = b'{"id":"%b","type":"message","status":"%b","role":"assistant","content":[%b]}'
        return head % (self.id, self.status, b",".join(parts))

    def _finish_text(self) -> bytes:
        if self._texts is None:
            return b""
        text = "".join(self._texts)
        part = _text_part(text, self.annotations)
        return self._tell(
            b"response.output_text.done", b'"content_index":0,"text":%b,"logprobs":[]' % _encode(text)
        ) + self._tell(b"response.content_part.done", b'"content_index":0,"part":%b' % part)

    def _refusal_index(self) -> int:
        return 0 if self._texts is None else 1


class _Thought(_Item):
    """What the model thought, as its summary, and what seals it."""

    prefix = b"rs"

    def __init__(self, events: Events, request_id: bytes, number: int) -> None:
        super().__init__(events, request_id, number)
        self._texts: list[str] = []
        self.seal: str | None = None

    def think(self, text: str) -> bytes:
        begun = b""
        if not self._texts:
            begun = self._tell(b"response.reasoning_summary_part.added", b'"summary_index":0,"part":%b' % _summary(""))
        self._texts.append(text)
        fields = b'"summary_index":0,"delta":%b' % _encode(text)
        return begun + self._tell(b"response.reasoning_summary_text.delta", fields)

    def finish(self) -> bytes:
        if not self._texts:
            return b""
        text = "".join(self._texts)
        return self._tell(
            b"response.reasoning_summary_text.done", b'"summary_index":0,"text":%b' % _encode(text)
        ) + self._tell(b"response.reasoning_summary_part.done", b'"summary_index":0,"part":%b' % _summary(text))

    def whole(self) -> bytes:
        summary, sealed = b"", b""
        if self.status != IN_PROGRESS:
            summary = _summary("".join(self._texts)) if self._texts else b""
            sealed = b',"encrypted_content":%b' % _encode(self.seal) if self.seal is not None else b""
        head = b'{"id":"%b","type":"reasoning","status":"%b","summary":[%b]%b}'
        return head % (self.id, self.status, summary, sealed)


class _Call(_Item):
    """A call of a function."""

    prefix = b"fc"

    def __init__(self, events: Events, request_id: bytes, number: int) -> None:
        super().__init__(events, request_id, number)
        self._pieces: list[str] = []
        self.call_id = self.name = ""

    def add(self, arguments: str) -> bytes:
        if not arguments:
            return b""
        self._pieces.append(arguments)
        return self._tell(b"response.function_call_arguments.delta", b'"delta":%b' % _encode(arguments))

    def finish(self) -> bytes:
        told = b'"name":%b,"arguments":%b' % (_encode(self.name), _encode("".join(self._pieces)))
        return self._tell(b"response.function_call_arguments.done", told)

    def whole(self) -> bytes:
        arguments = "" if self.status == IN_PROGRESS else "".join(self._pieces)
        head = b'{"id":"%b","type":"function_call","status":"%b","call_id":%b,"name":%b,"arguments":%b}'
        return head % (self.id, self.status, _encode(self.call_id), _encode(self.name), _encode(arguments))


class _CustomCall(_Item):
    """A call of a custom tool. No piece of an answer carries its input, so it comes whole."""

    prefix = b"ctc"

    def __init__(self, events: Events, request_id: bytes, number: int) -> None:
        super().__init__(events, request_id, number)
        self.call_id = self.name = self._input = ""

    def put(self, text: str) -> bytes:
        self._input = text
        return self._tell(b"response.custom_tool_call_input.delta", b'"delta":%b' % _encode(text)) if text else b""

    def finish(self) -> bytes:
        return self._tell(b"response.custom_tool_call_input.done", b'"input":%b' % _encode(self._input))

    def whole(self) -> bytes:
        put = "" if self.status == IN_PROGRESS else self._input
        head = b'{"id":"%b","type":"custom_tool_call","status":"%b","call_id":%b,"name":%b,"input":%b}'
        return head % (self.id, self.status, _encode(self.call_id), _encode(self.name), _encode(put))


def _text_part(text: str, annotations: Sequence[Json]) -> bytes:
    told = _encode(annotations) if annotations else b"[]"
    return b'{"type":"output_text","text":%b,"annotations":%b,"logprobs":[]}' % (_encode(text), told)


def _refusal_part(words: str) -> bytes:
    return b'{"type":"refusal","refusal":%b}' % _encode(words)


def _summary(text: str) -> bytes:
    return b'{"type":"summary_text","text":%b}' % _encode(text)


class Output:
    """Gather the items of one response. `request_id` is part of their ids.

    `in_order`: every piece of a call comes before the next item's; a live stream does not promise it.
    """

    def __init__(self, events: Events, request_id: bytes) -> None:
        self.in_order = False
        self._events = events
        self._request_id = request_id
        self._items: list[_Item] = []
        self._open: list[_Item] = []
        self._calls: dict[int, _Call] = {}
        self._said: _Message | None = None  # the last message

    @property
    def spoke(self) -> bool:
        """Say whether there are words of the answer."""
        return self._said is not None

    def has_begun(self, index: int) -> bool:
        """Say whether pieces of the call with this number have come."""
        return index in self._calls

    def add(self, piece: Piece) -> bytes:
        """Take one piece in; return its events."""
        if isinstance(piece, Delta):
            return self._say(piece.text) if piece.text else b""
        if isinstance(piece, ThinkingDelta):
            return self._think(piece)
        call = self._calls.get(piece.index)
        if call is not None:
            return call.add(piece.arguments)
        call = self._calls[piece.index] = _Call(self._events, self._request_id, len(self._items))
        call.call_id, call.name = piece.id, piece.name
        return self._begin(call) + call.add(piece.arguments)

    def add_custom(self, call: CustomCall) -> bytes:
        """Take in a call of a custom tool."""
        item = _CustomCall(self._events, self._request_id, len(self._items))
        item.call_id, item.name = call.id, call.name
        return self._begin(item) + item.put(call.input)

    def refuse(self, words: str) -> bytes:
        """Take in that the model refused, with its words."""
        events, message = self._message()
        return events + message.refuse(words)

    def cite(self, annotations: Sequence[Json]) -> bytes:
        """Take in what the words lean on; told as events only while they are not done."""
        message = self._said
        if message is None:
            return b""
        if message.status == IN_PROGRESS:
            return b"".join(map(message.cite, annotations))
        message.annotations += annotations
        return b""

    def seal(self, details: Any) -> bytes:
        """Take in reasoning that is sealed as a list."""
        thought = _Thought(self._events, self._request_id, len(self._items))
        begun = self._begin(thought)
        thought.seal = write_details_seal(details)
        return begun

    def end(self, *, incomplete: bool) -> bytes:
        """Close what is open. An answer of nothing is a message without words."""
        begun = b"" if self._items else self._say("")
        last = self._items[-1]
        ends = [item.end(INCOMPLETE if incomplete and item is last else COMPLETED) for item in self._open]
        self._open = []
        return begun + b"".join(ends)

    def break_off(self) -> None:
        """Leave what is open as it stands."""
        for item in self._open:
            item.status = INCOMPLETE
        self._open = []

    def items(self) -> bytes:
        """Return all items, encoded."""
        return b"[%b]" % b",".join(item.whole() for item in self._items)

    def _begin(self, item: _Item) -> bytes:
        closing = [one for one in self._open if self.in_order or not isinstance(one, _Call)]
        ends = [one.end(COMPLETED) for one in closing]
        self._open = [one for one in self._open if one not in closing]
        self._open.append(item)
        self._items.append(item)
        return b"".join(ends) + item.begin()

    def _message(self) -> tuple[bytes, _Message]:
        message = self._said
        if message is not None and message.status == IN_PROGRESS:
            return b"", message
        message = self._said = _Message(self._events, self._request_id, len(self._items))
        return self._begin(message), message

    def _say(self, text: str) -> bytes:
        events, message = self._message()
        return events + message.say(text)

    def _think(self, piece: ThinkingDelta) -> bytes:
        seal = write_seal(Thinking("", piece.signature, piece.redacted))
        if not piece.text and seal is None:
            return b""
        last = self._open[-1] if self._open else None
        begun = b""
        if not isinstance(last, _Thought) or last.seal is not None:
            last = _Thought(self._events, self._request_id, len(self._items))
            begun = self._begin(last)
        told = last.think(piece.text) if piece.text else b""
        last.seal = seal
        return begun + told
