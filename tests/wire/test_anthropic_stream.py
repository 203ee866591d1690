"""Streams of Anthropic's events become pieces and the whole, however they come."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.providers.anthropic_upstream import events_of, message, text_block, tool_block

from askonce.domain.answer import Delta, Piece, ThinkingDelta, ToolDelta
from askonce.domain.content import Foreign, Text, Thinking, ToolCall
from askonce.domain.errors import AskonceError, ProviderBusy, ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.anthropic_answers import Whole, decode_answer
from askonce.wire.anthropic_stream import StreamReader

THOUGHT = {"type": "thinking", "thinking": "let me see", "signature": "EqQB"}
REDACTED = {"type": "redacted_thinking", "data": "Emw"}
CITED = {"type": "text", "text": "as it says", "citations": [{"type": "page_location", "cited_text": "x"}]}
SEARCH = {"type": "server_tool_use", "id": "srv_1", "name": "web_search", "input": {"query": "weather"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [{"type": "web_search_result"}]}


def play(events: list[dict[str, Any]]) -> tuple[list[Piece], StreamReader]:
    reader = StreamReader("V")
    pieces = [piece for event in events for piece in reader.take(json.dumps(event).encode())]
    return pieces, reader


def test_text_comes_piece_by_piece_and_then_whole() -> None:
    """The first example of the guide "Streaming messages"."""
    pieces, reader = play(events_of(message(text_block("Hello!"))))
    assert pieces == [Delta("Hel"), Delta("lo!")]
    assert reader.done
    assert reader.whole() == Whole((Text("Hello!"),), "stop", Usage(9, 3), "claude-haiku-4-5-20251001")


def test_a_tool_call_comes_with_its_name_first() -> None:
    """The example "Streaming request with tool use" of the same guide."""
    pieces, reader = play(events_of(message(text_block("So"), tool_block("t1", "f", {"a": 1}), stop="tool_use")))
    assert pieces == [
        Delta("S"),
        Delta("o"),
        ToolDelta(0, "t1", "f"),
        ToolDelta(0, arguments='{"a"'),
        ToolDelta(0, arguments=": 1}"),
    ]
    assert reader.whole().parts == (Text("So"), ToolCall("t1", "f", '{"a": 1}'))


def test_a_call_without_arguments_has_an_empty_object() -> None:
    pieces, reader = play(events_of(message(tool_block("t1", "f", {}), tool_block("t2", "g", {}), stop="tool_use")))
    assert pieces == [
        ToolDelta(0, "t1", "f"),
        ToolDelta(0, arguments="{}"),
        ToolDelta(1, "t2", "g"),
        ToolDelta(1, arguments="{}"),
    ]
    assert reader.whole().parts == (ToolCall("t1", "f", "{}"), ToolCall("t2", "g", "{}"))


def test_thoughts_end_with_their_signature() -> None:
    """The example "Streaming request with extended thinking" of the same guide."""
    pieces, reader = play(events_of(message(THOUGHT, REDACTED, text_block("So"))))
    assert pieces[:4] == [
        ThinkingDelta("let m"),
        ThinkingDelta("e see"),
        ThinkingDelta(signature="EqQB"),
        ThinkingDelta(redacted="Emw"),
    ]
    assert reader.whole().parts == (Thinking("let me see", "EqQB"), Thinking(redacted="Emw"), Text("So"))


def test_nothing_is_passed_on_behind_a_part_of_this_shape_alone() -> None:
    """The example "Streaming request with web search tool use" of the same guide."""
    pieces, reader = play(events_of(message(text_block("I look"), SEARCH, FOUND, CITED)))
    assert pieces == [Delta("I l"), Delta("ook")]
    kinds = [part.kind if isinstance(part, Foreign) else type(part).__name__ for part in reader.whole().parts]
    assert kinds == ["Text", "server_tool_use", "web_search_tool_result", "Text", "citations"]


def test_nothing_is_passed_on_behind_a_citation() -> None:
    pieces, reader = play(events_of(message(CITED, text_block("more"))))
    assert pieces == [Delta("as it"), Delta(" says")]
    assert [type(part) for part in reader.whole().parts] == [Text, Foreign, Text]


def test_counts_of_the_end_replace_those_of_the_start() -> None:
    events = events_of(message(text_block("a")))
    events[-2]["usage"] = {"input_tokens": 20, "cache_read_input_tokens": 5, "output_tokens": 7}
    assert play(events)[1].whole().usage == Usage(25, 7, 5)


def test_a_stream_tells_at_its_begin_for_how_long_the_prompt_is_cached_and_how_it_is_served() -> None:
    """Anthropic, "Streaming messages": `message_start` has the prompt's usage whole, `message_delta` sums alone."""
    events = events_of(message(text_block("a")))
    both = {"ephemeral_5m_input_tokens": 40, "ephemeral_1h_input_tokens": 60}
    begun = {"input_tokens": 10, "output_tokens": 1, "cache_creation_input_tokens": 100, "service_tier": "priority"}
    events[0]["message"]["usage"] = begun | {"cache_creation": both}
    events[-2]["usage"] = {"input_tokens": 10, "cache_creation_input_tokens": 100, "output_tokens": 7}
    meant = Usage(110, 7, 0, 100, cache_write_1h_tokens=60, service_tier="priority")
    assert play(events)[1].whole().usage == meant


def test_what_is_not_known_is_passed_over() -> None:
    events = events_of(message(text_block("a")))
    events.insert(2, {"type": "a_new_event", "delta": {"type": "x"}})
    assert play(events)[0] == [Delta("a")]


ERRORS: list[tuple[dict[str, Any], type[AskonceError]]] = [
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, ProviderBusy),
    ({"type": "error", "error": {"type": "api_error", "message": "x"}}, ProviderFailed),
    ({"type": "error"}, ProviderFailed),
    ({"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "x"}}, ProviderFailed),
    ({"type": 1}, ProviderFailed),
]


@pytest.mark.parametrize(("event", "error"), ERRORS)
def test_errors(event: dict[str, Any], error: type[AskonceError]) -> None:
    with pytest.raises(error):
        play([event])


def test_a_stream_without_its_stop_reason_is_not_whole() -> None:
    events = events_of(message(text_block("a")))[:-2]
    with pytest.raises(ProviderFailed, match="before the answer was whole"):
        play(events)[1].whole()


words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
blocks = st.one_of(
    words.map(text_block),
    words.map(lambda text: THOUGHT | {"thinking": text}),
    st.builds(tool_block, words, words, st.dictionaries(words, words | st.integers(0, 9), max_size=2)),
    st.sampled_from([REDACTED, CITED, SEARCH, FOUND]),
)


@given(st.lists(blocks, max_size=5), st.integers(1, 9))
def test_a_stream_means_what_the_whole_message_means(content: list[dict[str, Any]], pieces: int) -> None:
    whole = message(*content)
    meant = decode_answer(json.dumps(whole).encode(), "V")
    told = play(events_of(whole, pieces))[1].whole()
    assert [_loosely(part) for part in told.parts] == [_loosely(part) for part in meant.parts]
    assert (told.finish, told.usage, told.model_version) == (meant.finish, meant.usage, meant.model_version)


def _loosely(part: Any) -> Any:
    """Compare arguments as JSON: a stream brings the vendor's own spelling."""
    return (part.id, part.name, json.loads(part.arguments)) if isinstance(part, ToolCall) else part


@given(st.lists(blocks, max_size=5), st.integers(1, 9))
def test_pieces_are_the_beginning_of_the_whole(content: list[dict[str, Any]], pieces: int) -> None:
    came, reader = play(events_of(message(*content), pieces))
    text = "".join(piece.text for piece in came if isinstance(piece, Delta))
    assert "".join(part.text for part in reader.whole().parts if isinstance(part, Text)).startswith(text)
