"""Bodies of POST /v1/messages become questions, and go out again as they came."""

import contextlib
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.wire.anthropic_calls import MODEL, questions

from askonce.cache.fingerprint import fingerprints
from askonce.domain.call import (
    Aside,
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
from askonce.domain.content import Foreign, Image, Text, Thinking, ToolCall, ToolResult
from askonce.domain.errors import Invalid, Malformed
from askonce.wire.anthropic import encode_call
from askonce.wire.anthropic_read import CountBody, read_messages

HELLO = {"model": "claude-x", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
MARK = {"type": "ephemeral"}
RAW_MARK = Raw(b'{"type":"ephemeral"}')


def read(body: Any) -> Ask:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_messages(raw, "t", CacheWish())


def read_call(**fields: Any) -> Call:
    return read(HELLO | fields).call


def parts(content: Any, role: str = "user") -> Any:
    """Return the content of the only message."""
    (message,) = read_call(messages=[{"role": role, "content": content}]).messages
    return message.content


def refused(**fields: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read(HELLO | fields)
    return {detail.field: detail.problem for detail in caught.value.details}


def test_a_simple_question() -> None:
    ask = read(HELLO | {"system": "Be brief.", "temperature": 1, "stream": True})
    assert ask.routing.model == "claude-x"
    assert ask.call.messages == (Message("system", "Be brief."), Message("user", "Hi"))
    assert ask.call.params == Params(temperature=1.0, max_tokens=9)
    assert ask.call.stream
    assert not ask.call.extra


# Shapes of blocks: Anthropic's API reference, "Messages", and its guides "Vision", "PDF support", "Tool use",
# "Extended thinking", "Citations".
BLOCKS = [
    ("user", [{"type": "text", "text": "a"}], "a"),
    ("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], (Text("a"), Text("b"))),
    (
        "user",
        [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}],
        (Image(media_type="image/png", data="AA=="),),
    ),
    ("user", [{"type": "image", "source": {"type": "url", "url": "https://x/y"}}], (Image(url="https://x/y"),)),
    (
        "user",
        [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
        (Foreign("anthropic", "image", Raw(b'{"source":{"file_id":"f","type":"file"},"type":"image"}')),),
    ),
    (
        "user",
        [{"type": "document", "source": {"type": "url", "url": "u"}, "cache_control": MARK, "title": None}],
        (Foreign("anthropic", "document", Raw(b'{"source":{"type":"url","url":"u"},"type":"document"}')),),
    ),
    (
        "assistant",
        [{"type": "thinking", "thinking": "hm", "signature": "s"}, {"type": "text", "text": "a", "citations": None}],
        (Thinking("hm", "s"), Text("a")),
    ),
    ("assistant", [{"type": "redacted_thinking", "data": "d"}], (Thinking(redacted="d"),)),
    (
        "assistant",
        [{"type": "tool_use", "id": "i", "name": "n", "input": {"b": 1, "a": [2.5]}, "caller": {"type": "direct"}}],
        (ToolCall("i", "n", '{"b":1,"a":[2.5]}'),),
    ),
    ("assistant", [{"type": "tool_use", "id": "i", "name": "n", "input": {"INVALID_JSON": '{"a'}}],
     (ToolCall("i", "n", '{"a'),)),
    (
        "assistant",
        [{"type": "text", "text": "a", "citations": [{"type": "page_location"}]}],
        (Text("a"), Foreign("anthropic", "citations", Raw(b'[{"type":"page_location"}]'))),
    ),
    (
        "assistant",
        [{"type": "server_tool_use", "id": "i", "name": "web_search", "input": {}}],
        (
            Foreign(
                "anthropic",
                "server_tool_use",
                Raw(b'{"id":"i","input":{},"name":"web_search","type":"server_tool_use"}'),
            ),
        ),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("role", "content", "meant"), BLOCKS)
def test_blocks_become_parts(role: str, content: Any, meant: Any) -> None:
    assert parts(content, role) == meant


def test_results_of_tools_are_messages_of_their_own_in_their_order() -> None:
    call = read_call(
        messages=[
            {"role": "user", "content": "Go"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "n", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "1", "content": "fine", "cache_control": MARK},
                    {
                        "type": "tool_result",
                        "tool_use_id": "2",
                        "content": [
                            {"type": "text", "text": "x"},
                            {"type": "text", "text": "y", "cache_control": MARK},
                        ],
                        "is_error": True,
                    },
                    {"type": "tool_result", "tool_use_id": "3"},
                    {"type": "text", "text": "and now?", "cache_control": MARK},
                ],
            },
        ]
    )
    assert call.messages[2:] == (
        Message("tool", (ToolResult("1", (Text("fine"),)),)),
        Message("tool", (ToolResult("2", (Text("x"), Text("y")), True),)),
        Message("tool", (ToolResult("3", ()),)),
        Message("user", "and now?"),
    )
    assert [aside.at for aside in call.asides] == [
        ("messages", 2, "content", 0, "cache_control"),
        ("messages", 3, "content", 0, "content", 1, "cache_control"),
        ("messages", 5, "content", 0, "cache_control"),
    ]


def test_system_messages_within_the_conversation_stay_there() -> None:
    call = read_call(messages=[{"role": "user", "content": "a"}, {"role": "system", "content": "b"}])
    assert [message.role for message in call.messages] == ["user", "system"]


TOOLS = [
    ({"name": "n", "input_schema": {"type": "object"}}, Tool("n", "", Raw(b'{"type":"object"}'))),
    (
        {"type": "custom", "name": "n", "description": "d", "input_schema": {"b": 1.0, "a": 2}, "strict": True},
        Tool("n", "d", Raw(b'{"b":1,"a":2}'), True),
    ),
    (
        {"type": "web_search_20250305", "name": "web_search", "max_uses": 3},
        ForeignTool("anthropic", "web_search", Raw(b'{"type":"web_search_20250305","name":"web_search","max_uses":3}')),
    ),
    (
        {"name": "n", "input_schema": {}, "defer_loading": True},
        ForeignTool("anthropic", "n", Raw(b'{"name":"n","input_schema":{},"defer_loading":true}')),
    ),
]


@pytest.mark.parametrize(("sent", "meant"), TOOLS)
def test_tools(sent: Any, meant: Any) -> None:
    call = read_call(tools=[sent | {"cache_control": MARK, "eager_input_streaming": True}])
    assert msgspec.json.encode(call.tools[0]) == msgspec.json.encode(meant)
    assert [aside.at for aside in call.asides] == [("tools", 0, "cache_control"), ("tools", 0, "eager_input_streaming")]


FIELDS: list[tuple[dict[str, Any], Params]] = [
    ({"stop_sequences": ["a"], "top_k": 5.0, "top_p": 0.5}, Params(stop=("a",), top_k=5, top_p=0.5)),
    ({"stop_sequences": [], "top_k": None}, Params()),
    ({"tool_choice": {"type": "any"}}, Params(tool_choice=ToolChoice("required"))),
    (
        {"tool_choice": {"type": "tool", "name": "n", "disable_parallel_tool_use": True}},
        Params(tool_choice=ToolChoice("named", "n"), parallel_tools=False),
    ),
    ({"thinking": {"type": "disabled"}}, Params(reasoning=Reasoning(budget_tokens=0))),
    ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, Params(reasoning=Reasoning(budget_tokens=2000))),
    ({"thinking": {"type": "adaptive"}}, Params(reasoning=Reasoning())),
    (
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
        Params(reasoning=Reasoning(effort="max")),
    ),
    (
        {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
        Params(format=Format("schema", schema=Raw(b'{"type":"object"}'))),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sent", "meant"), FIELDS)
def test_parameters_that_all_shapes_share(sent: dict[str, Any], meant: Params) -> None:
    call = read_call(**sent)
    assert msgspec.json.encode(call.params) == msgspec.json.encode(msgspec.structs.replace(meant, max_tokens=9))
    assert not call.extra


EXTRA: list[tuple[dict[str, Any], tuple[tuple[str, bytes], ...]]] = [
    ({"output_config": {"effort": "low"}}, (("output_config", b'{"effort":"low"}'),)),
    (
        {"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}},
        (("output_config", b'{"effort":"low"}'), ("thinking", b'{"display":"omitted","type":"adaptive"}')),
    ),
    ({"mcp_servers": [], "container": "c", "n": None}, (("container", b'"c"'), ("mcp_servers", b"[]"))),
]


@pytest.mark.parametrize(("sent", "meant"), EXTRA)
def test_what_only_this_shape_has_is_part_of_the_question(sent: dict[str, Any], meant: Any) -> None:
    assert tuple((name, bytes(raw)) for name, raw in read_call(**sent).extra) == meant


def test_what_cannot_change_the_answer_stands_beside_the_question() -> None:
    plain = read_call()
    told = read_call(
        metadata={"user_id": "u"},
        service_tier="auto",
        cache_control=MARK,
        stream=True,
        messages=[{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": MARK}]}],
    )
    who = (Candidate("p", "m"),)
    assert fingerprints(plain, who).entries == fingerprints(told, who).entries
    assert {aside.at for aside in told.asides} == {
        ("metadata",),
        ("service_tier",),
        ("cache_control",),
        ("messages", 0, "content", 0, "cache_control"),
    }


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"max_tokens": None}, "max_tokens", "is required"),
    ({"max_tokens": 1.5}, "max_tokens", "must be a whole number"),
    ({"max_tokens": "9"}, "max_tokens", "is wrong: expected int"),
    ({"temperature": 1.5}, "temperature", "is wrong: expected float <= 1.0"),
    ({"messages": []}, "messages", "is wrong"),
    ({"messages": [{"role": "robot", "content": "a"}]}, "messages.0.role", "must be user"),
    ({"messages": [{"role": "user"}]}, "messages.0.content", "must be a text or an array"),
    ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, "messages.0.name", "is not a known field"),
    ({"messages": [{"role": "user", "content": [{"text": "a"}]}]}, "messages.0.content.0", "an object with a type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content.0", "not a whole block"),
    (
        {"messages": [{"role": "assistant", "content": [{"type": "tool_result", "tool_use_id": "x"}]}]},
        "messages.0",
        "holds a tool_result",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_use", "id": "i", "name": "n", "input": {}}]}]},
        "messages.0",
        "holds a tool_use",
    ),
    ({"tools": [{"name": "n"}]}, "tools.0", "must have a name"),
    ({"tool_choice": {"type": "tool"}}, "tool_choice", "tool with its name"),
    ({"output_config": {"format": {"type": "xml"}}}, "output_config.format", "must be of type json_schema"),
]


@pytest.mark.parametrize(("sent", "field", "said"), REFUSED)
def test_what_is_wrong_is_named(sent: dict[str, Any], field: str, said: str) -> None:
    problems = refused(**sent)
    assert said in problems[field]


def test_all_problems_are_named_at_once() -> None:
    problems = refused(max_tokens=None, temperature=3, top_p="x")
    assert problems.keys() == {"max_tokens", "temperature", "top_p"}


def deep(levels: int) -> bytes:
    return b'{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}],"x":%b%b}' % (
        b"[" * levels,
        b"]" * levels,
    )


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 100_000, deep(900), deep(50_000)])
def test_what_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read(body)


def test_a_count_needs_no_max_tokens() -> None:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()
    assert read_messages(body, "t", CacheWish(), CountBody).call.params == Params()


@given(questions())
def test_reading_what_was_written_is_the_identity(call: Call) -> None:
    body = encode_call(call, MODEL)
    again = read(body).call
    assert _comparable(again) == _comparable(call)
    assert encode_call(again, MODEL) == body


def _comparable(call: Call) -> Any:
    found = msgspec.json.decode(msgspec.json.encode(call))
    found["asides"] = sorted(found["asides"], key=str)
    return found


def test_asides_survive_with_their_json() -> None:
    call = read_call(messages=[{"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": MARK}]}])
    (aside,) = call.asides
    assert aside == Aside(("messages", 0, "content", 0, "cache_control"), aside.json)
    assert bytes(aside.json) == bytes(RAW_MARK)


WORDS = (
    "model messages max_tokens system tools tool_choice thinking output_config type role content text source input "
    "name tool_use_id id citations signature data cache_control schema format input_schema budget_tokens"
).split()
KINDS = ["text", "image", "tool_use", "tool_result", "thinking", "document", "user", "assistant", "system", "auto"]
odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(KINDS)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(st.sampled_from(WORDS), odd))
def test_a_body_with_anything_anywhere_is_a_question_or_refused(fields: dict[str, Any]) -> None:
    with contextlib.suppress(Invalid, Malformed):
        encode_call(read(HELLO | fields).call, MODEL)


@given(st.lists(st.dictionaries(st.sampled_from(WORDS), odd) | odd, max_size=3), st.sampled_from(KINDS))
def test_any_content_is_a_question_or_refused(content: list[Any], kind: str) -> None:
    blocks = [block | {"type": kind} if isinstance(block, dict) else block for block in content]
    with contextlib.suppress(Invalid):
        encode_call(read_call(messages=[{"role": "user", "content": blocks}]), MODEL)
