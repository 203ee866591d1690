"""Server-sent events after the WHATWG standard: what is written is read back, and any cutting reads the same."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from askonce.wire.sse import Decoder, Event, SseTooLarge, encode


def decode(stream: bytes) -> list[Event]:
    return Decoder().feed(stream)


def message(data: str, event: str = "message", id: str = "") -> Event:
    return Event(event, data.encode(), id)


READ = {
    "one line": (b"data: hello\n\n", [message("hello")]),
    "no space after the colon": (b"data:hello\n\n", [message("hello")]),
    "only one space is dropped": (b"data:  hello \n\n", [message(" hello ")]),
    "a tab is data": (b"data:\thello\n\n", [message("\thello")]),
    "lines are joined by LF": (b"data: a\ndata: b\n\n", [message("a\nb")]),
    "CR LF": (b"data: a\r\ndata: b\r\n\r\n", [message("a\nb")]),
    "CR": (b"data: a\rdata: b\r\r", [message("a\nb")]),
    "mixed line ends": (b"data: a\r\ndata: b\rdata: c\n\r\n", [message("a\nb\nc")]),
    "two events": (b"data: a\n\ndata: b\n\n", [message("a"), message("b")]),
    "a named event": (b"event: delta\ndata: a\n\n", [message("a", "delta")]),
    "the last name counts": (b"event: x\nevent: y\ndata: a\n\n", [message("a", "y")]),
    "an empty name is no name": (b"event:\ndata: a\n\n", [message("a")]),
    "a name does not outlive its event": (b"event: x\ndata: a\n\ndata: b\n\n", [message("a", "x"), message("b")]),
    "a name without data is nothing": (b"event: x\n\ndata: a\n\n", [message("a")]),
    "data behind the name or before it": (b"data: a\nevent: x\n\n", [message("a", "x")]),
    "data without a colon is an empty line": (b"data\n\n", [message("")]),
    "two of them": (b"data\ndata\n\n", [message("\n")]),
    "an empty data field": (b"data:\n\n", [message("")]),
    "a trailing empty line of data": (b"data: a\ndata:\n\n", [message("a\n")]),
    "a colon inside data": (b"data: a: b\n\n", [message("a: b")]),
    "comments": (b": keep-alive\n\n:\ndata: a\n: b\ndata: c\n\n", [message("a\nc")]),
    "an id": (b"id: 7\ndata: a\n\n", [message("a", id="7")]),
    "an id stays": (b"id: 7\ndata: a\n\ndata: b\n\n", [message("a", id="7"), message("b", id="7")]),
    "an id is set without data": (b"id: 7\n\ndata: b\n\n", [message("b", id="7")]),
    "an empty id resets it": (b"id: 7\ndata: a\n\nid\ndata: b\n\n", [message("a", id="7"), message("b")]),
    "an id with NUL is none": (b"id: 7\ndata: a\n\nid: 8\0\ndata: b\n\n", [message("a", id="7"), message("b", id="7")]),
    "retry and unknown fields": (b"retry: 10\nfoo: bar\nfoo\ndata: a\n\n", [message("a")]),
    "names of fields are exact": (b"Data: a\n data: b\ndata : c\ndata: d\n\n", [message("d")]),
    "an open event is not one": (b"data: a\n\ndata: b\n", [message("a")]),
    "an open line is not one": (b"data: a\n\ndata: b", [message("a")]),
    "blank lines": (b"\n\n\ndata: a\n\n\n\n", [message("a")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [message("a")]),
    "only one mark": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\ndata: b\n\n", [message("b")]),
    "half a mark is an unknown field": (b"\xef\xbbdata: a\ndata: b\n\n", [message("b")]),
    "a mark inside": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [message("a")]),
    "UTF-8": ("data: grüß 🦉\n\n".encode(), [message("grüß 🦉")]),
    "U+2028 and U+0085 end no line": ("data: a\u2028b\u0085c\n\n".encode(), [message("a\u2028b\u0085c")]),
    "a wrong byte is replaced": (b"data: a\xffb\n\n", [message("a\ufffdb")]),
    "a cut sequence is one replacement": (b"data: a\xf0\x9f\xa6\n\n", [message("a\ufffd")]),
    "an overlong form is one each": (b"data: \xc0\xaf\n\n", [message("\ufffd\ufffd")]),
    "a surrogate is one each": (b"data: \xed\xa0\x80\n\n", [message("\ufffd\ufffd\ufffd")]),
    "a wrong byte in a name": (b"event: a\xff\ndata: b\n\n", [message("b", "a\ufffd")]),
    "an OpenAI stream": (
        b'data: {"choices":[{"delta":{"content":"a"}}]}\n\ndata: [DONE]\n\n',
        [message('{"choices":[{"delta":{"content":"a"}}]}'), message("[DONE]")],
    ),
    "an Anthropic stream": (
        b'event: ping\ndata: {"type": "ping"}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n',
        [message('{"type": "ping"}', "ping"), message('{"type":"message_stop"}', "message_stop")],
    ),
    "an OpenRouter stream": (b": OPENROUTER PROCESSING\n\ndata: {}\n\n", [message("{}")]),
    "a Gemini stream": (b'data: {"candidates": []}\r\n\r\n', [message('{"candidates": []}')]),
}


@pytest.mark.parametrize("case", READ)
def test_streams_are_read_as_the_standard_says(case: str) -> None:
    stream, events = READ[case]
    assert decode(stream) == events


@pytest.mark.parametrize("case", READ)
def test_streams_are_read_the_same_byte_by_byte(case: str) -> None:
    stream, events = READ[case]
    decoder = Decoder()
    assert [event for byte in stream for event in decoder.feed(bytes([byte]))] == events


WRITTEN = {
    "plain": (None, b"hello", b"data: hello\n\n"),
    "named": ("delta", b"{}", b"event: delta\ndata: {}\n\n"),
    "empty": (None, b"", b"data: \n\n"),
    "lines": (None, b"a\nb\n", b"data: a\ndata: b\ndata: \n\n"),
    "CR LF and CR": (None, b"a\r\nb\rc", b"data: a\ndata: b\ndata: c\n\n"),
    "a field inside": ("x", b"a\nevent: y", b"event: x\ndata: a\ndata: event: y\n\n"),
}


@pytest.mark.parametrize("case", WRITTEN)
def test_events_are_written_line_by_line(case: str) -> None:
    event, data, written = WRITTEN[case]
    assert encode(event, data) == written


@pytest.mark.parametrize("name", ["a\nb", "a\rdata: x", "\r\n", "x\n\ndata: y"])
def test_a_type_cannot_smuggle_a_field(name: str) -> None:
    with pytest.raises(ValueError, match="line end"):
        encode(name, b"")


names = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"))


@given(st.lists(st.tuples(names, st.text(st.characters(codec="utf-8", exclude_characters="\r")))))
def test_what_is_written_is_read_back(events: list[tuple[str, str]]) -> None:
    stream = b"".join(encode(name, data.encode()) for name, data in events)
    assert decode(stream) == [Event(name or "message", data.encode()) for name, data in events]


# Bytes that matter to the format come often; everything else sometimes.
streams = st.lists(
    st.one_of(
        st.sampled_from(
            [b"\r", b"\n", b"\r\n", b"\n\n", b"data", b": ", b"event: x", b"id: 1", b"\xef\xbb\xbf", b"\0"]
        ),
        st.sampled_from(["grüß", "🦉"]).map(str.encode),
        st.binary(max_size=4),
    )
).map(b"".join)


@given(streams, st.lists(st.integers(0, 200)))
@example(b"\xef\xbb\xbfdata: \xf0\x9f\xa6\x89\r\n\r\n", [1, 2, 9, 11, 14])
@example(b"data: a\r\n\r\ndata: b\r\r\n", [8, 9, 10, 11])
def test_every_chunking_gives_the_same_events(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    decoder = Decoder()
    pieces = [stream[start:end] for start, end in itertools.pairwise(edges)]
    assert [event for piece in pieces for event in decoder.feed(piece)] == decode(stream)


@given(streams)
def test_data_is_always_utf8(stream: bytes) -> None:
    for event in decode(stream):
        assert b"\r" not in event.data
        event.data.decode()


def small() -> Decoder:
    return Decoder(max_line_bytes=10, max_event_bytes=12)


def test_a_line_at_its_bound_is_read() -> None:
    assert small().feed(b"data: 1234\n\n") == [message("1234")]


@pytest.mark.parametrize("stream", [b"data: 12345\n\n", b": 123456789\n", b"data: 12345"])
def test_a_line_over_its_bound_is_refused_however_it_is_cut(stream: bytes) -> None:
    with pytest.raises(SseTooLarge, match="line"):
        small().feed(stream)
    decoder = small()
    with pytest.raises(SseTooLarge, match="line"):
        [decoder.feed(bytes([byte])) for byte in stream]


def test_an_event_over_its_bound_is_refused() -> None:
    assert small().feed(b"data: 1234\ndata: 5678\ndata: 9\n") == []
    assert small().feed(b"data: 1234\ndata: 5678\ndata: 9\n\n".replace(b"\ndata: 9", b"")) == [message("1234\n5678")]
    with pytest.raises(SseTooLarge, match="event"):
        small().feed(b"data: 1234\ndata: 5678\ndata: 901\n")


def test_comments_for_ever_hold_nothing() -> None:
    decoder = small()
    assert [event for _ in range(100) for event in decoder.feed(b": ping\n")] == []
