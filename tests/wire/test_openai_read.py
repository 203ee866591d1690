"""Bodies of `POST /v1/chat/completions`. Format: OpenAI's API reference, "Create chat completion"; others are named."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.openaishapes import questions

from askonce.cache.fingerprint import fingerprints
from askonce.domain.call import (
    Ask,
    CacheWish,
    Call,
    Candidate,
    ForeignTool,
    Format,
    Message,
    Params,
    Reasoning,
    Tool,
    ToolChoice,
)
from askonce.domain.content import Foreign, Image, Text, Thinking, ToolCall, ToolResult, canonical_json, ordered_json
from askonce.domain.errors import Invalid, Malformed
from askonce.wire.openai import Dialect, encode_call
from askonce.wire.openai_read import read_chat

HI: list[dict[str, Any]] = [{"role": "user", "content": "Hi"}]
WHO = [Candidate("p", "m")]
WIDE = Dialect(developer=True, thinking="reasoning_content", cache_control=True)


def read(**fields: Any) -> Ask:
    return read_chat(json.dumps({"model": "m", "messages": HI} | fields).encode(), "t", CacheWish())


def message(**fields: Any) -> Message:
    return read(messages=[fields]).call.messages[0]


def test_a_plain_question() -> None:
    ask = read(model="openai:gpt-4o")
    assert ask.routing.model == "openai:gpt-4o"
    assert ask.call == Call("t", (Message("user", "Hi"),), Params(), shape="openai")


def test_a_question_without_a_model_is_for_the_default() -> None:
    assert read(model=None).routing.model is None


CALL: dict[str, Any] = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{ "at": 1 }'}}
LOOK = ToolCall("c1", "look", '{ "at": 1 }')


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"role": "developer", "content": "x"}, Message("developer", "x")),
        ({"role": "user", "content": "x", "name": "bob"}, Message("user", "x", "bob")),
        ({"role": "user", "content": [{"type": "text", "text": "x"}]}, Message("user", "x")),
        (
            {"role": "user", "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "high"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                {"type": "image_url", "image_url": "https://x/z.png"},
            ]},
            Message("user", (
                Text("What?"),
                Image(url="https://x/y.png", detail="high"),
                Image(media_type="image/png", data="AAAA"),
                Image(url="https://x/z.png"),
            )),
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]},
            Message("user", (Foreign("openai", "file", canonical_json({"type": "file", "file": {"file_id": "f"}})),)),
        ),
        (
            {"role": "assistant", "content": None, "refusal": None, "audio": None, "function_call": None,
             "tool_calls": [CALL]},
            Message("assistant", (LOOK,)),
        ),
        ({"role": "assistant", "content": "", "tool_calls": [CALL]}, Message("assistant", (LOOK,))),
        (
            {"role": "assistant", "content": "", "annotations": None, "parsed": None, "tool_calls": [
                {"id": "c1", "type": "function", "index": 0,
                 "function": CALL["function"] | {"parsed_arguments": None}}
            ]},  # as the official library's streaming helper puts it together
            Message("assistant", (LOOK,)),
        ),
        ({"role": "assistant", "content": "ok", "tool_calls": []}, Message("assistant", "ok")),
        ({"role": "assistant", "content": "No", "tool_calls": [CALL]}, Message("assistant", (Text("No"), LOOK))),
        (
            {"role": "assistant", "content": "4", "reasoning_content": "Hm"},  # DeepSeek, Thinking mode
            Message("assistant", (Thinking("Hm"), Text("4"))),
        ),
        (
            {"role": "assistant", "content": "4", "reasoning_content": "Hm", "reasoning_details": [
                {"type": "reasoning.text", "text": "Hm", "signature": "s", "format": "anthropic-claude-v1", "index": 0}
            ]},  # OpenRouter, Reasoning Tokens
            Message("assistant", (Thinking("Hm", "s"), Text("4"))),
        ),
        (
            {"role": "assistant", "content": None, "refusal": "No."},
            Message("assistant", (Foreign("openai", "message.refusal", canonical_json("No.")),)),
        ),
        (
            {"role": "tool", "tool_call_id": "c1", "content": "sun"},
            Message("tool", (ToolResult("c1", (Text("sun"),)),)),
        ),
        ({"role": "tool", "tool_call_id": "c1", "content": ""}, Message("tool", (ToolResult("c1", ()),))),
        (
            {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "sun"}]},
            Message("tool", (ToolResult("c1", (Text("sun"),)),)),
        ),
    ],
)  # fmt: skip
def test_messages_have_one_form_for_one_meaning(fields: dict[str, Any], expected: Message) -> None:
    assert message(**fields) == expected


@pytest.mark.parametrize(
    ("fields", "params"),
    [
        ({"temperature": 1, "top_p": -0.0}, Params(temperature=1.0, top_p=0.0)),
        ({"max_tokens": 5}, Params(max_tokens=5)),
        ({"max_completion_tokens": 5.0}, Params(max_tokens=5)),
        ({"max_tokens": 5, "max_completion_tokens": 5}, Params(max_tokens=5)),
        ({"stop": "x"}, Params(stop=("x",))),
        ({"stop": ["x", "y"]}, Params(stop=("x", "y"))),
        ({"stop": []}, Params()),
        ({"seed": 7, "top_k": 3}, Params(seed=7, top_k=3)),
        ({"frequency_penalty": 0.5, "presence_penalty": 0}, Params(frequency_penalty=0.5, presence_penalty=0.0)),
        ({"tool_choice": "auto"}, Params(tool_choice=ToolChoice("auto"))),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            Params(tool_choice=ToolChoice("named", "f")),
        ),
        ({"parallel_tool_calls": False}, Params(parallel_tools=False)),
        ({"reasoning_effort": "low"}, Params(reasoning=Reasoning("low"))),
        ({"response_format": {"type": "json_object"}}, Params(format=Format("json"))),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"b": 1, "a": 2.0}}}},
            Params(format=Format("schema", "n", ordered_json({"b": 1, "a": 2}))),
        ),
        ({"temperature": None, "stop": None, "tools": None, "n": 1, "logprobs": False}, Params()),
    ],
)
def test_parameters_are_typed(fields: dict[str, Any], params: Params) -> None:
    call = read(**fields).call
    assert call.params == params
    assert call.extra == ()


def test_what_has_no_canonical_form_is_kept_as_it_came() -> None:
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}
    call = read(verbosity="low", tool_choice=allowed, response_format={"type": "grammar"}, something_new=[1.0]).call
    assert call.extra == (
        ("response_format", canonical_json({"type": "grammar"})),
        ("something_new", canonical_json([1])),
        ("tool_choice", canonical_json(allowed)),
        ("verbosity", canonical_json("low")),
    )


def test_tools_are_read() -> None:
    function = {"name": "look", "description": "Look.", "parameters": {"type": "object"}, "strict": None}
    custom = {"type": "custom", "custom": {"name": "sh"}}
    tools = read(tools=[{"type": "function", "function": function}, {"function": {"name": "wait"}}, custom]).call.tools
    assert tools == (
        Tool("look", "Look.", canonical_json({"type": "object"})),
        Tool("wait", "", canonical_json(None)),
        ForeignTool("openai", "custom", ordered_json(custom)),
    )


MARK = {"type": "ephemeral"}


def test_what_cannot_change_the_answer_stands_beside_the_question() -> None:
    fields: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": MARK}]}],
        "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": MARK}],
    }
    beside = read(**fields, user="u", metadata={"a": "b"}, store=False, stream_options={"include_usage": True}).call
    bare = read(messages=HI, tools=[{"type": "function", "function": {"name": "f"}}]).call
    assert fingerprints(beside, WHO) == fingerprints(bare, WHO)
    assert [aside.at for aside in beside.asides] == [
        ("messages", 0, "content", 0, "cache_control"),
        ("tools", 0, "cache_control"),
        ("metadata",),
        ("store",),
        ("stream_options",),
        ("user",),
    ]
    sent = json.loads(encode_call(beside, "m", WIDE))
    assert sent["messages"] == fields["messages"]
    assert sent["tools"] == fields["tools"]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"messages": []}, ["messages"]),
        ({"messages": None}, ["messages"]),
        ({"messages": ["x", {"role": "function"}]}, ["messages[0]", "messages[1].role"]),
        ({"messages": [{"role": "user"}]}, ["messages[0].content"]),
        ({"messages": [{"role": "user", "content": []}]}, ["messages[0].content"]),
        ({"messages": [{"role": "user", "content": ["x"]}]}, ["messages[0].content[0]"]),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, ["messages[0].content[0].text"]),
        ({"messages": [{"role": "user", "content": "x", "name": 5}]}, ["messages[0].name"]),
        ({"messages": [{"role": "tool", "content": "x"}]}, ["messages[0].tool_call_id"]),
        (
            {"messages": [{"role": "tool", "tool_call_id": "c", "content": [{"type": "input_audio"}]}]},
            ["messages[0].content[0]"],
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c", "function": {"arguments": "{}"}}]}]},
            ["messages[0].tool_calls[0]"],
        ),
        ({"messages": [{"role": "assistant", "content": "", "function_call": {}}]}, ["messages[0].function_call"]),
        ({"tools": {}}, ["tools"]),
        ({"tools": [{"type": "function"}]}, ["tools[0].function"]),
        ({"tools": [{"type": "function", "function": {"name": "", "parameters": 3}}]},
         ["tools[0].function.name", "tools[0].function.parameters"]),
        ({"model": " "}, ["model"]),
        ({"model": "m" * 201}, ["model"]),
        ({"temperature": "hot", "top_p": True}, ["temperature", "top_p"]),
        ({"max_tokens": 0}, ["max_tokens"]),
        ({"max_tokens": 1, "max_completion_tokens": 2}, ["max_tokens"]),
        ({"seed": 1.5}, ["seed"]),
        ({"seed": 2**63}, ["seed"]),
        ({"stop": [""]}, ["stop"]),
        ({"stream": "yes"}, ["stream"]),
        ({"n": 2}, ["n"]),
        ({"logprobs": True, "top_logprobs": 3}, ["logprobs", "top_logprobs"]),
        ({"modalities": ["text", "audio"], "audio": {"voice": "x"}}, ["audio", "modalities"]),
        ({"functions": [{}], "function_call": "auto"}, ["functions", "function_call"]),
    ],
)  # fmt: skip
def test_everything_that_is_wrong_is_named(fields: dict[str, Any], wrong: list[str]) -> None:
    with pytest.raises(Invalid) as caught:
        read(**fields)
    assert [detail.field for detail in caught.value.details] == wrong


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"model": "\xff"}'])
def test_what_is_not_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_chat(body, "t", CacheWish())


@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"x"'])
def test_what_is_no_object_is_invalid(body: bytes) -> None:
    with pytest.raises(Invalid):
        read_chat(body, "t", CacheWish())


def test_a_flood_of_problems_is_answered_briefly() -> None:
    with pytest.raises(Invalid) as caught:
        read(messages=[{"role": "x" * 1000}] * 1000)
    assert len(caught.value.details) == 21
    assert len(caught.value.message) < 5000


@given(questions)
@settings(deadline=None)
def test_what_is_encoded_is_read_as_the_same_question(call: Call) -> None:
    ask = read_chat(encode_call(call, "m", WIDE), "t", CacheWish())
    assert ask.call == call
    assert encode_call(ask.call, "m", WIDE) == encode_call(call, "m", WIDE)


FIELDS = ["model", "messages", "role", "content", "type", "text", "tools", "function", "tool_calls", "stop", "seed"]
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner),
)


@given(st.binary(max_size=100) | st.dictionaries(st.sampled_from(FIELDS), ODD).map(lambda v: json.dumps(v).encode()))
@settings(deadline=None)
def test_any_bytes_are_a_question_or_refused(body: bytes) -> None:
    with suppress(Malformed, Invalid):
        assert isinstance(read_chat(body, "t", CacheWish()), Ask)


WHOLE: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "x", "name": "n"},
        {"role": "user", "content": [
            {"type": "text", "text": "x", "cache_control": MARK},
            {"type": "image_url", "image_url": {"url": "https://x", "detail": "low"}},
        ]},
        {"role": "assistant", "content": "x", "reasoning_content": "x", "reasoning": "x", "refusal": "x",
         "reasoning_details": [{"type": "reasoning.text", "text": "x", "signature": "x", "index": 0}],
         "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "x"}]},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {}, "strict": True}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "stop": ["x"],
    "modalities": ["text"],
    "stream_options": {"include_usage": True},
    "reasoning_effort": "low",
}  # fmt: skip


@given(st.data(), ODD)
@settings(deadline=None)
def test_a_body_with_anything_anywhere_is_a_question_or_refused(data: st.DataObject, odd: Any) -> None:
    body: Any = json.loads(json.dumps(WHOLE))
    at: Any = body
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
        if not isinstance(at[key], dict | list) or not at[key] or data.draw(st.booleans()):
            break
        at = at[key]
    at[key] = odd
    with suppress(Malformed, Invalid):
        call = read_chat(json.dumps(body).encode(), "t", CacheWish()).call
        again = read_chat(encode_call(call, "m", WIDE), "t", CacheWish()).call
        assert fingerprints(again, WHO) == fingerprints(call, WHO)


def test_what_a_call_or_tool_says_beyond_ours_is_kept() -> None:
    more = CALL | {"extra_content": {"google": {"thought_signature": "x"}}, "index": 0}  # Gemini, Thought signatures
    kept = Foreign("openai", "tool_calls", canonical_json({k: v for k, v in more.items() if k != "index"}))
    assert message(role="assistant", content=None, tool_calls=[more]).content == (kept,)
    tool = {"type": "function", "function": {"name": "f"}, "defer_loading": True}
    assert read(tools=[tool]).call.tools == (ForeignTool("openai", "function", ordered_json(tool)),)


def test_the_cache_is_asked_for_by_headers_only() -> None:
    wish = CacheWish("refresh", max_age_s=5)
    assert read_chat(json.dumps({"messages": HI}).encode(), "t", wish).cache == wish
