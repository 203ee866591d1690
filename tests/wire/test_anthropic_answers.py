"""Whole answers come in from Anthropic's shape."""

import json
from typing import Any

import pytest

from askonce.domain.answer import FinishReason
from askonce.domain.content import Text
from askonce.domain.errors import AskonceError, ProviderBusy, ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.anthropic_answers import decode_answer, decode_count, decode_models

USAGE = {"input_tokens": 10, "output_tokens": 5}


def message(**fields: Any) -> bytes:
    """Build a reply as the API reference shows it."""
    whole = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-20260101",
        "content": [{"type": "text", "text": "Hello", "citations": None}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }
    return json.dumps(whole | fields).encode()


def test_an_answer() -> None:
    whole = decode_answer(message(), "V")
    assert whole.parts == (Text("Hello"),)
    assert (whole.finish, whole.usage, whole.model_version) == ("stop", Usage(10, 5), "claude-opus-5-20260101")


STOPS: list[tuple[str | None, FinishReason]] = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("tool_use", "tool_calls"),
    ("refusal", "content_filter"),
    ("pause_turn", "unknown"),
    ("a_new_one", "unknown"),
    (None, "unknown"),
]


@pytest.mark.parametrize(("said", "meant"), STOPS)
def test_stop_reasons(said: str | None, meant: FinishReason) -> None:
    assert decode_answer(message(stop_reason=said), "V").finish == meant


def test_the_stop_sequence_is_kept() -> None:
    whole = decode_answer(message(stop_reason="stop_sequence", stop_sequence="END"), "V")
    assert whole.stop_sequence == "END"


# "Prompt caching", "Tracking cache performance": the prompt is the sum of the three; "Extended thinking": details.
# Anthropic, "Prompt caching", "1-hour cache duration": the field that tells writes of both durations apart.
BOTH = {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60}
USAGES: list[tuple[Any, Usage | None]] = [
    (USAGE | {"cache_creation_input_tokens": 100, "cache_read_input_tokens": 1000}, Usage(1110, 5, 1000, 100)),
    (
        USAGE | {"output_tokens_details": {"thinking_tokens": 4}, "service_tier": "standard"},
        Usage(10, 5, 0, 0, 4, service_tier="standard"),
    ),
    (USAGE | {"service_tier": 5}, Usage(10, 5)),
    (
        USAGE | {"cache_creation_input_tokens": 100, "cache_creation": BOTH, "service_tier": "priority"},
        Usage(110, 5, 0, 100, cache_write_1h_tokens=60, service_tier="priority"),
    ),
    (USAGE | {"cache_creation": BOTH}, Usage(110, 5, 0, 100, cache_write_1h_tokens=60)),
    (USAGE | {"cache_creation_input_tokens": 100, "cache_creation": None}, Usage(110, 5, 0, 100)),
    (USAGE | {"cache_creation_input_tokens": 50, "cache_creation": BOTH}, None),  # a part larger than its whole
    (USAGE | {"output_tokens_details": {"thinking_tokens": 9}}, Usage(10, 5, 0, 0, 5)),
    (USAGE | {"cache_read_input_tokens": None}, Usage(10, 5)),
    ({"output_tokens": 5}, None),
    ({"input_tokens": -1, "output_tokens": 5}, None),
    ({"input_tokens": "many"}, None),
    (None, None),
]


@pytest.mark.parametrize(("said", "meant"), USAGES)
def test_usage(said: Any, meant: Usage | None) -> None:
    assert decode_answer(message(usage=said), "V").usage == meant


BROKEN: list[tuple[bytes, type[AskonceError]]] = [
    (b"<html>", ProviderFailed),
    (b"[]", ProviderFailed),
    (b'{"type":"completion"}', ProviderFailed),
    (b'{"type":"error","error":{"type":"api_error","message":"x"}}', ProviderFailed),
    (b'{"type":"error","error":{"type":"overloaded_error","message":"x"}}', ProviderBusy),
    (message(content=[{"type": "text"}]), ProviderFailed),
    (message(content="Hello"), ProviderFailed),
]


@pytest.mark.parametrize(("sent", "error"), BROKEN)
def test_what_is_no_answer_is_a_failure(sent: bytes, error: type[AskonceError]) -> None:
    with pytest.raises(error):
        decode_answer(sent, "V")


def test_counts_and_models() -> None:
    assert decode_count(b'{"input_tokens": 14}', "V") == 14
    assert decode_models(b'{"data":[{"id":"a"},{"id":"b"}],"has_more":false}', "V") == ("a", "b")
    for nonsense in (b"{}", b'{"data":[1]}', b"x"):
        with pytest.raises(ProviderFailed):
            decode_models(nonsense, "V")
        with pytest.raises(ProviderFailed):
            decode_count(nonsense, "V")
