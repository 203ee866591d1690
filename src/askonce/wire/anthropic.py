"""Questions in the shape of Anthropic's Messages. Pure. What comes back: `anthropic_answers`, `anthropic_stream`.

The format is Anthropic's API reference, "Messages" (`POST /v1/messages`, version 2023-06-01). Decisions:
- Leading system messages become `system`. Later ones stay where they are, as messages of role `system` (guide,
  "Mid-conversation system messages"); models before Claude Opus 4.8 do not know them, so for those they are refused.
- Turns of one side that follow each other are one message, as Anthropic itself would have it; results of tools are
  the user's. A turn that is a single text is written as that text.
- A turn without content is refused, as Anthropic would; only the assistant's last may be empty (API reference,
  `messages`). One of nothing but another vendor's thoughts is such a turn.
- `max_tokens` is required. Without one: the most that an old model can write, else `MAX_TOKENS`.
- What Anthropic cannot be told is refused by name before anything is paid: penalties, `seed`, JSON without a schema,
  `temperature` over 1, names of participants. A penalty of 0 says nothing. A schema's name is a label and stays here.
- An effort is `output_config.effort` with adaptive thinking; models before Claude 4.6 know budgets only and get one
  (`BUDGETS`). `none` and a budget of 0 switch thinking off.
"""

import re

import msgspec
from msgspec import Raw

from askonce.domain.call import Call, Format, Message, Reasoning, Role, Tool, ToolChoice
from askonce.domain.content import as_parts
from askonce.wire.anthropic_parts import SHAPE, Json, Marks, Problems, object_of, write_blocks

# Longer answers take over ten minutes, which is longer than anybody waits for one.
MAX_TOKENS = 32_000
# What old models can write at most (Anthropic's "Models overview").
_SHORT = (
    (re.compile(r"claude-(?:instant|2|3-(?:haiku|opus|sonnet))"), 4_096),
    (re.compile(r"claude-3-5"), 8_192),
)
# What an effort is worth to models that know budgets only; 1,024 is the least (guide, "Extended thinking").
BUDGETS = {"minimal": 1_024, "low": 2_048, "medium": 8_192, "high": 16_384, "xhigh": 24_576, "max": 24_576}
ANSWER_ROOM = 8_192  # where thinking has a budget and the answer has no bound: so much is left for the answer
_EFFORTS = {"minimal": "low"}  # OpenAI's word that Anthropic's scale does not have
_BUDGET_MODELS = re.compile(r"claude-(?:instant|[23]\b|[a-z]+-4(?:-[0-5])?(?:-\d{6,}|@|-latest|$)|4)")
_NO_LATER_SYSTEM = re.compile(r"claude-(?:instant|[234]\b|(?:sonnet|haiku)-4|opus-4(?:-[0-7])?(?:-\d{6,}|@|-latest|$))")

TOOL_ASIDES = ("cache_control", "eager_input_streaming")
_ROLES: dict[Role, str] = {"system": "system", "developer": "system", "assistant": "assistant"}  # all else: user
_CHOICES = {"auto": "auto", "none": "none", "required": "any", "named": "tool"}


def encode_call(call: Call, model: str) -> bytes:
    """Write the request's body. Raises `Invalid` that names all which this shape cannot say."""
    return _encode(call, _body(call, model))


def encode_count(call: Call, model: str) -> bytes:
    """Write the body of `POST /v1/messages/count_tokens`: what adds to the prompt, and nothing else."""
    body = _body(call, model)
    return msgspec.json.encode({name: value for name, value in body.items() if name in _COUNTED})


_COUNTED = {"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config", "cache_control"}


def _encode(call: Call, body: Json) -> bytes:
    if call.stream:
        body["stream"] = True
    return msgspec.json.encode(body)


def _body(call: Call, model: str) -> Json:
    problems = Problems()
    _refuse(call, problems)
    body: Json = {"model": model, "max_tokens": _max_tokens(call, model)}
    body |= _conversation(call, model, problems)
    if call.tools:
        body["tools"] = _tools(call, problems)
    body |= _choice(call)
    params = call.params
    named = {
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": params.top_k,
        "stop_sequences": params.stop,
    }
    body |= {name: value for name, value in named.items() if value is not None}
    _reason(call, model, body, problems)
    _format(params.format, body, problems)
    _foreign_fields(call, body)
    problems.check(f"{model} is asked in Anthropic's shape, which cannot say this")
    return body


def _refuse(call: Call, problems: Problems) -> None:
    if call.kind != "chat":
        problems.add("model", "Anthropic has no embeddings")
    if call.shape != SHAPE:
        for name, _ in call.extra:
            problems.add(name, f"is a field that only the shape of {call.shape} has")
    params = call.params
    if params.temperature is not None and params.temperature > 1:
        problems.add("temperature", "must be at most 1 for Anthropic's models")
    if params.seed is not None:
        problems.add("seed", "is not known to Anthropic")
    for name, value in (
        ("frequency_penalty", params.frequency_penalty),
        ("presence_penalty", params.presence_penalty),
    ):
        if value:
            problems.add(name, "is not known to Anthropic")


def _max_tokens(call: Call, model: str) -> int:
    if call.params.max_tokens is not None:
        return call.params.max_tokens
    short = next((most for pattern, most in _SHORT if pattern.search(model)), MAX_TOKENS)
    reasoning = call.params.reasoning
    return max(short, (reasoning.budget_tokens or 0) + ANSWER_ROOM) if reasoning is not None else short


class _Turn:
    """Gather what one side says before the other speaks."""

    def __init__(self, role: str, field: str) -> None:
        self.role = role
        self.field = field  # where it begins
        self._texts: list[str] = []  # the messages that are a single text and nothing else
        self._count = 0
        self.blocks: list[Json] = []

    def add(self, message: Message, blocks: list[Json], *, bare: bool) -> None:
        self._count += 1
        if bare and isinstance(message.content, str):
            self._texts.append(message.content)
        self.blocks += blocks

    @property
    def content(self) -> str | list[Json]:
        return self._texts[0] if self._count == 1 and self._texts else self.blocks


def _conversation(call: Call, model: str, problems: Problems) -> Json:
    turns: list[_Turn] = []
    for index, message in enumerate(call.messages):
        field = f"messages.{index}"
        if message.name:
            problems.add(f"{field}.name", "is not known to Anthropic")
        role = _ROLES.get(message.role, "user")
        if role == "system" and any(turn.role != "system" for turn in turns):
            _later_system(model, field, problems)
        marks = Marks(call.asides, ("messages", index))
        blocks = write_blocks(as_parts(message.content), marks, f"{field}.content", problems)
        if not turns or turns[-1].role != role:
            turns.append(_Turn(role, field))
        turns[-1].add(message, blocks, bare=not marks)
    body: Json = {}
    if turns and turns[0].role == "system":
        body["system"] = turns.pop(0).content
    for turn in turns[:-1] if turns and turns[-1].role == "assistant" else turns:
        if not turn.content:
            problems.add(turn.field, "says nothing that Anthropic could be told, which refuses empty turns")
    body["messages"] = [{"role": turn.role, "content": turn.content} for turn in turns]
    return body


def _later_system(model: str, field: str, problems: Problems) -> None:
    if _NO_LATER_SYSTEM.search(model):
        problems.add(field, f"is a system message within the conversation, which {model} does not know")


def _tools(call: Call, problems: Problems) -> list[Json]:
    tools = []
    for index, tool in enumerate(call.tools):
        marks = Marks(call.asides, ("tools", index))
        if isinstance(tool, Tool):
            written: Json = {"name": tool.name}
            if tool.description:
                written["description"] = tool.description
            written["input_schema"] = tool.schema if bytes(tool.schema) != b"null" else {"type": "object"}
            if tool.strict is not None:
                written["strict"] = tool.strict
        elif tool.shape == SHAPE:
            written = object_of(tool.json)
        else:
            problems.add(f"tools.{index}", f"is a tool that only the shape of {tool.shape} has: {tool.kind}")
            continue
        tools.append(marks.put(written, names=TOOL_ASIDES))
    return tools


def _choice(call: Call) -> Json:
    """Write `tool_choice`, where the number of calls has its place; with mode `none` there is nothing to number."""
    choice, parallel = call.params.tool_choice, call.params.parallel_tools
    if choice is None and (parallel is None or not call.tools):
        return {}
    choice = choice or ToolChoice("auto")
    written: Json = {"type": _CHOICES[choice.mode]}
    if choice.name:
        written["name"] = choice.name
    if parallel is not None and choice.mode != "none":
        written["disable_parallel_tool_use"] = not parallel
    return {"tool_choice": written}


def _reason(call: Call, model: str, body: Json, problems: Problems) -> None:
    reasoning = call.params.reasoning
    if reasoning is None:
        return
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if budget == 0 or effort == "none":
        body["thinking"] = {"type": "disabled"}
        effort = "" if effort == "none" else effort
    elif budget is not None:
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    elif _BUDGET_MODELS.search(model):
        _budget(reasoning, body, problems)
        return
    else:
        body["thinking"] = {"type": "adaptive"}
    if effort and effort not in BUDGETS:
        problems.add("reasoning effort", f"must be one of {', '.join(BUDGETS)} or none for Anthropic's models")
    elif effort:
        body["output_config"] = {"effort": _EFFORTS.get(effort, effort)}


def _budget(reasoning: Reasoning, body: Json, problems: Problems) -> None:
    budget = BUDGETS.get(reasoning.effort or "medium")
    room = body["max_tokens"]
    if budget is None:
        problems.add("reasoning effort", f"must be one of {', '.join(BUDGETS)} or none for Anthropic's models")
    elif room <= BUDGETS["minimal"]:
        problems.add("max_tokens", f"must be over {BUDGETS['minimal']} for a model that is to think")
    else:
        body["thinking"] = {"type": "enabled", "budget_tokens": min(budget, max(room // 2, BUDGETS["minimal"]))}


def _format(wanted: Format | None, body: Json, problems: Problems) -> None:
    if wanted is None or wanted.kind == "text":
        return
    if wanted.kind == "json":
        problems.add("response_format", "must have a schema: Anthropic has no JSON mode without one")
        return
    schema: Raw | Json = wanted.schema
    if wanted.description:
        schema = {"description": wanted.description} | object_of(wanted.schema)
    body["output_config"] = body.get("output_config", {}) | {"format": {"type": "json_schema", "schema": schema}}


def _foreign_fields(call: Call, body: Json) -> None:
    """Put back what only this shape has, and what cannot change the answer."""
    if call.shape != SHAPE:
        return
    for name, raw in call.extra:
        old = body.get(name)
        body[name] = object_of(raw) | old if isinstance(old, dict) else raw
    for aside in call.asides:
        if len(aside.at) == 1:
            body[str(aside.at[0])] = aside.json
