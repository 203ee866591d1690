"""The yardstick for streams: a plain ASGI app that passes a vendor's stream on, byte for byte, and does nothing else.

usage: relay.py PORT VENDOR_PORT
"""

import asyncio
import sys
from typing import Any

import httptools
import uvicorn

port, vendor_port = int(sys.argv[1]), int(sys.argv[2])
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: vendor\r\nContent-Length: %d\r\n\r\n"
START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


class Upstream(asyncio.Protocol):
    """Collect the pieces of one reply."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.ended = False
        self.something = asyncio.Event()
        self._parser = httptools.HttpResponseParser(self)

    def data_received(self, data: bytes) -> None:
        """Let the parser find the pieces."""
        self._parser.feed_data(data)
        self.something.set()

    def on_body(self, body: bytes) -> None:
        """Keep a piece."""
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        """Note the end."""
        self.ended = True


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Pass one question on, and its answer back."""
    body = (await receive()).get("body", b"")
    connection, upstream = await asyncio.get_running_loop().create_connection(Upstream, "127.0.0.1", vendor_port)
    connection.write(HEAD % len(body) + body)
    await send(START)
    while not upstream.ended:
        await upstream.something.wait()
        upstream.something.clear()
        pieces, upstream.pieces = upstream.pieces, []
        await send({"type": "http.response.body", "body": b"".join(pieces), "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    connection.close()


if __name__ == "__main__":
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="error",
        server_header=False,
        proxy_headers=False,
        lifespan="off",
        interface="asgi3",
        backlog=2048,
    )
