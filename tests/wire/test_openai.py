"""What is asked of endpoints of OpenAI's shape. Formats: OpenAI's API reference, "Create chat completion", and the
vendors named by the cases."""

import json
from typing import Any

import pytest

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
from askonce.domain.content import GOOGLES, Foreign, Image, Text, Thinking, ToolCall, ToolResult, canonical_json
from askonce.domain.errors import Invalid, ProviderFailed
from askonce.wire.openai import Dialect, decode_models, encode_call
from askonce.wire.openai_messages import PICTURE_BELOW, PICTURES_OF

PLAIN, OPENAI = Dialect(), Dialect(max_completion_tokens=True)
MESSAGES = (Message("system", "Be brief."), Message("user", "Hi"))
SENT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]


def body(params: Params, model: str = "m", dialect: Dialect = PLAIN, *, stream: bool = False) -> Any:
    return json.loads(encode_call(Call("t", MESSAGES, params, stream), model, dialect))


@pytest.mark.parametrize(
    ("params", "sent"),
    [
        (Params(), {}),
        (Params(temperature=0.0), {"temperature": 0.0}),
        (Params(max_tokens=5), {"max_tokens": 5}),
        (Params(top_p=1.0, seed=0), {"top_p": 1.0, "seed": 0}),
        (Params(stop=("a", "b")), {"stop": ["a", "b"]}),
        (Params(stop=()), {"stop": []}),
        (Params(top_k=5), {"top_k": 5}),
        (Params(frequency_penalty=0.5, presence_penalty=0.0), {"frequency_penalty": 0.5, "presence_penalty": 0.0}),
        (Params(tool_choice=ToolChoice("required")), {"tool_choice": "required"}),
        (
            Params(tool_choice=ToolChoice("named", "look"), parallel_tools=False),
            {"tool_choice": {"type": "function", "function": {"name": "look"}}, "parallel_tool_calls": False},
        ),
        (Params(format=Format("text")), {"response_format": {"type": "text"}}),
        (Params(format=Format("json")), {"response_format": {"type": "json_object"}}),
        (
            Params(format=Format("schema", "", canonical_json({"type": "object"}), True)),
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        (Params(reasoning=Reasoning("high")), {"reasoning_effort": "high"}),
    ],
)
def test_only_parameters_that_were_given_are_sent(params: Params, sent: dict[str, object]) -> None:
    assert body(params) == {"model": "m", "messages": SENT} | sent


@pytest.mark.parametrize(
    ("model", "dialect", "name"),
    [
        ("gpt-4o", OPENAI, "max_tokens"),
        ("gpt-4.1-mini", OPENAI, "max_tokens"),
        ("o3", OPENAI, "max_completion_tokens"),
        ("o4-mini-2025-04-16", OPENAI, "max_completion_tokens"),
        ("gpt-5-mini", OPENAI, "max_completion_tokens"),
        ("gpt-6.1-sol", OPENAI, "max_completion_tokens"),
        ("openai/gpt-5", OPENAI, "max_completion_tokens"),
        ("olmo-7b", OPENAI, "max_tokens"),
        ("gpt-5-mini", PLAIN, "max_tokens"),
    ],
)
def test_reasoning_models_are_asked_by_the_long_name(model: str, dialect: Dialect, name: str) -> None:
    sent = body(Params(max_tokens=5), model, dialect)
    assert {key: value for key, value in sent.items() if key.startswith("max")} == {name: 5}


def test_a_stream_asks_for_its_usage_where_that_is_known() -> None:
    assert body(Params(), stream=True)["stream_options"] == {"include_usage": True}
    assert body(Params(), stream=True)["stream"] is True
    assert "stream_options" not in body(Params(), dialect=Dialect(stream_options=False), stream=True)
    assert "stream" not in body(Params())


def test_mistral_calls_the_seed_by_another_name() -> None:
    assert body(Params(seed=7), dialect=Dialect(seed="random_seed"))["random_seed"] == 7


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        (b'{"object": "list", "data": [{"id": "a", "object": "model", "owned_by": "x"}]}', ("a",)),
        (b'[{"id": "b", "type": "chat"}]', ("b",)),  # Together
        (b'{"data": []}', ()),
    ],
)
def test_lists_of_models(listed: bytes, names: tuple[str, ...]) -> None:
    assert decode_models(listed, "V") == names


@pytest.mark.parametrize("nonsense", [b"", b"{}", b'{"data": [{}]}', b'"models"', b"\xff"])
def test_a_list_that_is_none_is_the_vendors_failure(nonsense: bytes) -> None:
    with pytest.raises(ProviderFailed):
        decode_models(nonsense, "V")


@pytest.mark.parametrize(
    ("budget", "effort"),
    [(0, "none"), (1, "low"), (1024, "low"), (1025, "medium"), (8192, "medium"), (8193, "high"), (100_000, "high")],
)
def test_a_budget_of_thinking_is_said_as_an_effort(budget: int, effort: str) -> None:
    assert body(Params(reasoning=Reasoning(budget_tokens=budget)), "gpt-5", OPENAI)["reasoning_effort"] == effort


def test_a_model_that_does_not_think_is_not_told_so() -> None:
    assert "reasoning_effort" not in body(Params(reasoning=Reasoning(budget_tokens=0)), "gpt-4o", OPENAI)


def sent(message: Message, dialect: Dialect = PLAIN) -> Any:
    call = Call("t", (message,), Params(), shape="openai")
    return json.loads(encode_call(call, "m", dialect))["messages"][0]


LOOK = ToolCall("c1", "look", '{ "at": 1}')
LOOK_SENT = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{ "at": 1}'}}
SIGNED = Thinking("Hm", "sig")


@pytest.mark.parametrize(
    ("message", "written"),
    [
        (Message("user", ""), {"role": "user", "content": ""}),
        (Message("user", "Hi", "bob"), {"role": "user", "content": "Hi", "name": "bob"}),
        (Message("developer", "Be brief."), {"role": "system", "content": "Be brief."}),
        (
            Message("user", (Text("What?"), Image(url="https://x/y.png", detail="low"))),
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What?"},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                ],
            },
        ),
        (
            Message("user", (Image(media_type="image/png", data="AAAA"),)),
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        ),
        (
            Message("user", (Foreign("openai", "input_audio", canonical_json({"type": "input_audio", "x": 1})),)),
            {"role": "user", "content": [{"type": "input_audio", "x": 1}]},
        ),
        (
            Message("assistant", (Text("Let me look."), LOOK)),
            {"role": "assistant", "content": "Let me look.", "tool_calls": [LOOK_SENT]},
        ),
        (Message("assistant", (LOOK,)), {"role": "assistant", "content": None, "tool_calls": [LOOK_SENT]}),
        (
            Message("assistant", (Thinking("Hm"), LOOK)),
            {"role": "assistant", "content": None, "reasoning_content": "Hm", "tool_calls": [LOOK_SENT]},
        ),
        (
            Message("assistant", (Foreign("openai", "message.refusal", canonical_json("No.")),)),
            {"role": "assistant", "content": None, "refusal": "No."},
        ),
        (
            Message("tool", (ToolResult("c1", (Text("sun"),)),)),
            {"role": "tool", "tool_call_id": "c1", "content": "sun"},
        ),
        (Message("tool", (ToolResult("c1", ()),)), {"role": "tool", "tool_call_id": "c1", "content": ""}),
        (
            Message("tool", (ToolResult("c1", (Text("down"),), is_error=True),)),
            {"role": "tool", "tool_call_id": "c1", "content": "Error: down"},
        ),
    ],
)
def test_messages_are_said_in_the_plain_shape(message: Message, written: dict[str, object]) -> None:
    assert sent(message) == written


PICTURE = Image(media_type="image/png", data="AAAA")
PICTURE_SENT = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def test_pictures_of_results_follow_in_a_message_of_the_users() -> None:
    # API reference, "Create chat completion", tool message: "only type `text` is supported"; and the results of calls
    # made together stand together.
    call = Call(
        "t",
        (
            Message("user", "Look."),
            Message("assistant", (LOOK, ToolCall("c2", "look", "{}"), ToolCall("c3", "look", "{}"))),
            Message("tool", (ToolResult("c1", (Text("before"), PICTURE, Text("after"), PICTURE)),)),
            Message("tool", (ToolResult("c2", (Text("dark"),)),)),
            Message("tool", (ToolResult("c3", (PICTURE,), is_error=True),)),
            Message("assistant", "I see."),
            Message("user", "And?"),
        ),
        Params(),
    )
    written = json.loads(encode_call(call, "m", PLAIN))["messages"]
    assert [one["role"] for one in written] == [
        "user",
        "assistant",
        "tool",
        "tool",
        "tool",
        "user",
        "assistant",
        "user",
    ]
    assert [part["text"] for part in written[2]["content"]] == [
        "before",
        PICTURE_BELOW.format(1),
        "after",
        PICTURE_BELOW.format(2),
    ]
    assert written[3]["content"] == "dark"
    assert [part["text"] for part in written[4]["content"]] == ["Error: ", PICTURE_BELOW.format(1)]
    assert written[5]["content"] == [
        {"type": "text", "text": PICTURES_OF.format("c1")},
        PICTURE_SENT,
        PICTURE_SENT,
        {"type": "text", "text": PICTURES_OF.format("c3")},
        PICTURE_SENT,
    ]


def test_pictures_of_a_result_that_ends_the_conversation_follow_it() -> None:
    call = Call("t", (Message("assistant", (LOOK,)), Message("tool", (ToolResult("c1", (PICTURE,)),))), Params())
    written = json.loads(encode_call(call, "m", PLAIN))["messages"]
    assert [one["role"] for one in written] == ["assistant", "tool", "user"]
    assert written[1]["content"] == PICTURE_BELOW.format(1)


@pytest.mark.parametrize(
    ("thinking", "written"),
    [
        ("reasoning", {"content": "4", "reasoning": "Hm"}),  # Groq, Together
        (
            "reasoning_details",  # OpenRouter, Reasoning Tokens
            {
                "content": "4",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "Hm", "signature": "sig", "format": "anthropic-claude-v1",
                     "index": 0}
                ],
            },
        ),
        (
            "parts",  # Mistral, Reasoning
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                    {"type": "text", "text": "4"},
                ]
            },
        ),
    ],
)  # fmt: skip
def test_reasoning_goes_where_the_endpoint_wants_it(thinking: str, written: dict[str, object]) -> None:
    message = Message("assistant", (SIGNED, Text("4")))
    assert sent(message, Dialect(thinking=thinking)) == {"role": "assistant"} | written


def test_googles_signatures_stay_with_google() -> None:
    signed = Message("assistant", (Thinking("Hm", GOOGLES + "x"), Thinking("", GOOGLES + "y"), Text("4")))
    assert sent(signed, Dialect(thinking="reasoning_details"))["reasoning"] == "Hm"
    only = Message("assistant", (Thinking("", GOOGLES + "y"), Text("4")))
    assert sent(only, Dialect(thinking="")) == {"role": "assistant", "content": "4"}


def test_openai_knows_the_role_developer() -> None:
    assert sent(Message("developer", "x"), Dialect(developer=True))["role"] == "developer"


def test_tools_are_sent_with_what_was_said_of_them() -> None:
    schema = canonical_json({"type": "object", "properties": {}})
    builtin = {"type": "builtin_function", "function": {"name": "$web_search"}}  # Moonshot, Web Search
    tools = (
        Tool("look", "Look there.", schema, True),
        Tool("wait", "", canonical_json(None)),
        ForeignTool("openai", "builtin_function", canonical_json(builtin)),
    )
    got = json.loads(encode_call(Call("t", MESSAGES, Params(), tools=tools), "m", PLAIN))["tools"]
    function = {"name": "look", "description": "Look there.", "parameters": json.loads(bytes(schema)), "strict": True}
    assert got == [
        {"type": "function", "function": function},
        {"type": "function", "function": {"name": "wait"}},
        builtin,
    ]


ONE = canonical_json(1)
MARK = canonical_json({"type": "ephemeral"})
MARKED = {"cache_control": {"type": "ephemeral"}}


def marked(shape: str) -> Call:
    messages = (
        Message("system", "Be brief."),
        Message("user", (Text("a"), Text("b"))),
        Message("assistant", (LOOK,)),
        Message("tool", (ToolResult("c1", (Text("x"),)),)),
    )
    places: tuple[tuple[str | int, ...], ...] = (
        ("messages", 0, "content", 0, "cache_control"),
        ("messages", 1, "content", 1, "cache_control"),
        ("messages", 3, "content", 0, "cache_control"),
        ("tools", 0, "cache_control"),
        ("metadata",),
    )
    return Call(
        "t",
        messages,
        Params(),
        tools=(Tool("look", "", ONE),),
        shape=shape,
        asides=tuple(Aside(at, MARK) for at in places),
    )


def test_asides_go_back_where_they_stood() -> None:
    got = json.loads(encode_call(marked("openai"), "m", PLAIN))
    system, user, _, tool = got["messages"]
    assert system["content"] == [{"type": "text", "text": "Be brief."} | MARKED]
    assert user["content"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"} | MARKED]
    assert tool["content"] == [{"type": "text", "text": "x"} | MARKED]
    assert got["tools"][0]["cache_control"] == MARKED["cache_control"]
    assert got["metadata"] == {"type": "ephemeral"}


@pytest.mark.parametrize(
    ("shape", "dialect", "marks", "metadata"),
    [
        ("openai", Dialect(closed=True), False, True),
        ("anthropic", PLAIN, False, False),
        ("anthropic", Dialect(cache_control=True), True, False),  # OpenRouter, Prompt Caching
    ],
)
def test_marks_are_for_those_who_read_them(shape: str, dialect: Dialect, marks: bool, metadata: bool) -> None:
    got = encode_call(marked(shape), "m", dialect)
    assert (b"cache_control" in got, b"metadata" in got) == (marks, metadata)


def test_what_only_this_shape_knows_is_passed_on() -> None:
    extra = (("logit_bias", canonical_json({"1": -1})), ("verbosity", canonical_json("low")))
    got = json.loads(encode_call(Call("t", MESSAGES, Params(), shape="openai", extra=extra), "m", PLAIN))
    assert (got["logit_bias"], got["verbosity"]) == ({"1": -1}, "low")


def test_options_of_a_stream_are_kept_beside_ours() -> None:
    options = Aside(("stream_options",), canonical_json({"include_obfuscation": False, "include_usage": False}))
    call = Call("t", MESSAGES, Params(), stream=True, shape="openai", asides=(options,))
    got = json.loads(encode_call(call, "m", PLAIN))
    assert got["stream_options"] == {"include_obfuscation": False, "include_usage": True}


FOREIGN = Foreign("anthropic", "document", ONE)


@pytest.mark.parametrize(
    ("call", "dialect", "fields"),
    [
        (Call("t", (Message("user", (Text("a"), FOREIGN)),), Params()), PLAIN, ["messages[0].content[1]"]),
        (Call("t", (Message("user", (LOOK,)),), Params()), PLAIN, ["messages[0].content[0]"]),
        (Call("t", (Message("assistant", (SIGNED,)),), Params()), Dialect(thinking=""), ["messages[0].content"]),
        (
            Call("t", (Message("assistant", (Thinking(redacted="x"),)),), Params()),
            PLAIN,
            ["messages[0].content"],
        ),
        (Call("t", MESSAGES, Params(top_k=4)), Dialect(closed=True), ["top_k"]),
        (
            Call("t", MESSAGES, Params(), tools=(ForeignTool("anthropic", "bash_20250124", ONE),)),
            PLAIN,
            ["tools[0]"],
        ),
        (
            Call("t", MESSAGES, Params(), shape="anthropic", extra=(("container", ONE), ("speed", ONE))),
            PLAIN,
            ["container", "speed"],
        ),
    ],
)
def test_what_cannot_be_said_is_refused_by_name(call: Call, dialect: Dialect, fields: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        encode_call(call, "m", dialect)
    assert [detail.field for detail in caught.value.details] == fields


def test_a_conversation_that_grows_keeps_its_prefix() -> None:
    before = Call("t", MESSAGES, Params())
    after = Call("t", (*MESSAGES, Message("assistant", "Yes?"), Message("user", "Go on.")), Params(temperature=1))
    start = encode_call(before, "m", PLAIN).partition(b"]")[0]
    assert encode_call(after, "m", PLAIN).startswith(start)
