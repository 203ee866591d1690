"""What several vendors' shapes can say means the same in each: questions, and answers that a client sends back.

The sources are named where each shape is read and written; here only that they agree.
"""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.wire import anthropic_calls as anthropics

from askonce.cache.fingerprint import fingerprints
from askonce.domain.answer import Answer, Entry, pack
from askonce.domain.call import CacheWish, Call, Candidate, Message, Params, Reasoning, Tool, ToolChoice
from askonce.domain.content import Image, Text, ToolCall, ToolResult, canonical_json, plain
from askonce.domain.errors import Invalid
from askonce.wire import anthropic, gemini, openai
from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.door import Facts
from askonce.wire.openai_door import CHAT

WHO = [Candidate("p", "m")]
CLAUDE, GEMINI = "claude-opus-5", "gemini-3.5-flash"
# An endpoint of OpenAI's shape that has a word for everything that is asked here.
WIDE = openai.Dialect(max_completion_tokens=True, thinking="reasoning_details", developer=True)

pictures = st.builds(lambda data: Image(media_type="image/png", data=data), anthropics.names) | st.builds(
    lambda name: Image(url=f"https://example.com/{name}.png"), anthropics.names
)
spoken = st.lists(anthropics.texts | pictures, min_size=1, max_size=3).map(tuple)


@st.composite
def turns(draw: st.DrawFn) -> list[Message]:
    """Draw what the model said last, and what it is told: the results of its calls, the user's words, or both."""
    thoughts = draw(st.lists(anthropics.thoughts, max_size=2))
    said = draw(st.lists(anthropics.texts, max_size=1))
    called = draw(st.lists(anthropics.calls, max_size=2, unique_by=lambda call: call.id))
    if not (said or called):
        said = [Text("so")]
    messages = [Message("assistant", plain((*thoughts, *said, *called)))]
    for call in called:
        told = draw(st.lists(anthropics.texts, max_size=2).map(tuple))  # pictures are moved in OpenAI's shape
        messages.append(Message("tool", (ToolResult(call.id, told),)))
    if not called or draw(st.booleans()):
        messages.append(Message("user", plain(draw(spoken))))
    return messages


tools = st.builds(
    Tool,
    anthropics.names,
    st.text(max_size=5),
    anthropics.objects.map(canonical_json),
    st.none() | st.booleans(),
)


@st.composite
def params(draw: st.DrawFn) -> Params:
    choice = draw(st.none() | anthropics.choices)
    numbered = choice is not None and choice.mode != "none"
    return Params(
        temperature=draw(st.none() | anthropics.shares),
        max_tokens=draw(st.integers(1, 9000)),
        top_p=draw(st.none() | anthropics.shares),
        top_k=draw(st.none() | st.integers(1, 100)),
        stop=draw(st.none() | st.lists(anthropics.words, min_size=1, max_size=2).map(tuple)),
        tool_choice=choice,
        parallel_tools=draw(st.none() | st.booleans()) if numbered else None,
        reasoning=draw(st.none() | st.sampled_from(["low", "medium", "high"]).map(Reasoning)),
    )


@st.composite
def shared(draw: st.DrawFn) -> Call:
    """Draw a question that OpenAI's and Anthropic's shapes can both ask."""
    messages = [Message("system", draw(anthropics.words))] if draw(st.booleans()) else []
    messages.append(Message("user", plain(draw(spoken))))
    for turn in draw(st.lists(turns(), max_size=2)):
        messages += turn
    offered = tuple(draw(st.lists(tools, max_size=2)))
    return Call("t", tuple(messages), draw(params()), draw(st.booleans()), offered)


def over_chat(call: Call) -> Call:
    return CHAT.read(openai.encode_call(call, "m", WIDE), "t", CacheWish()).call


def over_messages(call: Call) -> Call:
    return MESSAGES.read(anthropic.encode_call(call, CLAUDE), "t", CacheWish()).call


def meaning(call: Call) -> Call:
    """Return the question alone: not whose shape it came in, nor what stands beside it."""
    return replace(call, shape="", asides=())


@given(shared())
@settings(deadline=None)
def test_a_question_that_two_shapes_can_ask_is_the_same_in_both(call: Call) -> None:
    chat, messages = over_chat(call), over_messages(call)
    assert meaning(chat) == meaning(messages) == call
    assert fingerprints(chat, WHO) == fingerprints(messages, WHO) == fingerprints(call, WHO)


@given(shared())
@settings(deadline=None)
def test_a_vendor_is_asked_the_same_bytes_whichever_door_was_used(call: Call) -> None:
    chat, messages = meaning(over_chat(call)), meaning(over_messages(call))
    assert openai.encode_call(chat, "m", WIDE) == openai.encode_call(messages, "m", WIDE)
    assert anthropic.encode_call(chat, CLAUDE) == anthropic.encode_call(messages, CLAUDE)
    assert in_gemini(chat) == in_gemini(messages)


def in_gemini(call: Call) -> bytes | list[str]:
    """Return what Gemini is asked, or the names of what it cannot be."""
    try:
        return gemini.encode_call(call, GEMINI)
    except Invalid as refused:
        return [detail.field for detail in refused.details]


@given(shared())
@settings(deadline=None)
def test_a_question_goes_through_both_shapes_one_after_the_other_unchanged(call: Call) -> None:
    assert meaning(over_messages(over_chat(call))) == call
    assert meaning(over_chat(over_messages(call))) == call


@pytest.mark.parametrize(
    "encode", [lambda call: openai.encode_call(call, "m", WIDE), lambda call: gemini.encode_call(call, GEMINI)]
)
def test_a_beginning_of_the_answer_is_refused_where_nobody_would_go_on_with_it(encode: Any) -> None:
    turns = [USER, {"role": "assistant", "content": "{"}]
    begun = MESSAGES.read(json.dumps(ASKED | {"messages": turns}).encode(), "t", CacheWish()).call
    with pytest.raises(Invalid, match="beginning of the answer") as caught:
        encode(begun)
    assert [detail.field for detail in caught.value.details] == ["messages[1]"]
    # In OpenAI's shape it is a turn like any other.
    encode(CHAT.read(json.dumps({"model": "m", "messages": turns}).encode(), "t", CacheWish()).call)


def entry(answer: Answer) -> Entry:
    return Entry(b"k" * 32, "t", "p", "m", 1, 2, 0, 0, 0, pack(answer))


def replied(codec: Any, answer: Answer) -> dict[str, Any]:
    facts = Facts("miss", 0, 0, "req-1", None)  # type: ignore[arg-type]  # a whole reply does not look at the question
    told: dict[str, Any] = json.loads(codec.render(entry(answer), facts))
    return told


ASKED: dict[str, Any] = {"model": "m", "max_tokens": 9}
USER = {"role": "user", "content": "Hi"}


@given(anthropics.answers())
@settings(deadline=None)
def test_an_answer_that_a_client_sends_back_is_what_the_model_said_over_both_doors(answer: Answer) -> None:
    said = answer.parts or ((Text(answer.text),) if answer.text else ())
    if not said:  # Anthropic's clients leave a turn of nothing out
        return
    echo = replied(CHAT, answer)["choices"][0]["message"]
    chat = CHAT.read(json.dumps(ASKED | {"messages": [USER, echo]}).encode(), "t", CacheWish()).call
    blocks = replied(MESSAGES, answer)["content"]
    told = {"role": "assistant", "content": blocks}
    messages = MESSAGES.read(json.dumps(ASKED | {"messages": [USER, told]}).encode(), "t", CacheWish()).call
    assert kinds(chat.messages[1]) == kinds(messages.messages[1]) == kinds(Message("assistant", plain(said)))


def kinds(message: Message) -> Any:
    """Return a message with the arguments of its calls as values: JSON libraries write them in their own spelling."""
    if isinstance(message.content, str):
        return message
    return [
        (part.id, part.name, json.loads(part.arguments)) if isinstance(part, ToolCall) else part
        for part in message.content
    ]


@pytest.mark.parametrize("choice", [ToolChoice("auto"), ToolChoice("required"), ToolChoice("named", "look")])
def test_a_choice_without_a_number_is_not_given_one(choice: ToolChoice) -> None:
    tool = Tool("look", "", canonical_json({"type": "object"}))
    call = Call("t", (Message("user", "Hi"),), Params(max_tokens=9, tool_choice=choice), tools=(tool,))
    assert over_chat(call).params == over_messages(call).params == call.params
