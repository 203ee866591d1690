"""Conversations in Gemini's shape. Each case is written after a page of Google's documentation, which it names."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.call import CacheWish, Call, Message, Params
from askonce.domain.content import Foreign, Image, Text, Thinking, ToolCall, ToolResult, canonical_json
from askonce.domain.errors import Invalid
from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.gemini import encode_call
from askonce.wire.gemini_contents import PICTURES_OF, SEAL, SKIP
from askonce.wire.openai_door import CHAT

NEW, OLD = "gemini-3.5-flash", "gemini-2.5-flash"
FILE = "https://generativelanguage.googleapis.com/v1beta/files/abc"


def body(*messages: Message, model: str = NEW) -> Any:
    return json.loads(encode_call(Call("t", messages, Params()), model))


def contents(*messages: Message, model: str = NEW) -> Any:
    return body(*messages, model=model)["contents"]


def call(call_id: str, arguments: str = '{"city":"Rome"}', name: str = "get_weather") -> ToolCall:
    return ToolCall(call_id, name, arguments)


def function_call(call_id: str, seal: str = "", **args: str) -> Any:
    part: dict[str, Any] = {"functionCall": {"id": call_id, "name": "get_weather", "args": args}}
    return part | ({"thoughtSignature": seal} if seal else {})


def result(call_id: str, text: str = "21 C") -> Message:
    return Message("tool", (ToolResult(call_id, (Text(text),)),))


def test_the_systems_words_stand_apart() -> None:
    # API reference, `systemInstruction`.
    assert body(Message("system", "Be brief."), Message("developer", "Use Latin."), Message("user", "Hi")) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Use Latin."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
    }


@pytest.mark.parametrize("model", [NEW, OLD])
def test_a_data_url_is_inline(model: str) -> None:
    said = Message("user", (Image(url="data:image/png;name=x;base64,AAAA"),))
    assert contents(said, model=model)[0]["parts"] == [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]
    with pytest.raises(Invalid, match="without the type"):
        contents(Message("user", (Image(url="data:;base64,AAAA"),)), model=model)


def test_roles_are_user_and_model() -> None:
    assert contents(Message("user", "Hi"), Message("assistant", "Hello"), Message("user", "")) == [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "Hello"}]},
        {"role": "user", "parts": [{"text": ""}]},
    ]


def test_pictures_are_inline_or_at_google() -> None:
    # Guide "Image understanding".
    said = Message("user", (Text("What?"), Image(media_type="image/png", data="AAAA"), Image(url=FILE)))
    assert contents(said)[0]["parts"] == [
        {"text": "What?"},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"fileData": {"fileUri": FILE}},
    ]


def test_calls_and_their_results() -> None:
    # Guide "Function calling", "Parallel function calling"; API reference, `FunctionResponse`.
    assert contents(
        Message("user", "Weather in Rome and Oslo?"),
        Message("assistant", (Text("Let me look."), call("a"), call("b", '{"city": "Oslo"}'))),
        result("a"),
        Message("tool", (ToolResult("b", (Text("no such"), Text(" city")), is_error=True),)),
        Message("user", "And?"),
        model=OLD,
    )[1:] == [
        {
            "role": "model",
            "parts": [{"text": "Let me look."}, function_call("a", city="Rome"), function_call("b", city="Oslo")],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "get_weather", "response": {"output": "21 C"}}},
                {"functionResponse": {"id": "b", "name": "get_weather", "response": {"error": "no such city"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "And?"}]},
    ]


def test_a_result_may_hold_a_picture() -> None:
    # API reference, `FunctionResponsePart`.
    picture = Image(media_type="image/png", data="AAAA")
    turn = Message("tool", (ToolResult("a", (picture,)),))
    assert contents(Message("user", "?"), Message("assistant", (call("a"),)), turn)[-1]["parts"] == [
        {
            "functionResponse": {
                "id": "a",
                "name": "get_weather",
                "response": {},
                "parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}],
            }
        }
    ]


@pytest.mark.parametrize(
    ("picture", "model"),
    [(Image(media_type="image/png", data="AAAA"), OLD), (Image(url=FILE), NEW)],
    ids=["older models refuse functionResponse.parts", "the Gemini API has no fileData in a result"],
)
def test_a_picture_that_a_result_cannot_hold_follows_the_results(picture: Image, model: str) -> None:
    # Guide "Function calling", "Multimodal function responses": Gemini 3 on. API reference, `FunctionResponsePart`.
    got = contents(
        Message("user", "?"),
        Message("assistant", (call("a"), call("b"))),
        Message("tool", (ToolResult("a", (picture,)),)),
        result("b"),
        Message("user", "And?"),
        model=model,
    )
    assert [len(turn["parts"]) for turn in got] == [1, 2, 2, 2, 1]
    assert [part["functionResponse"].keys() for part in got[2]["parts"]] == [{"id", "name", "response"}] * 2
    assert got[3]["role"] == "user"
    assert got[3]["parts"][0] == {"text": PICTURES_OF.format("a", "get_weather")}
    assert got[3]["parts"][1].keys() <= {"inlineData", "fileData"}


def test_what_the_model_said_in_a_row_is_one_turn() -> None:
    got = contents(Message("user", "?"), Message("assistant", "Wait."), Message("assistant", (call("a"),)), model=OLD)
    assert [turn["role"] for turn in got] == ["user", "model"]
    assert got[1]["parts"] == [{"text": "Wait."}, function_call("a", city="Rome")]


def test_the_name_is_that_of_the_latest_call_with_the_id() -> None:
    got = contents(
        Message("user", "?"),
        Message("assistant", (call("call_0"),)),
        result("call_0"),
        Message("assistant", (call("call_0", name="get_time"),)),
        result("call_0"),
    )
    assert got[-1]["parts"][0]["functionResponse"]["name"] == "get_time"


def test_arguments_are_passed_on_byte_for_byte() -> None:
    arguments = '{"b": 1.0, "a": 12345678901234567890, "b2": "\\u00e9"}'
    sent = encode_call(Call("t", (Message("user", "?"), Message("assistant", (call("a", arguments),))), Params()), NEW)
    assert arguments.encode() in sent
    assert contents(Message("user", "?"), Message("assistant", (call("a", ""),)), model=OLD)[1]["parts"] == [
        function_call("a")
    ]


def test_a_seal_comes_back_with_its_call() -> None:
    # Guide "Thought signatures": the first of parallel calls holds it.
    said = (Thinking("Rome, then Oslo.", SEAL + "abc="), call("a"), call("b"))
    assert contents(Message("user", "?"), Message("assistant", said))[1]["parts"] == [
        {"text": "Rome, then Oslo.", "thought": True},
        function_call("a", "abc=", city="Rome"),
        function_call("b", city="Rome"),
    ]


def test_seals_find_their_calls_where_a_shape_keeps_thoughts_apart() -> None:
    said = (Thinking("", SEAL + "one"), Thinking("", SEAL + "two"), Text("Look."), call("a"), call("b"))
    assert contents(Message("user", "?"), Message("assistant", said))[1]["parts"] == [
        {"text": "Look."},
        function_call("a", "one", city="Rome"),
        function_call("b", "two", city="Rome"),
    ]


@pytest.mark.parametrize(("model", "seal"), [(NEW, SKIP), ("gemini-flash-latest", SKIP), (OLD, "")])
def test_a_call_that_gemini_did_not_make_is_excused_where_that_is_needed(model: str, seal: str) -> None:
    # Guide "Thought signatures", FAQ: conversations that began at another model.
    said = (Thinking("Hm.", "EqQBCgIYAh"), call("a"), call("b"))
    assert contents(Message("user", "?"), Message("assistant", said), model=model)[1]["parts"] == [
        {"text": "Hm.", "thought": True},
        function_call("a", seal, city="Rome"),
        function_call("b", city="Rome"),
    ]


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (Message("system", "Later."), "messages[1]"),
        (Message("user", "Hi", "ann"), "messages[1].name"),
        (Message("user", (Text("a"), Image(url="https://example.com/cat.png"))), "messages[1].content[1]"),
        (Message("user", (call("a"),)), "messages[1].content[0]"),
        (Message("assistant", (call("a", "[1]"),)), "messages[1].content[0]"),
        (Message("assistant", (call("a", '{"half'),)), "messages[1].content[0]"),
        (Message("assistant", (call("a", '"\ud800"'),)), "messages[1].content[0]"),
        (Message("assistant", (Thinking(redacted="AAAA"),)), "messages[1].content[0]"),
        (result("nobody"), "messages[1].content[0]"),
        (Message("user", (Foreign("anthropic", "document", canonical_json({"type": "document"})),)),
         "messages[1].content[0]"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_refused_by_name(message: Message, field: str) -> None:
    with pytest.raises(Invalid) as caught:
        contents(Message("user", "Hi"), message)
    assert [detail.field for detail in caught.value.details] == [field]


def test_a_picture_from_the_systems_mouth_is_refused() -> None:
    with pytest.raises(Invalid, match=r"messages\[0\]\.content must be text"):
        contents(Message("system", (Image(media_type="image/png", data="AAAA"),)), Message("user", "Hi"))


TURNS = st.lists(
    st.sampled_from([
        (Message("user", "Hi"),),
        (Message("assistant", "Hello"),),
        (Message("assistant", (Text("Look."), call("a"))), result("a")),
        (Message("assistant", (Thinking("Hm.", SEAL + "s"), call("a"), call("b"))), result("a"), result("b")),
        (Message("user", (Text("See"), Image(media_type="image/png", data="AAAA"))),),
    ]),
    min_size=1,
    max_size=8,
)  # fmt: skip


@given(TURNS, TURNS)
def test_a_conversation_that_grows_keeps_its_prefix(before: Any, after: Any) -> None:
    early = [message for turn in before for message in turn]
    late = early + [message for turn in after for message in turn]
    short, long = contents(*early), contents(*late)
    assert long[: len(short) - 1] == short[:-1]
    assert long[len(short) - 1]["parts"][: len(short[-1]["parts"])] == short[-1]["parts"]


TOOL_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
OPENAI_BORN = {
    "model": "gemini:gemini-3.5-flash",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Rome?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_x",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_x", "content": "21 C"},
    ],
    "tools": [{"type": "function", "function": {"name": "get_weather", "parameters": TOOL_SCHEMA}}],
}
ANTHROPIC_BORN = {
    "model": "gemini:gemini-3.5-flash",
    "max_tokens": 100,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": "Weather in Rome?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "call_x", "name": "get_weather", "input": {"city": "Rome"}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_x", "content": "21 C"}]},
    ],
    "tools": [{"name": "get_weather", "input_schema": TOOL_SCHEMA}],
}


@pytest.mark.parametrize(("door", "asked"), [(CHAT, OPENAI_BORN), (MESSAGES, ANTHROPIC_BORN)])
def test_a_conversation_that_began_elsewhere_goes_on_here(door: Any, asked: dict[str, Any]) -> None:
    ask = door.read(json.dumps(asked).encode(), "t", CacheWish())
    sent = json.loads(encode_call(ask.call, NEW))
    sent.pop("generationConfig", None)
    assert sent == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [{"text": "Weather in Rome?"}]},
            {"role": "model", "parts": [function_call("call_x", SKIP, city="Rome")]},
            {
                "role": "user",
                "parts": [
                    {"functionResponse": {"id": "call_x", "name": "get_weather", "response": {"output": "21 C"}}}
                ],
            },
        ],
        "tools": [{"functionDeclarations": [{"name": "get_weather", "parametersJsonSchema": TOOL_SCHEMA}]}],
    }
