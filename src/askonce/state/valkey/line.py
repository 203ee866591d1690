"""One connection on which all calls of a process travel together, over the parser of hiredis.

Calls made in one turn of the loop leave in one write; replies come in the order of the calls. A call has a deadline:
where the oldest one waits longer, the server is as good as away, everything in the air fails, and the connection is
closed, because replies could not be told apart any more.
"""

import asyncio
import contextlib
import socket
import ssl as tls
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

from askonce.state.valkey.server import Word, away

GRACE_S = 0.01  # a loop that was busy itself gets so long to read what came meanwhile
WAITING_MAX = 50_000  # calls in the air: more than a server does within any deadline


class Line(asyncio.Protocol):
    """Hold a connection; `lost` is called once when it ends."""

    def __init__(self, deadline_s: float, lost: Callable[[str], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader()
        self._deadline_s = deadline_s
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, asyncio.Future[Any]]] = deque()
        self._unsent: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self._suspect: asyncio.Future[Any] | None = None
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's own is none by name
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        """Hand out replies."""
        reader, waiting = self._reader, self._waiting
        try:
            reader.feed(data)
            reply = reader.gets()
            while reply is not False:
                if not waiting:
                    self.end("it said something that was not asked")
                    return
                _, future = waiting.popleft()
                if not future.done():
                    future.set_result(reply)
                reply = reader.gets()
        except hiredis.HiredisError:
            self.end("it does not speak the protocol")

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the other side hung up."""
        self.end(str(error) if error is not None else "the connection was closed")

    def ask(self, words: Sequence[Word]) -> asyncio.Future[Any]:
        """Send a command; the future is its reply, which may be a `hiredis.ReplyError`. Raises `Unsent`."""
        if not self.is_open:
            raise away("the connection is closed", unsent=True)
        if len(self._waiting) >= WAITING_MAX:
            raise away("too many calls are waiting for it", unsent=True)
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(hiredis.pack_command(tuple(words)))  # type: ignore[arg-type]
        future: asyncio.Future[Any] = self._loop.create_future()
        deadline = self._loop.time() + self._deadline_s
        self._waiting.append((deadline, future))
        if self._watch is None:
            self._watch = self._loop.call_at(deadline, self._look)
        return future

    def end(self, why: str) -> None:
        """Hang up; what is in the air fails."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if not self.is_open:
            return
        self.is_open = False
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(away(why))
        self._lost(why)

    def _send(self) -> None:
        unsent, self._unsent = self._unsent, []
        if self._transport is not None and self.is_open:
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def _look(self) -> None:
        """See whether the oldest call is late; it counts as such when it still is after a turn of the loop."""
        self._watch = None
        if not self._waiting:
            return
        deadline, oldest = self._waiting[0]
        if deadline > self._loop.time():
            self._watch = self._loop.call_at(deadline, self._look)
        elif self._suspect is not oldest:
            self._suspect = oldest
            self._watch = self._loop.call_later(GRACE_S, self._look)
        else:
            self.end(f"it did not answer within {self._deadline_s * 1000:.0f} ms")


async def connect(
    host: str, port: int, security: tls.SSLContext | None, deadline_s: float, lost: Callable[[str], None]
) -> Line:
    """Open a connection. Raises `OSError`, `TimeoutError`."""
    loop = asyncio.get_running_loop()
    line = Line(deadline_s, lost)
    if host.startswith("/"):
        await loop.create_unix_connection(lambda: line, host)
    else:
        transport, _ = await loop.create_connection(lambda: line, host, port, ssl=security)
        with contextlib.suppress(OSError):
            _keep_alive(transport)
    return line


def _keep_alive(transport: asyncio.BaseTransport) -> None:
    sock = transport.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
