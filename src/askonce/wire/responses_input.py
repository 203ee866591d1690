"""The `input` of `POST /v1/responses` becomes messages: the very ones that a chat completion would hold.

The format is OpenAI's API reference, "Create a model response", and its guides "Conversation state", "Function
calling" and "Reasoning models". There a turn of the assistant is a list of items; here it is one message, whose parts
stand in the order of `wire.openai_messages`. A message of the assistant begins a turn of its own where the one before
it ended with words; as long as a call has no result, all that the assistant adds belongs to its turn.

Ids and states of items and their `phase` are this API's own bookkeeping, as are annotations that come back, and what
the official library parsed of an answer: nobody who is asked is told them. What needs the vendor's own endpoint (its
tools, its files, its memory) is refused by name.
"""

from typing import Any, cast, get_args

from msgspec import Struct

from askonce.domain.call import Message, Role
from askonce.domain.content import Foreign, Image, Part, Text, ToolCall, ToolResult, as_parts, canonical_json, plain
from askonce.wire.openai_answers import REFUSAL
from askonce.wire.openai_messages import CustomCall
from askonce.wire.openai_parts import MARKS, NAMED_MAX, SHAPE, Findings, Json, named, read_part
from askonce.wire.responses_seals import read_seal

_SPEAKERS: tuple[str, ...] = tuple(role for role in get_args(Role) if role != "tool")
_BOOKKEEPING = frozenset(("id", "status", "phase", "created_by", "parsed_arguments"))
_NOT_KEPT = "nothing is kept between requests, so send the item itself (most clients do if they send store: false)"
_OWN_ENDPOINT = "needs the vendor's own endpoint, which is not asked here"

# What a part of a message may say besides its type; annotations and logprobs are those of an answer that comes back.
_PART_FIELDS = {
    "input_text": frozenset(("text",)),
    "output_text": frozenset(("text", "annotations", "logprobs", "parsed")),
    "input_image": frozenset(("image_url", "detail", "file_id")),
    "input_audio": frozenset(("input_audio",)),
    "refusal": frozenset(("refusal",)),
}
# What chat completions call parts, and what they are called here.
_RENAMED = {"text": "input_text or output_text", "image_url": "input_image"}
# What a call and its result may say only in the way that asks for nothing.
_HARMLESS: dict[str, Any] = {"caller": {"type": "direct"}, "async": False}


class _Turn(Struct):
    """Hold a turn of the assistant while its items come. `late` is what it thought after it had said something."""

    thoughts: list[Part] = []
    said: list[Part] = []
    late: list[Part] = []
    calls: list[ToolCall | Foreign] = []
    refusals: list[Part] = []

    def parts(self) -> tuple[Part, ...]:
        return (*self.thoughts, *self.late, *self.said, *self.calls, *self.refusals)


def read_input(value: object, instructions: str, findings: Findings) -> tuple[Message, ...]:
    """Read instructions and input; what is wrong with them is noted."""
    reading = _Reading(findings)
    if instructions:
        reading.messages.append(Message("system", instructions))
    if isinstance(value, str):
        reading.messages.append(Message("user", value))
    elif not isinstance(value, list) or not value:
        findings.wrong("input", "must be a text or a list with at least one item")
    else:
        for at, item in enumerate(value):
            reading.item(item, f"input[{at}]")
    return reading.whole()


class _Reading:
    """Read items in their order."""

    def __init__(self, findings: Findings) -> None:
        self.messages: list[Message] = []
        self._findings = findings
        self._turn: _Turn | None = None

    def whole(self) -> tuple[Message, ...]:
        """Return the conversation."""
        self._end_turn()
        return tuple(self.messages)

    def item(self, item: object, field: str) -> None:
        """Read one item."""
        if not isinstance(item, dict):
            self._findings.wrong(field, "must be an item: an object with a type, or a message with a role")
            return
        kind = item.get("type") or "message"
        read = _ITEMS.get(kind) if isinstance(kind, str) else None
        if read is None:
            self._findings.wrong(field, f"is {str(kind)[:NAMED_MAX]}, which {_OWN_ENDPOINT}")
            return
        read(self, {name: value for name, value in item.items() if value is not None and name != "type"}, field)

    def message(self, item: Json, field: str) -> None:
        """Read a message."""
        role = item.pop("role", None)
        if role not in _SPEAKERS:
            self._findings.wrong(f"{field}.role", f"must be one of {', '.join(_SPEAKERS)}")
            return
        content = item.pop("content", None)
        if role == "assistant":
            turn = self._turn_of_message()
            for part in self._content(content, field, len(turn.said)):
                if isinstance(part, Foreign) and part.kind == REFUSAL:
                    turn.refusals.append(part)
                elif part != Text(""):  # no text is no part
                    turn.said.append(part)
            if len(turn.refusals) > 1:
                self._findings.wrong(field, "refuses a second time in one turn")
        else:
            self._end_turn()
            parts = self._content(content, field, 0)
            if any(isinstance(part, Foreign) and part.kind == REFUSAL for part in parts):
                self._findings.wrong(field, "holds a refusal, which only the assistant's message can")
            self.messages.append(Message(cast(Role, role), plain(parts) if parts else ""))
        self._look_at_rest(item, field)

    def call(self, item: Json, field: str) -> None:
        """Read a call of a function."""
        call_id, name, arguments = item.pop("call_id", None), item.pop("name", None), item.pop("arguments", None)
        if isinstance(call_id, str) and isinstance(name, str) and isinstance(arguments, str):
            self._open_turn().calls.append(ToolCall(call_id, name, arguments))
        else:
            self._findings.wrong(field, "must have a call_id, a name, and arguments as text")
        self._look_at_rest(item, field)

    def custom_call(self, item: Json, field: str) -> None:
        """Read a call of a custom tool, whose input is any text."""
        call_id, name, text = item.pop("call_id", None), item.pop("name", None), item.pop("input", None)
        if isinstance(call_id, str) and isinstance(name, str) and isinstance(text, str):
            self._open_turn().calls.append(CustomCall(call_id, name, text).part())
        else:
            self._findings.wrong(field, "must have a call_id, a name, and an input as text")
        self._look_at_rest(item, field)

    def result(self, item: Json, field: str) -> None:
        """Read what a function or a custom tool said."""
        call_id, output = item.pop("call_id", None), item.pop("output", None)
        self._end_turn()
        if not isinstance(call_id, str):
            self._findings.wrong(f"{field}.call_id", "must be the id of a call")
            return
        said: list[Text | Image] = []
        for part in self._content(output, field, 0, "output"):
            if isinstance(part, Text | Image):
                said.append(part)
            else:
                self._findings.wrong(f"{field}.output", f"holds {named(part)}, which a tool's result cannot hold here")
        self.messages.append(Message("tool", (ToolResult(call_id, () if said == [Text("")] else tuple(said)),)))
        self._look_at_rest(item, field)

    def reasoning(self, item: Json, field: str) -> None:
        """Read what the model thought. Its full text wins over its summary; one that tells nothing is nothing."""
        full, summary = _texts(item.pop("content", [])), _texts(item.pop("summary", []))
        if full is None or summary is None:
            self._findings.wrong(field, "must have a summary, and if any a content, as lists of parts with texts")
            return
        found = read_seal(item.pop("encrypted_content", ""), "".join(full) or "\n\n".join(summary))
        if found is None:
            problem = "was not sealed by this gateway, and nobody asked here could read it: leave the item out"
            self._findings.wrong(f"{field}.encrypted_content", problem)
        elif found:
            turn = self._open_turn()
            for part in found:
                late = turn.said and not isinstance(part, Foreign)  # a list of seals is that of its whole turn
                (turn.late if late else turn.thoughts).append(part)
        self._look_at_rest(item, field)

    def reference(self, item: Json, field: str) -> None:
        """Refuse what stands for something that is remembered elsewhere."""
        self._findings.wrong(field, f"is item_reference: {_NOT_KEPT}")

    def _turn_of_message(self) -> _Turn:
        """Return the turn that a message belongs to: a new one, with what was thought last, where words ended it."""
        turn = self._open_turn()
        if turn.calls or not (turn.said or turn.refusals):
            return turn
        late, turn.late = turn.late, []
        self._end_turn()
        turn = self._open_turn()
        turn.thoughts = late
        return turn

    def _open_turn(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn()
        return self._turn

    def _end_turn(self) -> None:
        if self._turn is not None:
            parts = self._turn.parts()
            self.messages.append(Message("assistant", plain(parts) if parts else ""))
            self._turn = None

    def _content(self, content: object, field: str, before: int, name: str = "content") -> tuple[Part, ...]:
        if isinstance(content, str):
            return as_parts(content)
        if not isinstance(content, list) or not content:
            self._findings.wrong(f"{field}.{name}", "must be a text or a list of parts")
            return ()
        # Marks of a result are those of the message's one part.
        places = [0 if name == "output" else before + at for at in range(len(content))]
        parts = [self._part(item, f"{field}.{name}[{at}]", places[at]) for at, item in enumerate(content)]
        return tuple(part for part in parts if part is not None)

    def _part(self, item: object, field: str, place: int) -> Part | None:
        """Read a part by saying it as a chat completion would."""
        kind = item.get("type") if isinstance(item, dict) else None
        if not isinstance(item, dict) or not isinstance(kind, str):
            self._findings.wrong(field, "must be a part with a type, such as input_text")
            return None
        if kind not in _PART_FIELDS:
            name = _RENAMED.get(kind)
            cure = (
                f"the name in chat completions: send {name}" if name else f"{kind[:NAMED_MAX]}, which {_OWN_ENDPOINT}"
            )
            self._findings.wrong(field, f"is {cure}")
            return None
        told = {name: value for name, value in item.items() if value is not None and name != "type"}
        marks = {name: told.pop(name) for name in MARKS & told.keys()}
        for name in sorted(told.keys() - _PART_FIELDS[kind]):
            self._findings.wrong(f"{field}.{name[:NAMED_MAX]}", "is not known in a part of this type")
        if kind == "refusal":
            return self._refusal(told.get("refusal"), field)
        said = self._as_chat(kind, told, field)
        where = ("messages", len(self.messages), "content", place)
        return None if said is None else read_part(said | marks, field, where, self._findings)

    def _as_chat(self, kind: str, told: Json, field: str) -> Json | None:
        if kind == "input_image":
            return self._image(told, field)
        return (
            {"type": kind, kind: told.get(kind)}
            if kind == "input_audio"
            else {"type": "text", "text": told.get("text")}
        )

    def _image(self, told: Json, field: str) -> Json | None:
        url, detail = told.get("image_url"), told.get("detail", "")
        if "file_id" in told:
            self._findings.wrong(f"{field}.file_id", f"names a file at the vendor's: it {_OWN_ENDPOINT}")
        elif not isinstance(url, str) or not url or not isinstance(detail, str):
            self._findings.wrong(f"{field}.image_url", "must be an address or a data URL, and detail, if any, a text")
        else:
            return {"type": "image_url", "image_url": {"url": url} | ({"detail": detail} if detail else {})}
        return None

    def _refusal(self, words: object, field: str) -> Part | None:
        if isinstance(words, str):
            return Foreign(SHAPE, REFUSAL, canonical_json(words))
        self._findings.wrong(f"{field}.refusal", "must be a text")
        return None

    def _look_at_rest(self, item: Json, field: str) -> None:
        """Note what an item says besides; marks belong to its message, which is the last or the turn that is open."""
        for name in sorted(item.keys() - _BOOKKEEPING):
            if name in MARKS:
                at = len(self.messages) - (self._turn is None)
                self._findings.beside(("messages", at, name), item[name])
            elif name not in _HARMLESS or item[name] != _HARMLESS[name]:
                self._findings.wrong(f"{field}.{name[:NAMED_MAX]}", "is not known here")


_ITEMS = {
    "message": _Reading.message,
    "function_call": _Reading.call,
    "function_call_output": _Reading.result,
    "custom_tool_call": _Reading.custom_call,
    "custom_tool_call_output": _Reading.result,
    "reasoning": _Reading.reasoning,
    "item_reference": _Reading.reference,
}


def _texts(parts: object) -> list[str] | None:
    """Return the texts of a list of parts; None where it is no such list."""
    if not isinstance(parts, list):
        return None
    texts = [part.get("text") if isinstance(part, dict) else None for part in parts]
    return [text for text in texts if isinstance(text, str)] if all(isinstance(t, str) for t in texts) else None
