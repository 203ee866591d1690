"""Gemini's answers. Each case is written after a page of Google's documentation, which it names."""

import json
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.answer import Answer, Delta, FinishReason, Piece, ThinkingDelta, ToolDelta
from askonce.domain.call import Call, Message, Params
from askonce.domain.content import Foreign, Part, Text, Thinking, ToolCall, canonical_json
from askonce.domain.errors import AskonceError, ContentRefused, ProviderFailed
from askonce.domain.progress import Progress
from askonce.domain.usage import Usage
from askonce.wire.gemini import encode_call
from askonce.wire.gemini_answers import Gathering, decode_models, read_usage
from askonce.wire.gemini_contents import SEAL
from askonce.wire.sse import Decoder

COUNTS = {"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}


def response(*parts: dict[str, Any], finish: str | None = "STOP", **more: Any) -> bytes:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    whole = {"candidates": [candidate], "usageMetadata": COUNTS, "modelVersion": "gemini-3.5-flash-001"}
    return json.dumps(whole | {"responseId": "r1"} | more, indent=2).encode()


def gather(*bodies: bytes, turns: int = 1) -> tuple[Gathering, list[Piece]]:
    gathered = Gathering("V", turns)
    return gathered, [piece for body in bodies for piece in gathered.add(body)]


CALL = {"functionCall": {"name": "get_weather", "args": {"city": "Rome", "days": 2}}}
CODE = {"executableCode": {"language": "PYTHON", "code": "1"}}
CALLED = '{"city":"Rome","days":2}'


@pytest.mark.parametrize(
    ("parts", "text", "whole", "finish"),
    [
        # API reference, `GenerateContentResponse`.
        pytest.param([{"text": "Hello"}], "Hello", (), "stop", id="text"),
        pytest.param([{"text": "Hel"}, {"text": "lo"}], "Hello", (), "stop", id="text in two parts"),
        pytest.param([], "", (), "unknown", id="nothing"),
        # Guide "Gemini thinking", thought summaries.
        pytest.param(
            [{"text": "**Greeting**", "thought": True}, {"text": "Hello"}],
            "Hello",
            (Thinking("**Greeting**"), Text("Hello")),
            "stop",
            id="thoughts",
        ),
        # Guide "Function calling".
        pytest.param([CALL], "", (ToolCall("call_1_0", "get_weather", CALLED),), "tool_calls", id="a call"),
        pytest.param(
            [{"functionCall": {"id": "fc7", "name": "now"}}],
            "",
            (ToolCall("fc7", "now", "{}"),),
            "tool_calls",
            id="a call with an id of its own, without arguments",
        ),
        # Guide "Thought signatures": parallel calls, the first is signed.
        pytest.param(
            [{"text": "Both.", "thought": True}, CALL | {"thoughtSignature": "abc="}, CALL],
            "",
            (
                Thinking("Both.", SEAL + "abc="),
                ToolCall("call_1_0", "get_weather", CALLED),
                ToolCall("call_1_1", "get_weather", CALLED),
            ),
            "tool_calls",
            id="signed calls behind thoughts",
        ),
        pytest.param(
            [{"text": "Look."}, CALL | {"thoughtSignature": "abc="}],
            "Look.",
            (Text("Look."), Thinking("", SEAL + "abc="), ToolCall("call_1_0", "get_weather", CALLED)),
            "tool_calls",
            id="a signed call behind text",
        ),
        # Guide "Thought signatures": a last part may be a signature and nothing else.
        pytest.param([{"text": "Hi"}, {"text": "", "thoughtSignature": "abc="}], "Hi", (), "stop", id="signed text"),
        # Guide "Code execution".
        pytest.param(
            [CODE, {"text": "One"}],
            "One",
            (
                Foreign("gemini", "executableCode", canonical_json(CODE)),
                Text("One"),
            ),
            "stop",
            id="code that Google ran",
        ),
    ],
)  # fmt: skip
def test_whole_answers(
    parts: Sequence[dict[str, Any]], text: str, whole: tuple[Part, ...], finish: FinishReason
) -> None:
    gathered, _ = gather(response(*parts))
    assert (gathered.text, gathered.parts, gathered.finish) == (text, whole, finish)
    assert (gathered.usage, gathered.model_version) == (Usage(9, 3), "gemini-3.5-flash-001")


def test_pieces_come_in_order() -> None:
    signed = CALL | {"thoughtSignature": "abc="}
    _, pieces = gather(
        response({"text": "Hm", "thought": True}, finish=None), response({"text": "Hel"}, {"text": "lo"}, signed, CALL)
    )
    assert pieces == [
        ThinkingDelta("Hm"),
        Delta("Hel"),
        Delta("lo"),
        ThinkingDelta("", SEAL + "abc="),
        ToolDelta(0, "call_1_0", "get_weather", CALLED),
        ToolDelta(1, "call_1_1", "get_weather", CALLED),
    ]


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        # API reference, `FinishReason`.
        ("STOP", "stop"), ("MAX_TOKENS", "length"), ("SAFETY", "content_filter"), ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"), ("SPII", "content_filter"), ("BLOCKLIST", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"), ("LANGUAGE", "unknown"), ("OTHER", "unknown"),
        ("A_WORD_OF_TOMORROW", "unknown"), ("FINISH_REASON_UNSPECIFIED", None), (None, None),
    ],
)  # fmt: skip
def test_finish_reasons(word: str | None, finish: FinishReason | None) -> None:
    gathered, _ = gather(response({"text": "x"}, finish=word))
    assert gathered.finish == finish


def test_a_filtered_answer_may_come_without_content() -> None:
    # API reference, `Candidate`.
    body = {"candidates": [{"finishReason": "SAFETY", "index": 0, "safetyRatings": []}]}
    gathered, pieces = gather(json.dumps(body).encode())
    assert (gathered.finish, gathered.text, pieces) == ("content_filter", "", [])


def test_calls_cut_short_by_the_bound_are_not_tool_calls() -> None:
    gathered, _ = gather(response(CALL, finish="MAX_TOKENS"))
    assert gathered.finish == "length"


@pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"])
def test_a_call_that_miscarried_is_the_vendors_failure(word: str) -> None:
    with pytest.raises(ProviderFailed, match=r"^V "):
        gather(response(finish=word))


@pytest.mark.parametrize("reason", ["SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "OTHER"])
def test_a_blocked_prompt_is_refused_content(reason: str) -> None:
    # API reference, `PromptFeedback`.
    body = {"promptFeedback": {"blockReason": reason}, "usageMetadata": {"promptTokenCount": 8}}
    with pytest.raises(ContentRefused, match=f"V refused the prompt: {reason}"):
        gather(json.dumps(body).encode())


def test_the_ids_of_calls_are_the_conversations_own() -> None:
    """The same question gives the same ids; no later turn of the conversation gives one of them again."""
    first, _ = gather(response(CALL, CALL), turns=1)
    again, _ = gather(response(CALL, CALL), turns=1)
    later, _ = gather(response(CALL), turns=4)
    ids = [part.id for gathered in (first, later) for part in gathered.parts if isinstance(part, ToolCall)]
    assert first.parts == again.parts
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    "nonsense",
    [b"", b"<html>", b"[]", b"null", b"\xff", b'{"candidates": 3}', b'{"error": {"code": 500}}',
     b'{"candidates": [{"content": {"parts": [{"text": 5}]}}]}', b"[" * 100_000,
     b'{"candidates": [{"content": {"parts": [{"functionCall": {}}]}}]}'],
)  # fmt: skip
def test_what_is_no_answer_is_the_vendors_failure(nonsense: bytes) -> None:
    with pytest.raises(ProviderFailed, match=r"^V "):
        gather(nonsense)


@pytest.mark.parametrize("body", [b"{}", b'{"candidates": []}', response({"text": "Hel"}, finish=None)])
def test_what_has_no_end_is_not_whole(body: bytes) -> None:
    gathered, _ = gather(body)
    with pytest.raises(ProviderFailed, match="before the answer was whole"):
        gathered.end()


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        # API reference, `UsageMetadata`; guides "Context caching", "Gemini thinking".
        ({"promptTokenCount": 9, "candidatesTokenCount": 3, "totalTokenCount": 12}, Usage(9, 3)),
        (
            {"promptTokenCount": 2000, "cachedContentTokenCount": 1500, "candidatesTokenCount": 3},
            Usage(2000, 3, cached_tokens=1500),
        ),
        (
            {"promptTokenCount": 9, "candidatesTokenCount": 3, "thoughtsTokenCount": 40, "totalTokenCount": 52},
            Usage(9, 43, reasoning_tokens=40),
        ),
        (
            {"promptTokenCount": 9, "toolUsePromptTokenCount": 30, "candidatesTokenCount": 3, "totalTokenCount": 42},
            Usage(39, 3),
        ),
        ({"promptTokenCount": 9, "totalTokenCount": 9}, Usage(9, 0)),  # MAX_TOKENS while it was thinking
        ({"promptTokenCount": 9, "candidatesTokenCount": None}, Usage(9, 0)),
        ({"totalTokenCount": 9}, None),
        ({"promptTokenCount": -1}, None),
        ({"promptTokenCount": 1, "cachedContentTokenCount": 2}, None),
        ({"promptTokenCount": 1, "candidatesTokenCount": 5, "thoughtsTokenCount": -1}, None),
        ({"promptTokenCount": 1.5}, None),
        ("lots", None),
        (None, None),
    ],
)  # fmt: skip
def test_counts(counts: object, usage: Usage | None) -> None:
    assert read_usage(json.dumps(counts).encode()) == usage


def test_absent_counts_are_absent() -> None:
    assert read_usage(b"") is None


def test_of_several_counts_the_last_holds() -> None:
    early = {"promptTokenCount": 9, "candidatesTokenCount": 1}
    gathered, _ = gather(response({"text": "a"}, finish=None, usageMetadata=early), response({"text": "b"}))
    assert gathered.usage == Usage(9, 3)


PARTS: list[dict[str, Any]] = [
    {"text": "Hällo "},
    {"text": "World"},
    {"text": "Hm. ", "thought": True},
    {"text": ""},
    CALL,
    CALL | {"thoughtSignature": "abc="},
    {"functionCall": {"id": "own", "name": "now", "args": {}}},
]
ANSWERS = st.lists(st.sampled_from(PARTS), max_size=8)


@given(ANSWERS, st.data())
def test_every_cutting_of_a_stream_gives_the_same_answer(parts: list[dict[str, Any]], data: st.DataObject) -> None:
    whole, _ = gather(response(*parts))
    events = [response(part, finish=None) for part in parts] + [response()]
    stream = b"".join(b"data: " + json.dumps(json.loads(event)).encode() + b"\r\n\r\n" for event in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder, gathered = Decoder(), Gathering("V", 1)
    pieces: list[Piece] = []
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        for event in decoder.feed(stream[start:stop]):
            pieces += gathered.add(event.data)
    assert (gathered.parts, gathered.text, gathered.finish) == (whole.parts, whole.text, whole.finish)
    spoken = "".join(piece.text for piece in pieces if isinstance(piece, Delta))
    assert spoken == whole.text


@given(ANSWERS)
def test_pieces_leave_nothing_of_the_answer_behind(parts: list[dict[str, Any]]) -> None:
    gathered, pieces = gather(response(*parts))
    progress = Progress()
    for piece in pieces:
        progress.add(piece)
    answer = Answer(gathered.text, "stop", Usage(1, 1), "p", "m", "m", parts=gathered.parts)
    assert progress.rest(answer) == []


@given(ANSWERS)
def test_an_answer_goes_back_as_it_came(parts: list[dict[str, Any]]) -> None:
    gathered, _ = gather(response(*parts))
    said = Message("assistant", gathered.parts or gathered.text)
    sent = json.loads(encode_call(Call("t", (Message("user", "?"), said), Params()), "gemini-2.5-flash"))
    again, _ = gather(response(*sent["contents"][1]["parts"]))
    assert (again.parts, again.text) == (gathered.parts, gathered.text)


ODD_JSON = st.recursive(
    st.none() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["candidates", "content", "parts", "text", "functionCall", "args", "promptFeedback"]), inner
        )
    ),
).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=200) | ODD_JSON)
def test_any_bytes_are_an_answer_or_the_vendors_failure(data: bytes) -> None:
    with suppress(AskonceError):
        gather(data)


@pytest.mark.parametrize(
    ("listed", "names"),
    [
        # API reference, `models.list`.
        (
            {
                "models": [
                    {
                        "name": "models/gemini-2.5-flash",
                        "supportedGenerationMethods": ["generateContent", "countTokens"],
                    },
                    {"name": "models/gemini-embedding-001", "supportedGenerationMethods": ["embedContent"]},
                    {"name": "tunedModels/mine"},
                ],
                "nextPageToken": "x",
            },
            ("gemini-2.5-flash", "tunedModels/mine"),
        ),
        ({}, ()),
    ],
)
def test_lists_of_models(listed: object, names: tuple[str, ...]) -> None:
    assert decode_models(json.dumps(listed).encode(), "V") == names


@pytest.mark.parametrize("nonsense", [b"", b"[]", b'{"models": [{}]}', b'"models"', b"\xff"])
def test_a_list_that_is_none_is_the_vendors_failure(nonsense: bytes) -> None:
    with pytest.raises(ProviderFailed):
        decode_models(nonsense, "V")
