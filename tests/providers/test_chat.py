import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from tests.providers.upstream import (
    USAGE,
    Exchange,
    Play,
    Upstream,
    answer,
    completion,
    half_stream,
    piece,
    reply,
    silence,
    stall,
    stream,
)

from askonce.domain.answer import Answer, Delta, Piece
from askonce.domain.call import Call, Message, Params
from askonce.domain.content import Foreign, Text, Thinking, ToolCall, canonical_json
from askonce.domain.errors import (
    AskonceError,
    ConfigError,
    ContextExceeded,
    Invalid,
    ModelLoading,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderTimeout,
    UnknownModel,
)
from askonce.domain.ports import Provider
from askonce.domain.progress import Progress
from askonce.domain.usage import Usage
from askonce.providers.catalog import Vendor
from askonce.providers.chat import Address, ChatProvider, fixed
from askonce.providers.http import Http, Limits

VENDOR = Vendor(name="vendor", title="Vendor")
LIMITS = Limits(connect_s=5, first_byte_s=5, idle_s=5, total_s=10)
KEY = "sk-secret-0123456789"
SOON_S = 2.0


def call(*, stream: bool = False) -> Call:
    return Call("t", (Message("system", "Be brief."), Message("user", "Hi")), Params(temperature=0), stream)


def play(given: Play, test: Callable[[ChatProvider, Upstream], Awaitable[None]], limits: Limits = LIMITS) -> None:
    async def main() -> None:
        async with Upstream(given) as up:
            http = Http()
            try:
                await test(ChatProvider(VENDOR, fixed(up.base_url + "/", KEY), http, limits), up)
            finally:
                await http.close()

    asyncio.run(main())


async def everything(provider: ChatProvider, *, stream: bool, deadline_s: float = 10) -> list[Piece | Answer]:
    return [item async for item in provider.ask(call(stream=stream), "gpt-4o", deadline_s)]


def test_it_is_a_provider() -> None:
    provider: Provider = ChatProvider(VENDOR, fixed("http://127.0.0.1:1"), cast(Http, None), LIMITS)
    assert (provider.name, provider.drains) == ("vendor", False)


@pytest.mark.parametrize("key", ["two words", "line\nbreak", "clé"])
def test_a_key_that_no_header_can_hold_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="copy it again"):
        fixed("http://127.0.0.1:1", key)


def test_a_plain_call_gives_only_the_answer() -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        (got,) = await everything(provider, stream=False)
        assert isinstance(got, Answer)
        assert (got.text, got.finish, got.usage) == ("Hello", "stop", Usage(9, 3))
        assert (got.provider, got.model, got.model_version) == ("vendor", "gpt-4o", "gpt-4o-2024-08-06")
        assert (got.cost_nano, got.priced) == (0, False)
        assert got.took_ms >= got.first_token_ms >= 1
        seen = up.seen[0]
        assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
        assert seen.headers["authorization"] == f"Bearer {KEY}"
        assert seen.json == {
            "model": "gpt-4o",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "temperature": 0,
        }

    play(answer(), test)


def test_a_stream_gives_its_pieces_and_then_the_answer() -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        *deltas, got = await everything(provider, stream=True)
        assert "".join(delta.text for delta in deltas if isinstance(delta, Delta)) == "Hello"
        assert isinstance(got, Answer)
        assert (got.text, got.finish, got.usage) == ("Hello", "stop", Usage(9, 3))
        assert up.seen[0].json["stream_options"] == {"include_usage": True}

    play(stream(("Hel", "lo")), test)


def test_a_piece_is_passed_on_before_the_next_one_exists() -> None:
    told = asyncio.Event()

    async def slow(exchange: Exchange) -> None:
        exchange.open_stream()
        exchange.event(piece("one"))
        await told.wait()
        exchange.event(piece("two", "stop"))
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.close_stream()

    async def test(provider: ChatProvider, up: Upstream) -> None:
        asking = provider.ask(call(stream=True), "gpt-4o", 10)
        assert await anext(asking) == Delta("one")
        told.set()
        assert await anext(asking) == Delta("two")
        assert isinstance(await anext(asking), Answer)

    play(slow, test)


def test_a_stream_leaves_its_connection_for_the_next_call() -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        for _ in range(3):
            await everything(provider, stream=True)
        assert up.connections == 1

    play(stream(), test)


def test_usage_that_the_vendor_does_not_send_is_estimated() -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        got = (await everything(provider, stream=True))[-1]
        assert isinstance(got, Answer)
        assert got.usage.estimated
        assert got.usage.completion_tokens == 1

    play(stream(("Hello",), usage=None), test)


def test_a_server_that_ignores_stream_is_understood() -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        delta, got = await everything(provider, stream=True)
        assert delta == Delta("Hello")
        assert isinstance(got, Answer)

    play(answer(), test)


def test_a_stream_without_done_but_with_a_finish_is_whole() -> None:
    async def undone(exchange: Exchange) -> None:
        exchange.open_stream()
        exchange.event(piece("Hello", "length", usage=USAGE))
        exchange.close_stream()

    async def test(provider: ChatProvider, up: Upstream) -> None:
        got = (await everything(provider, stream=True))[-1]
        assert isinstance(got, Answer)
        assert got.finish == "length"

    play(undone, test)


async def error_in_the_stream(exchange: Exchange) -> None:
    exchange.open_stream()
    exchange.event(piece("Hel"))
    exchange.event({"error": {"code": 502, "message": "upstream died"}, "choices": []})  # OpenRouter, "Errors"
    await exchange.gone.wait()


async def garbage_in_the_stream(exchange: Exchange) -> None:
    exchange.open_stream()
    exchange.event(piece("Hel"))
    exchange.chunk(b"data: {oops\n\n")
    await exchange.gone.wait()


@pytest.mark.parametrize(
    "given",
    [half_stream(("Hel",)), half_stream(("Hel",), politely=True), error_in_the_stream, garbage_in_the_stream],
    ids=["cut", "ended early", "error", "garbage"],
)
def test_a_stream_that_breaks_fails_after_its_pieces(given: Play) -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        asking = provider.ask(call(stream=True), "gpt-4o", 10)
        assert await anext(asking) == Delta("Hel")
        with pytest.raises(ProviderFailed):
            await anext(asking)

    play(given, test)


@pytest.mark.parametrize(
    "given",
    [
        reply(200, b"<html>"),
        reply(200, {}),
        reply(200, completion("x", choices=[])),
        reply(200, b"\xff\xfe"),
        reply(204, b""),
    ],
)
def test_nonsense_is_the_vendors_failure(given: Play) -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        with pytest.raises(ProviderFailed):
            await everything(provider, stream=False)

    play(given, test)


def error(status: int, code: str, message: str = "", headers: dict[str, str] | None = None) -> Play:
    return reply(status, {"error": {"message": message, "type": "invalid_request_error", "code": code}}, headers)


@pytest.mark.parametrize(
    ("given", "expected", "wait"),
    [
        (error(400, "context_length_exceeded"), ContextExceeded, None),
        (error(401, "invalid_api_key", f"Incorrect API key provided: {KEY}"), ProviderDenied, None),
        (error(404, "model_not_found"), UnknownModel, None),
        (error(429, "rate_limit_exceeded", headers={"Retry-After": "17"}), ProviderBusy, 17),
        (error(500, "server_error"), ProviderFailed, None),
        (reply(302, b"", {"Location": "http://127.0.0.1:1/"}), ProviderFailed, None),
    ],
)
def test_refusals_become_our_errors(given: Play, expected: type[AskonceError], wait: int | None) -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        for streamed in (False, True):
            with pytest.raises(expected) as caught:
                await everything(provider, stream=streamed)
            assert caught.value.retry_after_s == wait
            assert KEY not in caught.value.message

    play(given, test)


@pytest.mark.parametrize("closing", ["close the iterator", "cancel the task"])
def test_leaving_a_stream_hangs_up_at_once(closing: str) -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        asking = provider.ask(call(stream=True), "gpt-4o", 10)
        assert await anext(asking) == Delta("Hel")
        if closing == "close the iterator":
            await asking.aclose()  # type: ignore[attr-defined]  # the port says AsyncIterator; ours is a generator
        else:
            waiting = asyncio.ensure_future(anext(asking))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        await asyncio.wait_for(up.hung_up.wait(), SOON_S)

    play(stall(), test)


def test_the_callers_deadline_holds_for_plain_calls_and_streams() -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        for streamed in (False, True):
            with pytest.raises(ProviderTimeout):
                await everything(provider, stream=streamed, deadline_s=0.05)

    play(silence(), test)


def test_the_first_byte_deadline_is_for_streams_only() -> None:
    async def late(exchange: Exchange) -> None:
        await asyncio.sleep(0.1)
        exchange.reply(200, b'{"choices":[{"message":{"content":"late"},"finish_reason":"stop"}]}')

    async def test(provider: ChatProvider, up: Upstream) -> None:
        (got,) = await everything(provider, stream=False)
        assert isinstance(got, Answer)
        with pytest.raises(ProviderTimeout):
            await everything(provider, stream=True)

    play(late, test, Limits(5, 0.03, 5, 5))


def test_an_endpoint_that_is_starting_is_awaited() -> None:
    async def main() -> None:
        async with Upstream(answer()) as up:
            ready = asyncio.Event()

            async def endpoint(deadline_s: float) -> Address:
                try:
                    await asyncio.wait_for(ready.wait(), deadline_s)
                except TimeoutError:
                    raise ModelLoading("The embedded model is still loading.", retry_after_s=1) from None
                return Address(up.base_url, "token")

            http = Http()
            provider = ChatProvider(VENDOR, endpoint, http, LIMITS)
            with pytest.raises(ModelLoading):
                await everything(provider, stream=False, deadline_s=0.02)
            asyncio.get_running_loop().call_later(0.02, ready.set)
            assert await everything(provider, stream=False)
            assert up.seen[0].headers["authorization"] == "Bearer token"
            await http.close()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("given", "models", "healthy"),
    [
        (reply(200, {"object": "list", "data": [{"id": "a", "object": "model"}, {"id": "b"}]}), ("a", "b"), True),
        (reply(200, [{"id": "a"}]), ("a",), True),
        (reply(404, b"no such path"), (), True),
        (reply(200, b"oops"), (), True),
        (reply(401, b"{}"), (), False),
        (reply(500, b""), (), False),
    ],
)
def test_probe_and_models_ask_for_the_list_only(given: Play, models: tuple[str, ...], healthy: bool) -> None:
    async def test(provider: ChatProvider, up: Upstream) -> None:
        assert await provider.models() == models
        assert (await provider.probe() == "") is healthy
        assert {(seen.method, seen.path, seen.body) for seen in up.seen} == {("GET", "/v1/models", b"")}

    play(given, test)


def test_the_probe_says_why_nothing_answers() -> None:
    async def main() -> None:
        http = Http()
        provider = ChatProvider(VENDOR, fixed("http://127.0.0.1:1"), http, LIMITS)
        assert "nothing listens" in await provider.probe()
        assert await provider.models() == ()
        await http.close()

    asyncio.run(main())


def test_thoughts_and_tool_calls_come_as_pieces_and_as_parts() -> None:
    def told(delta: dict[str, object]) -> dict[str, object]:
        return piece(choices=[{"index": 0, "delta": delta, "finish_reason": None}])

    def function(arguments: str) -> dict[str, object]:
        return {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": arguments}}

    async def calling(exchange: Exchange) -> None:
        exchange.open_stream()
        exchange.event(told({"reasoning_content": "Where?"}))
        exchange.event(told({"content": "Let me look."}))
        exchange.event(told({"tool_calls": [function('{"at"')]}))
        exchange.event(told({"tool_calls": [function(": 1}")]}))
        exchange.event(piece(finish="tool_calls"))
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.close_stream()

    async def test(provider: ChatProvider, up: Upstream) -> None:
        *pieces, got = await everything(provider, stream=True)
        assert isinstance(got, Answer)
        assert got.parts == (Thinking("Where?"), Text("Let me look."), ToolCall("c1", "look", '{"at": 1}'))
        assert (got.text, got.finish) == ("Let me look.", "tool_calls")
        progress = Progress()
        for each in pieces:
            assert not isinstance(each, Answer)
            progress.add(each)
        assert progress.rest(got) == []

    play(calling, test)


def test_neighbours_that_came_together_are_one_piece() -> None:
    async def together(exchange: Exchange) -> None:
        exchange.open_stream()
        events = [piece("Hel"), piece("lo"), piece(finish="stop")]
        exchange.chunk(b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events))
        exchange.close_stream()

    async def test(provider: ChatProvider, up: Upstream) -> None:
        hello, _ = await everything(provider, stream=True)
        assert hello == Delta("Hello")

    play(together, test)


def test_what_cannot_be_said_is_refused_before_anything_is_sent() -> None:
    document = Foreign("anthropic", "document", canonical_json({}))
    asked = Call("t", (Message("user", (document,)),), Params())

    async def test(provider: ChatProvider, up: Upstream) -> None:
        with pytest.raises(Invalid, match=r"messages\[0\]\.content\[0\] is document of the shape anthropic"):
            await anext(provider.ask(asked, "gpt-4o", 10))
        assert up.seen == []

    play(answer(), test)


COMMENT = b": still here\n\n"


async def nothing_but(exchange: Exchange, beat: bytes) -> None:
    while not exchange.gone.is_set():
        exchange.chunk(beat)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(exchange.gone.wait(), 0.01)


def test_neither_a_head_nor_comments_begin_a_stream() -> None:
    async def stalling(exchange: Exchange) -> None:
        exchange.open_stream()
        await nothing_but(exchange, COMMENT)

    async def test(provider: ChatProvider, up: Upstream) -> None:
        with pytest.raises(ProviderTimeout, match="did not answer in time"):
            await everything(provider, stream=True)

    play(stalling, test, Limits(5, 0.1, 5, 5))


def test_comments_are_signs_of_life_once_the_answer_has_begun() -> None:
    """OpenRouter's docs, "Streaming": comments (`: OPENROUTER PROCESSING`) are sent to prevent time-outs."""

    async def processing(exchange: Exchange) -> None:
        exchange.open_stream()
        exchange.event(piece("Hel"))
        for _ in range(12):
            exchange.chunk(COMMENT)
            await asyncio.sleep(0.05)
        exchange.event(piece("lo", "stop"))
        exchange.close_stream()

    async def test(provider: ChatProvider, up: Upstream) -> None:
        assert isinstance((await everything(provider, stream=True))[-1], Answer)

    play(processing, test, Limits(5, 5, 0.4, 5))


def test_without_any_sign_of_life_a_stream_is_given_up() -> None:
    async def stalling(exchange: Exchange) -> None:
        exchange.open_stream()
        exchange.event(piece("Hel"))
        await exchange.gone.wait()

    async def test(provider: ChatProvider, up: Upstream) -> None:
        with pytest.raises(ProviderTimeout, match="nothing more"):
            await everything(provider, stream=True)

    play(stalling, test, Limits(5, 5, 0.1, 5))


def test_a_stream_has_the_first_bytes_time_until_its_first_event_even_after_its_head() -> None:
    async def thinking(exchange: Exchange) -> None:
        exchange.open_stream()
        await asyncio.sleep(0.15)
        exchange.event(piece("Hello", "stop"))
        exchange.close_stream()

    async def test(provider: ChatProvider, up: Upstream) -> None:
        assert isinstance((await everything(provider, stream=True))[-1], Answer)

    play(thinking, test, Limits(5, 5, 0.05, 5))
