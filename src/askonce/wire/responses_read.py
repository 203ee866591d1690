"""The body of `POST /v1/responses` becomes an `Ask`: the very question that a chat completion would be.

The format is OpenAI's API reference, "Create a model response", and its guide "Migrate to the Responses API". Who is
asked is asked through other endpoints, so whatever has a name in chat completions is renamed and read by that reader
(`wire.openai_read`): one meaning has one form, and both doors one entry. Then:

- Nothing is kept between requests. `store` may be true, which it is when absent, but the reply says that it is false;
  `store: false` is passed on. What needs a memory (`previous_response_id`, `conversation`, `background`, templates) or
  the vendor's own endpoint (its tools, `truncation`) is refused by name.
- `metadata` comes back in the reply and goes nowhere else: chat completions take it only where they are stored.
- `reasoning.summary` and `include` ask to be shown what is always shown here, as far as a vendor tells it.
- `strict` of a tool is what was sent. That its absence means true there and false in chat completions is left alone.
"""

from typing import Any

import msgspec

from askonce.domain.call import Ask, CacheWish, Call, ForeignTool, Params, RoutingWish, Tool
from askonce.domain.errors import Invalid, Malformed
from askonce.wire.openai_parts import MARKS, NAMED_MAX, SHAPE, Findings, Json, read_tool
from askonce.wire.openai_read import read_chat
from askonce.wire.responses_echo import echo_of
from askonce.wire.responses_input import read_input

_STATELESS = "needs a memory, and nothing is kept between requests: send all items as input"
# Fields that cannot be served, with the values that ask for nothing.
_REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "previous_response_id": ((), _STATELESS),
    "conversation": ((), _STATELESS),
    "background": ((False,), "is not offered here: wait for the answer, or stream it"),
    "background_options": ((), "is not offered here: leave it out"),
    "prompt": ((), "names a template at the vendor's: send its text as instructions and input"),
    "truncation": (("disabled",), "must be disabled: leave out yourself what does not fit"),
    "context_management": (([],), "is not offered here: leave it out"),
    "image": ((), "is not offered here: leave it out"),
    "messages": ((), "is the name in chat completions: send input"),
    "max_tokens": ((), "is the name in chat completions: send max_output_tokens"),
    "max_completion_tokens": ((), "is the name in chat completions: send max_output_tokens"),
    "response_format": ((), "is the name in chat completions: send text.format"),
    "reasoning_effort": ((), "is the name in chat completions: send reasoning.effort"),
    "verbosity": ((), "is the name in chat completions: send text.verbosity"),
}
# What may be asked to be shown: all that there is, is; the others are of tools that are refused.
_SHOWN = frozenset(
    "reasoning.encrypted_content message.input_image.image_url file_search_call.results web_search_call.results "
    "web_search_call.action.sources computer_call_output.output.image_url code_interpreter_call.outputs".split()
)
_REASONING_HARMLESS = {"context": ("auto",), "mode": ("standard",)}
_TOOL_FIELDS = ("name", "description", "parameters", "strict")
_TOOL_HARMLESS: dict[str, tuple[object, ...]] = {
    "defer_loading": (False,),
    "async": (False,),
    "allowed_callers": (["direct"],),
}
_SCHEMA_FIELDS = ("name", "schema", "strict", "description")

# The names in chat completions of what goes by another name here, for what its reader finds wrong.
_HERE = {
    "max_completion_tokens": "max_output_tokens",
    "response_format": "text.format",
    "reasoning_effort": "reasoning.effort",
    "verbosity": "text.verbosity",
}


def read_response(body: bytes, tenant: str, wish: CacheWish) -> Ask:
    """Turn a body into a question. Raises `Malformed`, and `Invalid` with everything that is wrong."""
    try:
        fields = msgspec.json.decode(body)
        if not isinstance(fields, dict):
            raise Invalid("The body must be a JSON object.")
        return _ask({name: value for name, value in fields.items() if value is not None}, tenant, wish)
    except RecursionError:
        raise Malformed("The body is nested too deep.") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _not_json(body, error) from None


def _not_json(body: bytes, error: Exception) -> Malformed:
    if not body.strip():
        return Malformed("The body is empty. Send a JSON object with a model and an input.")
    reason = str(error).removeprefix("JSON is malformed: ").partition(" - at `")[0]
    return Malformed(f"The body is not valid JSON: {reason[:1].lower()}{reason[1:]}.")


def _ask(fields: Json, tenant: str, wish: CacheWish) -> Ask:
    findings = Findings()
    sent = dict(fields)
    instructions = fields.pop("instructions", "")
    if not isinstance(instructions, str):
        findings.wrong("instructions", "must be a text")
        instructions = ""
    messages = read_input(fields.pop("input", None), instructions, findings)
    tools = _tools(fields.pop("tools", []), findings)
    chat = _as_chat(fields, findings)
    asked = _read_as_chat(chat, tenant, wish, findings)
    findings.refuse()
    call = Call(
        tenant=tenant,
        messages=messages,
        params=asked.call.params,
        stream=asked.call.stream,
        tools=tools,
        shape=SHAPE,
        extra=asked.call.extra,
        asides=(*asked.call.asides, *findings.asides),
    )
    return Ask(call, asked.routing, wish, echo_of(sent))


def _read_as_chat(chat: Json, tenant: str, wish: CacheWish, findings: Findings) -> Ask:
    """Read what is said in the words of chat completions; what is wrong with it is noted in ours."""
    nothing = Ask(Call(tenant, (), Params()), RoutingWish(), wish)
    if not chat:
        return nothing
    try:
        # The reader wants a conversation; this one stands for ours.
        return read_chat(msgspec.json.encode(chat | {"messages": [{"role": "user", "content": ""}]}), tenant, wish)
    except Invalid as refused:
        for detail in refused.details:
            findings.wrong(_HERE.get(detail.field, detail.field), detail.problem)
        return nothing


def _as_chat(fields: Json, findings: Findings) -> Json:
    """Say the fields as chat completions say them, without those that end here."""
    for name in sorted(_REFUSED.keys() & fields.keys()):
        harmless, problem = _REFUSED[name]
        if fields.pop(name) not in harmless:
            findings.wrong(name, problem)
    _check_include(fields.pop("include", []), findings)
    if not isinstance(fields.pop("metadata", {}), dict):
        findings.wrong("metadata", "must be an object")
    if fields.get("store") is True:
        del fields["store"]
    fields.pop("max_tool_calls", None)  # bounds the calls of tools that are refused
    if "max_output_tokens" in fields:
        fields["max_completion_tokens"] = fields.pop("max_output_tokens")
    if "tool_choice" in fields:
        fields["tool_choice"] = _choice(fields["tool_choice"], findings)
    renamed = _text(fields.pop("text", {}), findings) | _reasoning(fields.pop("reasoning", {}), findings)
    return fields | renamed


def _check_include(value: object, findings: Findings) -> None:
    if not isinstance(value, list):
        findings.wrong("include", "must be a list")
        return
    for name in value:
        if not isinstance(name, str) or name not in _SHOWN:
            findings.wrong("include", f"holds {str(name)[:NAMED_MAX]}, which is not offered here")


def _text(value: object, findings: Findings) -> Json:
    if not isinstance(value, dict):
        findings.wrong("text", "must be an object")
        return {}
    told = {name: item for name, item in value.items() if item is not None}
    for name in sorted(told.keys() - {"format", "verbosity"}):
        findings.wrong(f"text.{name[:NAMED_MAX]}", "is not known here")
    said: Json = {}
    if "verbosity" in told:
        said["verbosity"] = told["verbosity"]
    if "format" in told:
        said["response_format"] = _format(told["format"], findings)
    return said


def _format(value: Any, findings: Findings) -> Any:
    """Say a format as chat completions say it: a schema stands one level deeper there."""
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        findings.wrong("text.format", "must be of type text, json_object or json_schema")
        return None
    if value["type"] != "json_schema":
        return value
    told = {name: item for name, item in value.items() if item is not None and name != "type"}
    for name in sorted(told.keys() - set(_SCHEMA_FIELDS)):
        findings.wrong(f"text.format.{name[:NAMED_MAX]}", "is not known here")
    if not isinstance(told.get("name"), str) or not told["name"] or not isinstance(told.get("schema"), dict):
        findings.wrong("text.format", "must have a name and a schema")
    return {"type": "json_schema", "json_schema": told}


def _reasoning(value: object, findings: Findings) -> Json:
    if not isinstance(value, dict):
        findings.wrong("reasoning", "must be an object")
        return {}
    told = {name: item for name, item in value.items() if item is not None}
    for name in sorted(told.keys() - {"effort", "summary", "generate_summary"}):
        if told[name] not in _REASONING_HARMLESS.get(name, ()):
            findings.wrong(f"reasoning.{name[:NAMED_MAX]}", "is not offered here: leave it out")
    return {"reasoning_effort": told["effort"]} if "effort" in told else {}


def _choice(value: Any, findings: Findings) -> Any:
    """Say which tools to call as chat completions say it: names stand one level deeper there."""
    if isinstance(value, str):
        return value
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "function" and value.keys() == {"type", "name"}:
        return _named(value)
    if kind == "allowed_tools" and value.keys() == {"type", "mode", "tools"} and isinstance(value["tools"], list):
        tools = [_named(tool) for tool in value["tools"] if isinstance(tool, dict) and tool.get("type") == "function"]
        if len(tools) == len(value["tools"]):
            return {"type": kind, kind: {"mode": value["mode"], "tools": tools}}
    findings.wrong("tool_choice", "must be auto, none, required, or functions by name")
    return None


def _named(value: Json) -> Json:
    return {"type": "function", "function": {"name": value.get("name")}}


def _tools(value: object, findings: Findings) -> tuple[Tool | ForeignTool, ...]:
    if not isinstance(value, list):
        findings.wrong("tools", "must be a list")
        return ()
    tools = [_tool(item, at, findings) for at, item in enumerate(value)]
    return tuple(tool for tool in tools if tool is not None)


def _tool(item: object, index: int, findings: Findings) -> Tool | ForeignTool | None:
    field = f"tools[{index}]"
    kind = item.get("type") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(kind, str):
        findings.wrong(field, "must be a tool with a type, such as function")
        return None
    if kind != "function":
        findings.wrong(field, f"is {kind[:NAMED_MAX]}, which needs the vendor's own endpoint, which is not asked here")
        return None
    for name in sorted(item.keys() - {"type", *_TOOL_FIELDS} - MARKS):
        if item[name] is not None and item[name] not in _TOOL_HARMLESS.get(name, ()):
            findings.wrong(f"{field}.{name[:NAMED_MAX]}", "is not known here")
    function = {name: item[name] for name in _TOOL_FIELDS if item.get(name) is not None}
    marks = {name: item[name] for name in MARKS & item.keys()}
    found = Findings()
    tool = read_tool({"type": "function", "function": function} | marks, index, found)
    for problem in found.problems:
        findings.wrong(problem.field.replace(".function", ""), problem.problem)
    findings.asides += found.asides
    return tool
