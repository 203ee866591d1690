"""Questions and answers that OpenAI's shape can say, in their canonical form, for properties."""

import json
from typing import Any

from hypothesis import strategies as st

from askonce.domain.answer import Answer, Delta, FinishReason, Piece, ThinkingDelta, ToolDelta
from askonce.domain.call import Aside, Call, ForeignTool, Format, Message, Params, Reasoning, Tool, ToolChoice
from askonce.domain.content import (
    Foreign,
    Image,
    Part,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    canonical_json,
    plain,
)
from askonce.domain.progress import pieces_of
from askonce.domain.usage import Usage

WORDS = st.text(max_size=6)
SAID = st.text(min_size=1, max_size=6)
NAMES = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-5, 5) | WORDS,
    lambda v: st.lists(v, max_size=2) | st.dictionaries(NAMES, v, max_size=2),
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=2)

texts = st.builds(Text, WORDS)
images = st.builds(Image, url=NAMES.map("https://x/{}".format), detail=st.sampled_from(["", "low"])) | st.builds(
    Image, media_type=st.just("image/png"), data=st.sampled_from(["AAAA", ""])
)
audio = OBJECTS.map(
    lambda o: Foreign("openai", "input_audio", canonical_json({"type": "input_audio", "input_audio": o}))
)
calls = st.builds(ToolCall, id=SAID, name=SAID, arguments=OBJECTS.map(json.dumps) | WORDS)
results = st.builds(ToolResult, call_id=WORDS, content=st.lists(texts, max_size=3).map(tuple)).filter(
    lambda result: result.content != (Text(""),)
)
refusal = SAID.map(lambda words: Foreign("openai", "message.refusal", canonical_json(words)))


def content(parts: tuple[Part, ...]) -> str | tuple[Part, ...]:
    return "" if parts in ((), (Text(""),)) else plain(parts)


def spoken(parts: st.SearchStrategy[Any], least: int = 0) -> st.SearchStrategy[Any]:
    return st.lists(parts, min_size=least, max_size=3).map(tuple).filter(lambda some: some != (Text(""),))


user = st.builds(
    Message, st.sampled_from(["user", "system", "developer"]), spoken(texts | images | audio).map(content), NAMES
)
assistant = st.builds(
    lambda thoughts, said, called, fields: Message("assistant", content((*thoughts, *said, *called, *fields))),
    st.lists(st.builds(Thinking, SAID), max_size=1),
    spoken(texts),
    st.lists(calls, max_size=2),
    st.lists(refusal, max_size=1),
)
tool = results.map(lambda result: Message("tool", (result,)))

functions = st.builds(
    Tool,
    name=SAID,
    description=WORDS,
    schema=(OBJECTS | st.none()).map(canonical_json),
    strict=st.sampled_from([None, True, False]),
)
customs = OBJECTS.map(lambda o: ForeignTool("openai", "custom", canonical_json({"type": "custom", "custom": o})))

choices = st.sampled_from(
    [None, ToolChoice("auto"), ToolChoice("none"), ToolChoice("required"), ToolChoice("named", "f")]
)
formats = st.sampled_from([None, Format("text"), Format("json")]) | st.builds(
    Format, st.just("schema"), SAID, OBJECTS.map(canonical_json), st.sampled_from([None, True]), WORDS
)
numbers = st.none() | st.floats(-2, 2).map(lambda x: x + 0.0)
params = st.builds(
    Params,
    temperature=numbers,
    max_tokens=st.none() | st.integers(1, 99),
    top_p=numbers,
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    stop=st.none() | st.lists(SAID, min_size=1, max_size=4).map(tuple),
    top_k=st.none() | st.integers(0, 99),
    frequency_penalty=numbers,
    presence_penalty=numbers,
    tool_choice=choices,
    parallel_tools=st.sampled_from([None, True, False]),
    format=formats,
    reasoning=st.none() | st.builds(Reasoning, effort=st.sampled_from(["none", "low", "max"])),
)
extras = st.dictionaries(st.sampled_from(["logit_bias", "verbosity", "prediction", "min_p"]), VALUES, max_size=2)
asides = st.dictionaries(st.sampled_from(["user", "metadata", "store", "prompt_cache_key"]), VALUES, max_size=2)

questions = st.builds(
    lambda messages, params, tools, extra, beside: Call(
        tenant="t",
        messages=tuple(messages),
        params=params,
        tools=tuple(tools),
        shape="openai",
        extra=tuple((name, canonical_json(extra[name])) for name in sorted(extra)),
        asides=tuple(Aside((name,), canonical_json(beside[name])) for name in sorted(beside)),
    ),
    st.lists(user | assistant | tool, min_size=1, max_size=4),
    params,
    st.lists(functions | customs, max_size=2),
    extras,
    asides,
)

usages = st.builds(
    lambda plain, cached, written, said, thought: Usage(
        plain + cached + written, said + thought, cached, written, thought
    ),
    *[st.integers(0, 50)] * 5,
)
sealed = st.lists(st.builds(Thinking, WORDS, SAID) | st.builds(Thinking, redacted=SAID), min_size=1, max_size=2)


def _answer(said: tuple[str, bool], thoughts: list[Part], called: list[Part], cited: Any, more: Any) -> Answer:
    (text, refused), (ending, usage) = said, more
    fields: list[Part] = [Foreign("openai", "message.annotations", canonical_json(cited))] if cited else []
    if refused and text and not called:
        fields.append(Foreign("openai", "message.refusal", canonical_json(text)))
        ending = "content_filter"
    elif called and ending == "stop":
        ending = "tool_calls"
    rest = [*thoughts, *([Text(text)] if text else []), *called, *fields]
    return Answer(text, ending, usage, "p", "m", "m-1", parts=tuple(rest) if thoughts or called or fields else ())


def citation(title: str) -> dict[str, Any]:
    """Return an annotation as OpenAI's "Web search" shows it."""
    place = {"start_index": 0, "end_index": 1, "title": title, "url": "https://x"}
    return {"type": "url_citation", "url_citation": place}


citations = NAMES.map(citation)
endings: st.SearchStrategy[FinishReason] = st.sampled_from(["stop", "length", "content_filter"])
answers = st.builds(
    _answer,
    st.tuples(WORDS, st.booleans()),
    st.lists(st.builds(Thinking, SAID), max_size=1) | sealed,
    st.lists(calls, max_size=3, unique_by=lambda call: call.id),
    st.lists(citations, max_size=1),
    st.tuples(endings, usages),
)


def cut(piece: Piece, at: int) -> list[Piece]:
    """Cut a piece in two."""
    if isinstance(piece, Delta):
        return [Delta(piece.text[:at]), Delta(piece.text[at:])]
    if isinstance(piece, ThinkingDelta):
        return [ThinkingDelta(piece.text[:at]), ThinkingDelta(piece.text[at:], piece.signature, piece.redacted)]
    return [
        ToolDelta(piece.index, piece.id, piece.name, piece.arguments[:at]),
        ToolDelta(piece.index, arguments=piece.arguments[at:]),
    ]


@st.composite
def begun(draw: st.DrawFn, answer: Answer) -> list[Piece]:
    """Draw the beginning of a stream of this answer: none of it, all of it, or up to anywhere; cut anyhow."""
    pieces = [half for piece in pieces_of(answer) for half in cut(piece, draw(st.integers(0, 6)))]
    return pieces[: draw(st.integers(0, len(pieces)))]
