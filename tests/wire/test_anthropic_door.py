"""Answers go out as Anthropic's clients read them: whole, and as streams that mean the same."""

import json
from typing import Any

import anthropic.types
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace
from pydantic import TypeAdapter
from tests.wire.anthropic_calls import answers, arguments, names

from askonce.domain.answer import Answer, Delta, Entry, FinishReason, Piece, ThinkingDelta, ToolDelta, pack
from askonce.domain.call import Ask, CacheWish, Call, Message, Params, RoutingWish
from askonce.domain.content import Foreign, Part, Text, Thinking, ToolCall, canonical_json
from askonce.domain.errors import BY_CODE, AskonceError, MethodNotAllowed
from askonce.domain.progress import pieces_of
from askonce.domain.usage import Usage
from askonce.wire.anthropic_answers import decode_answer, read_usage, usage_of
from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.anthropic_stream import StreamReader
from askonce.wire.door import Facts
from askonce.wire.sse import Decoder

ASK = Ask(Call("t", (Message("user", "Hi"),), Params()), RoutingWish(model="m"), CacheWish())
EVENTS: TypeAdapter[Any] = TypeAdapter(anthropic.types.RawMessageStreamEvent)
CITATION = {"type": "page_location", "cited_text": "x", "document_index": 0, "start_page_number": 1,
            "end_page_number": 2, "document_title": None}  # fmt: skip
CITATIONS = Foreign("anthropic", "citations", canonical_json([CITATION]))
SEARCH = Foreign(
    "anthropic",
    "server_tool_use",
    Raw(b'{"id":"s1","input":{"query":"w"},"name":"web_search","type":"server_tool_use"}'),
)


def facts(state: Any = "miss") -> Facts:
    return Facts(state, 0, 0, "req1", ASK, "p", "m")


def answer(*parts: Part, finish: FinishReason = "stop", **fields: Any) -> Answer:
    text = "".join(part.text for part in parts if isinstance(part, Text))
    only_text = all(isinstance(part, Text) for part in parts)
    return Answer(text, finish, Usage(7, 3), "p", "m", "m-1", parts=() if only_text else parts, **fields)


def entry(given: Answer, *, rendered: bool = True) -> Entry:
    shape, rendition = (MESSAGES.name, MESSAGES.rendition(given)) if rendered else ("other/1", b"{}")
    return Entry(b"k" * 32, "t", "p", "m", 0, 0, 0, 0, 0, pack(given), shape, rendition)


def rendered(given: Answer, **options: Any) -> Any:
    return json.loads(MESSAGES.render(entry(given, **options), facts()))


def events(*written: bytes) -> list[Any]:
    found = Decoder().feed(b"".join(written))
    told = [json.loads(event.data) for event in found]
    assert [event.event for event in found] == [event["type"] for event in told]
    return told


def streamed(given: Answer, *pieces: Piece, state: Any = "miss") -> list[Any]:
    writer = MESSAGES.writer(ASK)
    begun = writer.start(facts(state))
    passed = b"".join(map(writer.piece, pieces))
    return events(begun, passed, writer.done(entry(given), facts(state)))


def test_a_message_is_as_the_vendors_reference_shows_it() -> None:
    """Anthropic's API reference, "Messages", the 200."""
    assert rendered(answer(Text("Hello"))) == {
        "id": "msg_req1",
        "type": "message",
        "role": "assistant",
        "model": "m-1",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 7,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": 3,
        },
    }


def test_an_entry_of_another_door_is_rendered_alike() -> None:
    assert rendered(answer(Text("Hello")), rendered=False) == rendered(answer(Text("Hello")))


def test_usage_is_cut_into_the_vendors_three() -> None:
    given = replace(answer(), usage=Usage(1110, 9, 1000, 100, 4))
    assert rendered(given)["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 1000,
        "output_tokens": 9,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    assert rendered(given)["content"] == []


def test_parts_of_every_kind() -> None:
    given = answer(
        Thinking("hm"),
        Thinking(redacted="d"),
        SEARCH,
        Text("a"),
        CITATIONS,
        ToolCall("c1", "f", '{"a":1}'),
        ToolCall("c2", "g", '{"a'),
        Foreign("gemini", "code", Raw(b"{}")),
        finish="tool_calls",
    )
    assert rendered(given)["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "redacted_thinking", "data": "d"},
        {"id": "s1", "input": {"query": "w"}, "name": "web_search", "type": "server_tool_use"},
        {"type": "text", "text": "a", "citations": [CITATION]},
        {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}},
        {"type": "tool_use", "id": "c2", "name": "g", "input": {"INVALID_JSON": '{"a'}},
    ]


CALL = ToolCall("c", "f", "{}")
STOPS: list[tuple[Answer, str, str | None]] = [
    (answer(), "end_turn", None),
    (answer(stop_sequence="END"), "stop_sequence", "END"),
    (answer(finish="length"), "max_tokens", None),
    (answer(finish="tool_calls"), "tool_use", None),
    (answer(CALL), "tool_use", None),
    (answer(CALL, finish="unknown"), "tool_use", None),
    (answer(finish="content_filter"), "refusal", None),
    (answer(finish="unknown"), "end_turn", None),
    (answer(SEARCH, finish="unknown"), "pause_turn", None),
    (answer(Text("a"), CITATIONS, finish="unknown"), "end_turn", None),
]


@pytest.mark.parametrize(("given", "reason", "sequence"), STOPS)
def test_stop_reasons(given: Answer, reason: str, sequence: str | None) -> None:
    assert (rendered(given)["stop_reason"], rendered(given)["stop_sequence"]) == (reason, sequence)
    assert streamed(given)[-2]["delta"] == {"stop_reason": reason, "stop_sequence": sequence}


def test_a_stream_is_as_the_vendors_guide_shows_it() -> None:
    """Guide "Streaming messages", "Basic streaming request"."""
    told = streamed(answer(Text("Hello")), Delta("Hel"), Delta("lo"))
    assert [event["type"] for event in told] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert told[0]["message"]["id"] == "msg_req1"
    assert told[0]["message"]["stop_reason"] is None
    assert told[0]["message"]["usage"]["input_tokens"] == 0
    assert told[1] == {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    assert told[3]["delta"] == {"type": "text_delta", "text": "lo"}
    assert told[5]["usage"]["input_tokens"] == 7


def test_how_long_the_cache_is_kept_and_how_the_call_was_served_go_round() -> None:
    told = Usage(1110, 9, 1000, 100, cache_write_1h_tokens=60, service_tier="priority")
    said = rendered(replace(answer(), usage=told))["usage"]
    assert said["cache_creation"] == {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60}
    assert said["service_tier"] == "priority"
    assert usage_of([read_usage(msgspec.json.encode(said))]) == told
    others = rendered(replace(answer(), usage=Usage(10, 9, service_tier="flex")))["usage"]
    assert not {"cache_creation", "service_tier"} & others.keys()  # not known, and no word of Anthropic's


def test_a_replay_knows_its_usage_from_the_start() -> None:
    told = streamed(answer(Text("Hello")), state="hit")
    assert told[0]["message"]["usage"]["input_tokens"] == 7
    assert told[0]["message"]["model"] == "m-1"
    assert told[2]["delta"] == {"type": "text_delta", "text": "Hello"}


def test_blocks_follow_each_other_in_order() -> None:
    given = answer(Thinking("hm", "s"), Text("a"), ToolCall("c1", "f", "{}"), ToolCall("c2", "g", "{}"))
    told = streamed(given, *pieces_of(given))
    marks = [(event["type"][14:], event["index"]) for event in told if event["type"].startswith("content_block")]
    for index in range(4):
        own = [kind for kind, at in marks if at == index]
        assert (own[0], own[-1]) == ("start", "stop")
    assert [at for _, at in marks] == sorted(at for _, at in marks)


def test_calls_that_come_side_by_side_are_added_up_by_their_number() -> None:
    given = answer(ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", '{"b":2}'))
    pieces = (
        ToolDelta(0, "c1", "f", '{"a"'),
        ToolDelta(1, "c2", "g", '{"b"'),
        ToolDelta(0, arguments=":1}"),
        ToolDelta(1, arguments=":2}"),
    )
    assert _heard(streamed(given, *pieces)).parts == given.parts


def test_a_part_of_this_shape_alone_comes_with_the_end_in_its_place() -> None:
    given = answer(Text("I look"), SEARCH, Text("so"), CITATIONS, finish="stop")
    assert _heard(streamed(given, Delta("I look"))).parts == given.parts
    cited = answer(Text("so it is"), CITATIONS)
    assert _heard(streamed(cited, Delta("so "))).parts == cited.parts


@pytest.mark.parametrize("passed_on", ["", "The sky", "The sky is blue."])
def test_citations_stay_with_their_own_text(passed_on: str) -> None:
    blue, green = (Foreign("anthropic", "citations", canonical_json([CITATION | {"cited_text": t}])) for t in "bg")
    given = answer(Text("The sky is blue."), blue, Text(" Grass is green."), green)
    told = streamed(given, *([Delta(passed_on)] if passed_on else []))
    blocks: list[tuple[str, list[str]]] = []
    for event in told:
        if event["type"] == "content_block_start":
            blocks.append(("", []))
        elif event["type"] == "content_block_delta":
            words, cited = blocks[event["index"]]
            delta = event["delta"]
            if delta["type"] == "text_delta":
                blocks[event["index"]] = (words + delta["text"], cited)
            else:
                cited.append(delta["citation"]["cited_text"])
    assert blocks == [("The sky is blue.", ["b"]), (" Grass is green.", ["g"])]


def test_a_ping_says_that_the_stream_lives() -> None:
    assert events(MESSAGES.writer(ASK).still_here()) == [{"type": "ping"}]


def _heard(told: list[Any]) -> Any:
    reader = StreamReader("V")
    for event in told:
        reader.take(json.dumps(event).encode())
    return reader.whole()


@given(answers())
def test_a_whole_reply_says_all_of_the_answer(given: Answer) -> None:
    body = MESSAGES.render(entry(given), facts())
    whole = decode_answer(body, "V")
    assert (whole.parts or ()) == (given.parts or ((Text(given.text),) if given.text else ()))
    assert (whole.finish, whole.usage) == (given.finish, given.usage)
    assert (whole.model_version, whole.stop_sequence) == (given.model_version, given.stop_sequence)
    anthropic.types.Message.model_validate_json(body, strict=True)


@st.composite
def begun(draw: st.DrawFn) -> tuple[Answer, list[Piece]]:
    """Build an answer and what of it was passed on: its pieces, cut anywhere, up to anywhere."""
    given = draw(answers())
    pieces: list[Piece] = []
    for piece in pieces_of(given):
        pieces += draw(st.just([piece]) | st.integers(1, 5).map(lambda at, piece=piece: _cut(piece, at)))  # type: ignore[misc]
    return given, pieces[: draw(st.integers(0, len(pieces)))]


def _cut(piece: Piece, at: int) -> list[Piece]:
    if isinstance(piece, Delta):
        return [Delta(piece.text[:at]), Delta(piece.text[at:])]
    if isinstance(piece, ThinkingDelta):
        if piece.redacted:
            return [piece]
        rest = piece.text[at:]
        return [ThinkingDelta(piece.text[:at]), ThinkingDelta(rest), ThinkingDelta(signature=piece.signature)]
    return [
        ToolDelta(piece.index, piece.id, piece.name, piece.arguments[:at]),
        ToolDelta(piece.index, arguments=piece.arguments[at:]),
    ]


@given(begun(), st.sampled_from(["miss", "hit", "coalesced"]))
def test_a_stream_says_all_of_the_answer_however_much_was_passed_on(
    given: tuple[Answer, list[Piece]], state: str
) -> None:
    whole, pieces = given
    told = streamed(whole, *([] if state == "hit" else pieces), state=state)
    for event in told:
        EVENTS.validate_python(event)
    heard = _heard(told)
    assert heard.parts == (whole.parts or ((Text(whole.text),) if whole.text else ()))
    assert (heard.finish, heard.usage, heard.stop_sequence) == (whole.finish, whole.usage, whole.stop_sequence)


@st.composite
def interleaved(draw: st.DrawFn) -> tuple[Answer, list[Piece]]:
    """Draw an answer of OpenAI's shape and its pieces in any order that keeps that of each text and of each call."""
    spoken = draw(st.text(min_size=1, max_size=6))
    called = draw(
        st.lists(st.builds(ToolCall, names, names, arguments | st.sampled_from(["", "no {", "[1]"])), max_size=4)
    )
    queues: list[list[Piece]] = [[Delta(letter) for letter in spoken]]
    for index, call in enumerate(called):
        begun = ToolDelta(index, call.id, call.name)
        queues.append([begun, *(ToolDelta(index, arguments=letter) for letter in call.arguments)])
    pieces: list[Piece] = []
    begun_calls = 0
    while any(queues):
        # A call's number is that of its first piece.
        ready = [at for at, queue in enumerate(queues) if queue and at <= begun_calls + 1]
        at = draw(st.sampled_from(ready))
        begun_calls = max(begun_calls, at)
        run = draw(st.integers(1, 4))
        pieces += queues[at][:run]
        queues[at] = queues[at][run:]
    return answer(Text(spoken), *called), pieces[: draw(st.integers(len(pieces) // 2, len(pieces)))]


@given(interleaved())
def test_every_delta_goes_to_the_open_block_however_calls_are_interleaved(given: tuple[Answer, list[Piece]]) -> None:
    whole, pieces = given
    blocks: list[dict[str, Any]] = []
    is_open = False
    for event in streamed(whole, *pieces):
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            blocks.append(event["content_block"] | {"heard": ""})
            is_open = True
        elif event["type"] in ("content_block_delta", "content_block_stop"):
            assert is_open
            assert event["index"] == len(blocks) - 1
            is_open = event["type"] == "content_block_delta"
            delta = event.get("delta", {})
            blocks[-1]["heard"] += delta.get("text", "") + delta.get("partial_json", "")
    assert not is_open
    heard = [ToolCall(one["id"], one["name"], one["heard"]) for one in blocks if one["type"] == "tool_use"]
    assert heard == [part for part in whole.parts if isinstance(part, ToolCall)]
    assert "".join(one["heard"] for one in blocks if one["type"] == "text") == whole.text


def test_calls_one_after_the_other_are_passed_on_as_they_come() -> None:
    writer = MESSAGES.writer(ASK)
    writer.start(facts())
    for piece in (
        ToolDelta(0, "a", "f", '{"x": 1}'),
        ToolDelta(1, "b", "f"),
        ToolDelta(1, arguments="{}"),
        Delta("so"),
    ):
        assert events(writer.piece(piece))


@pytest.mark.parametrize("code", sorted(BY_CODE))
def test_errors_have_the_vendors_shape(code: str) -> None:
    kind = BY_CODE[code]
    error: AskonceError = MethodNotAllowed("no", ()) if kind is MethodNotAllowed else kind("no")
    body = MESSAGES.error(error, "r1")
    told = json.loads(body)
    assert (told["type"], told["error"]["message"], told["request_id"]) == ("error", "no", "r1")
    assert events(MESSAGES.writer(ASK).error(error, "r1")) == [told]


ERRORS = [
    ("invalid_request", "invalid_request_error"),
    ("unauthorized", "authentication_error"),
    ("forbidden", "permission_error"),
    ("unknown_model", "not_found_error"),
    ("body_too_large", "request_too_large"),
    ("rate_limited", "rate_limit_error"),
    ("provider_error", "api_error"),
    ("provider_rate_limited", "overloaded_error"),
    ("provider_timeout", "timeout_error"),
    ("internal_error", "api_error"),
]


@pytest.mark.parametrize(("code", "kind"), ERRORS)
def test_errors_have_the_vendors_types(code: str, kind: str) -> None:
    """Anthropic's "Errors"."""
    assert json.loads(MESSAGES.error(BY_CODE[code]("no"), ""))["error"]["type"] == kind
