"""Questions go out in Anthropic's shape."""

import json
import re
from typing import Any

import pytest
from msgspec import Raw

from askonce.domain.call import (
    Aside,
    Call,
    ForeignTool,
    Format,
    Message,
    Params,
    Reasoning,
    Tool,
    ToolChoice,
)
from askonce.domain.content import GOOGLES, Foreign, Image, Text, Thinking, ToolCall, ToolResult
from askonce.domain.errors import Invalid
from askonce.wire.anthropic import MAX_TOKENS, encode_call, encode_count

NEW, OLD = "claude-opus-5", "claude-haiku-4-5"
HI = Message("user", "Hi")
MARK = Raw(b'{"type":"ephemeral"}')


def body(call: Call, model: str = NEW) -> Any:
    return json.loads(encode_call(call, model))


def asked(*messages: Message, model: str = NEW, **fields: Any) -> Any:
    return body(Call("t", messages or (HI,), fields.pop("params", Params()), **fields), model)


def refused(*messages: Message, model: str = NEW, **fields: Any) -> set[str]:
    with pytest.raises(Invalid) as caught:
        asked(*messages, model=model, **fields)
    assert all(detail.field in caught.value.message for detail in caught.value.details)
    return {detail.field for detail in caught.value.details}


def test_a_simple_question_is_as_the_vendors_reference_shows_it() -> None:
    """Anthropic's API reference, "Messages"."""
    system = Message("system", "Be brief.")
    assert asked(system, HI, params=Params(temperature=0.5, max_tokens=1024)) == {
        "model": NEW,
        "max_tokens": 1024,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": "Hi"}],
        "temperature": 0.5,
    }


def test_a_stream_is_asked_for_only_where_wanted() -> None:
    assert asked(stream=True)["stream"] is True
    assert "stream" not in asked()


@pytest.mark.parametrize(
    ("model", "limit"),
    [("claude-3-haiku-20240307", 4096), ("claude-3-5-sonnet-latest", 8192), (OLD, MAX_TOKENS), (NEW, MAX_TOKENS)],
)
def test_a_limit_that_is_required_is_the_models_own_or_ours(model: str, limit: int) -> None:
    assert asked(model=model)["max_tokens"] == limit


def test_a_budget_leaves_room_for_the_answer() -> None:
    params = Params(reasoning=Reasoning(budget_tokens=30_000))
    assert asked(params=params)["max_tokens"] == 38_192


def test_leading_instructions_are_the_system_prompt() -> None:
    sent = asked(Message("system", "a"), Message("developer", "b"), HI)
    assert sent["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert sent["messages"] == [{"role": "user", "content": "Hi"}]


def test_later_instructions_stay_where_they_are_if_the_model_knows_them() -> None:
    """Guide "Mid-conversation system messages"."""
    later = Message("system", "b")
    assert asked(HI, later)["messages"][1] == {"role": "system", "content": "b"}
    assert refused(HI, later, model=OLD) == {"messages.1"}


@pytest.mark.parametrize(
    ("model", "knows"),
    [
        ("claude-opus-4-8", True),
        ("claude-opus-4-8-20260528", True),
        ("claude-opus-5-5", True),
        ("claude-opus-4-7", False),
        ("claude-opus-4-20250514", False),
        ("claude-opus-4-0", False),
        ("claude-sonnet-4-6", False),
        ("claude-haiku-4-5-20251001", False),
        ("claude-3-opus-latest", False),
    ],
)
def test_which_models_know_later_instructions(model: str, knows: bool) -> None:
    if knows:
        asked(HI, Message("system", "b"), model=model)
    else:
        refused(HI, Message("system", "b"), model=model)


def test_turns_of_one_side_are_one_message_with_the_results_of_tools() -> None:
    """Guide "Handle tool calls": all results of one turn in one user message, before its words."""
    call, other = ToolCall("1", "n", '{"a": 1}'), ToolCall("2", "n", "")
    sent = asked(
        Message("user", "a"),
        Message("user", "b"),
        Message("assistant", (Text("c"), call)),
        Message("assistant", (other,)),
        Message("tool", (ToolResult("1", (Text("x"),)),)),
        Message("tool", (ToolResult("2", (), is_error=True),)),
        Message("user", "d"),
    )
    assert sent["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "c"},
                {"type": "tool_use", "id": "1", "name": "n", "input": {"a": 1}},
                {"type": "tool_use", "id": "2", "name": "n", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "1", "content": "x"},
                {"type": "tool_result", "tool_use_id": "2", "is_error": True},
                {"type": "text", "text": "d"},
            ],
        },
    ]


def test_a_tools_arguments_go_out_byte_for_byte() -> None:
    sent = encode_call(Call("t", (Message("assistant", (ToolCall("1", "n", '{"b": 1,  "a": 2.0}'),)),), Params()), NEW)
    assert b'"input":{"b": 1,  "a": 2.0}' in sent


def test_arguments_that_are_no_object_are_wrapped() -> None:
    """Guide "Fine-grained tool streaming", "Handling invalid JSON"."""
    sent = asked(HI, Message("assistant", (ToolCall("1", "n", '{"a'),)))
    assert sent["messages"][1]["content"][0]["input"] == {"INVALID_JSON": '{"a'}


IMAGES = [
    (Image(url="https://x/y"), {"type": "url", "url": "https://x/y"}),
    (Image(media_type="image/png", data="AA=="), {"type": "base64", "media_type": "image/png", "data": "AA=="}),
    (Image(url="data:image/gif;base64,AA=="), {"type": "base64", "media_type": "image/gif", "data": "AA=="}),
    # RFC 2397: parameters, words in any case, data that is percent-encoded or no base64.
    (
        Image(url="data:image/png;charset=utf-8;base64,AA=="),
        {"type": "base64", "media_type": "image/png", "data": "AA=="},
    ),
    (Image(url="DATA:image/PNG;BASE64,AA=="), {"type": "base64", "media_type": "image/png", "data": "AA=="}),
    (
        Image(url="data:image/png;base64,%2BA%3D%3D"),
        {"type": "base64", "media_type": "image/png", "data": "+A=="},
    ),
    (Image(url="data:image/gif,GIF%00"), {"type": "base64", "media_type": "image/gif", "data": "R0lGAA=="}),
    (Image(url="https://x/y", detail="auto"), {"type": "url", "url": "https://x/y"}),
]


@pytest.mark.parametrize(("image", "source"), IMAGES)
def test_images(image: Image, source: Any) -> None:
    sent = asked(Message("user", (image,)))
    assert sent["messages"][0]["content"] == [{"type": "image", "source": source}]


@pytest.mark.parametrize("url", ["data:;base64,AA==", "data:,AA", "data:image/png"])
def test_a_picture_of_no_type_is_refused_by_name(url: str) -> None:
    assert refused(Message("user", (Text("See"), Image(url=url)))) == {"messages.0.content.1"}


def test_a_turn_of_nothing_is_refused_by_name_but_for_the_assistants_last() -> None:
    # API reference, "messages": all but the optional final assistant message must have content.
    unsigned = Message("assistant", (Thinking("theirs"),))
    assert refused(HI, unsigned, HI) == {"messages.1"}
    assert refused(Message("user", "")) == {"messages.0"}
    assert refused(HI, Message("assistant", ""), HI) == {"messages.1"}
    assert asked(HI, Message("assistant", ""))["messages"][1] == {"role": "assistant", "content": ""}
    assert len(asked(HI, unsigned, Message("assistant", "So."), HI)["messages"]) == 3


def test_a_beginning_of_the_answer_reaches_the_vendor() -> None:
    # Guide "Prefill Claude's response"; models that take none say so themselves.
    assert asked(HI, Message("assistant", "{"))["messages"][1] == {"role": "assistant", "content": "{"}


def test_ids_of_calls_are_made_valid_the_same_way_in_the_call_and_its_result() -> None:
    # API reference, `tool_use.id`: ^[a-zA-Z0-9_-]+$
    ids = ["functions.look:0", "functions_look_0", "functions/look:0", "", "é" * 90, "call_1"]
    called = Message("assistant", tuple(ToolCall(one, "look", "{}") for one in ids))
    sent = asked(HI, called, *(Message("tool", (ToolResult(one, (Text("so"),)),)) for one in ids))["messages"]
    written = [block["id"] for block in sent[1]["content"]]
    assert [block["tool_use_id"] for block in sent[2]["content"]] == written
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", one) for one in written)
    assert len(set(written)) == len(ids)
    assert (written[1], written[5]) == (ids[1], ids[5])
    assert written[0].startswith("functions_look_0_")


def test_the_id_of_a_result_that_only_this_shape_has_is_made_valid_too() -> None:
    raw = Raw(b'{"content":[{"type":"document"}],"tool_use_id":"a.b","type":"tool_result"}')
    called, told = ToolCall("a.b", "look", "{}"), Foreign("anthropic", "tool_result", raw)
    sent = asked(HI, Message("assistant", (called,)), Message("user", (told,)), shape="anthropic")["messages"]
    assert sent[2]["content"][0]["tool_use_id"] == sent[1]["content"][0]["id"] != "a.b"


def test_thoughts_go_back_with_their_signature_and_others_stay_here() -> None:
    thoughts = (
        Thinking("hm", "s"),
        Thinking(redacted="d"),
        Thinking("theirs"),
        Thinking("Google's", GOOGLES),
        Text("a"),
    )
    sent = asked(HI, Message("assistant", thoughts))
    assert sent["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "a"},
    ]


TOOL = Tool("n", "d", Raw(b'{"type":"object"}'), True)


def test_tools_and_their_choice() -> None:
    search = ForeignTool("anthropic", "web_search", Raw(b'{"name":"web_search","type":"web_search_20250305"}'))
    sent = asked(tools=(TOOL, search), params=Params(tool_choice=ToolChoice("named", "n"), parallel_tools=False))
    assert sent["tools"] == [
        {"name": "n", "description": "d", "input_schema": {"type": "object"}, "strict": True},
        {"name": "web_search", "type": "web_search_20250305"},
    ]
    assert sent["tool_choice"] == {"type": "tool", "name": "n", "disable_parallel_tool_use": True}


CHOICES = [
    (Params(), None),
    (Params(parallel_tools=True), {"type": "auto", "disable_parallel_tool_use": False}),
    (Params(tool_choice=ToolChoice("required")), {"type": "any"}),
    (Params(tool_choice=ToolChoice("none"), parallel_tools=True), {"type": "none"}),
]


@pytest.mark.parametrize(("params", "choice"), CHOICES)
def test_choices(params: Params, choice: Any) -> None:
    assert asked(tools=(TOOL,), params=params).get("tool_choice") == choice


REASONINGS: list[tuple[str, Reasoning, Any, Any]] = [
    (NEW, Reasoning("high"), {"type": "adaptive"}, {"effort": "high"}),
    (NEW, Reasoning("minimal"), {"type": "adaptive"}, {"effort": "low"}),
    (NEW, Reasoning(), {"type": "adaptive"}, None),
    (NEW, Reasoning("none"), {"type": "disabled"}, None),
    (NEW, Reasoning(budget_tokens=0), {"type": "disabled"}, None),
    (NEW, Reasoning("low", 2000), {"type": "enabled", "budget_tokens": 2000}, {"effort": "low"}),
    (OLD, Reasoning("low"), {"type": "enabled", "budget_tokens": 2048}, None),
    (OLD, Reasoning("high"), {"type": "enabled", "budget_tokens": 16_000}, None),
    (OLD, Reasoning("none"), {"type": "disabled"}, None),
    ("claude-opus-4-6", Reasoning("low"), {"type": "adaptive"}, {"effort": "low"}),
    ("claude-sonnet-4-20250514", Reasoning("low"), {"type": "enabled", "budget_tokens": 2048}, None),
]


@pytest.mark.parametrize(("model", "reasoning", "thinking", "config"), REASONINGS)
def test_reasoning(model: str, reasoning: Reasoning, thinking: Any, config: Any) -> None:
    sent = asked(model=model, params=Params(reasoning=reasoning))
    assert (sent["thinking"], sent.get("output_config")) == (thinking, config)


def test_a_schema_is_a_format_of_the_output() -> None:
    """Guide "Structured outputs"."""
    wanted = Format("schema", "person", Raw(b'{"type":"object"}'), True, "who")
    sent = asked(params=Params(format=wanted, reasoning=Reasoning("low")))
    schema = {"type": "object", "description": "who"}
    assert sent["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    assert "output_config" not in asked(params=Params(format=Format("text")))


def test_marks_are_put_back_where_they_stood() -> None:
    asides = tuple(
        Aside(at, MARK)
        for at in (
            ("messages", 0, "content", 1, "cache_control"),
            ("messages", 1, "content", 0, "cache_control"),
            ("messages", 2, "content", 0, "content", 0, "cache_control"),
            ("messages", 2, "content", 0, "cache_control"),
            ("tools", 0, "cache_control"),
        )
    )
    messages = (
        Message("system", (Text("a"), Text("b"))),
        HI,
        Message("tool", (ToolResult("1", (Text("x"),)),)),
    )
    for shape in ("anthropic", "openai"):  # both shapes know these marks
        sent = asked(*messages, tools=(TOOL,), asides=asides, shape=shape)
        mark = {"cache_control": {"type": "ephemeral"}}
        assert sent["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"} | mark]
        assert sent["messages"][0]["content"] == [
            {"type": "text", "text": "Hi"} | mark,
            {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "x"} | mark]} | mark,
        ]
        assert sent["tools"][0]["cache_control"] == {"type": "ephemeral"}


def test_fields_of_this_shape_alone_are_put_back() -> None:
    sent = asked(
        shape="anthropic",
        extra=(("container", Raw(b'"c"')), ("output_config", Raw(b'{"effort":"low"}'))),
        asides=(Aside(("metadata",), Raw(b'{"user_id":"u"}')), Aside(("headers", "anthropic-beta"), Raw(b'"b"'))),
        params=Params(format=Format("schema", schema=Raw(b"{}"))),
    )
    assert sent["container"] == "c"
    assert sent["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": {}}}
    assert sent["metadata"] == {"user_id": "u"}
    assert "headers" not in sent


def test_another_shapes_asides_stay_behind() -> None:
    assert "user" not in asked(shape="openai", asides=(Aside(("user",), Raw(b'"u"')),))


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"params": Params(temperature=1.1)}, "temperature"),
    ({"params": Params(seed=1)}, "seed"),
    ({"params": Params(frequency_penalty=0.1)}, "frequency_penalty"),
    ({"params": Params(presence_penalty=-1)}, "presence_penalty"),
    ({"params": Params(format=Format("json"))}, "response_format"),
    ({"params": Params(reasoning=Reasoning("huge"))}, "reasoning effort"),
    ({"params": Params(reasoning=Reasoning("low"), max_tokens=1000), "model": OLD}, "max_tokens"),
    ({"shape": "openai", "extra": (("logit_bias", Raw(b"{}")),)}, "logit_bias"),
    ({"tools": (ForeignTool("openai", "grammar", Raw(b"{}")),)}, "tools.0"),
    ({"kind": "embedding"}, "model"),
]


@pytest.mark.parametrize(("fields", "named"), REFUSED)
def test_what_cannot_be_said_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    assert refused(**fields) == {named}


PARTS: list[tuple[Message, str]] = [
    (Message("user", (Foreign("openai", "input_audio", Raw(b"{}")),)), "messages.0.content.0"),
    (Message("user", (Image(url="https://x", detail="high"),)), "messages.0.content.0"),
    (Message("user", "a", name="ann"), "messages.0.name"),
]


@pytest.mark.parametrize(("message", "named"), PARTS)
def test_parts_that_cannot_be_said_are_refused_by_name(message: Message, named: str) -> None:
    assert refused(message) == {named}


def test_everything_that_cannot_be_said_is_named_at_once() -> None:
    assert refused(params=Params(seed=1, temperature=2)) == {"seed", "temperature"}


def test_penalties_of_nothing_say_nothing() -> None:
    assert asked(params=Params(frequency_penalty=0.0, presence_penalty=0.0)) == asked()


def test_a_count_asks_with_what_adds_to_the_prompt() -> None:
    call = Call("t", (Message("system", "s"), HI), Params(max_tokens=9, top_k=1), stream=True, tools=(TOOL,))
    assert json.loads(encode_count(call, NEW)).keys() == {"model", "system", "messages", "tools"}
