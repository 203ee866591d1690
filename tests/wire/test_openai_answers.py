"""Shapes are written after each vendor's documentation, which the case names; none is a recording."""

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.answer import FinishReason, ToolDelta
from askonce.domain.content import Foreign, Part, Text, Thinking, ToolCall, canonical_json
from askonce.domain.errors import ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.openai_answers import Gathering, Portion, decode_answer, decode_piece, finish_reason, read_usage


def whole(message: dict[str, object], finish: str | None = "stop", **more: object) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"object": "chat.completion", "model": "m-1", "choices": [choice]} | more).encode()


# OpenAI, API reference, "The chat completion object" (with the fields that we skip).
OPENAI_ANSWER = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1741569952,
    "model": "gpt-4.1-2025-04-14",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello!", "refusal": None, "annotations": []},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 1919,
        "completion_tokens": 10,
        "total_tokens": 1929,
        "prompt_tokens_details": {"cached_tokens": 1024, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 4, "audio_tokens": 0, "accepted_prediction_tokens": 0},
    },
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}


@pytest.mark.parametrize(
    ("given_body", "portion"),
    [
        pytest.param(
            json.dumps(OPENAI_ANSWER).encode(),
            Portion("Hello!", "stop", Usage(1919, 10, 1024, 0, 4), "gpt-4.1-2025-04-14", service_tier="default"),
            id="OpenAI",
        ),
        pytest.param(
            whole({"role": "assistant", "content": None, "refusal": "I can't."}),
            Portion("I can't.", "stop", None, "m-1", refused=True),
            id="OpenAI, Structured Outputs, refusals",
        ),
        pytest.param(
            whole(
                {
                    "content": [
                        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                        {"type": "text", "text": "4"},
                    ]
                }
            ),
            Portion("4", "stop", None, "m-1", thinking="Hm"),
            id="Mistral, Reasoning",
        ),
        pytest.param(
            whole(
                {"content": "x", "reasoning_content": "because"},
                usage={
                    "prompt_tokens": 9,
                    "completion_tokens": 2,
                    "total_tokens": 11,
                    "prompt_cache_hit_tokens": 8,
                    "prompt_cache_miss_tokens": 1,
                },
            ),
            Portion("x", "stop", Usage(9, 2, 8), "m-1", thinking="because"),
            id="DeepSeek, Context Caching",
        ),
        pytest.param(
            whole(
                {"content": "x"},
                usage={
                    "prompt_tokens": 32,
                    "completion_tokens": 9,
                    "total_tokens": 135,
                    "completion_tokens_details": {"reasoning_tokens": 94},
                },
            ),
            Portion("x", "stop", Usage(32, 103, 0, 0, 94), "m-1"),
            id="xAI, reasoning outside of completion_tokens",
        ),
        pytest.param(
            whole({"content": "x"}, "length", usage={"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 21}),
            Portion("x", "length", Usage(5, 16, 0, 0, 15), "m-1"),
            id="Gemini, OpenAI compatibility, thinking in the total only",
        ),
        pytest.param(whole({"content": ""}, None), Portion("", "unknown", None, "m-1"), id="no finish reason"),
        pytest.param(whole({}, "tool_calls"), Portion("", "tool_calls", None, "m-1"), id="no content"),
        pytest.param(whole({"content": "x"}, usage=None), Portion("x", "stop", None, "m-1"), id="usage null"),
        pytest.param(whole({"content": "x"}, usage="lots"), Portion("x", "stop", None, "m-1"), id="usage nonsense"),
        pytest.param(whole({"content": "x"}, error=None), Portion("x", "stop", None, "m-1"), id="error null"),
    ],
)
def test_whole_answers(given_body: bytes, portion: Portion) -> None:
    assert decode_answer(given_body, "V") == portion


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"<html>", b"[]", b"{}", b"null", b"\xff", b'{"choices": []}', b'{"choices": 3}', b'{"choices": null}',
     b'{"choices": [{"index": 1, "message": {"content": "other"}}]}', b'{"choices": [{"message": {"content": 5}}]}',
     b'{"error": {"message": "no"}}', b'{"choices": [{"message": {"content": "\xff"}}]}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_answer_is_the_vendors_failure(nonsense: bytes) -> None:
    with pytest.raises(ProviderFailed, match=r"^V "):
        decode_answer(nonsense, "V")


def chunk(delta: dict[str, object], finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"object": "chat.completion.chunk", "model": "m-1", "choices": [choice]} | more).encode()


@pytest.mark.parametrize(
    ("data", "portion"),
    [
        pytest.param(chunk({"role": "assistant", "content": ""}), Portion("", None, None, "m-1"), id="OpenAI, first"),
        pytest.param(chunk({"content": "Hel"}), Portion("Hel", None, None, "m-1"), id="OpenAI, text"),
        pytest.param(chunk({}, "stop"), Portion("", "stop", None, "m-1"), id="OpenAI, last"),
        pytest.param(
            json.dumps({"model": "m-1", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}).encode(),
            Portion("", None, Usage(1, 2), "m-1"),
            id="OpenAI, usage",
        ),
        pytest.param(
            json.dumps({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}).encode(),
            Portion(),
            id="Azure, content filtering, first",
        ),
        pytest.param(
            chunk({}, "stop", x_groq={"id": "req_1", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}),
            Portion("", "stop", Usage(1, 2), "m-1"),
            id="Groq, usage in x_groq",
        ),
        pytest.param(
            chunk({"content": "x"}, usage={"prompt_tokens": 1, "completion_tokens": 2}),
            Portion("x", None, Usage(1, 2), "m-1"),
            id="xAI, usage with every piece",
        ),
        pytest.param(
            chunk({"reasoning_content": "hm"}), Portion("", None, None, "m-1", thinking="hm"), id="DeepSeek, reasoning"
        ),
        pytest.param(
            json.dumps({"choices": [{"index": 1, "delta": {"content": "other"}}]}).encode(),
            Portion(),
            id="another choice",
        ),
    ],
)
def test_pieces_of_streams(data: bytes, portion: Portion) -> None:
    assert decode_piece(data, "V") == portion
    assert decode_piece(data.decode(), "V") == portion


@pytest.mark.parametrize(
    "data",
    [
        # OpenRouter, "Errors and Debugging", mid-stream errors.
        b'{"error": {"code": "server_error", "message": "gone"}, "choices": [{"delta": {}, "finish_reason": "error"}]}',
        b'{"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}',
        b'{"error": "out of memory"}',  # Ollama
        b"{oops",
    ],
)  # fmt: skip
def test_an_error_in_the_midst_of_a_stream_is_the_vendors_failure(data: bytes) -> None:
    with pytest.raises(ProviderFailed):
        decode_piece(data, "V")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "stop"), ("length", "length"), ("tool_calls", "tool_calls"), ("function_call", "tool_calls"),
        ("content_filter", "content_filter"), ("model_length", "length"), ("eos", "stop"), ("COMPLETE", "stop"),
        ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("insufficient_system_resource", "unknown"),
        ("banana", "unknown"), ("", None), (None, None),
    ],
)  # fmt: skip
def test_finish_reasons(word: str | None, reason: FinishReason | None) -> None:
    assert finish_reason(word) == reason


@pytest.mark.parametrize(
    "impossible",
    [
        {"prompt_tokens": -1, "completion_tokens": 0},
        {"prompt_tokens": 1, "completion_tokens": -1},
        {"prompt_tokens": 1, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 2}},
        {"prompt_tokens": 1, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 2}},
        {"prompt_tokens": 1.5, "completion_tokens": 1},
        {"completion_tokens": 1},
    ],
)
def test_usage_that_cannot_be_true_counts_as_absent(impossible: dict[str, object]) -> None:
    assert read_usage(json.dumps(impossible).encode()) is None


FIELDS = ["choices", "message", "content", "usage", "prompt_tokens", "error", "index", "delta"]
ODD_JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner),
).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=200) | ODD_JSON)
def test_any_bytes_are_an_answer_or_the_vendors_failure(data: bytes) -> None:
    for decode in (decode_answer, decode_piece):
        with suppress(ProviderFailed):
            assert isinstance(decode(data, "V"), Portion)


def call(
    index: int | None, call_id: str | None, name: str | None, arguments: str | None, **more: object
) -> dict[str, object]:
    said = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in said.items() if value is not None}


LOOK = ToolCall("call_a", "look", '{"place": "Rome"}')
WAIT = ToolCall("call_b", "wait", "{}")


@pytest.mark.parametrize(
    ("deltas", "parts"),
    [
        pytest.param(
            [
                {"role": "assistant", "content": None, "tool_calls": [call(0, "call_a", "look", "")]},
                {"tool_calls": [call(0, None, None, '{"place"')]},
                {"tool_calls": [call(0, None, None, ': "Rome"}')]},
                {"tool_calls": [call(1, "call_b", "wait", "")]},
                {"tool_calls": [call(1, None, None, "{}")]},
            ],
            (LOOK, WAIT),
            id="OpenAI, Function calling, streaming",
        ),
        pytest.param(
            [
                {"tool_calls": [call(0, "call_a", "look", '{"pl'), call(1, "call_b", "wait", "{")]},
                {"tool_calls": [call(1, "", None, "}"), call(0, "", None, 'ace": "Rome"}')]},
            ],
            (LOOK, WAIT),
            id="two calls side by side, ids that are empty later",
        ),
        pytest.param(
            [
                {"tool_calls": [call(0, "call_a", "look", '{"place": "Rome"}')]},
                {"tool_calls": [call(0, "call_b", "wait", "{}")]},
            ],
            (LOOK, WAIT),
            id="Gemini, OpenAI compatibility: parallel calls, all with index 0",
        ),
        pytest.param(
            [{"tool_calls": [call(None, "call_a", "look", '{"place": "Rome"}'), call(None, "call_b", "wait", "{}")]}],
            (LOOK, WAIT),
            id="Mistral, Function calling: whole calls without an index",
        ),
        pytest.param(
            [
                {"tool_calls": [call(0, "call_a", "look", '{"place"')]},
                {"tool_calls": [call(0, "call_a", "look", ': "Rome"}')]},
            ],
            (LOOK,),
            id="vLLM: id and name with every piece",
        ),
        pytest.param(
            [{"tool_calls": [{"function": {"name": "look", "arguments": {"place": "Rome"}}}]}],
            (ToolCall("call_0", "look", '{"place":"Rome"}'),),
            id="local servers: no id, arguments as an object",
        ),
        pytest.param(
            [{"function_call": {"name": "wait", "arguments": "{}"}}],
            (ToolCall("call_0", "wait", "{}"),),
            id="OpenAI, the legacy form",
        ),
        pytest.param(
            [{"reasoning_content": "Hm"}, {"reasoning_content": "m"}, {"content": "4"}],
            (Thinking("Hmm"), Text("4")),
            id="DeepSeek, Thinking mode",
        ),
        pytest.param([{"reasoning": "Hm"}, {"content": "4"}], (Thinking("Hm"), Text("4")), id="Groq, Reasoning"),
        pytest.param(
            [
                {"reasoning": "H", "reasoning_details": [
                    {"type": "reasoning.text", "text": "H", "format": "anthropic-claude-v1", "index": 0}]},
                {"reasoning": "m", "reasoning_details": [
                    {"type": "reasoning.text", "text": "m", "signature": "sig", "format": "anthropic-claude-v1",
                     "index": 0, "id": None}]},
                {"content": "4"},
            ],
            (Thinking("Hm", "sig"), Text("4")),
            id="OpenRouter, Reasoning Tokens, of Claude",
        ),
        pytest.param(
            [
                {"reasoning": "Sum", "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "Sum", "format": "openai-v1", "index": 0}]},
                {"reasoning_details": [
                    {"type": "reasoning.encrypted", "data": "x", "format": "openai-v1", "index": 1, "id": 7}]},
                {"content": "4"},
            ],
            (
                Thinking("Sum"),
                Foreign("openai", "message.reasoning_details", canonical_json([
                    {"type": "reasoning.summary", "summary": "Sum", "format": "openai-v1", "index": 0},
                    {"type": "reasoning.encrypted", "data": "x", "format": "openai-v1", "index": 1, "id": 7},
                ])),
                Text("4"),
            ),
            id="OpenRouter, Reasoning Tokens, of OpenAI: kept as it came",
        ),
        pytest.param(
            [{"content": "See."}, {"annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}]}],
            (
                Text("See."),
                Foreign("openai", "message.annotations",
                        canonical_json([{"type": "url_citation", "url_citation": {"url": "u"}}])),
            ),
            id="OpenAI, Web search, citations",
        ),
        pytest.param(
            [{"refusal": "I "}, {"refusal": "can't."}],
            (Text("I can't."), Foreign("openai", "message.refusal", canonical_json("I can't."))),
            id="OpenAI, Structured Outputs, refusals",
        ),
        pytest.param([{"content": "just"}, {"content": " text"}], (), id="text alone has no parts"),
        pytest.param(
            [{"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}]}],
            (Foreign("openai", "tool_calls",
                     canonical_json({"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}})),),
            id="OpenAI, custom tools",
        ),
        pytest.param(
            [
                {"tool_calls": [{"index": 0, "id": "c", "type": "custom", "custom": {"name": "sh", "input": ""}}]},
                {"tool_calls": [{"index": 1, "id": "d", "type": "custom", "custom": {"name": "sh", "input": "p"}}]},
                {"tool_calls": [{"index": 0, "custom": {"input": "l"}}, {"index": 1, "custom": {"input": "wd"}}]},
                {"tool_calls": [{"index": 0, "custom": {"input": "s"}}]},
            ],
            tuple(
                Foreign("openai", "tool_calls",
                        canonical_json({"id": at, "type": "custom", "custom": {"name": "sh", "input": text}}))
                for at, text in (("c", "ls"), ("d", "pwd"))
            ),
            id="OpenAI, custom tools whose input comes in pieces",
        ),
    ],
)  # fmt: skip
def test_streams_add_up_to_an_answers_parts(deltas: list[dict[str, object]], parts: tuple[Part, ...]) -> None:
    gathering = Gathering()
    for delta in deltas:
        gathering.add(decode_piece(chunk(delta), "V"))
    assert gathering.parts() == parts


def test_a_call_is_told_as_it_comes() -> None:
    gathering = Gathering()
    pieces = gathering.add(decode_piece(chunk({"tool_calls": [call(3, "call_a", "look", "")]}), "V"))
    pieces += gathering.add(decode_piece(chunk({"tool_calls": [call(3, None, None, "{}")]}), "V"))
    assert pieces == [ToolDelta(0, "call_a", "look"), ToolDelta(0, arguments="{}")]


@pytest.mark.parametrize(
    ("portions", "finish"),
    [
        ([Portion("x", "stop")], "stop"),
        ([Portion("x")], None),
        ([Portion(calls=(ToolDelta(0, "a", "look", "{}"),)), Portion("", "stop")], "tool_calls"),
        ([Portion(calls=(ToolDelta(0, "a", "look", "{}"),)), Portion("", "length")], "length"),
        ([Portion("no", refused=True), Portion("", "stop")], "content_filter"),
        ([Portion("no", refused=True)], None),
    ],
)
def test_an_answer_ends_as_what_it_is(portions: list[Portion], finish: FinishReason | None) -> None:
    gathering = Gathering()
    for portion in portions:
        gathering.add(portion)
    assert gathering.finish == finish


@pytest.mark.parametrize(("said", "tier"), [("flex", "flex"), ("Priority", "priority"), (None, ""), (7, "")])
def test_the_service_tier_that_the_vendor_names_goes_with_the_usage(said: object, tier: str) -> None:
    gathering = Gathering()
    gathering.add(decode_piece(json.dumps({"choices": [{"delta": {"content": "x"}}], "service_tier": said}), "V"))
    gathering.add(decode_piece(json.dumps({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}), "V"))
    assert gathering.usage == Usage(1, 1)
    assert gathering.tiered(gathering.usage).service_tier == tier
