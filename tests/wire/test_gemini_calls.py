"""Requests in Gemini's shape. Each case is written after a page of Google's documentation, which it names."""

import json
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from askonce.domain.call import Call, ForeignTool, Format, Message, Params, Reasoning, Tool, ToolChoice
from askonce.domain.content import Image, canonical_json
from askonce.domain.errors import Invalid
from askonce.wire.gemini import encode_call, generation

HI = (Message("user", "Hi"),)
CONTENTS = [{"role": "user", "parts": [{"text": "Hi"}]}]
NOTHING = Params()
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA = canonical_json(CITY)
WEATHER = Tool("get_weather", "Tell the weather.", SCHEMA)
NEW, OLD = "gemini-3.5-flash", "gemini-2.5-flash"


def body(params: Params = NOTHING, model: str = NEW, **more: Any) -> Any:
    return json.loads(encode_call(Call("t", HI, params, **more), model))


def config(params: Params, model: str = NEW) -> Any:
    return body(params, model).get("generationConfig")


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        # API reference, `GenerationConfig`.
        (Params(), None),
        (Params(temperature=0.0, top_p=1.0, top_k=40), {"temperature": 0.0, "topP": 1.0, "topK": 40}),
        (Params(max_tokens=5, seed=0), {"maxOutputTokens": 5, "seed": 0}),
        (Params(stop=("a", "b")), {"stopSequences": ["a", "b"]}),
        (
            Params(frequency_penalty=0.5, presence_penalty=-1.0),
            {"frequencyPenalty": 0.5, "presencePenalty": -1.0},
        ),
        # Guide "Structured outputs".
        (Params(format=Format("text")), {"responseMimeType": "text/plain"}),
        (Params(format=Format("json")), {"responseMimeType": "application/json"}),
        (
            Params(format=Format("schema", "answer", SCHEMA, strict=True)),
            {"responseMimeType": "application/json", "responseJsonSchema": CITY},
        ),
        (
            Params(format=Format("schema", "answer", SCHEMA, description="A city.")),
            {
                "responseMimeType": "application/json",
                "responseJsonSchema": CITY | {"description": "A city."},
            },
        ),
    ],
)
def test_only_parameters_that_were_given_are_sent(params: Params, sent: object) -> None:
    assert config(params) == sent


@pytest.mark.parametrize(
    ("reasoning", "model", "sent"),
    [
        # Guide "Gemini thinking": levels from Gemini 3 on, budgets before.
        (Reasoning("low"), NEW, {"thinkingLevel": "low", "includeThoughts": True}),
        (Reasoning("xhigh"), NEW, {"thinkingLevel": "xhigh", "includeThoughts": True}),
        (Reasoning("minimal"), "gemini-flash-latest", {"thinkingLevel": "minimal", "includeThoughts": True}),
        (Reasoning(budget_tokens=2048), NEW, {"thinkingBudget": 2048, "includeThoughts": True}),
        (Reasoning(budget_tokens=2048), OLD, {"thinkingBudget": 2048, "includeThoughts": True}),
        (Reasoning(budget_tokens=0), OLD, {"thinkingBudget": 0}),
        (Reasoning(), OLD, {"includeThoughts": True}),
        # "OpenAI compatibility", Thinking: what an effort is worth.
        (Reasoning("low"), OLD, {"thinkingBudget": 1024, "includeThoughts": True}),
        (Reasoning("medium"), OLD, {"thinkingBudget": 8192, "includeThoughts": True}),
        (Reasoning("high"), OLD, {"thinkingBudget": 24576, "includeThoughts": True}),
        (Reasoning("none"), OLD, {"thinkingBudget": 0}),
        (Reasoning("none"), NEW, {"thinkingBudget": 0}),
    ],
)
def test_thinking_is_asked_for_in_the_models_own_measure(reasoning: Reasoning, model: str, sent: object) -> None:
    assert config(Params(reasoning=reasoning), model) == {"thinkingConfig": sent}


@pytest.mark.parametrize(
    ("model", "number"),
    [("gemini-2.5-flash", 2), ("gemini-3-pro-preview", 3), ("models/gemini-10-x", 10), ("gemini-pro-latest", 3),
     ("gemma-2-9b-it", 2), ("tunedModels/mine", 3)],
)  # fmt: skip
def test_generations(model: str, number: int) -> None:
    assert generation(model) == number


def test_a_tool_keeps_its_schema_whole() -> None:
    # API reference, `FunctionDeclaration`.
    assert body(tools=(WEATHER, Tool("now", "", Raw(b"null")))) == {
        "contents": CONTENTS,
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "get_weather",
                        "description": "Tell the weather.",
                        "parametersJsonSchema": CITY,
                    },
                    {"name": "now"},
                ]
            }
        ],
    }


@pytest.mark.parametrize(
    ("choice", "strict", "sent"),
    [
        # Guide "Function calling", "Function calling modes".
        (None, None, None),
        (ToolChoice("auto"), None, {"mode": "AUTO"}),
        (ToolChoice("none"), None, {"mode": "NONE"}),
        (ToolChoice("required"), None, {"mode": "ANY"}),
        (ToolChoice("named", "now"), None, {"mode": "ANY", "allowedFunctionNames": ["now"]}),
        (None, True, {"mode": "VALIDATED"}),
        (ToolChoice("auto"), True, {"mode": "VALIDATED"}),
        (ToolChoice("required"), True, {"mode": "ANY"}),
        (ToolChoice("none"), True, {"mode": "NONE"}),
        (None, False, None),
    ],
)
def test_tool_choices(choice: ToolChoice | None, strict: bool | None, sent: Any) -> None:
    got = body(Params(tool_choice=choice, parallel_tools=True), tools=(replace(WEATHER, strict=strict),))
    assert got.get("toolConfig") == (sent and {"functionCallingConfig": sent})


@pytest.mark.parametrize(
    ("details", "sent"),
    [
        (("", "auto"), None),
        (("low", "low"), {"mediaResolution": "MEDIA_RESOLUTION_LOW"}),
        (("high",), {"mediaResolution": "MEDIA_RESOLUTION_HIGH"}),
    ],
)
def test_the_detail_of_all_images_is_one_resolution(details: tuple[str, ...], sent: object) -> None:
    # API reference, `MediaResolution`.
    images = tuple(Image(media_type="image/png", data="AAAA", detail=detail) for detail in details)
    call = Call("t", (Message("user", images),), Params())
    assert json.loads(encode_call(call, NEW)).get("generationConfig") == sent


def mixed() -> tuple[Message, ...]:
    images = (Image(media_type="image/png", data="AAAA"), Image(media_type="image/png", data="AAAA", detail="low"))
    return (Message("user", images),)


SEARCH = ForeignTool("anthropic", "web_search_20250305", canonical_json({"type": "web_search_20250305"}))


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (Call("t", HI, Params(parallel_tools=False)), "parallel_tool_calls"),
        (Call("t", HI, Params(stop=tuple("abcdef"))), "stop"),
        (Call("t", HI, Params(seed=2**31)), "seed"),
        (Call("t", HI, Params(max_tokens=2**31)), "max_tokens"),
        (Call("t", HI, Params(reasoning=Reasoning("max"))), "reasoning_effort"),
        (Call("t", HI, Params(reasoning=Reasoning("low", 1024))), "reasoning"),
        (
            Call("t", HI, Params(format=Format("schema", "a", canonical_json({"description": "b"}), description="c"))),
            "response_format",
        ),
        (Call("t", HI, Params(), tools=(WEATHER, SEARCH)), "tools[1]"),
        (Call("t", HI, Params(), shape="openai", extra=(("logit_bias", Raw(b"{}")),)), "logit_bias"),
        (Call("t", HI, Params(), kind="embedding"), "model"),
        (Call("t", mixed(), Params()), "detail"),
        (Call("t", (), Params()), "messages"),
    ],
)
def test_what_the_shape_cannot_say_is_refused_by_name(call: Call, field: str) -> None:
    with pytest.raises(Invalid, match="Gemini's shape, which cannot say this") as caught:
        encode_call(call, NEW)
    assert [detail.field for detail in caught.value.details] == [field]
    assert field in caught.value.message


def test_an_effort_without_a_budget_is_refused_for_models_that_know_budgets_only() -> None:
    with pytest.raises(Invalid, match="reasoning_effort must be one of none, minimal, low, medium, high for"):
        body(Params(reasoning=Reasoning("xhigh")), OLD)


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        encode_call(Call("t", HI, Params(parallel_tools=False, seed=2**40), tools=(SEARCH,)), NEW)
    assert {detail.field for detail in caught.value.details} == {"parallel_tool_calls", "seed", "tools[0]"}


def test_the_same_call_is_the_same_bytes() -> None:
    call = Call("t", HI, Params(temperature=1, reasoning=Reasoning("low")), tools=(WEATHER,))
    assert encode_call(call, NEW) == encode_call(replace(call, stream=True), NEW)
