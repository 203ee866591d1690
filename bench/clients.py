"""Ask over raw sockets, so that the asking costs little and the same everywhere."""

import asyncio
import re
import socket
import time
from collections.abc import Sequence
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_SENT = re.compile(rb"@(\d+)@")
_END_OF_CHUNKS = b"\r\n0\r\n\r\n"  # with the break before it: a head may end in a zero as well
PATIENCE_S = 120.0


def request(port: int, path: str, body: str, caller: int = 0) -> bytes:
    """Write a POST from the caller with this number."""
    address = f"127.{caller >> 16 & 255}.{caller >> 8 & 255}.{caller & 255}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"X-Forwarded-For: {address}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return (head + body).encode()


class Line:
    """Hold one connection on which one request is answered after the other."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, question: bytes) -> tuple[int, bytes]:
        """Send a request; return nanoseconds until its answer was whole, and the answer with its head."""
        began_ns = time.perf_counter_ns()
        self._socket.sendall(question)
        data = self._socket.recv(65536)
        while not _is_whole(data):
            more = self._socket.recv(65536)
            if not more:
                raise SystemExit(f"the connection ended after {data!r}")
            data += more
        return time.perf_counter_ns() - began_ns, data

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _is_whole(data: bytes) -> bool:
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return False
    length = _LENGTH.search(data, 0, end)
    return length is not None and len(data) >= end + 4 + int(length[1])


class Listener(asyncio.Protocol):
    """Ask once and note when each piece came.

    `delays_ns`: for each time found in the answer (see vendor.py), up to `pieces` of them, how old it was.
    """

    def __init__(self, pieces: int = 0) -> None:
        self._pieces = pieces
        self._seen_to = 0
        self.data = bytearray()
        self.delays_ns: list[int] = []
        self.ended_ns = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, question: bytes) -> None:
        """Send the request."""
        self.transport.write(question)

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        now_ns = time.monotonic_ns()
        self.data += data
        if len(self.delays_ns) < self._pieces:
            for found in _SENT.finditer(self.data, self._seen_to):
                self._seen_to = found.end()
                self.delays_ns.append(now_ns - int(found[1]))
                if len(self.delays_ns) == self._pieces:
                    break
        if self.data.endswith(_END_OF_CHUNKS) or (not self._pieces and _is_whole(bytes(self.data))):
            self._finish(now_ns)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give up."""
        if not self.done.done():
            self.done.set_exception(exc or ConnectionResetError(bytes(self.data[:500])))

    def _finish(self, now_ns: int) -> None:
        self.ended_ns = now_ns
        if not self.done.done():
            self.done.set_result(None)


async def connect(port: int, count: int, pieces: int = 0) -> list[Listener]:
    """Open connections."""
    loop = asyncio.get_running_loop()
    made = []
    for _ in range(count):
        _, listener = await loop.create_connection(lambda: Listener(pieces), "127.0.0.1", port)
        made.append(listener)
    return made


async def ask_all(listeners: Sequence[Listener], questions: Sequence[bytes], over_s: float = 0.0) -> None:
    """Ask on every connection, evenly over so many seconds, and wait until all are answered; then hang up."""
    began = asyncio.get_running_loop().time()
    for number, (listener, question) in enumerate(zip(listeners, questions, strict=True)):
        if over_s:
            due = began + over_s * number / len(listeners)
            await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
        listener.ask(question)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(listener.done for listener in listeners))
    for listener in listeners:
        listener.transport.close()
