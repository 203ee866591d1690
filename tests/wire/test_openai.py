"""Shapes are written after each vendor's documentation, which the case names; none is a recording."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.answer import FinishReason
from askonce.domain.call import Call, Message, Params
from askonce.domain.errors import ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.openai import Dialect, decode_models, encode_call
from askonce.wire.openai_answers import (
    Portion,
    decode_answer,
    decode_piece,
    finish_reason,
    read_usage,
)

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
    ("given_body", "part"),
    [
        pytest.param(
            json.dumps(OPENAI_ANSWER).encode(),
            Portion("Hello!", "stop", Usage(1919, 10, 1024, 0, 4), "gpt-4.1-2025-04-14"),
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
def test_whole_answers(given_body: bytes, part: Portion) -> None:
    assert decode_answer(given_body, "V") == part


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
    ("data", "part"),
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
def test_pieces_of_streams(data: bytes, part: Portion) -> None:
    assert decode_piece(data, "V") == part
    assert decode_piece(data.decode(), "V") == part


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
