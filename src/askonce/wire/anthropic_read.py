"""The body of `POST /v1/messages` becomes a question. Pure.

The format is Anthropic's API reference, "Messages". What only this shape has and may change the answer is `extra` or
a foreign part; what cannot change it is an aside. Unknown top-level fields may change the answer. `null` is absent.

- `system` is a leading system message. A user's turn with results of tools becomes one message per result, and the
  user's words between them.
- Thinking: `disabled`, a budget, and adaptive thinking with or without an effort have a form that all shapes share.
  Any other, and an effort without thinking, is this shape's own: `extra`.
- `output_config.format` and its older name `output_format` mean the same.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from askonce.domain.call import (
    Aside,
    Ask,
    CacheWish,
    Call,
    ForeignTool,
    Format,
    Message,
    Params,
    Reasoning,
    Role,
    RoutingWish,
    Tool,
    ToolChoice,
)
from askonce.domain.content import Part, ToolCall, ToolResult, canonical_json, ordered_json, plain
from askonce.domain.errors import Malformed
from askonce.wire.anthropic import TOOL_ASIDES
from askonce.wire.anthropic_parts import NAMED_MAX, SHAPE, Block, Json, Problems, read_blocks, take_asides

Count = Annotated[int, Meta(ge=0, le=10_000_000)] | Annotated[float, Meta(ge=0, le=10_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]


def _says(description: str) -> Meta:
    return Meta(description=description)


class Asked(Struct, frozen=True):
    """Hold the fields that a question and a count of tokens have in common."""

    model: Annotated[str, Meta(min_length=1, max_length=200, description="as in claude-haiku-4-5 or openai:gpt-4o")]
    messages: Annotated[tuple[Json, ...], Meta(min_length=1, description="the conversation")]
    system: Annotated[str | tuple[Json, ...] | None, _says("what the model is told before the conversation")] = None
    tools: Annotated[tuple[Json, ...] | None, _says("what the model may call")] = None
    tool_choice: Annotated[Json | None, _says("auto, any, tool or none")] = None
    thinking: Annotated[Json | None, _says("how the model may think")] = None
    output_config: Annotated[Json | None, _says("effort, and a format with its JSON schema")] = None
    output_format: Annotated[Json | None, _says("the older name of output_config.format")] = None
    temperature: Annotated[Share | None, _says("how freely the model samples")] = None
    top_p: Annotated[Share | None, _says("sample from the likeliest tokens only")] = None
    top_k: Annotated[Count | None, _says("sample from so many tokens only")] = None
    stop_sequences: Annotated[tuple[str, ...] | None, _says("end the answer before one of these texts")] = None
    stream: Annotated[bool | None, _says("answer with server-sent events")] = None
    metadata: Annotated[Json | None, _says("passed on; cannot change the answer")] = None
    cache_control: Annotated[Json | None, _says("passed on; cannot change the answer")] = None
    service_tier: Annotated[str | None, _says("passed on; cannot change the answer")] = None


class MessagesBody(Asked, frozen=True, kw_only=True):
    """Hold the body of POST /v1/messages, the fields that are read here; others are passed on to Anthropic."""

    max_tokens: Annotated[Count, _says("the longest answer, in tokens")]


class CountBody(Asked, frozen=True, kw_only=True):
    """Hold the body of POST /v1/messages/count_tokens."""

    max_tokens: Count | None = None


_ASIDES = ("metadata", "cache_control", "service_tier")


def read_messages(body: bytes, tenant: str, wish: CacheWish, kind: type[Asked] = MessagesBody) -> Ask:
    """Turn a body into a question. Raises `Malformed` and `Invalid`, which names every problem."""
    try:
        return _read(_object(body), tenant, wish, kind)
    except RecursionError:
        raise Malformed("The body is nested too deep.") from None


def _read(raw: Json, tenant: str, wish: CacheWish, kind: type[Asked]) -> Ask:
    problems = Problems()
    fields = _fields(raw, kind, problems)
    if fields is None:
        problems.check("The request is invalid")
        raise Malformed("The request cannot be read.")  # cannot be: what does not convert has a problem
    reader = _Reader(problems)
    reader.read_system(fields.system)
    for index, message in enumerate(fields.messages):
        reader.read_message(message, f"messages.{index}")
    tools = tuple(reader.read_tool(tool, index) for index, tool in enumerate(fields.tools or ()))
    known = kind.__struct_fields__
    extra = {name: value for name, value in raw.items() if name not in known and value is not None}
    params = _params(fields, extra, problems)
    problems.check("The request is invalid")
    asides = [Aside((name,), canonical_json(value)) for name in _ASIDES if (value := getattr(fields, name)) is not None]
    call = Call(
        tenant=tenant,
        messages=tuple(reader.messages),
        params=params,
        stream=bool(fields.stream),
        tools=tools,
        shape=SHAPE,
        extra=tuple((name, canonical_json(extra[name])) for name in sorted(extra)),
        asides=(*asides, *reader.asides),
    )
    return Ask(call=call, routing=RoutingWish(model=fields.model), cache=wish)


def _object(body: bytes) -> Json:
    try:
        raw = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise Malformed(_not_json(body, error)) from None
    if not isinstance(raw, dict):
        raise Malformed("The body must be a JSON object.")
    return raw


def _not_json(body: bytes, error: Exception) -> str:
    if not body.strip():
        return "The body is empty."
    try:
        body.decode()
    except UnicodeDecodeError:
        return "The body is not valid UTF-8."
    return f"The body is not valid JSON: {str(error).removeprefix('JSON is malformed: ').partition(' - at `')[0]}."


def _fields(raw: Json, kind: type[Asked], problems: Problems) -> Asked | None:
    """Type the known fields; where that fails, note what is wrong with each and return None."""
    sent = {name: value for name, value in raw.items() if value is not None}
    try:
        return msgspec.convert(sent, kind)
    except msgspec.ValidationError:
        pass
    for field in msgspec.structs.fields(kind):
        if field.encode_name not in sent:
            if field.required:
                problems.add(field.encode_name, "is required")
            continue
        try:
            msgspec.convert(sent[field.encode_name], field.type)
        except msgspec.ValidationError as error:
            said = str(error).partition(" - at `")[0].replace("`", "").replace(" | null", "")
            problems.add(field.encode_name, f"is wrong: {said[:1].lower()}{said[1:200]}")
    return None


class _Reader:
    """Read messages and tools into ours, noting asides by their final places."""

    def __init__(self, problems: Problems) -> None:
        self.messages: list[Message] = []
        self.asides: list[Aside] = []
        self._problems = problems

    def read_system(self, system: str | tuple[Json, ...] | None) -> None:
        if system:
            content = system if isinstance(system, str) else list(system)
            self._append("system", read_blocks(content, "system", self._problems))

    def read_message(self, message: Json, field: str) -> None:
        role, content = message.get("role"), message.get("content")
        for name, value in message.items():
            if name not in ("role", "content") and value is not None:
                self._problems.add(f"{field}.{name[:NAMED_MAX]}", "is not a known field")
        blocks = read_blocks(content, f"{field}.content", self._problems)
        if role == "user":
            self._read_user(blocks, field)
        elif role in ("assistant", "system"):
            if any(isinstance(part, ToolResult) for block in blocks for part in block.parts):
                self._problems.add(field, "holds a tool_result, which only a user's message can")
            self._append(role, blocks)
        else:
            self._problems.add(f"{field}.role", "must be user, assistant or system")

    def _read_user(self, blocks: list[Block], field: str) -> None:
        if any(isinstance(part, ToolCall) for block in blocks for part in block.parts):
            self._problems.add(field, "holds a tool_use, which only an assistant's message can")
        said: list[Block] = []
        for block in blocks:
            if isinstance(block.parts[0], ToolResult):
                if said:
                    self._append("user", said)
                self._append("tool", [block])
                said = []
            else:
                said.append(block)
        if said or not blocks:
            self._append("user", said)

    def _append(self, role: Role, blocks: list[Block]) -> None:
        home = ("messages", len(self.messages))
        parts: list[Part] = []
        for block in blocks:
            here = ("content", len(parts))
            self.asides += [Aside((*home, *here, *place), raw) for place, raw in block.asides]
            parts += block.parts
        self.messages.append(Message(role, plain(tuple(parts)) if parts else ""))

    def read_tool(self, tool: Json, index: int) -> Tool | ForeignTool:
        """Read one tool: a function of the caller's, or one that only this shape has."""
        said = {name: value for name, value in tool.items() if value is not None}
        for place, raw in take_asides(said, TOOL_ASIDES):
            self.asides.append(Aside(("tools", index, *place), raw))
        kind, name = said.get("type", "custom"), said.get("name")
        own = said.keys() <= {"type", "name", "description", "input_schema", "strict"} and kind == "custom"
        schema, description, strict = said.get("input_schema"), said.get("description", ""), said.get("strict")
        if not own:
            return ForeignTool(SHAPE, str(name or kind)[:NAMED_MAX], ordered_json(said))
        if not (
            isinstance(name, str)
            and isinstance(schema, dict)
            and isinstance(description, str)
            and isinstance(strict, bool | None)
        ):
            self._problems.add(
                f"tools.{index}", "must have a name and an input_schema, and if any a text as description"
            )
            return Tool("", "", Raw(b"{}"))
        return Tool(name, description, ordered_json(schema), strict)


def _params(fields: Asked, extra: Json, problems: Problems) -> Params:
    choice, parallel = _choice(fields.tool_choice, problems)
    config = dict(fields.output_config or {})
    asked = config.pop("format", None) or fields.output_format
    reasoning = _reasoning(fields.thinking, config, extra)
    if config:
        extra["output_config"] = config
    limit = getattr(fields, "max_tokens", None)
    return Params(
        # Adding 0.0 makes -0.0 the zero that it equals.
        temperature=None if fields.temperature is None else fields.temperature + 0.0,
        max_tokens=_whole(limit, "max_tokens", problems),
        top_p=None if fields.top_p is None else fields.top_p + 0.0,
        stop=fields.stop_sequences or None,
        top_k=_whole(fields.top_k, "top_k", problems),
        tool_choice=choice,
        parallel_tools=parallel,
        format=_format(asked, problems) if asked is not None else None,
        reasoning=reasoning,
    )


def _whole(number: float | None, name: str, problems: Problems) -> int | None:
    if isinstance(number, float) and not number.is_integer():
        problems.add(name, "must be a whole number")
    return None if number is None else int(number)


_MODES = {"auto": "auto", "any": "required", "tool": "named", "none": "none"}


def _choice(said: Json | None, problems: Problems) -> tuple[ToolChoice | None, bool | None]:
    if said is None:
        return None, None
    mode, name, single = str(said.get("type")), said.get("name") or "", said.get("disable_parallel_tool_use")
    unknown = [key for key in said if key not in ("type", "name", "disable_parallel_tool_use")]
    if mode not in _MODES or not isinstance(name, str) or bool(name) != (mode == "tool") or unknown:
        problems.add("tool_choice", "must be of type auto, any, none, or tool with its name")
        return None, None
    return ToolChoice(_MODES[mode], name), None if single is None else not single  # type: ignore[arg-type]  # a mode


def _reasoning(thinking: Json | None, config: Json, extra: Json) -> Reasoning | None:
    """Return what all shapes share of the thinking asked for, taking the effort out of `config`; leave the rest."""
    if thinking is None:
        return None
    said = {name: value for name, value in thinking.items() if value is not None}
    budget = said.get("budget_tokens")
    if said == {"type": "disabled"}:
        budget = 0
    elif said == {"type": "adaptive"}:
        budget = None
    elif not (said.keys() == {"type", "budget_tokens"} and said["type"] == "enabled" and _is_count(budget)):
        extra["thinking"] = said
        return None
    return Reasoning(config.pop("effort") if isinstance(config.get("effort"), str) else "", budget)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _format(said: Any, problems: Problems) -> Format | None:
    if (
        not isinstance(said, dict)
        or said.get("type") != "json_schema"
        or not isinstance(said.get("schema"), dict)
        or said.keys() != {"type", "schema"}
    ):
        problems.add("output_config.format", "must be of type json_schema, with its schema")
        return None
    return Format("schema", schema=ordered_json(said["schema"]))
