"""Answers survive being stored."""

from askonce.domain.answer import Answer, Entry, pack
from askonce.domain.content import Foreign, Text, Thinking, ToolCall, canonical_json
from askonce.domain.usage import Usage


def test_an_answer_with_parts_of_every_kind_is_read_as_it_was_written() -> None:
    parts = (
        Thinking("hm", "s"),
        Text("a"),
        Foreign("anthropic", "citations", canonical_json([{"b": 1, "a": None}])),
        ToolCall("1", "n", "{}"),
    )
    answer = Answer("a", "stop", Usage(1, 2), "p", "m", "v", parts=parts)
    entry = Entry(b"k" * 32, "t", "p", "m", 0, 0, 0, 1, 2, pack(answer))
    assert entry.open() == answer
