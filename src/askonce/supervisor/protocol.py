"""What uvicorn's HTTP/1.1 protocol lacks: bounds on heads and on readers, and calm about offers of other protocols.

A head may be so large and take so long. Costs a whole request two comparisons; only heads that come in pieces are
counted. What is no HTTP at all is answered in the project's own error shape, without a line in the log: anybody can
send it. A caller that takes nothing of its answer for a while is cut off: it would hold the answer in memory, and a
stream its seat. An offer to go on with another protocol (Java's client offers HTTP/2 with every first request) is
passed over, as RFC 9110, 7.8 allows.
"""

import secrets
from asyncio import TimerHandle, Transport

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024  # request line and headers; browsers and proxies stay under 16 kB
READER_TIMEOUT_S = 30.0  # without taking a single byte; a slow reader takes some
HEAD_TIMEOUT_S = 20.0  # from the connection's start, or the head's first byte, to its end

_REFUSAL = b'{"error":"Malformed request","message":"%s","code":"malformed_request","requestId":"%s"}'
_HEAD = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"x-request-id: %s\r\ncontent-length: %d\r\n\r\n"
)
_NOT_HTTP = b"This is not a valid HTTP/1.1 request."
_TOO_LARGE = b"The request's headers are over 64 kB; send fewer."

_FRAMING = frozenset((b"content-length", b"transfer-encoding"))


class BoundedProtocol(HttpToolsProtocol):
    """Serve HTTP/1.1 with a bound on each request's head."""

    _head_bytes = 0
    _head_since = 0.0
    _unread_bytes = 0
    _reader_timer: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Start the clock: a connection that never asks anything is closed."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(HEAD_TIMEOUT_S, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and count what belongs to a head that is not complete."""
        if len(data) + self._head_bytes > MAX_HEAD_BYTES and self._is_overlong(data):
            self._refuse(_TOO_LARGE)
            return
        self._unset_keepalive_if_required()
        rest = data
        while rest:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as offer:
                rest = rest[offer.args[0] :]
                self._decline_offer()
            except httptools.HttpParserError:
                self._refuse(_NOT_HTTP)
                return
            else:
                break
        cycle = self.cycle  # the last request whose head is complete; None before the first
        if cycle is None or cycle.scope is not self.scope:  # type: ignore[redundant-expr]  # uvicorn never says None
            self._count_head(len(data))
        elif self._head_bytes:
            self._head_bytes = 0

    def pause_writing(self) -> None:
        """Wait for the reader, but not for ever."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Go on: the reader has taken enough."""
        self._stop_watching()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching, and waiting: uvicorn leaves its timer running where the connection was reset."""
        self._stop_watching()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def _watch_reader(self) -> None:
        self._unread_bytes = self.transport.get_write_buffer_size()
        self._reader_timer = self.loop.call_later(READER_TIMEOUT_S, self._judge_reader)

    def _judge_reader(self) -> None:
        if self.transport.get_write_buffer_size() < self._unread_bytes:
            self._watch_reader()
        else:
            self.transport.abort()

    def _stop_watching(self) -> None:
        if self._reader_timer is not None:
            self._reader_timer.cancel()
            self._reader_timer = None

    def _is_overlong(self, data: bytes) -> bool:
        """Say whether much data is a head that does not end where it should; in doubt it is not."""
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope and cycle.more_body:  # type: ignore[redundant-expr]  # as above
            return False
        may_end_here = data[:1] in (b"\r", b"\n")  # the end of the head may lie over the border of two pieces
        return not may_end_here and b"\r\n\r\n" not in data[: MAX_HEAD_BYTES - self._head_bytes]

    def _decline_offer(self) -> None:
        """Read on as HTTP/1.1: the parser took the body, if there is one, for the beginning of the other protocol."""
        headers = self.cycle.scope["headers"]
        framing = [b"%s: %s\r\n" % (name, value) for name, value in headers if name in _FRAMING]
        if framing:
            self.cycle.more_body = True
            self.parser = httptools.HttpRequestParser(_BehindHead(self))
            self.parser.feed_data(b"POST / HTTP/1.1\r\n%s\r\n" % b"".join(framing))

    def _count_head(self, size: int) -> None:
        if self.transport.is_closing():
            return
        now = self.loop.time()
        if not self._head_bytes:
            self._head_since = now
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
            return
        if self._answering():
            return  # pipelined behind a request that is being answered: not a reason to cut that answer
        left_s = max(0.0, self._head_since + HEAD_TIMEOUT_S - now)
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(left_s, self.timeout_keep_alive_handler)

    def _answering(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete  # type: ignore[redundant-expr]  # as above

    def _refuse(self, sentence: bytes) -> None:
        request_id = secrets.token_hex(8).encode()
        body = _REFUSAL % (sentence, request_id)
        self.transport.write(_HEAD % (request_id, len(body)) + body)
        self.transport.close()


class _BehindHead:
    """Pass on to the protocol what a parser finds, but for the first head, which the protocol knows."""

    def __init__(self, protocol: BoundedProtocol) -> None:
        self._protocol = protocol
        self._behind = False
        self.on_body = protocol.on_body
        self.on_message_complete = protocol.on_message_complete

    def on_message_begin(self) -> None:
        if self._behind:
            self._protocol.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._behind:
            self._protocol.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._behind:
            self._protocol.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._behind:
            self._protocol.on_headers_complete()
        self._behind = True
