"""The body of `POST /v1/responses` becomes an `Ask`: the very question that a chat completion would be.

The format is OpenAI's API reference, "Create a model response", and its guide "Migrate to the Responses API". Who is
asked is asked through other endpoints, so whatever has a name in chat completions is renamed and read by that reader
(`wire.openai_read`): one meaning has one form, and both doors one entry. Then:

- Nothing is kept between requests. `store` may be true, which it is when absent, but the reply says that it is false;
  `store: false` is passed on. What needs a memory (`previous_response_id`, `conversation`, `background`, templates) or
  the vendor's own endpoint (its tools, `truncation`) is refused by name.
- `metadata` comes back in the reply and goes nowhere else: chat completions take it only where they are stored.
  `client_metadata`, which Codex sends, is about the client's own session and ends here: no vendor's chat knows it.
- `reasoning.summary` and `include` ask to be shown what is always shown here, as far as a vendor tells it.
- `strict` of a tool is what was sent. That its absence means true there and false in chat completions is left alone.
"""

from typing import Any

from askonce.domain.call import Ask, CacheWish, Call, RoutingWish
from askonce.wire.openai_parts import NAMED_MAX, SHAPE, Findings, Json
from askonce.wire.openai_read import Rest, read_object, read_rest
from askonce.wire.responses_echo import echo_of
from askonce.wire.responses_input import read_input
from askonce.wire.responses_tools import choice_of, read_tools

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
    return read_object(body, "a model and an input", lambda fields: _ask(fields, tenant, wish))


def _ask(fields: Json, tenant: str, wish: CacheWish) -> Ask:
    findings = Findings()
    sent = dict(fields)
    instructions = fields.pop("instructions", "")
    if not isinstance(instructions, str):
        findings.wrong("instructions", "must be a text")
        instructions = ""
    messages = read_input(fields.pop("input", None), instructions, findings)
    tools = read_tools(fields.pop("tools", []), findings)
    rest = _read_as_chat(_as_chat(fields, findings), findings)
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
    return Ask(call, RoutingWish(model=rest.model), wish, echo_of(sent))


def _read_as_chat(chat: Json, findings: Findings) -> Rest:
    """Read what is said in the words of chat completions; what is wrong with it is noted in ours."""
    found = Findings()
    rest = read_rest(chat, found)
    for problem in found.problems:
        findings.wrong(_HERE.get(problem.field, problem.field), problem.problem)
    findings.asides += found.asides
    return rest


def _as_chat(fields: Json, findings: Findings) -> Json:
    """Say the fields as chat completions say them, without those that end here."""
    for name in sorted(_REFUSED.keys() & fields.keys()):
        harmless, problem = _REFUSED[name]
        if fields.pop(name) not in harmless:
            findings.wrong(name, problem)
    _check_include(fields.pop("include", []), findings)
    if not isinstance(fields.pop("metadata", {}), dict):
        findings.wrong("metadata", "must be an object")
    if not isinstance(fields.pop("client_metadata", {}), dict):
        findings.wrong("client_metadata", "must be an object")
    if fields.get("store") is True:
        del fields["store"]
    fields.pop("max_tool_calls", None)  # bounds the calls of tools that are refused
    if "max_output_tokens" in fields:
        fields["max_completion_tokens"] = fields.pop("max_output_tokens")
    if "tool_choice" in fields:
        fields["tool_choice"] = choice_of(fields["tool_choice"], findings)
    if "text" in fields:
        fields |= _text(fields.pop("text"), findings)
    if "reasoning" in fields:
        fields |= _reasoning(fields.pop("reasoning"), findings)
    return fields


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
