import asyncio
import json
import re
from pathlib import Path
from typing import get_args
from unittest.mock import ANY

import pytest
from msgspec import structs

from askonce.domain.answer import Answer, Delta, FinishReason, Piece
from askonce.domain.call import Call, Message, Params
from askonce.domain.content import Text, Thinking, ToolCall, ToolResult
from askonce.domain.errors import (
    AskonceError,
    ConfigError,
    ContextExceeded,
    ProviderBusy,
    ProviderFailed,
    ProviderRejected,
    ProviderTimeout,
)
from askonce.domain.ports import Provider
from askonce.domain.progress import Progress
from askonce.domain.usage import Usage
from askonce.providers.script import MAX_SCRIPT_BYTES, Chunk, Play, Script, ScriptedError, ScriptedUsage, read_script
from askonce.providers.scripted import ScriptedProvider


def call(prompt: str = "Hi", *, stream: bool = False) -> Call:
    return Call(
        "t", (Message("user", "earlier"), Message("assistant", "yes"), Message("user", prompt)), Params(), stream
    )


def play(provider: ScriptedProvider, asked: Call, model: str = "demo", deadline_s: float = 5) -> list[Piece | Answer]:
    async def main() -> list[Piece | Answer]:
        return [item async for item in provider.ask(asked, model, deadline_s)]

    return asyncio.run(main())


def text_of(provider: ScriptedProvider, prompt: str, model: str = "demo") -> str:
    answer = play(provider, call(prompt), model)[-1]
    assert isinstance(answer, Answer)
    return answer.text


def written(folder: Path, text: str, name: str = "script.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_it_is_a_provider_that_names_itself() -> None:
    provider: Provider = ScriptedProvider(Script((Play(text="x"),), drains=True))
    assert (provider.name, provider.drains) == ("scripted", True)


def test_a_plain_call_gives_only_the_answer() -> None:
    (answer,) = play(ScriptedProvider(Script((Play(text="Hello, {prompt} of {model}"),))), call("you"))
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish, answer.provider) == ("Hello, you of demo", "stop", "scripted")
    assert answer.usage.estimated


def test_a_stream_gives_its_chunks_and_then_the_answer(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [[play]]
        chunks = ["Hel", { text = "lo", after_ms = 1 }]
        finish = "length"
        usage = { prompt_tokens = 7, completion_tokens = 2, cached_tokens = 1 }
        model_version = "demo-1"
        """,
    )
    *deltas, answer = play(ScriptedProvider(read_script(path)), call(stream=True))
    assert deltas == [Delta("Hel"), Delta("lo")]
    assert isinstance(answer, Answer)
    assert (answer.text, answer.finish, answer.usage) == ("Hello", "length", Usage(7, 2, 1))
    assert answer.model_version == "demo-1"


def test_the_first_play_that_fits_answers() -> None:
    provider = ScriptedProvider(
        Script(
            (
                Play(model="big", text="big"),
                Play(contains="sum", text="4"),
                Play(contains="earlier", text="no"),
                Play(text="?"),
            )
        )
    )
    assert text_of(provider, "the sum") == "4"
    assert text_of(provider, "anything", "big") == "big"
    assert text_of(provider, "anything") == "?"
    assert asyncio.run(provider.models()) == ("big",)
    assert asyncio.run(provider.probe()) == ""


def test_plays_that_are_used_up_make_a_sequence() -> None:
    provider = ScriptedProvider(Script((Play(text="one", times=1), Play(text="two", times=2))))
    assert [text_of(provider, "x") for _ in range(3)] == ["one", "two", "two"]
    with pytest.raises(ProviderRejected):
        text_of(provider, "x")


@pytest.mark.parametrize(
    ("error", "expected", "wait"),
    [
        ({"status": 429, "retry_after_s": 7}, ProviderBusy, 7),
        ({"status": 500}, ProviderFailed, None),
        ({"status": 400, "code": "context_length_exceeded"}, ContextExceeded, None),
    ],
)
def test_errors_are_those_of_a_vendor(
    tmp_path: Path, error: dict[str, object], expected: type[AskonceError], wait: int | None
) -> None:
    path = written(tmp_path, json.dumps({"play": [{"error": error}]}), "script.json")
    with pytest.raises(expected) as caught:
        play(ScriptedProvider(read_script(path)), call())
    assert caught.value.retry_after_s == wait


def test_a_half_stream_breaks_after_its_chunks() -> None:
    async def main() -> None:
        asking = ScriptedProvider(Script((Play(chunks=("a", "b", "c"), cut_after=2),))).ask(
            call(stream=True), "demo", 5
        )
        assert [await anext(asking), await anext(asking)] == [Delta("a"), Delta("b")]
        with pytest.raises(ProviderFailed):
            await anext(asking)

    asyncio.run(main())


@pytest.mark.parametrize(
    "slow", [Play(hang=True), Play(text="late", delay_ms=60_000), Play(text="a b", chunk_ms=60_000)]
)
def test_the_deadline_holds(slow: Play) -> None:
    with pytest.raises(ProviderTimeout):
        play(ScriptedProvider(Script((slow,))), call(), deadline_s=0.02)


def test_every_call_is_counted_also_by_other_providers_of_the_same_file(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'count_file = "calls.log"\n[[play]]\ncontains = "boom"\nerror = { status = 500 }\n[[play]]\ntext = "x"',
    )
    one, two = ScriptedProvider(read_script(path)), ScriptedProvider(read_script(path))
    text_of(one, "a")
    text_of(two, "b")
    with pytest.raises(ProviderFailed):
        text_of(one, "boom")
    lines = [json.loads(line) for line in (tmp_path / "calls.log").read_text().splitlines()]
    assert [line["play"] for line in lines] == [2, 2, 1]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("play = 3", "play: must be a list, not a whole number"),
        ("[[play]]\ntexts = 'x'", "texts"),
        ("[[play]]\ntext = 'x'\n[[play]]\n", "play 2: give exactly one"),
        ("[[play]]\ntext = 'x'\nhang = true", "play 1: give exactly one"),
        ("[[play]]\nerror = { status = 200 }", r"error.status 200"),
        ("[[play]]\ntext = 'x'\ndelay_ms = -1", "count from 0"),
        ("[[play]]\ntext = 'x'\ntimes = 0", "times from 1"),
        ("[[play]]\ntext = 'x'\nfinish = 'done'", r"play\[0\]\.finish: invalid"),
        ("play = []", "no play"),
        ("[[play", "script.toml"),
    ],
)
def test_a_bad_script_is_refused_with_its_place(tmp_path: Path, text: str, says: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=says) as caught:
        read_script(path)
    assert str(path) in str(caught.value)


def test_a_script_that_is_absent_binary_or_huge_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_script(tmp_path / "absent.toml")
    (tmp_path / "b.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"b\.toml"):
        read_script(tmp_path / "b.toml")
    with (tmp_path / "huge.toml").open("wb") as file:
        file.truncate(MAX_SCRIPT_BYTES + 1)
    with pytest.raises(ConfigError, match="no script"):
        read_script(tmp_path / "huge.toml")


def test_a_play_thinks_speaks_and_calls_tools(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
        [[play]]
        last = "user"
        thinking = "Where?"
        text = "Let me look."
        tool_calls = [{ name = "look", arguments = { place = "Rome" } }, { name = "wait", arguments = "{ }", id = "w" }]
        [[play]]
        last = "tool"
        text = "It says {result}"
        """,
    )
    provider = ScriptedProvider(read_script(path))
    *pieces, answer = play(provider, call(stream=True))
    assert isinstance(answer, Answer)
    calls = (ToolCall("call_0", "look", '{"place":"Rome"}'), ToolCall("w", "wait", "{ }"))
    assert answer.parts == (Thinking("Where?"), Text("Let me look."), *calls)
    assert (answer.text, answer.finish) == ("Let me look.", "tool_calls")
    assert play(provider, call())[-1] == structs.replace(
        answer, took_ms=ANY, first_token_ms=ANY
    )  # plain says the same as a stream
    progress = Progress()
    for piece in pieces:
        assert not isinstance(piece, Answer)
        progress.add(piece)
    assert progress.rest(answer) == []
    told = call()
    result = Message("tool", (ToolResult("call_0", (Text("sun"),)),))
    assert play(provider, structs.replace(told, messages=(*told.messages, result)))[-1].text == "It says sun"  # type: ignore[union-attr]


def test_the_page_about_scripts_names_every_field_and_its_example_plays(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "scripted.md").read_text()
    fields = {*Script.__struct_fields__, *Play.__struct_fields__}
    fields |= {*ScriptedError.__struct_fields__, *ScriptedUsage.__struct_fields__, *Chunk.__struct_fields__}
    assert [field for field in fields if f"`{field}`" not in page] == []
    assert [word for word in get_args(FinishReason) if f"`{word}`" not in page] == []
    (example,) = re.findall(r"```toml\n(count_file.*?)\n```\n", page, re.DOTALL)
    (tmp_path / "s.toml").write_text(example)
    provider = ScriptedProvider(read_script(tmp_path / "s.toml"))
    assert text_of(provider, "hello there") == "Hello, hello there"
    assert text_of(provider, "anything") == "```python\nprint('hi')\n```"
