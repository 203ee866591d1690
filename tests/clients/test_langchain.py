"""LangChain's chat models for OpenAI and Anthropic against a gateway that listens.

They are given nothing but the address, and `askonce` for the key that they insist on.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr
from tests.api.conftest import World
from tests.clients.serving import already, served

from askonce.gate.admission import NO_KEY
from askonce.providers.script import Play, Script, ScriptedCall, ScriptedUsage
from askonce.providers.scripted import ScriptedProvider

KEY = SecretStr(NO_KEY)
USAGE = ScriptedUsage(10, 3, 4)
HI = [SystemMessage("Be brief."), HumanMessage("Hi")]
HELLO = Play(chunks=("Hel", "lo"), usage=USAGE, model_version="m-2024")

Make = Callable[[str], BaseChatModel]


def openai_model(address: str) -> BaseChatModel:
    return ChatOpenAI(model="m", base_url=f"{address}/v1", api_key=KEY, max_retries=0, stream_usage=True)


def anthropic_model(address: str) -> BaseChatModel:
    return ChatAnthropic(model_name="m", base_url=address, api_key=KEY, max_retries=0, timeout=None, stop=None)


MODELS = pytest.mark.parametrize("make", [openai_model, anthropic_model])


@contextmanager
def chat(make: Make, *plays: Play) -> Iterator[tuple[BaseChatModel, "Books"]]:
    """Serve a script, and open a chat model on it."""
    world = World()
    world.limits.clear()
    with served(world, already(ScriptedProvider(Script(plays)))) as address:
        yield make(address), Books(address)


class Books:
    """Read what a gateway booked."""

    def __init__(self, address: str) -> None:
        self._address = address

    def __call__(self) -> tuple[int, int]:
        """Return how many answers were paid for, and how many came from the store."""
        stats = httpx.get(f"{self._address}/llm/cache/stats").json()
        return stats["misses"], stats["hits"]


def added_up(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


@MODELS
def test_a_question_is_paid_for_once_however_it_is_asked(make: Make) -> None:
    with chat(make, HELLO) as (model, books):
        first = model.invoke(HI)
        assert books() == (1, 0)
        second = model.invoke(HI)
        streamed = added_up(list(model.stream(HI)))
        later = asyncio.run(model.ainvoke(HI))
        assert books() == (1, 3)
    assert [m.text for m in (first, second, streamed, later)] == ["Hello"] * 4
    assert first.id != second.id
    for message in (first, second, streamed, later):
        usage = message.usage_metadata
        assert usage is not None
        assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (10, 3, 13)
        assert usage["input_token_details"]["cache_read"] == 4
        told = message.response_metadata
        assert (told.get("model_name") or told.get("model")) == "m-2024"
        assert (told.get("finish_reason") or told.get("stop_reason")) in ("stop", "end_turn")


@MODELS
def test_a_stream_comes_in_pieces_with_its_usage_at_the_end(make: Make) -> None:
    async def story(model: BaseChatModel) -> list[AIMessageChunk]:
        return [chunk async for chunk in model.astream(HI)]

    for way in (lambda model: list(model.stream(HI)), lambda model: asyncio.run(story(model))):
        with chat(make, HELLO) as (model, books):
            chunks = way(model)
            assert books() == (1, 0)
        assert [chunk.text for chunk in chunks if chunk.text] == ["Hel", "lo"]
        whole = added_up(chunks)
        assert whole.usage_metadata is not None
        assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (10, 3)


@tool
def weather(city: str, day: int) -> str:
    """Tell the weather."""
    return f"rain in {city} on day {day}"


CALLING = Play(
    last="user",
    text="I look.",
    tool_calls=(
        ScriptedCall("weather", {"city": "Oslo", "day": 1}, "call_1"),
        ScriptedCall("weather", {"city": "Rome", "day": 2}, "call_2"),
    ),
    usage=USAGE,
)
TOLD = Play(last="tool", text="It says: {result}", usage=USAGE)


@MODELS
@pytest.mark.parametrize("streams", [False, True])
def test_a_loop_of_tools_comes_to_its_end(make: Make, streams: bool) -> None:
    with chat(make, CALLING, TOLD) as (model, books):
        armed = model.bind_tools([weather])

        def ask(turns: list[Any]) -> AIMessage:
            return added_up(list(armed.stream(turns))) if streams else armed.invoke(turns)  # type: ignore[arg-type]

        def loop() -> tuple[AIMessage, AIMessage]:
            turns: list[Any] = list(HI)
            called = ask(turns)
            results: list[ToolMessage] = [weather.invoke(call) for call in called.tool_calls]
            return called, ask([*turns, called, *results])

        called, told = loop()
        assert books() == (2, 0)
        assert called.text == "I look."
        assert [(call["name"], call["args"], call["id"]) for call in called.tool_calls] == [
            ("weather", {"city": "Oslo", "day": 1}, "call_1"),
            ("weather", {"city": "Rome", "day": 2}, "call_2"),
        ]
        assert called.invalid_tool_calls == []
        assert told.text == "It says: rain in Rome on day 2"
        again, told_again = loop()
        assert (again.tool_calls, told_again.text) == (called.tool_calls, told.text)
        assert books() == (2, 2)


class City(BaseModel):
    """A city."""

    name: str
    people: int


ROME = City(name="Rome", people=3)


# LangChain dumps what the library parsed with a type that the library does not declare: nothing of ours.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning")
@MODELS
@pytest.mark.parametrize("method", ["function_calling", "json_schema"])
def test_structured_output_is_parsed(make: Make, method: str) -> None:
    plays = {
        "function_calling": Play(tool_calls=(ScriptedCall("City", {"name": "Rome", "people": 3}),)),
        "json_schema": Play(text='{"name": "Rome", "people": 3}'),
    }
    with chat(make, plays[method]) as (model, books):
        structured = model.with_structured_output(City, method=method)
        assert structured.invoke(HI) == ROME
        assert structured.invoke(HI) == ROME
        assert list(structured.stream(HI))[-1] == ROME
        assert books() == (1, 2)


@MODELS
def test_many_at_once_make_one_call(make: Make) -> None:
    async def story(model: BaseChatModel) -> list[AIMessage]:
        return await model.abatch([HI] * 10)

    slow = Play(text="Hello", delay_ms=200, usage=USAGE)
    with chat(make, slow) as (model, books):
        assert [message.text for message in asyncio.run(story(model))] == ["Hello"] * 10
        assert books()[0] == 1


def test_thoughts_reach_langchain_as_it_knows_them() -> None:
    thinking = Play(last="user", thinking="They greet.", text="Hello", usage=USAGE)
    with chat(anthropic_model, thinking) as (model, _books):
        blocks = model.invoke(HI).content_blocks
    assert [block["type"] for block in blocks] == ["reasoning", "text"]
    assert blocks[0]["reasoning"] == "They greet."  # type: ignore[typeddict-item]
