import asyncio
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.providers.connection import Broken, Connection


class Wire(asyncio.Transport):
    """A transport that only remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.written = b""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.aborted = True


OK = b"HTTP/1.1 200 OK\r\n"
SIZED = OK + b"Content-Length: 11\r\n\r\nhello world"
REPLIES = {
    "a length": SIZED,
    "chunks": OK + b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5;x=y\r\nworld\r\n0\r\nT: 1\r\n\r\n",
    "a hint before": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + SIZED,
}
FOREVER = float("inf")


def connection() -> tuple[Connection, Wire]:
    made, wire = Connection(), Wire()
    made.connection_made(wire)
    made.send(b"GET / HTTP/1.1\r\n\r\n")
    return made, wire


async def read(made: Connection) -> tuple[int, bytes]:
    status, _ = await made.head(FOREVER)
    body = b""
    while piece := await made.piece(FOREVER):
        body += piece
    return status, body


@given(st.sampled_from(sorted(REPLIES)), st.lists(st.integers(0, 140)))
def test_every_cut_of_a_reply_gives_the_same(kind: str, cuts: list[int]) -> None:
    made, wire = connection()
    reply, begin = REPLIES[kind], 0
    for end in [*sorted(cuts), len(reply)]:
        if reply[begin:end]:
            made.data_received(reply[begin:end])
        begin = max(begin, end)
    assert asyncio.run(read(made)) == (200, b"hello world")
    assert (made.ended, made.reusable, wire.aborted) == ("whole", True, False)


@given(st.sampled_from(["a length", "chunks"]), st.integers(0, 60))
def test_a_reply_that_ends_early_is_broken(kind: str, size: int) -> None:
    made, _ = connection()
    made.data_received(REPLIES[kind][:-1][:size])
    made.connection_lost(None)
    with pytest.raises(Broken):
        asyncio.run(read(made))


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_end_as_a_reply_or_broken(data: bytes) -> None:
    made, _ = connection()
    made.data_received(data)
    made.connection_lost(None)
    try:
        asyncio.run(read(made))
    except Broken:
        assert made.lost


def test_a_reply_that_nobody_asked_for_ends_the_connection() -> None:
    made, wire = connection()
    made.data_received(REPLIES["a length"] * 2)
    assert asyncio.run(read(made)) == (200, b"hello world")
    assert wire.aborted
    made, wire = connection()
    made.data_received(REPLIES["a length"])
    made.data_received(b"HTTP/1.1 200 OK\r\n")
    assert wire.aborted


def test_a_lost_connection_breaks_the_next_exchange_at_once() -> None:
    made, wire = connection()
    made.data_received(REPLIES["a length"])
    made.connection_lost(None)
    made.send(b"GET /again HTTP/1.1\r\n\r\n")
    assert b"again" not in wire.written
    with pytest.raises(Broken):
        asyncio.run(read(made))


def test_a_wait_ends_at_its_time() -> None:
    made, _ = connection()

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await made.head(asyncio.get_running_loop().time() + 0.01)

    asyncio.run(main())
    assert cast(object, made.ended) == "open"


def test_a_wait_may_end_before_an_earlier_one_would_have() -> None:
    made, _ = connection()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        waiting = asyncio.ensure_future(made.head(loop.time() + 60))
        await asyncio.sleep(0)
        made.data_received(OK + b"Content-Length: 5\r\n\r\n")
        await waiting
        with pytest.raises(TimeoutError):
            await made.piece(loop.time() + 0.01)

    asyncio.run(main())


def test_a_later_wait_is_not_ended_by_the_alarm_of_an_earlier_one() -> None:
    made, _ = connection()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        waiting = asyncio.ensure_future(made.head(began + 0.02))
        await asyncio.sleep(0)
        made.data_received(OK + b"Content-Length: 5\r\n\r\n")
        await waiting
        with pytest.raises(TimeoutError):
            await made.piece(began + 0.06)
        assert loop.time() >= began + 0.06

    asyncio.run(main())
