"""The bounds on a request's head, spoken to a real server by bytes."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
import uvicorn

from askonce.supervisor import protocol
from askonce.supervisor.protocol import MAX_HEAD_BYTES, BoundedProtocol

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]
GET = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
LARGE = 32 << 20  # more than the buffers of both sockets hold


async def application(scope: Any, receive: Any, send: Any) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    if scope["path"] == "/slow":
        await asyncio.sleep(0.6)
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % LARGE)]})
        await send({"type": "http.response.body", "body": bytes(LARGE)})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"%4d" % (size % 10_000)})


def spoken(talk: Talk) -> bytes:
    """Serve the application and hold one conversation with it."""

    async def run() -> bytes:
        config = uvicorn.Config(
            application, port=0, http=BoundedProtocol, ws="none", lifespan="off", log_config=None, access_log=False
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            return await asyncio.wait_for(talk(reader, writer), 10)
        finally:
            writer.close()
            server.should_exit = True
            await serving

    return asyncio.run(run())


def test_what_is_no_http_is_refused_in_our_own_shape() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"\x16\x03\x01 hello\r\n\r\n")
        return await reader.read()

    head, _, body = spoken(talk).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["code"] == "malformed_request"
    assert f"x-request-id: {json.loads(body)['requestId']}\r\n".encode() in head


def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET / HTTP/1.1\r\n")
        for _ in range(MAX_HEAD_BYTES // 1000 + 1):
            writer.write(b"x-filler: " + b"a" * 1000 + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0)
        return await reader.read()

    head, _, body = spoken(talk).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert "64 kB" in json.loads(body)["message"]


def test_a_head_that_comes_too_slowly_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.3)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        drip = asyncio.create_task(_drip(writer))
        try:
            return await reader.read()
        finally:
            drip.cancel()

    assert spoken(talk) == b""


async def _drip(writer: asyncio.StreamWriter) -> None:
    for byte in b"GET / HTTP/1.1\r\nx: " + b"a" * 1000:
        writer.write(bytes([byte]))
        await asyncio.sleep(0.05)


def test_a_connection_that_asks_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.2)
    assert spoken(lambda reader, _: reader.read()) == b""


def test_heads_in_pieces_and_long_bodies_are_served_on_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 1.0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        answers = b""
        for size in (0, 200_000, 7):
            question = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % size + b"b" * size
            for start in range(0, len(question), 30 if size < 100 else 10_000):
                writer.write(question[start : start + (30 if size < 100 else 10_000)])
                await writer.drain()
                await asyncio.sleep(0.001)
            head = await reader.readuntil(b"\r\n\r\n")
            answers += head[9:12] + await reader.readexactly(4)
        return answers

    assert spoken(talk) == b"200   0" + b"200   0" + b"200   7"


def test_half_a_pipelined_question_does_not_cut_the_answer_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.2)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(GET.replace(b"/ ", b"/slow ", 1) + b"GET / HT")
        return await reader.readuntil(b"\r\n\r\n")

    assert spoken(talk).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_body_is_read_although_another_protocol_is_offered_with_it(framing: str) -> None:
    offer = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
    body = b"content-length: 12\r\n\r\nhello, world"
    if framing == "chunks":
        body = b"transfer-encoding: chunked\r\n\r\n7\r\nhello, \r\n5\r\nworld\r\n0\r\n\r\n"
    question = b"POST / HTTP/1.1\r\nhost: a\r\n" + offer + body

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        answers = b""
        whole, piecemeal = [question], [question[at : at + 1] for at in range(len(question))]
        pipelined = [GET.replace(b"host", offer + b"host") + question + GET]
        for pieces, count in ((whole, 1), (piecemeal, 1), ([GET], 1), (pipelined, 3)):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            for _ in range(count):
                head = await reader.readuntil(b"\r\n\r\n")
                answers += head[9:12] + await reader.readexactly(4) + b" "
        return answers

    assert spoken(talk).split() == b"200 12 200 12 200 0 200 0 200 12 200 0".split()


def test_a_long_head_is_refused_though_it_comes_at_once_and_a_long_body_is_not() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        body = b"b" * 150_000
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r" % len(body))
        await asyncio.sleep(0.05)
        writer.write(b"\n" + body)  # the end of the head lies over the border
        served = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(4)
        writer.write(b"GET / HTTP/1.1\r\nhost: a\r\nx-filler: " + b"a" * (MAX_HEAD_BYTES + 1) + b"\r\n\r\n")
        return served + await reader.read()

    first, _, second = spoken(talk).partition(b"HTTP/1.1 400 ")
    assert first.startswith(b"HTTP/1.1 200 ")
    assert b"64 kB" in second


@pytest.mark.parametrize("noise", [b"\x16\x03\x01 hello\r\n\r\n", GET.replace(b"host", b"connection: upgrade\r\nhost")])
def test_strange_bytes_are_not_worth_a_line_in_the_log(noise: bytes, caplog: pytest.LogCaptureFixture) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(noise)
        return await reader.readuntil(b"\r\n\r\n")

    assert spoken(talk)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def _read_large(pauses_s: Iterable[float]) -> int:
    """Fetch the large answer with these pauses between reads; return how many bytes came before the end."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        got = 0
        try:
            for pause_s in pauses_s:
                got += len(await reader.read(1 << 20))
                await asyncio.sleep(pause_s)
            while data := await reader.read(1 << 20):
                got += len(data)
        except ConnectionError:
            pass
        return str(got).encode()

    return int(spoken(talk))


def test_a_reader_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "READER_TIMEOUT_S", 0.2)
    assert _read_large([1.0]) < LARGE


def test_a_slow_reader_gets_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "READER_TIMEOUT_S", 1.0)
    assert _read_large([0.05] * 40) > LARGE
