"""Bodies of `POST /v1/responses`: each is the question that a body of chat completions is, or is refused by name."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.wire.openaishapes import VALUES

from askonce.cache.fingerprint import fingerprints
from askonce.domain.call import Aside, Ask, CacheWish, Candidate, Message
from askonce.domain.content import Image, Text, Thinking, ToolCall, ToolResult, canonical_json
from askonce.domain.errors import Invalid, Malformed
from askonce.wire.anthropic import encode_call as encode_messages
from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.openai import Dialect, encode_call
from askonce.wire.openai_read import read_chat
from askonce.wire.responses_read import read_response

# Where the shapes come from.
CREATE = "https://developers.openai.com/api/reference/resources/responses/methods/create"
MIGRATE = "https://developers.openai.com/api/docs/guides/migrate-to-responses"
CALLS = "https://developers.openai.com/api/docs/guides/function-calling"
REASONING = "https://developers.openai.com/api/docs/guides/reasoning"
IMAGES = "https://developers.openai.com/api/docs/guides/images-vision"
SCHEMAS = "https://developers.openai.com/api/docs/guides/structured-outputs"
STATE = "https://developers.openai.com/api/docs/guides/conversation-state"

WHO = [Candidate("p", "m")]
HI = {"role": "user", "content": "Hi"}
ROME = '{"place": "Rome"}'
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}}
FUNCTION = {"name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True}
LOOKS = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": ROME}
LOOKED = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": ROME}}
WAITS = {"type": "function_call", "call_id": "c2", "name": "wait", "arguments": "{}"}
WAITED = {"id": "c2", "type": "function", "function": {"name": "wait", "arguments": "{}"}}
GRAMMAR = {"syntax": "lark", "definition": "start: /.+/"}
PATCH: dict[str, Any] = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Patch.",
    "format": {"type": "grammar", **GRAMMAR},
}
PATCHES = {"type": "custom_tool_call", "call_id": "c3", "name": "apply_patch", "input": "*** Begin\n"}
PATCHED = {"id": "c3", "type": "custom", "custom": {"name": "apply_patch", "input": "*** Begin\n"}}


def read(**fields: Any) -> Ask:
    return read_response(json.dumps({"model": "m", "input": "Hi"} | fields).encode(), "t", CacheWish())


def chat(**fields: Any) -> Ask:
    return read_chat(json.dumps({"model": "m", "messages": [HI]} | fields).encode(), "t", CacheWish())


def output(text: str) -> dict[str, Any]:
    """Return a message as it was put out, with all that clients send back of it."""
    part = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    kept = {"id": "msg_1", "status": "completed", "phase": "commentary"}
    return {"type": "message", **kept, "role": "assistant", "content": [part]}


def thought(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}]} | more


ONE: list[Any] = [
    pytest.param({}, {}, id=CREATE),
    pytest.param({"input": [HI]}, {}, id=f"{MIGRATE} (a list of messages)"),
    pytest.param(
        {"input": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}]},
        {},
        id=f"{CREATE} (parts)",
    ),
    pytest.param(
        {"instructions": "Be brief."},
        {"messages": [{"role": "system", "content": "Be brief."}, HI]},
        id=f"{MIGRATE} (instructions)",
    ),
    pytest.param(
        {"instructions": "Be brief.", "input": [{"role": "developer", "content": "And kind."}, HI]},
        {
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "developer", "content": "And kind."},
                HI,
            ]
        },
        id=f"{CREATE} (roles)",
    ),
    pytest.param(
        {"tools": [{"type": "function", **FUNCTION}], "tool_choice": {"type": "function", "name": "look"}},
        {
            "tools": [{"type": "function", "function": FUNCTION}],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
        },
        id=CALLS,
    ),
    pytest.param(
        {
            "tools": [{"type": "function", "name": "look", "parameters": None, "strict": None}],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "max_tool_calls": 3,
        },
        {
            "tools": [{"type": "function", "function": {"name": "look"}}],
            "tool_choice": "required",
            "parallel_tool_calls": False,
        },
        id=f"{CALLS} (tool choice)",
    ),
    pytest.param(
        {
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "look"}],
            }
        },
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "look"}}]},
            }
        },
        id=f"{CALLS} (allowed tools)",
    ),
    pytest.param(
        {
            "input": [
                HI,
                thought("Where?", status="completed"),
                output("Let me look."),
                {**LOOKS, "id": "fc_1", "status": "completed", "parsed_arguments": {"place": "Rome"}},
                WAITS,
                {"type": "function_call_output", "call_id": "c1", "output": "sun"},
                {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": ""}]},
                HI,
            ]
        },
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": "Let me look.",
                    "reasoning_content": "Where?",
                    "tool_calls": [LOOKED, WAITED],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "sun"},
                {"role": "tool", "tool_call_id": "c2", "content": ""},
                HI,
            ]
        },
        id=f"{CALLS} (a loop)",
    ),
    pytest.param(
        {
            "tools": [
                PATCH,
                {"type": "custom", "name": "say", "format": {"type": "text"}},
                {"type": "custom", "name": "x"},
            ],
            "tool_choice": {"type": "custom", "name": "apply_patch"},
        },
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {
                        "name": "apply_patch",
                        "description": "Patch.",
                        "format": {"type": "grammar", "grammar": GRAMMAR},
                    },
                },
                {"type": "custom", "custom": {"name": "say", "format": {"type": "text"}}},
                {"type": "custom", "custom": {"name": "x"}},
            ],
            "tool_choice": {"type": "custom", "custom": {"name": "apply_patch"}},
        },
        id=f"{CALLS} (custom tools)",
    ),
    pytest.param(
        {
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "custom", "name": "apply_patch"}, {"type": "function", "name": "look"}],
            }
        },
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [
                        {"type": "custom", "custom": {"name": "apply_patch"}},
                        {"type": "function", "function": {"name": "look"}},
                    ],
                },
            }
        },
        id=f"{CALLS} (allowed custom tools)",
    ),
    pytest.param(
        {
            "input": [
                HI,
                PATCHES | {"id": "ctc_1", "status": "completed"},
                LOOKS,
                {"type": "custom_tool_call_output", "call_id": "c3", "output": "Done."},
                {"type": "function_call_output", "call_id": "c1", "output": "sun"},
            ]
        },
        {
            "messages": [
                HI,
                {"role": "assistant", "content": None, "tool_calls": [PATCHED, LOOKED]},
                {"role": "tool", "tool_call_id": "c3", "content": "Done."},
                {"role": "tool", "tool_call_id": "c1", "content": "sun"},
            ]
        },
        id=f"{CALLS} (a loop with a custom tool)",
    ),
    pytest.param(
        {"input": [HI, LOOKS, output("So."), {"type": "function_call_output", "call_id": "c1", "output": "sun"}]},
        {
            "messages": [
                HI,
                {"role": "assistant", "content": "So.", "tool_calls": [LOOKED]},
                {"role": "tool", "tool_call_id": "c1", "content": "sun"},
            ]
        },
        id="words between a call and its result belong to the call's turn",
    ),
    pytest.param(
        {"input": [HI, output("One."), thought("Hm"), output("Two.")]},
        {
            "messages": [
                HI,
                {"role": "assistant", "content": "One."},
                {"role": "assistant", "content": "Two.", "reasoning_content": "Hm"},
            ]
        },
        id="words end a turn",
    ),
    pytest.param(
        {"input": [HI, output("One."), thought("Hm"), LOOKS]},
        {
            "messages": [
                HI,
                {"role": "assistant", "content": "One.", "reasoning_content": "Hm", "tool_calls": [LOOKED]},
            ]
        },
        id="words and calls are one turn",
    ),
    pytest.param(
        {"input": [HI, {**output(""), "content": [{"type": "refusal", "refusal": "No."}]}, HI]},
        {"messages": [HI, {"role": "assistant", "content": None, "refusal": "No."}, HI]},
        id=f"{CREATE} (refusal)",
    ),
    pytest.param(
        {
            "input": [
                HI,
                thought("Hm", encrypted_content="signature.sig"),
                {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "redacted.x"},
                {"type": "reasoning", "id": "rs_3", "summary": []},
                output("4"),
            ]
        },
        {
            "messages": [
                HI,
                {
                    "role": "assistant",
                    "content": "4",
                    "reasoning_details": [
                        {
                            "type": "reasoning.text",
                            "text": "Hm",
                            "signature": "sig",
                            "format": "anthropic-claude-v1",
                            "index": 0,
                        },
                        {"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1", "index": 1},
                    ],
                },
            ]
        },
        id=REASONING,
    ),
    pytest.param(
        {
            "text": {
                "format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True, "description": "X."},
                "verbosity": "low",
            }
        },
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "x", "schema": SCHEMA, "strict": True, "description": "X."},
            },
            "verbosity": "low",
        },
        id=SCHEMAS,
    ),
    pytest.param(
        {"text": {"format": {"type": "json_object"}}},
        {"response_format": {"type": "json_object"}},
        id=f"{SCHEMAS} (JSON mode)",
    ),
    pytest.param({"text": {"format": {"type": "text"}}}, {"response_format": {"type": "text"}}, id=f"{CREATE} (text)"),
    pytest.param(
        {"reasoning": {"effort": "low", "summary": "auto"}, "include": ["reasoning.encrypted_content"]},
        {"reasoning_effort": "low"},
        id=f"{REASONING} (effort)",
    ),
    pytest.param(
        {"max_output_tokens": 9, "temperature": 1, "top_p": 0.5, "stream": True},
        {"max_completion_tokens": 9, "temperature": 1.0, "top_p": 0.5},
        id=f"{MIGRATE} (numbers)",
    ),
    pytest.param(
        {
            "input": [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What?"},
                        {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
                        {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
                    ],
                }
            ]
        },
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What?"},
                        {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    ],
                }
            ]
        },
        id=IMAGES,
    ),
    pytest.param(
        {
            "input": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "A", "format": "wav"}}]}
            ]
        },
        {
            "messages": [
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "A", "format": "wav"}}]}
            ]
        },
        id=f"{CREATE} (audio)",
    ),
    pytest.param(
        {
            "user": "me",
            "metadata": {"a": "b"},
            "client_metadata": {"x-codex-installation-id": "i"},
            "store": True,
            "prompt_cache_key": "k",
            "safety_identifier": "s",
            "service_tier": "flex",
            "background": False,
            "truncation": "disabled",
            "previous_response_id": None,
            "conversation": None,
            "top_logprobs": 0,
            "instructions": "",
            "text": {},
            "reasoning": {"effort": None, "summary": None},
        },
        {},
        id=f"{CREATE} (what cannot change the answer, and what asks for nothing)",
    ),
]


@pytest.mark.parametrize(("here", "there"), ONE)
def test_one_question_has_one_key(here: dict[str, Any], there: dict[str, Any]) -> None:
    one, two = read(**here), chat(**there)
    assert one.call.messages == two.call.messages
    assert one.call.params == two.call.params
    assert one.call.extra == two.call.extra
    assert fingerprints(one.call, WHO).entries == fingerprints(two.call, WHO).entries
    wide = Dialect(developer=True, thinking="reasoning_details")
    assert (one.routing, one.call.shape) == (two.routing, two.call.shape)
    if not one.call.asides and one.call.stream == two.call.stream:
        assert encode_call(one.call, "m", wide) == encode_call(two.call, "m", wide)


def test_all_three_doors_share_one_key() -> None:
    system, told = "Be brief.", {"role": "user", "content": "Hi"}
    messages = {"model": "m", "system": system, "messages": [told], "max_tokens": 9, "temperature": 0.5}
    keys = {
        fingerprints(of.call, WHO)
        for of in (
            read(instructions=system, max_output_tokens=9, temperature=0.5),
            chat(messages=[{"role": "system", "content": system}, told], max_tokens=9, temperature=0.5),
            MESSAGES.read(json.dumps(messages).encode(), "t", CacheWish()),
        )
    }
    assert len(keys) == 1


def test_what_cannot_change_the_answer_is_passed_on_as_chat_does() -> None:
    fields = {"user": "me", "store": False, "prompt_cache_key": "k", "service_tier": "flex", "safety_identifier": "s"}
    assert read(**fields).call.asides == chat(**fields).call.asides


def test_marks_stand_where_chat_has_them() -> None:
    mark = {"prompt_cache_breakpoint": {"mode": "explicit"}}
    text = {"type": "input_text", "text": "Hi", **mark}
    call = read(instructions="x", input=[{"role": "user", "content": [text, text]}]).call
    raw = canonical_json({"mode": "explicit"})
    assert call.asides == tuple(Aside(("messages", 1, "content", at, "prompt_cache_breakpoint"), raw) for at in (0, 1))


def test_marks_of_items_stand_beside_their_messages() -> None:
    mark: dict[str, Any] = {"cache_control": {}}
    call = read(input=[HI | mark, output("x") | mark, LOOKS | mark, HI | mark]).call
    assert [aside.at[1] for aside in call.asides] == [0, 1, 1, 2]
    assert {aside.at[2] for aside in call.asides} == {"cache_control"}
    assert all(aside.json == canonical_json({}) for aside in call.asides)


def test_marks_of_tools_stand_beside_them() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    call = read(tools=[{"type": "function", **FUNCTION, **mark}]).call
    assert call.asides == (Aside(("tools", 0, "cache_control"), canonical_json({"type": "ephemeral"})),)


def test_a_result_may_hold_pictures() -> None:
    parts = [{"type": "input_text", "text": "see"}, {"type": "input_image", "image_url": "https://x/y.png"}]
    (message,) = read(input=[{"type": "function_call_output", "call_id": "c", "output": parts}]).call.messages
    assert message == Message("tool", (ToolResult("c", (Text("see"), Image(url="https://x/y.png"))),))


def test_arguments_stay_as_they_are() -> None:
    (message,) = read(input=[LOOKS | {"arguments": '{ "at": 1.0 }'}]).call.messages
    assert message == Message("assistant", (ToolCall("c1", "look", '{ "at": 1.0 }'),))


def test_the_full_text_of_a_thought_wins_over_its_summary() -> None:
    item = thought("short", content=[{"type": "reasoning_text", "text": "long"}])
    assert read(input=[item]).call.messages == (Message("assistant", (Thinking("long"),)),)


def test_an_unknown_field_is_passed_on_to_this_shape() -> None:
    assert read(brand_new=[1]).call.extra == (("brand_new", canonical_json([1])),)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({"previous_response_id": "resp_1"}, "previous_response_id", id=STATE),
        pytest.param({"conversation": "conv_1"}, "conversation", id=f"{STATE} (conversation)"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"context_management": [{"type": "compaction"}]}, "context_management"),
        ({"moderation": {"model": "x"}}, "moderation"),
        ({"include": ["message.output_text.logprobs"]}, "include"),
        ({"top_logprobs": 3}, "top_logprobs"),
        *(
            ({"tools": [{"type": kind}]}, "tools[0]")
            for kind in "web_search file_search computer_use_preview code_interpreter mcp image_generation "
            "local_shell shell apply_patch namespace tool_search".split()
        ),
        ({"tools": [{"type": "function", **FUNCTION, "defer_loading": True}]}, "tools[0].defer_loading"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": {}}, "tools"),
        ({"tool_choice": {"type": "web_search_preview"}}, "tool_choice"),
        ({"tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice"),
        ({"reasoning": {"mode": "pro"}}, "reasoning.mode"),
        ({"reasoning": "low"}, "reasoning"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {}, "more": 1}}}, "text.format.more"),
        ({"text": {"tone": "kind"}}, "text.tone"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": "9"}, "max_output_tokens"),
        ({"temperature": "hot"}, "temperature"),
        ({"metadata": "x"}, "metadata"),
        ({"instructions": [HI]}, "instructions"),
        ({"messages": [HI]}, "messages"),
        ({"max_tokens": 9}, "max_tokens"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [3]}, "input[0]"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0]"),
        ({"input": [HI, {"type": "web_search_call", "id": "ws_1", "status": "completed"}]}, "input[1]"),
        ({"input": [{"type": "custom_tool_call", "call_id": "c", "name": "x", "input": {}}]}, "input[0]"),
        ({"input": [PATCHES | {"namespace": "x"}]}, "input[0].namespace"),
        ({"input": [{"type": "custom_tool_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"tools": [{"type": "custom"}]}, "tools[0].name"),
        ({"tools": [PATCH | {"description": 3}]}, "tools[0].description"),
        ({"tools": [PATCH | {"parameters": {}}]}, "tools[0].parameters"),
        ({"tools": [PATCH | {"format": {"type": "grammar", "syntax": "lark"}}]}, "tools[0].format"),
        ({"tools": [PATCH | {"format": {"type": "grammar", "syntax": 3, "definition": ""}}]}, "tools[0].format"),
        ({"tools": [PATCH | {"format": "text"}]}, "tools[0].format"),
        ({"client_metadata": "x"}, "client_metadata"),
        ({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "input[0]"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role"),
        ({"input": [HI | {"name": "bob"}]}, "input[0].name"),
        ({"input": [{"role": "user", "content": 3}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]}, "input[0].content[0]"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "x", "arguments": {}}]}, "input[0]"),
        ({"input": [LOOKS | {"namespace": "x"}]}, "input[0].namespace"),
        ({"input": [{"role": "user", "content": [{"type": "refusal", "refusal": "No."}]}]}, "input[0]"),
        ({"input": [{"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}] * 2}]}, "input[0]"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input[0].output"),
        ({"input": [thought("x", encrypted_content="gAAAAA")]}, "input[0].encrypted_content"),
        ({"input": [{"type": "reasoning", "summary": [{"text": 3}]}]}, "input[0]"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid) as raised:
        read(**fields)
    assert [detail.field for detail in raised.value.details] == [named]


@pytest.mark.parametrize(
    ("kind", "cure"),
    [
        # https://developers.openai.com/codex/config-reference
        ("web_search", 'web_search = "disabled"'),
        ("image_generation", "image_generation = false"),
        # https://openai.github.io/openai-agents-python/tools/
        ("web_search_preview", "WebSearchTool"),
        ("mcp", "HostedMCPTool"),
        ("file_search", "FileSearchTool"),
        ("code_interpreter", "CodeInterpreterTool"),
        ("apply_patch", "custom tool"),
        ("local_shell", "function"),
        ("never_heard_of", "leave it out"),
    ],
)
def test_a_tool_of_the_vendors_own_is_refused_with_a_cure(kind: str, cure: str) -> None:
    with pytest.raises(Invalid) as raised:
        read(tools=[{"type": kind}])
    (detail,) = raised.value.details
    assert detail.problem.startswith(f"is {kind}, which needs the vendor's own endpoint")
    assert cure in detail.problem


def test_a_custom_tool_is_refused_by_name_where_nobody_has_it() -> None:
    """Source: https://platform.claude.com/docs/en/api/messages (tools take JSON)."""
    asked = read(tools=[PATCH], input=[HI, PATCHES], max_output_tokens=9)
    with pytest.raises(Invalid) as raised:
        encode_messages(asked.call, "claude-haiku-4-5")
    assert [detail.field for detail in raised.value.details] == ["messages.1.content.0", "tools.0"]


def test_marks_of_custom_tools_stand_beside_them() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    assert read(tools=[PATCH | mark]).call.asides == chat(tools=[{"type": "custom", "custom": {}} | mark]).call.asides


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(Invalid) as raised:
        read(background=True, temperature="hot", tools=[{"type": "mcp"}], input=[{"type": "item_reference"}])
    assert {detail.field for detail in raised.value.details} == {"background", "temperature", "tools[0]", "input[0]"}


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"input":"\xff"}', b"[" * 5000])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read_response(body, "t", CacheWish())


FIELDS = st.sampled_from(
    "input instructions tools tool_choice text reasoning include metadata store stream max_output_tokens model".split()
)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["message", "function_call", "function_call_output", "reasoning"]) | VALUES,
        "role": st.sampled_from(["user", "assistant"]) | VALUES,
        "content": VALUES
        | st.lists(st.fixed_dictionaries({"type": st.just("output_text")}, optional={"text": VALUES})),
        "summary": VALUES,
        "encrypted_content": VALUES | st.just("details.{"),
        "output": VALUES,
        "call_id": VALUES,
    },
)


@given(st.dictionaries(FIELDS, VALUES, max_size=4), st.lists(ITEMS, max_size=3))
def test_any_body_is_read_or_refused(fields: dict[str, Any], items: list[Any]) -> None:
    with suppress(Invalid):
        read(**{"input": items} | fields)
