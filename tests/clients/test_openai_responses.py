"""The official `openai` library's Responses against a gateway that listens: sync, async, streamed, with tools."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.responses import FunctionToolParam, Response, ResponseInputParam
from pydantic import BaseModel
from tests.clients.backstage import KEY as HOUSE_KEY
from tests.clients.backstage import stage
from tests.clients.serving import already, served
from tests.clients.test_openai_client import CALLING, KEY, TOLD, USAGE, Scripted, keyed, relayed, script
from tests.providers.anthropic_upstream import both, text_block, tool_block
from tests.providers.upstream import completion, reply

from askonce.providers.script import Play, ScriptedError

TOOLS: list[FunctionToolParam] = [
    {
        "type": "function",
        "name": "look",
        "description": "Look at a place.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}},
            "required": ["place"],
            "additionalProperties": False,
        },
    }
]


@contextmanager
def client(provider: Scripted) -> Iterator[OpenAI]:
    with (
        served(keyed(), already(provider)) as address,
        OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as opened,
    ):
        yield opened


def valid(response: Response) -> None:
    """Hold a response against the library's own types, strictly."""
    Response.model_validate(response.model_dump(mode="json", by_alias=True, exclude_unset=True), strict=True)


def test_a_question_is_answered_and_the_second_time_free() -> None:
    provider = script(Play(text="Hello, {prompt}", usage=USAGE, model_version="m-2"))
    with client(provider) as ask:
        first = ask.responses.with_raw_response.create(model="m", input="Hi", metadata={"a": "b"})
        second = ask.responses.with_raw_response.create(model="m", input="Hi", store=False)
    one, two = first.parse(), second.parse()
    assert (one.output_text, one.status, one.model) == ("Hello, Hi", "completed", "m-2")
    assert one.usage is not None
    assert (one.usage.total_tokens, one.usage.input_tokens_details.cached_tokens) == (10, 2)
    assert (one.metadata, two.metadata) == ({"a": "b"}, {})
    assert one.id != two.id
    assert one.output[0].id != two.output[0].id
    assert second.headers["cache-status"].startswith("askonce; hit")
    assert first.headers["x-ratelimit-remaining-requests"] == "19"
    assert provider.calls == 1
    valid(one)
    valid(two)


@pytest.mark.parametrize("asked_before", [False, True])
def test_the_streaming_helper_ends_with_the_whole_response(asked_before: bool) -> None:
    provider = script(Play(chunks=("Hel", "lo"), usage=USAGE))
    with client(provider) as ask:
        if asked_before:
            assert ask.responses.create(model="m", input="Hi").output_text == "Hello"
        with ask.responses.stream(model="m", input="Hi") as events:
            kinds = [event.type for event in events]
            final = events.get_final_response()
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert set(kinds[4:-4]) == {"response.output_text.delta"}
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert (final.output_text, final.status) == ("Hello", "completed")
    assert provider.calls == 1


def test_raw_events_are_numbered() -> None:
    with client(script(Play(chunks=("Hel", "lo")))) as ask:
        events = list(ask.responses.create(model="m", input="Hi", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Hello"


@pytest.mark.parametrize("streams", [False, True])
def test_a_loop_of_tools_comes_to_its_end(streams: bool) -> None:
    provider = script(CALLING, TOLD)
    with client(provider) as ask:
        items: ResponseInputParam = [{"role": "user", "content": "Hi"}]

        def turn() -> Response:
            if not streams:
                return ask.responses.create(model="m", input=items, tools=TOOLS)
            with ask.responses.stream(model="m", input=items, tools=TOOLS) as events:
                return events.get_final_response()

        answer = turn()
        assert [item.type for item in answer.output] == ["reasoning", "message", "function_call"]
        call = answer.output[-1]
        assert call.type == "function_call"
        assert json.loads(call.arguments) == {"place": "Rome"}
        items += answer.output  # type: ignore[arg-type]
        items.append({"type": "function_call_output", "call_id": call.call_id, "output": "sun"})
        end = turn()
    assert (end.output_text, end.status) == ("It says sun.", "completed")


class City(BaseModel):
    """A structured answer."""

    name: str


def test_structured_outputs_are_parsed() -> None:
    with client(script(Play(text='{"name": "Rome"}'))) as ask:
        parsed = ask.responses.parse(model="m", input="Which?", text_format=City)
        with ask.responses.stream(model="m", input="Which?", text_format=City) as events:
            streamed = events.get_final_response()
    assert parsed.output_parsed == streamed.output_parsed == City(name="Rome")


def test_the_async_client_asks_the_same_way() -> None:
    async def story(address: str) -> None:
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as ask:
            assert (await ask.responses.create(model="m", input="Hi")).output_text == "Hello"
            events = await ask.responses.create(model="m", input="Hi", stream=True)
            assert [e.delta async for e in events if e.type == "response.output_text.delta"] == ["Hello"]
            async with ask.responses.stream(model="m", input="Hi") as streaming:
                assert (await streaming.get_final_response()).output_text == "Hello"

    with served(keyed(), already(script(Play(text="Hello")))) as address:
        asyncio.run(story(address))


def test_chat_and_responses_share_one_answer() -> None:
    provider = script(Play(text="Hello"))
    with client(provider) as ask:
        chat = ask.chat.completions.create(
            model="m",
            messages=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            max_completion_tokens=9,
        )
        response = ask.responses.create(model="m", instructions="Be brief.", input="Hi", max_output_tokens=9)
    assert chat.choices[0].message.content == response.output_text == "Hello"
    assert provider.calls == 1


def test_clients_of_both_doors_share_one_call_in_flight() -> None:
    provider = script(Play(chunks=("Hel", "lo"), delay_ms=200))
    world = keyed()
    world.limits.clear()

    async def story(address: str) -> list[str]:
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as ask:

            async def one(number: int) -> str:
                if number % 3 == 0:
                    return (await ask.responses.create(model="m", input="Hi")).output_text
                if number % 3 == 1:
                    async with ask.responses.stream(model="m", input="Hi") as events:
                        return (await events.get_final_response()).output_text
                chat = await ask.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
                return chat.choices[0].message.content or ""

            return await asyncio.gather(*map(one, range(18)))

    with served(world, already(provider)) as address:
        assert asyncio.run(story(address)) == ["Hello"] * 18
    assert provider.calls == 1


def test_an_answer_that_was_cut_off_says_so() -> None:
    with client(script(Play(text="Hel", finish="length"))) as ask:
        plain = ask.responses.create(model="m", input="Hi")
        *_, last = ask.responses.create(model="m", input="Hi", stream=True)
    assert plain.incomplete_details is not None
    assert (plain.status, plain.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert last.type == "response.incomplete"
    assert last.response.output_text == "Hel"
    valid(plain)


@pytest.mark.parametrize("streams", [False, True])
def test_errors_before_the_first_word_are_the_librarys_own(streams: bool) -> None:
    with (
        client(script(Play(error=ScriptedError(429, "", "busy", 1)))) as ask,
        pytest.raises(openai.InternalServerError) as raised,
    ):
        ask.responses.create(model="m", input="Hi", stream=streams)
    assert raised.value.code == "provider_rate_limited"


def test_a_stream_that_breaks_raises() -> None:
    seen: list[Any] = []
    with client(script(Play(chunks=("Hel", "lo"), cut_after=1))) as ask, pytest.raises(openai.APIError):
        seen.extend(ask.responses.create(model="m", input="Hi", stream=True))


def test_what_needs_the_vendors_own_endpoint_is_refused_by_name() -> None:
    with client(script(Play(text="x"))) as ask, pytest.raises(openai.BadRequestError) as raised:
        ask.responses.create(model="m", input="Hi", previous_response_id="resp_1", tools=[{"type": "web_search"}])
    assert raised.value.param == "tools[0]"
    assert "previous_response_id" in raised.value.message


def test_a_question_reaches_a_vendor_as_a_chat_completion() -> None:
    with relayed(reply(200, completion("Hello"))) as (ask, up):
        told = ask.responses.create(
            model="m",
            instructions="Be brief.",
            input=[
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What?"},
                        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
                    ],
                }
            ],
            tools=TOOLS,
            tool_choice={"type": "function", "name": "look"},
            text={"format": {"type": "json_object"}, "verbosity": "low"},
            reasoning={"effort": "low", "summary": "auto"},
            include=["reasoning.encrypted_content"],
            max_output_tokens=5,
            temperature=0.5,
            store=False,
            metadata={"a": "b"},
            user="me",
        )
    assert told.output_text == "Hello"
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}
    function = {name: value for name, value in TOOLS[0].items() if name != "type"}
    assert up.seen[0].json == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What?"}, image]},
        ],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "response_format": {"type": "json_object"},
        "verbosity": "low",
        "reasoning_effort": "low",
        "max_tokens": 5,
        "temperature": 0.5,
        "store": False,
        "user": "me",
    }


@pytest.mark.process
def test_thinking_of_another_shape_comes_back_to_its_vendor_with_its_signature(tmp_path: Path) -> None:
    thinking = {"type": "thinking", "thinking": "let me see", "signature": "EqQB"}
    called = both(thinking, text_block("I look"), tool_block("toolu_1", "look", {"place": "Rome"}), stop="tool_use")
    with stage(tmp_path) as house, OpenAI(base_url=f"{house.url}/v1", api_key=HOUSE_KEY, max_retries=0) as ask:
        for stream in (False, True):
            vendor = house.play(called, both(text_block("Sun.")))
            items: ResponseInputParam = [{"role": "user", "content": f"Look {stream}"}]
            asked: dict[str, Any] = {"model": "claude-haiku-4-5", "max_output_tokens": 2000, "tools": TOOLS}
            asked["reasoning"] = {"effort": "low"}

            def turn(asked: dict[str, Any] = asked, items: Any = items, stream: bool = stream) -> Response:
                if not stream:
                    return ask.responses.create(**asked, input=items)  # type: ignore[no-any-return]
                with ask.responses.stream(**asked, input=items) as events:
                    return events.get_final_response()

            first = turn()
            assert [item.type for item in first.output] == ["reasoning", "message", "function_call"]
            items += first.output  # type: ignore[arg-type]
            items.append({"type": "function_call_output", "call_id": "toolu_1", "output": "sun"})
            assert turn().output_text == "Sun."
            assert vendor.seen[1].json["messages"][1]["content"] == [
                thinking,
                {"type": "text", "text": "I look"},
                {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"place": "Rome"}},
            ]
