"""Questions and answers that both our language and Anthropic's shape can say, for properties."""

from hypothesis import strategies as st
from msgspec import Raw, json

from askonce.domain.answer import Answer, FinishReason
from askonce.domain.call import (
    Aside,
    Call,
    ForeignTool,
    Format,
    Message,
    Params,
    Reasoning,
    Tool,
    ToolChoice,
)
from askonce.domain.content import Foreign, Image, Text, Thinking, ToolCall, ToolResult, canonical_json, plain
from askonce.domain.usage import Usage

MODEL = "claude-opus-5"

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
names = st.from_regex(r"[a-z_]{1,8}", fullmatch=True)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=4,
)
objects = st.dictionaries(words, values, max_size=3)
arguments = objects.map(lambda value: json.encode(value).decode())

texts = st.builds(Text, words)
images = st.builds(lambda data: Image(media_type="image/png", data=data), names) | st.builds(
    lambda name: Image(url=f"https://example.com/{name}.png"), names
)
thoughts = st.builds(lambda text, signature: Thinking(text, signature), words, names) | st.builds(
    lambda data: Thinking(redacted=data), names
)
calls = st.builds(ToolCall, names, names, arguments)
results = st.builds(ToolResult, names, st.lists(texts | images, max_size=3).map(tuple), st.booleans())
documents = st.builds(
    lambda data: Foreign(
        "anthropic",
        "document",
        canonical_json({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": data}}),
    ),
    words,
)

spoken = st.lists(texts | images | documents, min_size=1, max_size=3).map(tuple)
answered = st.lists(texts | thoughts | calls, min_size=1, max_size=4).map(tuple)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Build turns that alternate; the user's hold results and words, no two words next to each other."""
    messages = []
    if draw(st.booleans()):
        messages.append(Message("system", plain(draw(st.lists(texts, min_size=1, max_size=2).map(tuple)))))
    for number in range(draw(st.integers(1, 5))):
        if number % 2:
            messages.append(Message("assistant", plain(draw(answered))))
            continue
        told = [Message("tool", (result,)) for result in draw(st.lists(results, max_size=2 if number else 0))]
        if not told or draw(st.booleans()):
            told.append(Message("user", plain(draw(spoken))))
        messages += told
    return tuple(messages)


tools = st.builds(Tool, names, st.text(max_size=5), objects.map(canonical_json), st.none() | st.booleans())
foreign_tools = st.builds(
    lambda name: ForeignTool(
        "anthropic", name, canonical_json({"type": "web_search_20250305", "name": name, "max_uses": 2})
    ),
    names,
)
choices = st.builds(ToolChoice, st.sampled_from(["auto", "required", "none"])) | st.builds(
    lambda name: ToolChoice("named", name), names
)
efforts = st.sampled_from(["", "low", "medium", "high", "xhigh", "max"])
shares = st.sampled_from([0.0, 0.25, 1.0])


@st.composite
def params(draw: st.DrawFn) -> Params:
    """Build parameters of every kind."""
    choice = draw(st.none() | choices)
    numbered = choice is not None and choice.mode != "none"
    return Params(
        temperature=draw(st.none() | shares),
        max_tokens=draw(st.integers(1, 9000)),
        top_p=draw(st.none() | shares),
        top_k=draw(st.none() | st.integers(1, 100)),
        stop=draw(st.none() | st.lists(words, min_size=1, max_size=2).map(tuple)),
        tool_choice=choice,
        parallel_tools=draw(st.none() | st.booleans()) if numbered else None,
        format=draw(st.none() | st.builds(lambda schema: Format("schema", schema=canonical_json(schema)), objects)),
        reasoning=draw(st.none() | st.builds(Reasoning, efforts, st.none() | st.integers(0, 9000))),
    )


@st.composite
def questions(draw: st.DrawFn) -> Call:
    """Build a whole question, with marks on some of its parts and tools."""
    messages = draw(conversations())
    offered = tuple(draw(st.lists(tools | foreign_tools, max_size=2)))
    marked = [
        Aside(("messages", index, "content", 0, "cache_control"), Raw(b'{"type":"ephemeral"}'))
        for index, message in enumerate(messages)
        if draw(st.booleans()) and not isinstance(first_part(message), Thinking)
    ]
    marked += [
        Aside(("tools", index, "cache_control"), Raw(b'{"ttl":"1h","type":"ephemeral"}'))
        for index in range(len(offered))
        if draw(st.booleans())
    ]
    beside = draw(st.none() | names)
    return Call(
        "t",
        messages,
        draw(params()),
        stream=draw(st.booleans()),
        tools=offered,
        shape="anthropic",
        extra=draw(st.sampled_from([(), (("container", Raw(b'"c1"')), ("mcp_servers", Raw(b"[]")))])),
        asides=(
            *([Aside(("metadata",), canonical_json({"user_id": beside}))] if beside else ()),
            *marked,
        ),
    )


def first_part(message: Message) -> object:
    """Return what a message begins with."""
    return message.content if isinstance(message.content, str) else message.content[0]


usages = st.builds(
    lambda fresh, read, written, output, thought: Usage(
        fresh + read + written, output + thought, read, written, thought
    ),
    *[st.integers(0, 1000)] * 5,
)


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    """Build an answer as Anthropic could give it, thoughts first, no two texts next to each other."""
    parts: list[object] = draw(st.lists(thoughts, max_size=2))
    if draw(st.booleans()):
        parts.append(draw(texts))
    parts += draw(st.lists(calls, max_size=2))
    has_calls = any(isinstance(part, ToolCall) for part in parts)
    finishes: tuple[FinishReason, ...] = ("tool_calls",) if has_calls else ("stop", "length", "content_filter")
    finish = draw(st.sampled_from(finishes))
    only_text = all(isinstance(part, Text) for part in parts)
    return Answer(
        text="".join(part.text for part in parts if isinstance(part, Text)),
        finish=finish,
        usage=draw(usages),
        provider="anthropic",
        model=MODEL,
        model_version=MODEL,
        priced=False,
        parts=() if only_text else tuple(parts),  # type: ignore[arg-type]
        stop_sequence=draw(st.sampled_from(["", "END"])) if finish == "stop" else "",
    )
