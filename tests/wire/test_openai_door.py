"""Replies of `POST /v1/chat/completions`, held against the types of the official library and our own reader."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from tests.wire.openaishapes import answers, citation
from tests.wire.openaishapes import begun as beginnings

from askonce.domain.answer import Answer, Delta, Entry, Piece, ThinkingDelta, ToolDelta, pack
from askonce.domain.call import Ask, CacheWish
from askonce.domain.content import Foreign, Text, Thinking, ToolCall, canonical_json
from askonce.domain.errors import (
    AskonceError,
    ContextExceeded,
    Detail,
    Invalid,
    ProviderBusy,
    ProviderFailed,
    RateLimited,
    Unauthorized,
    UnknownModel,
)
from askonce.domain.usage import Usage
from askonce.wire.door import Facts
from askonce.wire.openai_answers import DONE, Gathering, decode_answer, decode_piece
from askonce.wire.openai_door import CHAT, NAME
from askonce.wire.openai_errors import openai_error
from askonce.wire.openai_messages import CustomCall
from askonce.wire.sse import Decoder

STORED_MS = 1_700_000_000_500
LOOK = ToolCall("call_a", "look", '{"at": 1}')
USAGE = Usage(9, 3, 4, 2, 1)
THOUGHT = Answer("4", "stop", USAGE, "p", "m", "m-1", parts=(Thinking("Hm"), Text("4")))
CALLING = Answer("", "tool_calls", USAGE, "p", "m", "m-1", parts=(LOOK, ToolCall("call_b", "wait", "")))
SEALED = msgspec.structs.replace(THOUGHT, parts=(Thinking("Hm", "sig"), Thinking(redacted="x"), Text("4")))
PLAIN = Answer("Hello", "stop", USAGE, "p", "m", "m-1")
CITED = Foreign("openai", "message.annotations", canonical_json([citation("x")]))
REFUSED = Answer(
    "No.", "content_filter", USAGE, "p", "m", "m-1",
    parts=(Text("No."), Foreign("openai", "message.refusal", canonical_json("No."))),
)  # fmt: skip


def entry(answer: Answer, *, rendered: bool = False) -> Entry:
    shape, rendition = (NAME, CHAT.rendition(answer)) if rendered else ("", b"")
    return Entry(b"k" * 32, "t", "p", "m", STORED_MS, STORED_MS + 1, 0, 9, 3, pack(answer), shape, rendition)


def asked(**fields: Any) -> Ask:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | fields
    return CHAT.read(json.dumps(body).encode(), "t", CacheWish())


def facts(ask: Ask) -> Facts:
    return Facts("miss", 0, 5, "rq1", ask, "p", "m", now_ms=1_800_000_000_000)


def streamed(answer: Answer, pieces: list[Piece], **fields: Any) -> bytes:
    ask = asked(stream=True, **fields)
    writer = CHAT.writer(ask)
    sent = writer.start(facts(ask)) + b"".join(map(writer.piece, pieces)) + writer.still_here()
    return sent + writer.done(entry(answer), facts(ask))


def chunks(stream: bytes) -> list[Any]:
    events = [event.data for event in Decoder().feed(stream)]
    assert events.pop() == DONE
    return [json.loads(data) for data in events]


def gathered(stream: bytes) -> Gathering:
    gathering = Gathering()
    for data in (event.data for event in Decoder().feed(stream)):
        if data != DONE:
            gathering.add(decode_piece(data, "V"))
    return gathering


def told(gathering: Gathering) -> tuple[object, ...]:
    return (gathering.text, gathering.parts(), gathering.finish, gathering.usage, gathering.model_version)


def meant(answer: Answer) -> tuple[object, ...]:
    return (answer.text, answer.parts, answer.finish, answer.usage, answer.model_version)


def test_a_whole_reply() -> None:
    reply = json.loads(CHAT.render(entry(PLAIN, rendered=True), facts(asked())))
    assert reply == {
        "id": "chatcmpl-rq1",
        "created": 1_700_000_000,
        "object": "chat.completion",
        "model": "m-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 9,
            "completion_tokens": 3,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 1},
        },
    }


@pytest.mark.parametrize(
    ("answer", "message", "finish"),
    [
        (THOUGHT, {"content": "4", "reasoning_content": "Hm"}, "stop"),
        (
            CALLING,
            {
                "content": None,
                "tool_calls": [
                    {"id": "call_a", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}},
                    {"id": "call_b", "type": "function", "function": {"name": "wait", "arguments": ""}},
                ],
            },
            "tool_calls",
        ),
        (REFUSED, {"content": None, "refusal": "No."}, "stop"),
        (
            Answer("x", "length", USAGE, "p", "m", "m-1", parts=(Text("x"), CITED)),
            {"content": "x", "annotations": [citation("x")]},
            "length",
        ),
        (Answer("x", "unknown", USAGE, "p", "m", "m-1"), {"content": "x"}, "stop"),
        (Answer("", "content_filter", USAGE, "p", "m", "m-1"), {"content": ""}, "content_filter"),
        (
            SEALED,
            {
                "content": "4",
                "reasoning_content": "Hm",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "Hm", "signature": "sig", "format": "anthropic-claude-v1",
                     "index": 0},
                    {"type": "reasoning.encrypted", "data": "x", "format": "anthropic-claude-v1", "index": 1},
                ],
            },
            "stop",
        ),
    ],
)  # fmt: skip
def test_messages_of_replies(answer: Answer, message: dict[str, Any], finish: str) -> None:
    body = CHAT.render(entry(answer), facts(asked()))
    choice = json.loads(body)["choices"][0]
    assert choice["message"] == {"role": "assistant", "refusal": None} | message
    assert choice["finish_reason"] == finish
    ChatCompletion.model_validate_json(body, strict=True)


def test_a_stream_begins_with_the_role_and_ends_with_the_reason() -> None:
    first, *middle, last = chunks(streamed(PLAIN, [Delta("Hel"), Delta("lo")]))
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert [chunk["choices"][0]["delta"] for chunk in middle] == [{"content": "Hel"}, {"content": "lo"}]
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}
    assert {(c["id"], c["object"], c["created"]) for c in (first, *middle, last)} == {
        ("chatcmpl-rq1", "chat.completion.chunk", 1_800_000_000)
    }
    assert (first["model"], last["model"]) == ("m", "m-1")
    assert not any("usage" in chunk for chunk in (first, *middle, last))


def test_usage_comes_last_where_it_was_asked_for() -> None:
    *others, usage = chunks(streamed(PLAIN, [], stream_options={"include_usage": True}))
    assert usage["choices"] == []
    assert usage["usage"]["total_tokens"] == 12
    assert all(chunk["usage"] is None for chunk in others)


def test_a_stored_answer_is_replayed_with_its_own_time_and_model() -> None:
    replay = chunks(streamed(PLAIN, []))
    assert {(chunk["created"], chunk["model"]) for chunk in replay} == {(1_700_000_000, "m-1")}


def test_tool_calls_are_told_by_index() -> None:
    pieces: list[Piece] = [
        ToolDelta(0, "call_a", "look"),
        ToolDelta(0, arguments='{"at": 1}'),
        ToolDelta(1, "call_b", "wait"),
    ]
    _, *middle, _ = chunks(streamed(CALLING, pieces))
    assert [chunk["choices"][0]["delta"]["tool_calls"] for chunk in middle] == [
        [{"index": 0, "id": "call_a", "type": "function", "function": {"name": "look", "arguments": ""}}],
        [{"index": 0, "function": {"arguments": '{"at": 1}'}}],
        [{"index": 1, "id": "call_b", "type": "function", "function": {"name": "wait", "arguments": ""}}],
    ]


def test_custom_calls_are_numbered_behind_the_others() -> None:
    custom = CustomCall("call_c", "patch", "*** Begin").part()
    answer = msgspec.structs.replace(CALLING, parts=(*CALLING.parts, custom))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(streamed(answer, []))]
    told = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [call["index"] for call in told] == [0, 1, 2]
    assert told[-1]["custom"] == {"name": "patch", "input": "*** Begin"}


def test_a_refusal_is_told_as_one_also_where_its_words_have_gone_out() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(streamed(REFUSED, []))]
    assert deltas[1:] == [{"refusal": "No."}, {}]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(streamed(REFUSED, [Delta("No.")]))]
    assert deltas[1:] == [{"content": "No."}, {"refusal": "No."}, {}]


@pytest.mark.parametrize("answer", [PLAIN, THOUGHT, SEALED, CALLING, REFUSED])
def test_the_official_library_takes_every_chunk(answer: Answer) -> None:
    begun: list[Piece] = [ThinkingDelta("H")] if answer is THOUGHT else []
    for chunk in chunks(streamed(answer, begun, stream_options={"include_usage": True})):
        ChatCompletionChunk.model_validate_json(json.dumps(chunk), strict=True)


@given(answers)
@settings(deadline=None)
def test_a_whole_reply_is_read_back_as_the_same_answer(answer: Answer) -> None:
    gathering = Gathering()
    gathering.add(decode_answer(CHAT.render(entry(answer), facts(asked())), "V"))
    assert told(gathering) == meant(answer)
    ChatCompletion.model_validate_json(CHAT.render(entry(answer), facts(asked())), strict=True)


@given(st.data(), answers)
@settings(deadline=None)
def test_a_stream_is_read_back_as_the_same_answer_however_it_was_cut(data: st.DataObject, answer: Answer) -> None:
    stream = streamed(answer, data.draw(beginnings(answer)), stream_options={"include_usage": True})
    assert told(gathered(stream)) == meant(answer)


def test_a_stream_that_breaks_ends_with_the_error() -> None:
    ask = asked(stream=True)
    writer = CHAT.writer(ask)
    sent = writer.start(facts(ask)) + writer.piece(Delta("Hel")) + writer.error(ProviderFailed("V died."), "rq1")
    *_, last = Decoder().feed(sent)
    assert json.loads(last.data)["error"]["message"] == "V died."
    with pytest.raises(ProviderFailed):
        decode_piece(last.data, "V")


@pytest.mark.parametrize("model", ["m", "\0", 'a "\0" b'])
@pytest.mark.parametrize("usage", [False, True])
def test_chunks_of_text_are_like_all_others(model: str, usage: bool) -> None:
    ask = asked(stream=True, stream_options={"include_usage": usage})
    writer = CHAT.writer(ask)
    writer.start(msgspec.structs.replace(facts(ask), model=model))
    writer.piece(ThinkingDelta("Hm"))
    thought, text = writer.piece(ThinkingDelta("a\0é")), writer.piece(Delta("a\0é"))
    assert text == thought.replace(b'"reasoning_content"', b'"content"')


def test_signs_of_life_are_comments() -> None:
    assert Decoder().feed(CHAT.writer(asked()).still_here()) == []


@pytest.mark.parametrize(
    ("error", "kind", "param", "code"),
    [
        (Invalid("x", details=[Detail("n", "must be 1")]), "invalid_request_error", "n", "invalid_request"),
        (ContextExceeded("x"), "invalid_request_error", None, "context_length_exceeded"),
        (Unauthorized("x"), "authentication_error", None, "invalid_api_key"),
        (UnknownModel("x"), "not_found_error", None, "model_not_found"),
        (RateLimited("x"), "rate_limit_error", None, "rate_limit_exceeded"),
        (ProviderBusy("x"), "server_error", None, "provider_rate_limited"),
    ],
)
def test_errors_have_openais_words(error: AskonceError, kind: str, param: str | None, code: str) -> None:
    said = json.loads(openai_error(error, "rq1"))
    assert said == {"error": {"message": "x", "type": kind, "param": param, "code": code}}
