"""The words of a call, in the shapes of the semantic conventions."""

import json
from typing import Any

from msgspec import Raw

from askonce.domain.answer import Answer
from askonce.domain.call import Call, Message, Params
from askonce.domain.content import Foreign, Image, Text, Thinking, ToolCall, ToolResult
from askonce.domain.usage import Usage
from askonce.telemetry.words import TEXT_MAX, TEXTS_MAX, words_of

ANSWER = Answer("Done.", "stop", Usage(1, 2), "openai", "gpt-4o", "")


def told(*messages: Message) -> list[Any]:
    words = words_of(Call("acme", messages, Params()), ANSWER)
    found = json.loads(words["gen_ai.input.messages"])
    assert isinstance(found, list)
    return found


def test_each_part_is_told_by_its_kind_and_pictures_without_their_bytes() -> None:
    parts = (
        Text("Look"),
        Image(media_type="image/png", data="iVBORw0KGgo"),
        Thinking("Hm", "signed"),
        ToolCall("c-1", "find", '{"where": "here"}'),
        ToolCall("c-2", "find", "not json"),
        Foreign("openai", "input_audio", Raw(b"{}")),
    )
    (asked, said) = told(Message("user", parts), Message("tool", (ToolResult("c-1", (Text("There"),)),)))
    assert asked["parts"] == [
        {"type": "text", "content": "Look"},
        {"type": "image", "mime_type": "image/png"},
        {"type": "reasoning", "content": "Hm"},
        {"type": "tool_call", "id": "c-1", "name": "find", "arguments": {"where": "here"}},
        {"type": "tool_call", "id": "c-2", "name": "find", "arguments": "not json"},
        {"type": "input_audio"},
    ]
    assert said == {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c-1", "response": "There"}]}


def test_instructions_stand_apart_and_an_answer_says_why_it_ended() -> None:
    messages = (Message("system", "Be brief."), Message("user", "Hi"), Message("developer", "Be kind."))
    words = words_of(Call("acme", messages, Params()), ANSWER)
    assert [part["content"] for part in json.loads(words["gen_ai.system_instructions"])] == ["Be brief.", "Be kind."]
    assert json.loads(words["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Done."}], "finish_reason": "stop"}
    ]
    assert "gen_ai.system_instructions" not in words_of(Call("acme", messages[1:2], Params()), ANSWER)


def test_long_texts_lose_their_ends_and_long_conversations_their_beginnings() -> None:
    (cut,) = told(Message("user", "x" * (TEXT_MAX + 1)))
    assert len(cut["parts"][0]["content"]) < TEXT_MAX + 20
    size = 8_192
    many = [Message("user", f"{number:02}" + "x" * (size - 2)) for number in range(40)]
    kept = [one["parts"][0]["content"][:2] for one in told(*many)]
    assert kept == [f"{number:02}" for number in range(40 - TEXTS_MAX // size, 40)]


def test_the_newest_message_is_always_told() -> None:
    everything = Message("user", tuple(Text("x" * TEXT_MAX) for _ in range(9)))
    assert len(told(Message("user", "before"), everything)) >= 1
