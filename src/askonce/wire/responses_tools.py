"""Tools of `POST /v1/responses`, and which of them to call, said as chat completions say them.

The format is OpenAI's API reference, "Create a model response", and its guide "Function calling". Functions and custom
tools are what a client runs itself: both APIs have them, only their fields stand one level deeper there. All others
run at the vendor, or are bound to its own models: they are refused by name, with what leaves them out. The settings
named for that are the ones that Codex's own notices and issues name, and the classes of the Agents SDK.
"""

from typing import Any

from askonce.domain.call import ForeignTool, Tool
from askonce.wire.openai_parts import MARKS, NAMED_MAX, Findings, Json, read_tool

_FUNCTION, _CUSTOM = "function", "custom"
_FIELDS = {
    _FUNCTION: ("name", "description", "parameters", "strict"),
    _CUSTOM: ("name", "description", "format"),
}
_GRAMMAR = ("syntax", "definition")
_HARMLESS: dict[str, tuple[object, ...]] = {
    "defer_loading": (False,),
    "async": (False,),
    "allowed_callers": (["direct"],),
}

_WEB = 'leave it out (Codex: web_search = "disabled" in config.toml; Agents SDK: an agent without WebSearchTool)'
_OWN = "offer it as a function or a custom tool, which the client runs"
# What to do about a tool that is not offered here.
_CURES = {
    "web_search": _WEB,
    "web_search_preview": _WEB,
    "image_generation": "leave it out (Codex: image_generation = false under [features] in config.toml; "
    "Agents SDK: an agent without ImageGenerationTool)",
    "mcp": "let the client speak to the MCP server, and offer its tools as functions "
    "(Agents SDK: mcp_servers in the place of HostedMCPTool)",
    "file_search": "leave it out (Agents SDK: an agent without FileSearchTool), or offer a function that searches",
    "code_interpreter": "leave it out (Agents SDK: an agent without CodeInterpreterTool), or offer a function",
    "namespace": "offer the tools in it as functions of their own",
    "tool_search": "offer all tools from the start",
    "local_shell": _OWN,
    "shell": _OWN,
    "apply_patch": _OWN,
    "computer": _OWN,
    "computer_use_preview": _OWN,
}


def read_tools(value: object, findings: Findings) -> tuple[Tool | ForeignTool, ...]:
    """Read all tools; what is wrong with them is noted."""
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
    if kind not in _FIELDS:
        cure = _CURES.get(kind, "leave it out")
        problem = f"is {kind[:NAMED_MAX]}, which needs the vendor's own endpoint, which is not asked here: {cure}"
        findings.wrong(field, problem)
        return None
    for name in sorted(item.keys() - {"type", *_FIELDS[kind]} - MARKS):
        if item[name] is not None and item[name] not in _HARMLESS.get(name, ()):
            findings.wrong(f"{field}.{name[:NAMED_MAX]}", "is not known here")
    found = Findings()
    told = {name: item[name] for name in _FIELDS[kind] if item.get(name) is not None}
    if kind == _CUSTOM:
        _check_custom(told, f"{field}.{kind}", found)
    marks = {name: item[name] for name in MARKS & item.keys()}
    tool = read_tool({"type": kind, kind: told} | marks, index, found)
    for detail in found.problems:
        findings.wrong(detail.field.replace(f".{kind}", "", 1), detail.problem)
    findings.asides += found.asides
    return tool


def _check_custom(told: Json, field: str, findings: Findings) -> None:
    """Check what nobody else does, since chat completions pass it on as it is; say its format as they do."""
    if not isinstance(told.get("name"), str) or not told["name"]:
        findings.wrong(f"{field}.name", "must be a text")
    if not isinstance(told.get("description", ""), str):
        findings.wrong(f"{field}.description", "must be a text")
    if "format" in told:
        told["format"] = _format_of(told["format"])
        if told["format"] is None:
            findings.wrong(f"{field}.format", "must be of type text, or of type grammar with syntax and definition")


def _format_of(value: Any) -> Json | None:
    """Say in which form a custom tool takes its input: a grammar stands one level deeper in chat completions."""
    if value == {"type": "text"}:
        return {"type": "text"}
    if not isinstance(value, dict) or value.keys() != {"type", *_GRAMMAR} or value["type"] != "grammar":
        return None
    if not all(isinstance(value[name], str) for name in _GRAMMAR):
        return None
    return {"type": "grammar", "grammar": {name: value[name] for name in _GRAMMAR}}


def choice_of(value: Any, findings: Findings) -> Any:
    """Say which tools to call: names stand one level deeper in chat completions."""
    if isinstance(value, str):
        return value
    kind = value.get("type") if isinstance(value, dict) else None
    if kind in (_FUNCTION, _CUSTOM) and value.keys() == {"type", "name"}:
        return _named(value)
    if kind == "allowed_tools" and value.keys() == {"type", "mode", "tools"} and isinstance(value["tools"], list):
        tools = [_named(tool) for tool in value["tools"] if isinstance(tool, dict) and tool.get("type") in _FIELDS]
        if len(tools) == len(value["tools"]):
            return {"type": kind, kind: {"mode": value["mode"], "tools": tools}}
    findings.wrong("tool_choice", "must be auto, none, required, or functions and custom tools by name")
    return None


def _named(value: Json) -> Json:
    return {"type": value["type"], value["type"]: {"name": value.get("name")}}
