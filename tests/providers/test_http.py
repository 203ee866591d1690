import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvloop
from tests.providers.upstream import Exchange, Play, Upstream, answer, half_stream, piece, reply, silence, stall, stream

from askonce.domain.errors import AskonceError, ProviderBusy, ProviderFailed, ProviderTimeout
from askonce.providers import http as http_module
from askonce.providers.http import Http, Limits, Request, retry_after_s

PATIENT = Limits(connect_s=5, first_byte_s=5, idle_s=5, total_s=10)
SOON_S = 4.0  # a hang-up is noticed in under a millisecond; the rest is patience with a busy machine


def post(url: str) -> Request:
    return Request("POST", url + "/chat/completions", (("Content-Type", "application/json"),), b'{"a":1}', "Vendor")


def run(test: Callable[[Http], Awaitable[None]], http: Callable[[], Http] = Http) -> None:
    """Run a test on both loops: gateways run on uvloop, commands on asyncio's own."""

    async def main() -> None:
        client = http()
        try:
            await test(client)
        finally:
            await client.close()

    for new_loop in (asyncio.new_event_loop, uvloop.new_event_loop):
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())


async def fetch(http: Http, url: str, limits: Limits = PATIENT) -> bytes:
    async with http.exchange(post(url), limits) as got:
        return await got.body()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(SOON_S):
        while not true():  # what is polled for belongs to a server, which has no event for it
            await asyncio.sleep(0.001)


def test_a_request_arrives_as_it_was_given() -> None:
    async def test(http: Http) -> None:
        async with Upstream(answer()) as up:
            async with http.exchange(post(up.base_url), PATIENT) as got:
                assert got.status == 200
                assert got.headers["content-type"] == "application/json"
                assert b'"Hello"' in await got.body()
            seen = up.seen[0]
            assert (seen.method, seen.path, seen.body) == ("POST", "/v1/chat/completions", b'{"a":1}')
            assert seen.headers["host"] == f"127.0.0.1:{up.port}"
            assert seen.headers["accept-encoding"] == "identity"

    run(test)


def test_a_connection_is_used_again() -> None:
    async def test(http: Http) -> None:
        async with Upstream(answer(), stream(), answer()) as up:
            for _ in range(3):
                await fetch(http, up.base_url)
            assert up.connections == 1

    run(test)


def test_a_connection_closed_by_its_server_is_not_used_again() -> None:
    async def once(exchange: Exchange) -> None:
        exchange.reply(200, b"{}", {"Connection": "close"})
        exchange.transport.close()

    async def test(http: Http) -> None:
        async with Upstream(once) as up:
            await fetch(http, up.base_url)
            await fetch(http, up.base_url)
            assert up.connections == 2

    run(test)


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    async def old(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        exchange.transport.close()

    async def test(http: Http) -> None:
        async with Upstream(old) as up:
            assert await fetch(http, up.base_url) == b"all of it"

    run(test)


def test_interim_replies_are_skipped() -> None:
    async def hinting(exchange: Exchange) -> None:
        exchange.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        exchange.reply(200, b"real")

    async def test(http: Http) -> None:
        async with Upstream(hinting) as up:
            assert await fetch(http, up.base_url) == b"real"

    run(test)


def test_pieces_are_handed_on_as_they_come() -> None:
    async def test(http: Http) -> None:
        told = asyncio.Event()

        async def slow(exchange: Exchange) -> None:
            exchange.open_stream()
            exchange.event(piece("one"))
            await told.wait()  # the second piece is sent only after the first was handed on
            exchange.event(piece("two"))
            exchange.close_stream()

        async with Upstream(slow) as up, http.exchange(post(up.base_url), PATIENT) as got:
            assert b"one" in await got.piece()
            told.set()
            assert b"two" in await got.piece()

    run(test)


@pytest.mark.parametrize("play", [silence(), stall()], ids=["before the head", "in the stream"])
def test_a_cancelled_task_hangs_up_at_once(play: Play) -> None:
    async def test(http: Http) -> None:
        async with Upstream(play) as up:
            task = asyncio.create_task(fetch(http, up.base_url))
            await until(lambda: bool(up.seen))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.wait_for(up.hung_up.wait(), SOON_S)

    run(test)


def test_a_closed_iterator_hangs_up_at_once() -> None:
    async def test(http: Http) -> None:
        async with Upstream(stall()) as up:
            async with http.exchange(post(up.base_url), PATIENT) as got:
                assert await got.piece()
            await asyncio.wait_for(up.hung_up.wait(), SOON_S)

    run(test)


def test_hanging_up_gives_the_place_in_the_pool_back() -> None:
    async def test(http: Http) -> None:
        async with Upstream(silence()) as up:
            for _ in range(5):
                with pytest.raises(ProviderTimeout):
                    await fetch(http, up.base_url, Limits(5, 0.02, 5, 5))
        async with Upstream(answer()) as up:
            assert await fetch(http, up.base_url)

    run(test, lambda: Http(max_connections=2))


def test_a_full_pool_says_so_and_frees_itself() -> None:
    async def test(http: Http) -> None:
        async with Upstream(stall()) as up:
            async with http.exchange(post(up.base_url), PATIENT):
                with pytest.raises(ProviderBusy):
                    await fetch(http, up.base_url, Limits(0.02, 5, 5, 5))
            async with http.exchange(post(up.base_url), PATIENT) as got:
                assert got.status == 200

    run(test, lambda: Http(max_connections=1))


def test_idle_connections_never_push_the_pool_over_its_bound() -> None:
    async def test(http: Http) -> None:
        async with Upstream(answer()) as one, Upstream(answer()) as two, Upstream(answer()) as three:
            for up in (one, two, three):
                await fetch(http, up.base_url)
            await until(lambda: one.open_connections + two.open_connections + three.open_connections == 2)

    run(test, lambda: Http(max_connections=2))


@pytest.mark.parametrize(
    ("play", "limits", "words"),
    [
        (silence(), Limits(5, 0.05, 5, 5), "did not answer in time"),
        (stall(), Limits(5, 5, 0.05, 5), "sent nothing more"),
        (stall(), Limits(5, 5, 5, 0.05), "sent nothing more"),
        (silence(), Limits(5, 5, 5, 0.05), "did not answer"),
    ],
    ids=["first byte", "idle", "total in the stream", "total before the head"],
)
def test_each_deadline_ends_the_exchange(play: Play, limits: Limits, words: str) -> None:
    async def test(http: Http) -> None:
        async with Upstream(play) as up:
            with pytest.raises(ProviderTimeout, match=words):
                await fetch(http, up.base_url, limits)
            await asyncio.wait_for(up.hung_up.wait(), SOON_S)

    run(test)


def test_the_connecting_deadline_holds() -> None:
    async def test(http: Http) -> None:
        with full_backlog() as port:
            started = time.monotonic()
            with pytest.raises(ProviderTimeout, match="connected"):
                await fetch(http, f"http://127.0.0.1:{port}", Limits(0.2, 5, 5, 5))
            assert time.monotonic() - started < SOON_S

    run(test)


@contextmanager
def full_backlog() -> Iterator[int]:
    """Listen without accepting, with a queue that is full, so that further connections hang."""
    with socket.socket() as listener, ExitStack() as held:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def not_http(exchange: Exchange) -> None:
    exchange.send(b"SSH-2.0-OpenSSH_9.6\r\n")


async def endless_head(exchange: Exchange) -> None:
    exchange.send(b"HTTP/1.1 200 OK\r\n" + b"X-Pad: " + b"a" * 100_000)


@pytest.mark.parametrize("play", [half_stream(), not_http, endless_head], ids=["cut off", "not HTTP", "endless head"])
def test_what_makes_no_sense_is_the_vendors_failure(play: Play) -> None:
    async def test(http: Http) -> None:
        async with Upstream(play) as up:
            with pytest.raises(ProviderFailed, match="Vendor broke the answer off"):
                await fetch(http, up.base_url)

    run(test)


@pytest.mark.parametrize(
    ("url", "words"),
    [("http://127.0.0.1:1", "nothing listens"), ("http://no-such-host.invalid", "cannot be resolved")],
)
def test_unreachable_addresses_are_the_vendors_failure(url: str, words: str) -> None:
    async def test(http: Http) -> None:
        with pytest.raises(ProviderFailed, match=words):
            await fetch(http, url)

    run(test)


def test_redirects_are_not_followed() -> None:
    async def test(http: Http) -> None:
        async with Upstream(answer()) as elsewhere, Upstream(reply(302, b"", {"Location": elsewhere.base_url})) as up:
            async with http.exchange(post(up.base_url), PATIENT) as got:
                assert got.status == 302
            assert elsewhere.seen == []

    run(test)


def test_an_endless_body_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "MAX_BODY_BYTES", 1 << 20)

    async def test(http: Http) -> None:
        async with Upstream(reply(200, b"x" * (2 << 20))) as up:
            with pytest.raises(ProviderFailed, match="more than"):
                await fetch(http, up.base_url)

    run(test)


def test_a_slow_reader_bounds_what_waits() -> None:
    async def test(http: Http) -> None:
        whole = b"x" * (8 << 20)
        async with Upstream(reply(200, whole)) as up, http.exchange(post(up.base_url), PATIENT) as got:
            await asyncio.sleep(0.05)
            first = await got.piece()
            assert len(first) < 2 << 20
            assert first + await got.body() == whole

    run(test)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.2"}, 1),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:40 GMT"}, 60),
        ({"retry-after": "Thu, 01 Jan 1970 00:00:01 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "999999999"}, 86400),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 2),
        ({"retry-after-ms": "9" * 5000}, None),
        ({"retry-after-ms": "²"}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: int | None) -> None:
    assert retry_after_s(headers, now_s=40.0) == seconds


def test_errors_never_show_an_address() -> None:
    async def test(http: Http) -> None:
        with pytest.raises(AskonceError) as caught:
            await fetch(http, "http://127.0.0.1:1/secret-path")
        assert "127.0.0.1" not in caught.value.message
        assert "secret" not in caught.value.message

    run(test)
