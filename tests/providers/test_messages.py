"""An Anthropic-shaped endpoint is asked as its vendor wants it, and its answers and refusals are ours."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec
import pytest
from msgspec import Raw
from tests.providers.anthropic_upstream import (
    answer,
    events_of,
    failure,
    message,
    play_events,
    sent,
    stream,
    text_block,
    tool_block,
)
from tests.providers.upstream import Exchange, Play, Upstream, heard, reply, silence

from askonce.domain.answer import Answer, Delta, Piece, ToolDelta
from askonce.domain.call import Aside, Call, Candidate, Message, Params, Tool
from askonce.domain.content import Foreign, Text, ToolCall
from askonce.domain.errors import (
    AskonceError,
    ContextExceeded,
    Invalid,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderRejected,
    ProviderTimeout,
    UnknownModel,
)
from askonce.domain.ports import Provider
from askonce.domain.usage import Usage
from askonce.providers.catalog import Vendor
from askonce.providers.chat import fixed
from askonce.providers.http import Http, Limits
from askonce.providers.messages import Counter, MessagesProvider

VENDOR = Vendor(name="vendor", title="Vendor", shape="anthropic")
LIMITS = Limits(connect_s=5, first_byte_s=5, idle_s=5, total_s=10)
KEY = "sk-ant-secret-0123456789"
MODEL = "claude-haiku-4-5"
BETA = Aside(("headers", "anthropic-beta"), Raw(b'"one-2025,two-2025"'))


def call(*, stream: bool = False, **fields: Any) -> Call:
    messages = (Message("system", "Be brief."), Message("user", "Hi"))
    return Call("t", messages, Params(temperature=0.0, max_tokens=9), stream, shape="anthropic", **fields)


def play(
    given: Play | Sequence[Play],
    test: Callable[[MessagesProvider, Upstream], Awaitable[None]],
    limits: Limits = LIMITS,
) -> None:
    plays = given if isinstance(given, Sequence) else [given]

    async def main() -> None:
        async with Upstream(*plays) as up:
            http = Http()
            try:
                await test(MessagesProvider(VENDOR, fixed(up.base_url, KEY), http, limits), up)
            finally:
                await http.close()

    asyncio.run(main())


async def everything(provider: MessagesProvider, asked: Call, deadline_s: float = 10) -> list[Piece | Answer]:
    return [item async for item in heard(provider.ask(asked, MODEL, deadline_s))]


def test_it_is_a_provider() -> None:
    provider: Provider = MessagesProvider(VENDOR, fixed("http://127.0.0.1:1"), cast(Http, None), LIMITS)
    assert (provider.name, provider.drains) == ("vendor", False)


def test_a_plain_call_gives_only_the_answer() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        (got,) = await everything(provider, call(asides=(BETA,)))
        assert isinstance(got, Answer)
        assert (got.text, got.finish, got.usage, got.parts) == ("Hello", "stop", Usage(9, 3), ())
        assert (got.provider, got.model, got.model_version) == ("vendor", MODEL, f"{MODEL}-20251001")
        assert (got.cost_nano, got.priced) == (0, False)
        assert got.took_ms >= got.first_token_ms >= 1
        seen = up.seen[0]
        assert (seen.method, seen.path) == ("POST", "/v1/messages")
        assert seen.headers["x-api-key"] == KEY
        assert seen.headers["anthropic-version"] == "2023-06-01"
        assert seen.headers["anthropic-beta"] == "one-2025,two-2025"
        assert "authorization" not in seen.headers
        assert seen.json == {
            "model": MODEL,
            "max_tokens": 9,
            "system": "Be brief.",
            "messages": [{"role": "user", "content": "Hi"}],
            "temperature": 0,
        }

    play(answer(), test)


def test_a_stream_gives_its_pieces_and_then_the_answer() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        *pieces, got = await everything(provider, call(stream=True))
        assert isinstance(got, Answer)
        assert "".join(piece.text for piece in pieces if isinstance(piece, Delta)) == "Hello"
        assert "".join(piece.arguments for piece in pieces if isinstance(piece, ToolDelta)) == '{"a": 1}'
        assert got.parts == (Text("Hello"), ToolCall("t1", "f", '{"a": 1}'))
        assert (got.text, got.finish, got.usage) == ("Hello", "tool_calls", Usage(9, 3))
        assert up.seen[0].json["stream"] is True
        await everything(provider, call(stream=True))
        assert up.connections == 1

    play(stream(text_block("Hello"), tool_block("t1", "f", {"a": 1}), stop="tool_use"), test)


def test_a_piece_is_passed_on_before_the_next_one_exists() -> None:
    told = asyncio.Event()
    events = events_of(message(text_block("onetwo")))
    first, second = play_events(events[:4]), events[4:]

    async def slow(exchange: Exchange) -> None:
        await first(_Unended(exchange))  # type: ignore[arg-type]  # all of an exchange but its end
        await told.wait()
        for event in second:
            exchange.event(event)
        exchange.close_stream()

    async def test(provider: MessagesProvider, up: Upstream) -> None:
        asking = heard(provider.ask(call(stream=True), MODEL, 10))
        assert await anext(asking) == Delta("one")
        told.set()
        assert await anext(asking) == Delta("two")
        assert isinstance(await anext(asking), Answer)

    play(slow, test)


class _Unended:
    def __init__(self, exchange: Exchange) -> None:
        self.open_stream, self.chunk = exchange.open_stream, exchange.chunk

    def close_stream(self) -> None:
        """Leave the stream open."""


def test_a_server_that_ignores_stream_is_understood() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        (got,) = await everything(provider, call(stream=True))
        assert isinstance(got, Answer)
        assert got.text == "Before it.Behind it."
        kinds = [part.kind if isinstance(part, Foreign) else type(part).__name__ for part in got.parts]
        assert kinds == ["Text", "server_tool_use", "Text"]  # no piece has torn them apart

    searched = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    play(answer(text_block("Before it."), searched, text_block("Behind it.")), test)


def test_usage_that_the_vendor_does_not_send_is_estimated() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        (got,) = await everything(provider, call())
        assert isinstance(got, Answer)
        assert got.usage.estimated

    play(answer(usage=None), test)


def test_a_stream_that_breaks_off_gives_what_came_and_then_fails() -> None:
    events = events_of(message(text_block("Hello")))

    async def test(provider: MessagesProvider, up: Upstream) -> None:
        asking = heard(provider.ask(call(stream=True), MODEL, 10))
        assert [await anext(asking), await anext(asking)] == [Delta("Hel"), Delta("lo")]
        with pytest.raises(ProviderFailed):
            await anext(asking)

    for cut in (True, False):
        play(play_events(events[:-2], cut=cut), test)


def test_an_overload_in_the_midst_is_a_busy_provider() -> None:
    events = events_of(message(text_block("Hello")))[:4]
    broken = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

    async def test(provider: MessagesProvider, up: Upstream) -> None:
        with pytest.raises(ProviderBusy):
            await everything(provider, call(stream=True))

    play(play_events([*events, broken]), test)


# Anthropic's "Errors" and the sentences that it answers with.
REFUSALS: list[tuple[int, str, str, type[AskonceError]]] = [
    (400, "invalid_request_error", "messages: at least one message is required", ProviderRejected),
    (400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum", ContextExceeded),
    (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", ProviderDenied),
    (401, "authentication_error", "invalid x-api-key", ProviderDenied),
    (403, "permission_error", "no", ProviderDenied),
    (404, "not_found_error", "model: claude-nope", UnknownModel),
    (404, "not_found_error", "Not found", ProviderFailed),
    (413, "request_too_large", "Request exceeds the maximum size", ProviderRejected),
    (429, "rate_limit_error", "This request would exceed your rate limit", ProviderBusy),
    (500, "api_error", "Internal server error", ProviderFailed),
    (529, "overloaded_error", "Overloaded", ProviderBusy),
]


@pytest.mark.parametrize(("status", "kind", "said", "error"), REFUSALS)
def test_refusals_are_ours_and_hold_no_key(status: int, kind: str, said: str, error: type[AskonceError]) -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        with pytest.raises(error) as caught:
            await everything(provider, call())
        assert type(caught.value) is error
        assert KEY not in caught.value.message

    play(failure(status, kind, f"{said} {KEY}"), test)


def test_a_busy_vendors_wait_is_kept() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        with pytest.raises(ProviderBusy) as caught:
            await everything(provider, call())
        assert caught.value.retry_after_s == 7

    for status in (429, 529):
        play(reply(status, {}, {"Retry-After": "7"}), test)


def test_silence_is_a_timeout_and_hanging_up_reaches_the_vendor() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        with pytest.raises(ProviderTimeout):
            await everything(provider, call(), deadline_s=0.05)
        await asyncio.wait_for(up.hung_up.wait(), 5)

    play(silence(), test)


def test_what_cannot_be_said_is_refused_before_anything_is_sent() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        with pytest.raises(Invalid):
            await everything(provider, Call("t", (Message("user", "Hi"),), Params(seed=1)))
        assert not up.seen

    play(answer(), test)


def test_models_are_listed_and_probed_without_paying() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        assert await provider.models() == ("a", "b")
        assert await provider.probe() == ""
        assert {(seen.method, seen.path) for seen in up.seen} == {("GET", "/v1/models?limit=1000")}

    play(reply(200, {"data": [{"id": "a"}, {"id": "b"}], "has_more": False}), test)


def test_a_vendor_that_is_away_is_not_healthy_and_lists_nothing() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        assert "credentials" in await provider.probe()
        assert await provider.models() == ()

    play(failure(401, "authentication_error"), test)


def test_the_vendor_counts_tokens_where_it_can() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        counter = Counter({"vendor": (provider,)}, 10.0)
        tool = Tool("n", "d", Raw(b'{"type":"object"}'))
        asked = call(asides=(BETA,), tools=(tool,), stream=True)
        assert await counter.count(asked, Candidate("vendor", MODEL)) == (14, False)
        assert up.seen[0].path == "/v1/messages/count_tokens"
        assert up.seen[0].headers["anthropic-beta"] == "one-2025,two-2025"
        assert up.seen[0].json.keys() == {"model", "messages", "system", "tools"}
        tokens, estimated = await counter.count(asked, Candidate("other", "mistral-small"))
        assert tokens > (await counter.count(call(), Candidate("other", "mistral-small")))[0] > 0
        assert estimated

    play(reply(200, {"input_tokens": 14}), test)


def test_where_one_key_is_refused_the_next_one_counts() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        counter = Counter({"vendor": (provider, provider)}, 10.0)
        assert await counter.count(call(), Candidate("vendor", MODEL)) == (14, False)
        with pytest.raises(ProviderDenied):
            await Counter({"vendor": (provider,)}, 10.0).count(call(), Candidate("vendor", "m"))
        assert [seen.path for seen in up.seen] == ["/v1/messages/count_tokens"] * 3

    first, then = failure(401, "authentication_error"), reply(200, {"input_tokens": 14})
    play([first, then, first], test)


def test_a_count_that_is_refused_is_our_error() -> None:
    async def test(provider: MessagesProvider, up: Upstream) -> None:
        with pytest.raises(ProviderDenied):
            await provider.count(call(), MODEL, 10)

    play(failure(401, "authentication_error"), test)


def test_usage_is_told_as_soon_as_it_is_known() -> None:
    """Anthropic's guide "Streaming messages": `message_start` has the prompt's counts, `message_delta` the totals."""

    async def test(provider: MessagesProvider, _up: Upstream) -> None:
        items = [item async for item in provider.ask(call(stream=True), MODEL, 10)]
        told = [item for item in items if isinstance(item, Usage)]
        whole = items[-1]
        assert isinstance(whole, Answer)
        assert isinstance(items[0], Usage)
        assert told[0].prompt_tokens == whole.usage.prompt_tokens
        assert told[-1] == whole.usage

    play(stream(text_block("Hello")), test)


def test_pings_do_not_begin_an_answer_but_keep_it_alive() -> None:
    whole = events_of(message(text_block("Hello")))

    async def pinging(exchange: Exchange) -> None:
        exchange.open_stream()
        if exchange.seen.json["temperature"]:
            exchange.chunk(sent(whole[0]))
            for _ in range(10):
                exchange.chunk(sent({"type": "ping"}))
                await asyncio.sleep(0.05)
            for event in whole[1:]:
                exchange.chunk(sent(event))
            exchange.close_stream()
        while not exchange.gone.is_set():
            exchange.chunk(sent({"type": "ping"}))
            await asyncio.sleep(0.01)

    async def test(provider: MessagesProvider, up: Upstream) -> None:
        with pytest.raises(ProviderTimeout, match="did not answer in time"):
            await everything(provider, call(stream=True))
        warm = msgspec.structs.replace(call(stream=True), params=Params(temperature=1.0, max_tokens=9))
        assert isinstance((await everything(provider, warm))[-1], Answer)

    play(pinging, test, Limits(5, 0.3, 0.3, 5))
