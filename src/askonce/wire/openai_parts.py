"""Content parts and tools in OpenAI's shape, read and written.

The format is OpenAI's API reference, "Create chat completion" (messages, tools). What has a place in `domain.content`
takes it; what only this shape knows becomes `Foreign` and comes back as it was. A field that cannot change the answer
becomes an aside, addressed by its place among the canonical messages and parts.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from askonce.domain.call import Aside, ForeignTool, Tool
from askonce.domain.content import Foreign, Image, Part, Text, canonical_json, ordered_json
from askonce.domain.errors import Detail, Invalid

SHAPE = "openai"

# Marks on parts and tools that tell a vendor what to keep in its prompt cache (OpenRouter and Anthropic; OpenAI).
MARKS = frozenset(("cache_control", "prompt_cache_breakpoint"))
PROBLEMS_CEILING = 20  # more are no help to anyone
NAMED_MAX = 100  # what a caller sent comes back to it, but no more of it than tells what is meant

Place = tuple[str | int, ...]
Json = dict[str, Any]


class Findings:
    """Collect what is wrong with a question, and what stands in it beside the question."""

    def __init__(self) -> None:
        self.problems: list[Detail] = []
        self.asides: list[Aside] = []

    def wrong(self, field: str, problem: str) -> None:
        """Note a problem."""
        self.problems.append(Detail(field[:NAMED_MAX], problem))

    def beside(self, at: Place, value: object) -> None:
        """Note a field that cannot change the answer."""
        self.asides.append(Aside(at, canonical_json(value)))

    def refuse(self) -> None:
        """Raise `Invalid` where anything was wrong; it names everything."""
        if not self.problems:
            return
        named = self.problems[:PROBLEMS_CEILING]
        if len(named) < len(self.problems):
            named.append(Detail("body", "has more problems than are named here"))
        said = "; ".join(f"{problem.field} {problem.problem}" for problem in named)
        raise Invalid(f"The request is invalid: {said}.", details=named)

    def unmarked(self, value: Mapping[str, Any], at: Place) -> Json:
        """Return the fields that count: without nulls, and without marks, which are put aside."""
        fields: Json = {}
        for name, item in value.items():
            if item is None:
                continue
            if name in MARKS:
                self.beside((*at, name), item)
            else:
                fields[name] = item
        return fields


def read_part(value: object, field: str, at: Place, findings: Findings) -> Part | None:
    """Read one part of a message's content; None where it is wrong, which is then noted."""
    kind = value.get("type") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str):
        findings.wrong(field, "must be a part with a type, such as text")
        return None
    fields = findings.unmarked(value, at)
    if kind == "text":
        text = fields.get("text")
        if not isinstance(text, str):
            findings.wrong(f"{field}.text", "must be a text")
            return None
        if len(fields) == 2:
            return Text(text)
    image = _image(fields) if kind == "image_url" and len(fields) == 2 else None
    return image or Foreign(SHAPE, kind[:NAMED_MAX], canonical_json(fields))


def _image(fields: Json) -> Image | None:
    """Read a picture; None where it says more than ours can hold."""
    said = fields.get("image_url")
    source = {"url": said} if isinstance(said, str) else said  # Mistral takes the bare address
    if not isinstance(source, dict) or not source.keys() <= {"url", "detail"}:
        return None
    url, detail = source.get("url"), source.get("detail") or ""
    if not isinstance(url, str) or not isinstance(detail, str):
        return None
    head, base64, data = url.partition(";base64,")
    if base64 and head.startswith("data:") and "/" in head and ";" not in head:
        return Image(media_type=head[5:], data=data, detail=detail)
    return Image(url=url, detail=detail) if url else None


def write_part(part: Part, field: str, findings: Findings) -> Json:
    """Write one part of a message's content; what this shape has no word for is noted by name."""
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Image):
        url = part.url or f"data:{part.media_type};base64,{part.data}"
        return {"type": "image_url", "image_url": {"url": url} | ({"detail": part.detail} if part.detail else {})}
    if isinstance(part, Foreign) and part.shape == SHAPE:
        fields: Json = msgspec.json.decode(part.json)
        return fields
    findings.wrong(field, f"is {named(part)}, which cannot be said in the OpenAI shape here")
    return {}


def named(part: Part) -> str:
    """Say to people what a part is."""
    if isinstance(part, Foreign):
        return f"{part.kind} of the shape {part.shape}"
    return {"Thinking": "thinking", "ToolCall": "a tool call", "ToolResult": "a tool result"}.get(
        type(part).__name__, "a part"
    )


def read_tool(value: object, index: int, findings: Findings) -> Tool | ForeignTool | None:
    """Read one tool; None where it is wrong, which is then noted."""
    field = f"tools[{index}]"
    kind = value.get("type", "function") if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(kind, str):
        findings.wrong(field, "must be a tool with a type, such as function")
        return None
    at = ("tools", index)
    fields = findings.unmarked(value, at)
    function = fields.get("function")
    if kind == "function" and not isinstance(function, dict):
        findings.wrong(f"{field}.function", "must be an object with a name")
        return None
    if kind != "function" or not isinstance(function, dict) or not fields.keys() <= {"type", "function"}:
        return ForeignTool(SHAPE, kind[:NAMED_MAX], ordered_json(fields))
    return _function(findings.unmarked(function, at), f"{field}.function", findings)


def _function(function: Json, field: str, findings: Findings) -> Tool | ForeignTool | None:
    name, description = function.get("name"), function.get("description", "")
    strict, schema = function.get("strict"), function.get("parameters")
    known = {"name", "description", "parameters", "strict"}
    checks = (
        ("name", isinstance(name, str) and bool(name), "must be a text"),
        ("description", isinstance(description, str), "must be a text"),
        ("strict", strict is None or isinstance(strict, bool), "must be true or false"),
        ("parameters", schema is None or isinstance(schema, dict), "must be a JSON schema"),
    )
    wrong = [(name, problem) for name, right, problem in checks if not right]
    for part, problem in wrong:
        findings.wrong(f"{field}.{part}", problem)
    if wrong or not isinstance(name, str) or not isinstance(description, str):
        return None
    if not function.keys() <= known:
        return ForeignTool(SHAPE, "function", ordered_json({"type": "function", "function": function}))
    return Tool(name, description, ordered_json(schema), strict)


def write_tool(tool: Tool | ForeignTool, index: int, findings: Findings) -> Json:
    """Write one tool; one that only another shape has is noted by name."""
    if isinstance(tool, ForeignTool):
        if tool.shape == SHAPE:
            fields: Json = msgspec.json.decode(tool.json)
            return fields
        findings.wrong(f"tools[{index}]", f"is {tool.kind} of the shape {tool.shape}, which the OpenAI shape lacks")
        return {}
    function: dict[str, object] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if bytes(tool.schema) != b"null":
        function["parameters"] = tool.schema
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def as_json(raw: Raw) -> Any:
    """Decode JSON that was kept as it came."""
    return msgspec.json.decode(raw)
