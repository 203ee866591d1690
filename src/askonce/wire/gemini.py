"""Google's generateContent, as a client speaks it: calls out. Pure. Answers are read in `gemini_answers`.

The format is Google's "Gemini API reference", version v1beta (`models.generateContent`). Decisions:
- Encoding is deterministic and in the order of the messages, so that a conversation that grows keeps its prefix and
  with it Google's implicit cache. What the shape has no word for is refused by name before anything is paid.
- Schemas go into `parametersJsonSchema` and `responseJsonSchema`, which read JSON Schema. `parameters` and
  `responseSchema` know a subset of OpenAPI's, to which a client's schema could only be cut down.
- A schema's name is a label that no model needs and stays here; its description becomes the schema's own.
- `strict` of any tool makes the calls keep to their schemas: mode VALIDATED, where AUTO would hold. ANY does so always.
- A budget of thinking tokens is a `thinkingBudget`; an effort is a `thinkingLevel`, and for models before Gemini 3,
  which know no levels, the budget that Google's own OpenAI shape gives them (`BUDGETS`). `none` is a budget of 0;
  a model that cannot stop thinking says so. Who asks for thinking gets its summary.
- The detail of images is one `mediaResolution` for all of them, so different wishes in one call are refused.
"""

import re
from typing import Any

import msgspec
from msgspec import Raw

from askonce.domain.call import Call, ForeignTool, Format, Message, Params, Reasoning, Tool, ToolChoice
from askonce.domain.content import Image, ToolResult, as_parts
from askonce.wire.gemini_contents import Json, Unsayable, conversation
from askonce.wire.prefill import PROBLEM, is_prefilled

# Google's "OpenAI compatibility", Thinking: what an effort is worth to models that know budgets only.
BUDGETS = {"none": 0, "minimal": 1_024, "low": 1_024, "medium": 8_192, "high": 24_576}
LEVELS = ("minimal", "low", "medium", "high", "xhigh")  # API reference, `ThinkingLevel`
FIRST_WITH_LEVELS = 3

STOP_SEQUENCES_MAX = 5  # API reference, `GenerationConfig.stopSequences`
INT32_MAX = 2**31 - 1  # the type of `seed` and `maxOutputTokens`

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}
_RESOLUTIONS = {"low": "MEDIA_RESOLUTION_LOW", "high": "MEDIA_RESOLUTION_HIGH"}
_GENERATION = re.compile(r"\bgem(?:ini|ma)-(\d+)")


def encode_call(call: Call, model: str) -> bytes:
    """Write the request's body; whether it streams is said by the address, not here.

    Raises `Invalid` that names everything which this shape cannot say.
    """
    unsayable = Unsayable()
    if call.kind != "chat":
        unsayable.add("model", "is asked for embeddings, which this shape does not give here")
    for name, _ in call.extra:
        unsayable.add(name, f"is a field that only the shape {call.shape} has")
    if is_prefilled(call):
        unsayable.add(f"messages[{len(call.messages) - 1}]", PROBLEM)
    body = conversation(call.messages, generation(model) >= FIRST_WITH_LEVELS, unsayable)
    if call.tools:
        body["tools"] = [{"functionDeclarations": _declarations(call, unsayable)}]
    choosing = _choosing(call, unsayable)
    if choosing:
        body["toolConfig"] = {"functionCallingConfig": choosing}
    config = _config(call.params, model, unsayable) | _resolution(call.messages, unsayable)
    if config:
        body["generationConfig"] = config
    unsayable.refuse(model)
    return msgspec.json.encode(body)


def generation(model: str) -> int:
    """Return a model's generation by its name; a name without a number (`gemini-flash-latest`) is of the newest."""
    found = _GENERATION.search(model)
    return int(found[1]) if found else FIRST_WITH_LEVELS


def _declarations(call: Call, unsayable: Unsayable) -> list[Json]:
    declared = []
    for index, tool in enumerate(call.tools):
        if isinstance(tool, ForeignTool):
            unsayable.add(f"tools[{index}]", f"is {tool.kind}, a tool that only the shape {tool.shape} has")
            continue
        written: Json = {"name": tool.name}
        if tool.description:
            written["description"] = tool.description
        if bytes(tool.schema) != b"null":
            written["parametersJsonSchema"] = tool.schema
        declared.append(written)
    return declared


def _choosing(call: Call, unsayable: Unsayable) -> Json:
    choice = call.params.tool_choice
    if call.params.parallel_tools is False:
        unsayable.add("parallel_tool_calls", "cannot be switched off for Gemini's models")
    strict = any(isinstance(tool, Tool) and tool.strict for tool in call.tools)
    if strict and (choice is None or choice.mode == "auto"):
        return {"mode": "VALIDATED"}
    if choice is None:
        return {}
    return {"mode": _MODES[choice.mode]} | _allowed(choice)


def _allowed(choice: ToolChoice) -> Json:
    return {"allowedFunctionNames": [choice.name]} if choice.mode == "named" else {}


def _config(params: Params, model: str, unsayable: Unsayable) -> Json:
    if params.stop is not None and len(params.stop) > STOP_SEQUENCES_MAX:
        unsayable.add("stop", f"must be at most {STOP_SEQUENCES_MAX} texts for Gemini's models")
    if params.seed is not None and not -INT32_MAX - 1 <= params.seed <= INT32_MAX:
        unsayable.add("seed", "must fit into 32 bits for Gemini's models")
    if params.max_tokens is not None and params.max_tokens > INT32_MAX:
        unsayable.add("max_tokens", "must fit into 32 bits for Gemini's models")
    named = {
        "temperature": params.temperature,
        "topP": params.top_p,
        "topK": params.top_k,
        "maxOutputTokens": params.max_tokens,
        "stopSequences": params.stop,
        "seed": params.seed,
        "frequencyPenalty": params.frequency_penalty,
        "presencePenalty": params.presence_penalty,
        "thinkingConfig": _thinking(params.reasoning, generation(model), unsayable),
    }
    return {name: value for name, value in named.items() if value is not None} | _format(params.format, unsayable)


def _thinking(reasoning: Reasoning | None, model_generation: int, unsayable: Unsayable) -> Json | None:
    if reasoning is None:
        return None
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if effort and budget:
        unsayable.add("reasoning", "is asked for by an effort and by a budget, of which Gemini's models take one")
        return None
    levels = model_generation >= FIRST_WITH_LEVELS
    known = ("none", *LEVELS) if levels else tuple(BUDGETS)
    if budget is None and effort and effort not in known:
        unsayable.add("reasoning_effort", f"must be one of {', '.join(known)} for this model")
        return None
    if budget is None and levels and effort in LEVELS:
        return {"thinkingLevel": effort, "includeThoughts": True}
    budget = BUDGETS.get(effort) if budget is None else budget
    if budget is None:
        return {"includeThoughts": True}
    return {"thinkingBudget": budget} | ({"includeThoughts": True} if budget else {})


def _format(wanted: Format | None, unsayable: Unsayable) -> Json:
    if wanted is None:
        return {}
    if wanted.kind == "text":
        return {"responseMimeType": "text/plain"}
    if wanted.kind == "json" or bytes(wanted.schema) == b"null":
        return {"responseMimeType": "application/json"}
    schema: Raw | Json = wanted.schema
    if wanted.description:
        own: Any = msgspec.json.decode(wanted.schema)
        if not isinstance(own, dict) or own.get("description", wanted.description) != wanted.description:
            unsayable.add("response_format", "has a description besides its schema's own")
            return {}
        schema = own | {"description": wanted.description}
    return {"responseMimeType": "application/json", "responseJsonSchema": schema}


def _resolution(messages: tuple[Message, ...], unsayable: Unsayable) -> Json:
    details: set[str] = set()
    for message in messages:
        for part in as_parts(message.content):
            inner = part.content if isinstance(part, ToolResult) else (part,)
            details |= {image.detail for image in inner if isinstance(image, Image)}
    details = {"auto" if detail == "" else detail for detail in details}
    if details <= {"auto"}:
        return {}
    if len(details) > 1 or not details <= _RESOLUTIONS.keys():
        unsayable.add("detail", "of images must be low or high, and the same for all of them, for Gemini's models")
        return {}
    return {"mediaResolution": _RESOLUTIONS[details.pop()]}
