"""Bounds that uvicorn's HTTP/1.1 protocol lacks: how large a request's head may be and how long it may take.

Costs a whole request one call and one comparison; only heads that come in pieces are counted. What is no HTTP at all is
answered in the project's own error shape.
"""

import secrets
from asyncio import Transport

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 64 * 1024  # request line and headers; browsers and proxies stay under 16 kB
HEAD_TIMEOUT_S = 20.0  # from the connection's start, or the head's first byte, to its end

_REFUSAL = b'{"error":"Malformed request","message":"%s","code":"malformed_request","requestId":"%s"}'
_HEAD = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"x-request-id: %s\r\ncontent-length: %d\r\n\r\n"
)
_NOT_HTTP = b"This is not a valid HTTP/1.1 request."
_TOO_LARGE = b"The request's headers are over 64 kB; send fewer."

_feed = HttpToolsProtocol.data_received  # looked up once: this runs for every request


class BoundedProtocol(HttpToolsProtocol):
    """Serve HTTP/1.1 with a bound on each request's head."""

    _head_bytes = 0
    _head_since = 0.0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn narrows it
        """Start the clock: a connection that never asks anything is closed."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(HEAD_TIMEOUT_S, self.timeout_keep_alive_handler)

    def data_received(self, data: bytes) -> None:
        """Feed the parser, and count what belongs to a head that is not complete."""
        _feed(self, data)
        cycle = self.cycle  # the last request whose head is complete; None before the first
        if cycle is None or cycle.scope is not self.scope:  # type: ignore[redundant-expr]  # uvicorn never says None
            self._count_head(len(data))
        elif self._head_bytes:
            self._head_bytes = 0

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, in JSON."""
        self._refuse(_NOT_HTTP)

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
