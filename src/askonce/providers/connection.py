"""One HTTP/1.1 connection to a vendor: bytes in, a reply out piece by piece.

Rules of this file:
- A piece is handed on as soon as it was read; pieces that arrived together are handed on together.
- Reading pauses while more than `HIGH_WATER` bytes wait, so that a slow reader bounds memory.
- A connection is reusable only after a whole reply of known length that its server did not mark as the last.
- 1xx replies are skipped (RFC 9110, 15.2).
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Literal

import httptools

HIGH_WATER = 256 * 1024  # four times the usual read; a reader that keeps up never meets it
MAX_HEAD_BYTES = 64 * 1024  # vendors send under 4 kB; more is not a reply that we want to hold

Ended = Literal["open", "whole", "broken"]


class Broken(Exception):
    """Report that the reply ended before its end, or is not HTTP."""


class Connection(asyncio.Protocol):
    """Carry one exchange after the other. Not safe for two tasks at once: who acquired it owns it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.lost = False
        self._waiter: asyncio.Future[None] | None = None
        self._until = 0.0  # the loop's time at which the waiter has waited long enough
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = 0.0
        self._paused = False
        self._parser: httptools.HttpResponseParser | None = None
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ended: Ended = "open"
        self.reusable = False
        self._head_bytes = 0
        self._has_head = False
        self._extra = False
        self._pieces: deque[bytes] = deque()
        self._waiting = 0

    # What the owner calls, in the order of an exchange.

    def send(self, data: bytes) -> None:
        """Write one whole request and get ready for its reply."""
        self._begin()
        self._parser = httptools.HttpResponseParser(self)
        if self.transport is None or self.lost:
            self.ended = "broken"
            return
        self.transport.write(data)

    async def head(self, until: float) -> tuple[int, Mapping[str, str]]:
        """Wait for the status and the headers (names in lower case). Raises `Broken`, `TimeoutError`.

        `until` is the loop's time, here and in `piece`.
        """
        while not self._has_head:
            if self.ended == "broken":
                raise Broken
            await self._wait(until)
        return self.status, self.headers

    async def piece(self, until: float) -> bytes:
        """Wait for the next piece of the body; b"" at its end. Raises `Broken`, `TimeoutError`."""
        while not self._pieces:
            if self.ended == "whole":
                return b""
            if self.ended == "broken":
                raise Broken
            await self._wait(until)
        found = self._pieces.popleft() if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        self._waiting = 0
        if self._paused and self.transport is not None:
            self._paused = False
            self.transport.resume_reading()
        return found

    def hang_up(self) -> None:
        """Close at once, whatever is under way."""
        self.lost = True
        self._stop_alarm()
        if self.transport is not None:
            self.transport.abort()

    async def _wait(self, until: float) -> None:
        # By hand, and with one alarm for the connection's whole life, set when it would ring too late: an alarm for
        # each wait cost 3 of the 80 µs that a streamed piece took, and asyncio.timeout() twenty.
        loop = asyncio.get_running_loop()
        self._until = until
        if self._alarm is None or until < self._alarm_at:
            self._set_alarm(loop, until)
        self._waiter = loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _set_alarm(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self._stop_alarm()
        self._alarm = loop.call_at(at, self._ring)
        self._alarm_at = at

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self) -> None:
        """End the wait if its time is over; its end may have moved since the alarm was set."""
        self._alarm = None
        if self._waiter is None or self._waiter.done():
            return  # whoever waits next sets another
        loop = asyncio.get_running_loop()
        if loop.time() < self._until:
            self._set_alarm(loop, self._until)
        else:
            self._waiter.set_exception(TimeoutError())

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; called again when TLS is started over a proxy's tunnel."""
        self.transport = transport  # type: ignore[assignment]  # TCP and TLS transports both are Transports

    def data_received(self, data: bytes) -> None:
        """Parse what came. Bytes outside an exchange mean that the server does not keep to HTTP: hang up."""
        if self._parser is None or self.ended != "open":
            self.hang_up()
            return
        if not self._has_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._break()
        if not self._has_head and self._head_bytes > MAX_HEAD_BYTES:
            self._break()
        if self._extra:
            self.hang_up()
        self._pause()
        self._wake()

    def _pause(self) -> None:
        if self._waiting > HIGH_WATER and not self._paused and self.transport is not None and not self.lost:
            self._paused = True
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """Close our side too."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the reply: whole if it has no length of its own and the server closed in order, else broken."""
        self.lost = True
        self._stop_alarm()
        if self.ended == "open":
            until_close = self._has_head and not {"content-length", "transfer-encoding"} & self.headers.keys()
            self.ended = "whole" if until_close and exc is None else "broken"
        self._wake()

    def _break(self) -> None:
        self.ended = "broken"
        self.hang_up()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Notice a reply that nobody asked for, behind the one that was."""
        self._extra = self.ended == "whole"

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; a repeated one keeps its last value."""
        if not self._extra:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Take the status; forget an interim reply."""
        if self._extra or self._parser is None:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self.headers = {}
        else:
            self._has_head = True

    def on_body(self, body: bytes) -> None:
        """Queue a piece."""
        if not self._extra:
            self._pieces.append(body)
            self._waiting += len(body)

    def on_message_complete(self) -> None:
        """End the reply, unless it was an interim one."""
        if self._has_head and not self._extra and self._parser is not None:
            self.ended = "whole"
            self.reusable = self._parser.should_keep_alive()
