"""The official `openai` library against a gateway that listens, sync and async, plain and streamed, with tools."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel
from tests.api.conftest import World
from tests.clients.serving import already, served
from tests.providers.upstream import Play as Turn
from tests.providers.upstream import Upstream, completion, piece, reply, stream

from askonce.domain.ports import Provider
from askonce.providers.catalog import Vendor
from askonce.providers.chat import ChatProvider, fixed
from askonce.providers.http import Http, Limits
from askonce.providers.script import Play, Script, ScriptedCall, ScriptedError, ScriptedUsage
from askonce.providers.scripted import ScriptedProvider

HI: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hi"}]
TOOLS: list[ChatCompletionToolParam] = [
    {
        "type": "function",
        "function": {
            "name": "look",
            "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
        },
    }
]
KEY = "sk-of-ours-12345"
USAGE = ScriptedUsage(7, 3, 2)


class Scripted(ScriptedProvider):
    """Play a script, counting."""

    calls = 0

    def _choose(self, *given: str) -> Play:
        self.calls += 1
        return super()._choose(*given)


def script(*plays: Play) -> Scripted:
    return Scripted(Script(plays))


def keyed() -> World:
    """Make a world that knows our key: the library sends one always."""
    world = World()
    world.keys = [(KEY, "t")]
    return world


@contextmanager
def client(provider: Provider) -> Iterator[OpenAI]:
    with (
        served(keyed(), already(provider)) as address,
        OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as opened,
    ):
        yield opened


def test_a_question_is_answered_and_the_second_time_free() -> None:
    provider = script(Play(text="Hello, {prompt}", usage=USAGE, model_version="m-2"))
    with client(provider) as ask:
        first = ask.chat.completions.with_raw_response.create(model="m", messages=HI, user="me")
        second = ask.chat.completions.with_raw_response.create(model="m", messages=HI, user="you")
    one, two = first.parse(), second.parse()
    assert (one.choices[0].message.content, one.choices[0].finish_reason) == ("Hello, Hi", "stop")
    assert one.choices == two.choices
    assert one.usage is not None
    assert one.usage.prompt_tokens_details is not None
    assert (one.usage.total_tokens, one.usage.prompt_tokens_details.cached_tokens) == (10, 2)
    assert one.model == "m-2"
    assert one.id != two.id
    assert (first.headers["cache-status"], first.headers["x-ratelimit-remaining-requests"]) == (
        "askonce; fwd=miss; stored",
        "19",
    )
    assert second.headers["cache-status"].startswith("askonce; hit")
    assert provider.calls == 1


def test_a_stream_and_a_plain_question_are_one() -> None:
    provider = script(Play(chunks=("Hel", "lo"), usage=USAGE))
    with client(provider) as ask:
        for _ in range(2):
            got = list(
                ask.chat.completions.create(model="m", messages=HI, stream=True, stream_options={"include_usage": True})
            )
            assert "".join(c.choices[0].delta.content or "" for c in got if c.choices) == "Hello"
            assert got[-1].usage is not None
            assert got[-1].usage.total_tokens == 10
            assert got[-2].choices[0].finish_reason == "stop"
        assert ask.chat.completions.create(model="m", messages=HI).choices[0].message.content == "Hello"
    assert provider.calls == 1


def test_a_client_asks_afresh_by_a_header() -> None:
    provider = script(Play(text="x"))
    with client(provider) as ask:
        for _ in range(2):
            ask.chat.completions.create(model="m", messages=HI, extra_headers={"cache-control": "no-cache"})
    assert provider.calls == 2


CALLING = Play(
    last="user", thinking="Where?", text="Let me look.", tool_calls=(ScriptedCall("look", {"place": "Rome"}),)
)
TOLD = Play(last="tool", text="It says {result}.")


def test_a_loop_of_tools_comes_to_its_end() -> None:
    provider = script(CALLING, TOLD)
    with client(provider) as ask:
        messages = list(HI)
        answer = ask.chat.completions.create(model="m", messages=messages, tools=TOOLS).choices[0]
        assert answer.finish_reason == "tool_calls"
        assert answer.message.tool_calls is not None
        (call,) = answer.message.tool_calls
        assert call.type == "function"
        assert json.loads(call.function.arguments) == {"place": "Rome"}
        messages.append(cast(ChatCompletionMessageParam, answer.message.model_dump()))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": "sun"})
        end = ask.chat.completions.create(model="m", messages=messages, tools=TOOLS).choices[0]
    assert (end.message.content, end.finish_reason) == ("It says sun.", "stop")


@pytest.mark.parametrize("asked_before", [False, True])
def test_the_streaming_helper_adds_tool_calls_up(asked_before: bool) -> None:
    with client(script(CALLING)) as ask:
        if asked_before:
            ask.chat.completions.create(model="m", messages=HI, tools=TOOLS)
        with ask.chat.completions.stream(model="m", messages=HI, tools=TOOLS) as events:
            kinds = [event.type for event in events]
            message = events.get_final_completion().choices[0].message
    assert message.content == "Let me look."
    assert message.tool_calls is not None
    assert message.tool_calls[0].function.arguments == '{"place":"Rome"}'
    assert {"content.delta", "tool_calls.function.arguments.delta", "tool_calls.function.arguments.done"} <= set(kinds)
    assert message.model_extra is not None
    assert message.model_extra["reasoning_content"] == "Where?"


class City(BaseModel):
    """A structured answer."""

    name: str


def test_structured_outputs_are_parsed() -> None:
    with client(script(Play(text='{"name": "Rome"}'))) as ask:
        parsed = ask.chat.completions.parse(model="m", messages=HI, response_format=City)
    assert parsed.choices[0].message.parsed == City(name="Rome")


def test_the_async_client_asks_the_same_way() -> None:
    async def story(address: str) -> None:
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as ask:
            plain = await ask.chat.completions.create(model="m", messages=HI)
            assert plain.choices[0].message.content == "Hello"
            chunks = await ask.chat.completions.create(model="m", messages=HI, stream=True)
            assert [c.choices[0].delta.content async for c in chunks if c.choices[0].delta.content] == ["Hello"]

    with served(keyed(), already(script(Play(text="Hello")))) as address:
        asyncio.run(story(address))


def test_many_clients_with_one_question_make_one_call() -> None:
    provider = script(Play(chunks=("Hel", "lo"), delay_ms=200))
    world = keyed()
    world.limits.clear()

    async def story(address: str) -> list[str]:
        async with AsyncOpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as ask:

            async def one(streams: bool) -> str:
                if not streams:
                    plain = await ask.chat.completions.create(model="m", messages=HI)
                    return plain.choices[0].message.content or ""
                chunks = await ask.chat.completions.create(model="m", messages=HI, stream=True)
                return "".join([c.choices[0].delta.content or "" async for c in chunks])

            return await asyncio.gather(*(one(n % 2 == 0) for n in range(20)))

    with served(world, already(provider)) as address:
        assert asyncio.run(story(address)) == ["Hello"] * 20
    assert provider.calls == 1


@pytest.mark.parametrize(
    ("play", "error", "code"),
    [
        (Play(error=ScriptedError(400, "context_length_exceeded")), openai.BadRequestError, "context_length_exceeded"),
        (Play(error=ScriptedError(400, "content_filter")), openai.BadRequestError, "content_policy_violation"),
        (Play(error=ScriptedError(429, retry_after_s=7)), openai.InternalServerError, "provider_rate_limited"),
        (Play(error=ScriptedError(500)), openai.InternalServerError, "provider_error"),
    ],
)
def test_failures_are_the_librarys_own_errors(play: Play, error: type[openai.APIStatusError], code: str) -> None:
    with client(script(play)) as ask:
        for streams in (False, True):
            with pytest.raises(error) as caught:
                ask.chat.completions.create(model="m", messages=HI, stream=streams)
            assert caught.value.code == code
            assert caught.value.request_id


def test_what_is_refused_at_the_door_is_named() -> None:
    with client(script(Play(text="x"))) as ask:
        with pytest.raises(openai.BadRequestError) as caught:
            ask.chat.completions.create(model="m", messages=HI, n=2)
        assert (caught.value.param, caught.value.type) == ("n", "invalid_request_error")
        with pytest.raises(openai.NotFoundError) as missing:
            ask.chat.completions.create(model="nope", messages=HI)
        assert missing.value.code == "model_not_found"


def test_the_library_tries_again_by_itself() -> None:
    provider = script(Play(error=ScriptedError(500), times=1), Play(text="Hello"))
    with client(provider) as ask:
        patient = ask.with_options(max_retries=2)
        assert patient.chat.completions.create(model="m", messages=HI).choices[0].message.content == "Hello"
    assert provider.calls == 2


def test_the_library_is_told_when_trying_again_is_no_use() -> None:
    provider = script(Play(error=ScriptedError(401)))
    with client(provider) as ask:
        with pytest.raises(openai.InternalServerError) as caught:
            ask.with_options(max_retries=2).chat.completions.create(model="m", messages=HI)
        assert caught.value.code == "provider_auth_failed"
    assert provider.calls == 1


def test_over_the_limit_is_the_librarys_rate_limit_error() -> None:
    with client(script(Play(text="x"))) as ask:
        for _ in range(20):
            ask.chat.completions.create(model="m", messages=HI)
        with pytest.raises(openai.RateLimitError) as caught:
            ask.chat.completions.create(model="m", messages=HI)
    headers = caught.value.response.headers
    assert (caught.value.code, headers["x-ratelimit-remaining-requests"]) == ("rate_limit_exceeded", "0")
    assert int(headers["retry-after"]) > 0


def test_a_stream_that_breaks_is_an_error_of_the_library() -> None:
    with client(script(Play(chunks=("Hel", "lo", "!"), chunk_ms=5, cut_after=2))) as ask:
        chunks = ask.chat.completions.create(model="m", messages=HI, stream=True)
        assert [next(chunks).choices[0].delta.content for _ in range(3)] == ["", "Hel", "lo"]
        with pytest.raises(openai.APIError, match="broke the answer off"):
            next(chunks)


@contextmanager
def relayed(*turns: Turn) -> Iterator[tuple[OpenAI, Upstream]]:
    """Serve a gateway before a vendor of the same shape."""
    up = Upstream(*turns)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Provider]:
        async with up:
            http = Http()
            yield ChatProvider(Vendor("fake", "Fake"), fixed(up.base_url, "k"), http, Limits(5, 5, 5, 10))
            await http.close()

    with served(keyed(), opened) as address, OpenAI(base_url=f"{address}/v1", api_key=KEY, max_retries=0) as ask:
        yield ask, up


def test_a_question_reaches_a_vendor_of_the_same_shape_as_it_was_asked() -> None:
    asked: dict[str, Any] = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What?"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                    {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                ],
            },
        ],
        "tools": TOOLS,
        "tool_choice": "auto",
        "response_format": {"type": "json_object"},
        "reasoning_effort": "low",
        "logit_bias": {"1": 2},
        "max_completion_tokens": 5,
        "temperature": 0.5,
        "stop": ["x"],
        "user": "me",
        "metadata": {"a": "b"},
        "seed": 3,
    }
    with relayed(reply(200, completion("Hello"))) as (ask, up):
        ask.chat.completions.create(**asked)
    asked["max_tokens"] = asked.pop("max_completion_tokens")  # what others than OpenAI understand
    assert up.seen[0].json == asked


def test_a_vendors_tool_calls_come_through_in_both_modes() -> None:
    delta: dict[str, Any] = {"index": 0, "id": "call_x", "type": "function"}
    whole = delta | {"function": {"name": "look", "arguments": '{"place": "Rome"}'}}

    async def streaming(exchange: Any) -> None:
        exchange.open_stream()
        for call in (
            delta | {"function": {"name": "look", "arguments": ""}},
            {"index": 0, "function": {"arguments": '{"place"'}},
            {"index": 0, "function": {"arguments": ': "Rome"}'}},
        ):
            exchange.event(
                piece() | {"choices": [{"index": 0, "delta": {"tool_calls": [call]}, "finish_reason": None}]}
            )
        exchange.event(piece(finish="tool_calls"))
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.close_stream()

    message = {"role": "assistant", "content": None, "tool_calls": [whole]}
    plain = reply(200, completion("", choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}]))
    for turn, streams in ((streaming, True), (plain, False)):
        with relayed(turn) as (ask, up):
            for _ in range(2):
                with ask.chat.completions.stream(model="m", messages=HI, tools=TOOLS) as events:
                    calls = events.get_final_completion().choices[0].message.tool_calls
                assert calls is not None
                assert (calls[0].id, calls[0].function.arguments) == ("call_x", '{"place": "Rome"}')
            assert len(up.seen) == 1
            assert up.seen[0].json["stream"] is True, streams


def test_text_passes_through_as_it_comes() -> None:
    with relayed(stream(("Hel", "lo"))) as (ask, _up):
        got = [c.choices[0].delta.content for c in ask.chat.completions.create(model="m", messages=HI, stream=True)]
    assert "".join(text or "" for text in got) == "Hello"
