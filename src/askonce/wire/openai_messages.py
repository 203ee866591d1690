"""Messages in OpenAI's shape, read and written.

The canonical order of an assistant's parts is: thoughts, content, tool calls, then fields of the message that only
this shape knows (`Foreign` of the kind `message.NAME`). No text is no part, so that `""` and `null` beside tool calls
are one. A tool's result is one message; that it is an error, which this shape cannot say, is said in words.

Pictures in a tool's result are moved: a message of the role `tool` takes texts only (OpenAI's API reference, "Create
chat completion", tool message: "only type `text` is supported"). A text stands where a picture stood, and the pictures
follow in a message of the user's behind the results that belong together, because nothing may come between those.
"""

from collections.abc import Sequence
from typing import Any, cast, get_args

import msgspec
from msgspec import Struct

from askonce.domain.call import Call, Message, Role
from askonce.domain.content import (
    Foreign,
    Image,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    as_parts,
    canonical_json,
    plain,
)
from askonce.wire.openai_parts import SHAPE, Findings, Json, Place, named, read_part, write_part
from askonce.wire.openai_thoughts import REASONING, is_sealed, read_thoughts, spoken, write_details

ROLES: tuple[str, ...] = get_args(Role)
_SPEAKERS = frozenset(ROLES) - {"tool"}
FIELD = "message."  # begins the kind of a `Foreign` that is a field of its message
CUSTOM_CALL = "tool_calls"  # the kind of a `Foreign` that stands among the tool calls
ERROR_WORD = "Error: "
# What stands for a picture in a tool's result, and what stands before the pictures where they went.
PICTURE_BELOW = "[picture {} of this result: see the next message of the user]"
PICTURES_OF = "Pictures in the result of the tool call {}:"
IN_PARTS, IN_DETAILS = "parts", "reasoning_details"  # where else reasoning goes than in a text of its own

# What clients send back of an answer, and vendors read past.
_BESIDE = frozenset(("annotations", "cache_control", "prompt_cache_breakpoint"))


_CALL_FIELDS = frozenset(("id", "type", "function"))
_FUNCTION_FIELDS = frozenset(("name", "arguments"))
_CALL_PLACE = frozenset(("index", "cache_control"))  # where it stood in a stream, which its place in the list says


def read_messages(value: object, findings: Findings) -> tuple[Message, ...]:
    """Read a conversation; what is wrong with it is noted."""
    if not isinstance(value, list) or not value:
        findings.wrong("messages", "must be a list with at least one message")
        return ()
    return tuple(_plain(item) or _read_message(item, at, findings) for at, item in enumerate(value))


def _plain(item: object) -> Message | None:
    """Read a message of nothing but words, which nearly all are, without a look at what it does not have."""
    if isinstance(item, dict) and len(item) == 2:
        role, content = item.get("role"), item.get("content")
        if isinstance(content, str) and isinstance(role, str) and role in _SPEAKERS:
            return Message(cast(Role, role), content)
    return None


def _read_message(item: object, index: int, findings: Findings) -> Message:
    field = f"messages[{index}]"
    role = item.get("role") if isinstance(item, dict) else None
    if not isinstance(item, dict) or role not in ROLES:
        cure = " (results of functions are now messages of the role tool)" if role == "function" else ""
        findings.wrong(f"{field}.role" if isinstance(item, dict) else field, f"must be one of {', '.join(ROLES)}{cure}")
        return Message("user", "")
    fields = {name: value for name, value in item.items() if value is not None and name != "role"}
    name = fields.pop("name", "")
    if not isinstance(name, str):
        findings.wrong(f"{field}.name", "must be a text")
        name = ""
    reading = _Reading(fields, index, findings)
    if role == "tool":
        parts: tuple[Part, ...] = (reading.result(),)
    elif role == "assistant":
        parts = (*reading.thoughts(), *reading.content("content" not in fields), *reading.calls())
    else:
        parts = reading.content(may_lack=False)
    parts += reading.rest()
    return Message(cast(Role, role), plain(parts) if parts else "", name)


class _Reading:
    """Read one message's fields, taking out each that is read."""

    def __init__(self, fields: Json, index: int, findings: Findings) -> None:
        self._fields = fields
        self._index = index
        self._field = f"messages[{index}]"
        self._findings = findings

    def thoughts(self) -> tuple[Part, ...]:
        thoughts = read_thoughts(self._fields)
        for name in REASONING:
            if self._fields.pop(name, None) is not None:
                self._findings.wrong(f"{self._field}.{name}", "must be a text, and one only under all its names")
        return thoughts

    def content(self, may_lack: bool) -> tuple[Part, ...]:
        content = self._fields.pop("content", None)
        if isinstance(content, str):
            return as_parts(content)
        if content is None and may_lack:
            return ()
        if not isinstance(content, list) or not content:
            self._findings.wrong(f"{self._field}.content", "must be a text or a list of parts")
            return ()
        parts = []
        for at, item in enumerate(content):
            place: Place = ("messages", self._index, "content", at)
            parts.append(read_part(item, f"{self._field}.content[{at}]", place, self._findings))
        return tuple(part for part in parts if part is not None)

    def calls(self) -> tuple[Part, ...]:
        if self._fields.pop("function_call", None) is not None:
            self._findings.wrong(f"{self._field}.function_call", "is the legacy form: send tool_calls")
        calls = self._fields.pop("tool_calls", [])
        if not isinstance(calls, list):
            self._findings.wrong(f"{self._field}.tool_calls", "must be a list")
            return ()
        found = []
        for at, item in enumerate(calls):
            call = read_call(item)
            if call is None:
                where = f"{self._field}.tool_calls[{at}]"
                self._findings.wrong(where, "must have an id, and a function with a name and arguments as text")
            else:
                found.append(call)
        return tuple(found)

    def result(self) -> ToolResult:
        call_id, content = self._fields.pop("tool_call_id", None), self._fields.pop("content", None)
        if not isinstance(call_id, str):
            self._findings.wrong(f"{self._field}.tool_call_id", "must be the id of a tool call")
            call_id = ""
        if isinstance(content, str):
            return ToolResult(call_id, (Text(content),) if content else ())
        if not isinstance(content, list):
            self._findings.wrong(f"{self._field}.content", "must be a text or a list of parts")
            return ToolResult(call_id, ())
        said: list[Text | Image] = []
        for at, item in enumerate(content):
            # Marks are those of the whole result, which is the message's one part.
            where = f"{self._field}.content[{at}]"
            part = read_part(item, where, ("messages", self._index, "content", 0), self._findings)
            if isinstance(part, Text | Image):
                said.append(part)
            elif part is not None:
                self._findings.wrong(where, f"is {named(part)}, which a tool's result cannot hold here")
        return ToolResult(call_id, () if said == [Text("")] else tuple(said))

    def rest(self) -> tuple[Part, ...]:
        parts = []
        for name in sorted(self._fields):
            if name in _BESIDE:
                self._findings.beside(("messages", self._index, name), self._fields[name])
            else:
                parts.append(Foreign(SHAPE, f"{FIELD}{name[:80]}", canonical_json(self._fields[name])))
        return tuple(parts)


def read_call(item: object) -> ToolCall | Foreign | None:
    """Read one tool call of an assistant; None where it is none. One that says more than ours can hold is foreign."""
    if not isinstance(item, dict):
        return None
    told = {name: value for name, value in item.items() if value is not None and name not in _CALL_PLACE}
    function, call_id = told.get("function"), told.get("id")
    if told.get("type", "function") != "function":
        return Foreign(SHAPE, CUSTOM_CALL, canonical_json(told))
    if not isinstance(function, dict) or not isinstance(call_id, str):
        return None
    name, arguments = function.get("name"), function.get("arguments", "")
    if not isinstance(name, str) or not isinstance(arguments, str):
        return None
    if not told.keys() <= _CALL_FIELDS or not _told(function) <= _FUNCTION_FIELDS:
        return Foreign(SHAPE, CUSTOM_CALL, canonical_json(told))
    return ToolCall(call_id, name, arguments)


class CustomCall(Struct, frozen=True):
    """Hold a call of a custom tool, whose input is any text; as a part it is a `Foreign` of the kind `CUSTOM_CALL`."""

    id: str
    name: str
    input: str

    def part(self) -> Foreign:
        """Return the call as a part, as chat completions write it."""
        custom = {"name": self.name, "input": self.input}
        return Foreign(SHAPE, CUSTOM_CALL, canonical_json({"id": self.id, "type": "custom", "custom": custom}))


class _CustomInput(Struct):
    name: str
    input: str


class _CustomTold(Struct):
    id: str
    custom: _CustomInput


_custom_told = msgspec.json.Decoder(_CustomTold)


def custom_call(part: Part) -> CustomCall | None:
    """Return the call of a custom tool that a part is; None where it is something else."""
    if not isinstance(part, Foreign) or (part.shape, part.kind) != (SHAPE, CUSTOM_CALL):
        return None
    try:
        told = _custom_told.decode(part.json)
    except msgspec.ValidationError:
        return None
    return CustomCall(told.id, told.custom.name, told.custom.input)


def _told(fields: Json) -> set[str]:
    return {name for name, value in fields.items() if value is not None}


class Manner:
    """Hold how an endpoint wants messages: is there a role `developer`, and where goes reasoning (see `Dialect`)."""

    def __init__(self, *, developer: bool, thinking: str) -> None:
        self.developer = developer
        self.thinking = thinking


Marks = dict[tuple[str, int, int], Json]  # by list, index and part (-1: the message's or tool's own)


def write_messages(call: Call, manner: Manner, marks: Marks, findings: Findings) -> list[Json]:
    """Write a conversation in its order; what this shape or endpoint has no word for is noted by name."""
    writing = _Writing(manner, marks, findings)
    written: list[Json] = []
    for at, message in enumerate(call.messages):
        if message.role != "tool":
            written += writing.moved()
        written.append(writing.message(message, at))
    return written + writing.moved()


class _Writing:
    def __init__(self, manner: Manner, marks: Marks, findings: Findings) -> None:
        self._manner = manner
        self._marks = marks
        self._findings = findings
        self._pictures: list[Json] = []  # of the results written last, with a text before those of each

    def moved(self) -> list[Json]:
        """Return the message with the pictures of the results before it, if there were any."""
        pictures, self._pictures = self._pictures, []
        return [{"role": "user", "content": pictures}] if pictures else []

    def message(self, message: Message, index: int) -> Json:
        """Write one message; pictures of a tool's result are left to `moved`."""
        role = "system" if message.role == "developer" and not self._manner.developer else message.role
        written: Json = {"role": role}
        if isinstance(message.content, str) and not self._marks:
            written["content"] = message.content
        else:
            self._parts(message, index, written)
        if message.name:
            written["name"] = message.name
        return written | self._marks.get(("messages", index, -1), {})

    def _parts(self, message: Message, index: int, written: Json) -> None:
        content: list[Json] = []
        thoughts: list[Thinking] = []
        calls: list[Json] = []
        fields: Json = {}
        marked = False
        for at, part in enumerate(as_parts(message.content)):
            marks = self._marks.get(("messages", index, at), {})
            where = f"messages[{index}].content[{at}]"
            if isinstance(part, ToolResult) and message.role == "tool":
                written["tool_call_id"] = part.call_id
                content += self._result(part, where)
            elif isinstance(part, Thinking) and message.role == "assistant":
                thoughts += [part.unsealed()] if part.unsealed() != Thinking() else []
                continue
            elif isinstance(part, ToolCall) and message.role == "assistant":
                calls.append(write_call(part))
                continue
            elif isinstance(part, Foreign) and part.shape == SHAPE and part.kind.startswith(FIELD):
                fields[part.kind.removeprefix(FIELD)] = part.json
                continue
            elif isinstance(part, Foreign) and part.shape == SHAPE and part.kind == CUSTOM_CALL:
                calls.append(msgspec.json.decode(part.json))
                continue
            else:
                content.append(write_part(part, where, self._findings))
            if marks and content:
                content[-1] |= marks
                marked = True
        written["content"] = _content(content, marked=marked, nothing=None if calls or fields else "")
        if message.role == "tool" and written["content"] is None:
            written["content"] = ""
        if thoughts:
            written |= self._thoughts(thoughts, content, f"messages[{index}].content")
        if calls:
            written["tool_calls"] = calls
        written |= fields

    def _result(self, result: ToolResult, where: str) -> list[Json]:
        parts: Sequence[Part] = result.content
        if result.is_error:
            first = parts[0] if parts else None
            parts = (
                (Text(ERROR_WORD + first.text), *parts[1:]) if isinstance(first, Text) else (Text(ERROR_WORD), *parts)
            )
        written = [write_part(part, where, self._findings) for part in parts]
        pictures = [part for part in written if part.get("type") == "image_url"]
        if not pictures:
            return written
        self._pictures += [{"type": "text", "text": PICTURES_OF.format(result.call_id)}, *pictures]
        numbers = iter(range(1, len(pictures) + 1))
        return [
            {"type": "text", "text": PICTURE_BELOW.format(next(numbers))} if part.get("type") == "image_url" else part
            for part in written
        ]

    def _thoughts(self, thoughts: Sequence[Thinking], content: list[Json], where: str) -> Json:
        """Return the fields that hold reasoning. A signature means something to its own vendor only."""
        name = self._manner.thinking
        if not name:
            self._findings.wrong(where, "holds thinking, for which this endpoint has no word: leave it out")
            return {}
        if name == IN_DETAILS:
            return {name: write_details(thoughts)} if is_sealed(thoughts) else {"reasoning": spoken(thoughts)}
        if any(thought.redacted for thought in thoughts):
            self._findings.wrong(where, "holds redacted thinking, which only its own vendor can read")
        if name == IN_PARTS:
            return {"content": [_thinking_part(thoughts), *content]}
        return {name: spoken(thoughts)}


def _thinking_part(thoughts: Sequence[Thinking]) -> Json:
    return {"type": "thinking", "thinking": [{"type": "text", "text": spoken(thoughts)}]}


def write_call(call: ToolCall) -> Json:
    """Write one tool call."""
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _content(parts: list[Json], *, marked: bool, nothing: Any) -> Any:
    """Return content in its shortest form."""
    if not parts:
        return nothing
    if len(parts) == 1 and parts[0].keys() == {"type", "text"} and parts[0]["type"] == "text" and not marked:
        return parts[0]["text"]
    return parts


def marks_of(call: Call, allowed: bool) -> tuple[Marks, Json]:
    """Sort a call's asides: those of its messages and tools by their place, and those of the call itself.

    Those of another shape are left out, but for `cache_control`, which some endpoints of this shape also read: it and
    its like are written only where `allowed`.
    """
    marks: Marks = {}
    own: Json = {}
    for aside in call.asides:
        name = str(aside.at[-1])
        if (call.shape != SHAPE and name != "cache_control") or (name == "cache_control" and not allowed):
            continue
        place = _place(aside.at)
        if place is None:
            own[name] = aside.json
        else:
            marks.setdefault(place, {})[name] = aside.json
    return marks, own


def _place(at: Place) -> tuple[str, int, int] | None:
    kind, *rest = at
    if not rest or not isinstance(kind, str) or not isinstance(rest[0], int):
        return None
    return (kind, rest[0], rest[2]) if len(rest) > 2 and isinstance(rest[2], int) else (kind, rest[0], -1)
