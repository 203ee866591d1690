"""The body of `POST /v1/chat/completions` becomes an `Ask`.

The format is OpenAI's API reference, "Create chat completion". Nothing is dropped: a field has a place in the
question, or stands beside it because it cannot change the answer (`_BESIDE`), or is kept as it came for providers of
this shape (`Call.extra`), or is refused by name because its answer could not be carried (`_REFUSED`). `null` is absent
everywhere, and so is what says only what is so anyway (`n: 1`, `logprobs: false`). Numbers are typed; their ranges are
the vendor's to judge.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct

from askonce.domain.call import (
    Ask,
    CacheWish,
    Call,
    ForeignTool,
    Format,
    Params,
    Reasoning,
    RoutingWish,
    Tool,
    ToolChoice,
)
from askonce.domain.content import canonical_json, ordered_json
from askonce.domain.errors import Invalid, Malformed
from askonce.wire.openai_messages import read_messages
from askonce.wire.openai_parts import SHAPE, Findings, Json, read_tool

T = TypeVar("T")

NAME_CEILING = 200  # twice the longest model's name; looking for what resembles it takes its length squared
STOPS_CEILING = 16  # vendors take 4 (OpenAI) to 16 (local engines); theirs is the last word

# Fields that cannot change the answer: who asks, what is kept, how fast it comes and how it travels.
_BESIDE = frozenset(
    "user metadata store stream_options prompt_cache_key prompt_cache_options prompt_cache_retention "
    "safety_identifier cache_control service_tier".split()
)
# Fields whose answers could not be carried, with the values that ask for nothing.
_REFUSED: dict[str, tuple[tuple[object, ...], str]] = {
    "n": ((1,), "must be 1: ask once for each answer"),
    "logprobs": ((False,), "is not offered here: leave it out"),
    "top_logprobs": ((0,), "is not offered here: leave it out"),
    "audio": ((), "is not offered here: answers are text"),
    "moderation": ((), "is not offered here: leave it out"),
    "functions": (([],), "is the legacy form: send tools"),
    "function_call": ((), "is the legacy form: send tool_choice"),
}


class Rest(Struct, frozen=True):
    """Hold what of a body is neither conversation nor tools; `extra` as in `Call`."""

    model: str | None
    stream: bool
    params: Params
    extra: tuple[tuple[str, Raw], ...]


def read_chat(body: bytes, tenant: str, wish: CacheWish) -> Ask:
    """Turn a body into a question. Raises `Malformed`, and `Invalid` with everything that is wrong."""
    return read_object(body, "a model and messages", lambda fields: _ask(fields, tenant, wish))


def read_object(body: bytes, wanted: str, read: Callable[[Json], Ask]) -> Ask:
    """Decode a body and read its fields that are not null. `wanted`: what is missing where it is empty.

    Raises `Malformed`, `Invalid`, and what `read` raises.
    """
    try:
        fields = msgspec.json.decode(body)
        if not isinstance(fields, dict):
            raise Invalid("The body must be a JSON object.")
        return read({name: value for name, value in fields.items() if value is not None})
    except RecursionError:
        raise Malformed("The body is nested too deep.") from None
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _not_json(body, wanted, error) from None


def _not_json(body: bytes, wanted: str, error: Exception) -> Malformed:
    if not body.strip():
        return Malformed(f"The body is empty. Send a JSON object with {wanted}.")
    reason = str(error).removeprefix("JSON is malformed: ").partition(" - at `")[0]
    return Malformed(f"The body is not valid JSON: {reason[:1].lower()}{reason[1:]}.")


def _ask(fields: Json, tenant: str, wish: CacheWish) -> Ask:
    findings = Findings()
    messages = read_messages(fields.pop("messages", None), findings)
    tools = _tools(fields.pop("tools", None), findings)
    rest = read_rest(fields, findings)
    findings.refuse()
    call = Call(
        tenant=tenant,
        messages=messages,
        params=rest.params,
        stream=rest.stream,
        tools=tools,
        shape=SHAPE,
        extra=rest.extra,
        asides=tuple(findings.asides),
    )
    return Ask(call, RoutingWish(model=rest.model), wish)


def read_rest(fields: Json, findings: Findings) -> Rest:
    """Read all fields that are left, none of which is null, taking them out; what is wrong with them is noted."""
    reading = _Fields(fields, findings)
    model, stream = reading.text("model"), reading.flag("stream")
    params = _params(reading) if fields else Params()
    if fields:
        _look_at_others(fields, findings)
    extra = tuple((name, canonical_json(fields[name])) for name in sorted(fields))
    return Rest(model, bool(stream), params, extra)


def _look_at_others(fields: Json, findings: Findings) -> None:
    """Refuse, or put aside, what is neither a parameter nor to be kept as it came."""
    for name, (harmless, problem) in _REFUSED.items():
        if name in fields and fields.pop(name) not in harmless:
            findings.wrong(name, problem)
    modalities = fields.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        findings.wrong("modalities", "holds audio, which is not offered here: answers are text")
    for name in sorted(_BESIDE & fields.keys()):
        findings.beside((name,), fields.pop(name))


def _tools(value: object, findings: Findings) -> tuple[Tool | ForeignTool, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        findings.wrong("tools", "must be a list")
        return ()
    tools = [read_tool(item, at, findings) for at, item in enumerate(value)]
    return tuple(tool for tool in tools if tool is not None)


def _params(reading: "_Fields") -> Params:
    """Read the parameters that are there: most questions have few of them."""
    found = {field: read(reading, name) for name, (field, read) in _PARAMS.items() if name in reading.fields}
    return Params(**found, max_tokens=reading.max_tokens())


class _Fields:
    """Take typed values out of a body; a value of another type is noted."""

    def __init__(self, fields: Json, findings: Findings) -> None:
        self.fields = fields
        self._findings = findings

    def text(self, name: str) -> str | None:
        value = self.fields.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip() or len(value) > NAME_CEILING:
            self._findings.wrong(name, f"must be a text of at most {NAME_CEILING} characters, and not blank")
            return None
        return value

    def flag(self, name: str) -> bool | None:
        value = self.fields.pop(name, None)
        if value is None or isinstance(value, bool):
            return value
        self._findings.wrong(name, "must be true or false")
        return None

    def number(self, name: str) -> float | None:
        value = self.fields.pop(name, None)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._findings.wrong(name, "must be a number")
            return None
        return float(value) + 0.0  # makes -0.0 the zero that it equals

    def whole(self, name: str) -> int | None:
        value = self.fields.pop(name, None)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not -(2**63) <= value < 2**63:
            self._findings.wrong(name, "must be a whole number of at most 64 bits")
            return None
        return value

    def max_tokens(self) -> int | None:
        """Read the bound under its old and its new name, of which vendors want one or the other."""
        if "max_tokens" not in self.fields and "max_completion_tokens" not in self.fields:
            return None
        old, new = self.whole("max_tokens"), self.whole("max_completion_tokens")
        if old is not None and new is not None and old != new:
            self._findings.wrong("max_tokens", "contradicts max_completion_tokens: send one of them")
        found = old if new is None else new
        if found is not None and found < 1:
            self._findings.wrong("max_tokens" if new is None else "max_completion_tokens", "must be at least 1")
        return found

    def stops(self, name: str) -> tuple[str, ...] | None:
        value = self.fields.pop(name, None)
        stops = [value] if isinstance(value, str) else value
        if not stops:
            return None
        if not isinstance(stops, list) or len(stops) > STOPS_CEILING or not all(_is_stop(stop) for stop in stops):
            self._findings.wrong(name, f"must be a text or at most {STOPS_CEILING} texts, none of them empty")
            return None
        return tuple(stops)

    def known(self, name: str, read: Callable[[Any], T | None]) -> T | None:
        """Read a value that has a canonical form; one that has none stays where it is, for providers of this shape."""
        value = self.fields.get(name)
        found = None if value is None else read(value)
        if found is not None:
            del self.fields[name]
        return found


def _is_stop(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _choice(value: Any) -> ToolChoice | None:
    if value in ("auto", "none", "required"):
        return ToolChoice(value)
    function = value.get("function") if isinstance(value, dict) and value.get("type") == "function" else None
    name = function.get("name") if isinstance(function, dict) and len(function) == 1 and len(value) == 2 else None
    return ToolChoice("named", name) if isinstance(name, str) and name else None


def _effort(value: Any) -> Reasoning | None:
    return Reasoning(effort=value) if isinstance(value, str) and value else None


_SCHEMA_FIELDS: dict[str, type] = {"name": str, "schema": dict, "strict": bool, "description": str}


def _format(value: Any) -> Format | None:
    if not isinstance(value, dict):
        return None
    kind = value.get("type")
    if kind in ("text", "json_object") and len(value) == 1:
        return Format("text" if kind == "text" else "json")
    schema = value.get("json_schema")
    if kind != "json_schema" or not isinstance(schema, dict) or len(value) != 2:
        return None
    told = {name: item for name, item in schema.items() if item is not None}
    if not told.get("name") or not all(isinstance(item, _SCHEMA_FIELDS.get(name, ())) for name, item in told.items()):
        return None
    return Format(
        kind="schema",
        name=told["name"],
        schema=ordered_json(told.get("schema")),
        strict=told.get("strict"),
        description=told.get("description", ""),
    )


# Names of parameters, the fields of `Params` that they go to, and how they are read.
_PARAMS: dict[str, tuple[str, Callable[[_Fields, str], Any]]] = {
    "temperature": ("temperature", _Fields.number),
    "top_p": ("top_p", _Fields.number),
    "seed": ("seed", _Fields.whole),
    "stop": ("stop", _Fields.stops),
    "top_k": ("top_k", _Fields.whole),
    "frequency_penalty": ("frequency_penalty", _Fields.number),
    "presence_penalty": ("presence_penalty", _Fields.number),
    "parallel_tool_calls": ("parallel_tools", _Fields.flag),
    "tool_choice": ("tool_choice", lambda fields, name: fields.known(name, _choice)),
    "response_format": ("format", lambda fields, name: fields.known(name, _format)),
    "reasoning_effort": ("reasoning", lambda fields, name: fields.known(name, _effort)),
}
