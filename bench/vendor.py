"""A vendor that answers OpenAI-shaped calls at once, or as slowly as told, from one process on loopback.

Streamed pieces hold the time at which they were sent (`@ns@`, the machine's monotonic clock), so that whoever gets
one knows how long it was under way. GET /calls lists the calls: [[began_ns, ended_ns], ...].
"""

import argparse
import asyncio
import json
import time
from typing import cast

import uvloop
from msgspec import Struct

USAGE = {"prompt_tokens": 60, "completion_tokens": 110, "total_tokens": 170}
CODE = "```python src/dates.py\n" + "".join(f"value_{n:02d} = parse({n})\n" for n in range(17)) + "```\n"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_LAST = b"data: [DONE]\n\n"


class Manner(Struct, frozen=True):
    """Say how calls are answered: a whole one after `delay_ms`, a streamed one in `chunks` every `gap_ms`."""

    delay_ms: float
    chunks: int
    gap_ms: float


def completion() -> bytes:
    """Write a whole completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": CODE}, "finish_reason": "stop"}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06"}
    return json.dumps(whole | {"choices": [choice], "usage": USAGE}).encode()


def piece(delta: dict[str, str], finish: str | None = None) -> bytes:
    """Write a streamed piece as an event."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06"}
    usage = {"usage": USAGE} if finish else {}
    return b"data: " + json.dumps(whole | {"choices": [choice]} | usage).encode() + b"\n\n"


WHOLE = completion()
BEFORE, AFTER = piece({"content": "@@ and so on"}).split(b"@@")
FINISH = piece({}, "stop") + _LAST


class Vendor(asyncio.Protocol):
    """Answer one connection's requests."""

    calls: list[list[int]]

    def __init__(self, manner: Manner, calls: list[list[int]]) -> None:
        self._manner = manner
        self._calls = calls
        self._buffer = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request once it is whole."""
        self._buffer += data
        head, separator, rest = self._buffer.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if separator and len(rest) >= length:
            self._buffer = rest[length:]
            self._answer(head, rest[:length])

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET /calls"):
            self._whole(json.dumps(self._calls).encode())
        elif head.startswith(b"GET "):
            self._whole(b'{"object": "list", "data": [{"id": "gpt-4o", "object": "model"}]}')
        else:
            call = [time.monotonic_ns(), 0]
            self._calls.append(call)
            self._begin(call, json.loads(body).get("stream", False))

    def _begin(self, call: list[int], streamed: bool) -> None:
        if streamed:
            self._transport.write(_STREAM_HEAD)
            self._next(call, self._loop.time(), 0)
        elif self._manner.delay_ms:
            self._loop.call_later(self._manner.delay_ms / 1000, self._end, call)
        else:
            self._end(call)

    def _end(self, call: list[int]) -> None:
        call[1] = time.monotonic_ns()
        self._whole(WHOLE)

    def _next(self, call: list[int], began: float, sent: int) -> None:
        """Send a piece, and the next at its time; late ones do not push back those behind them."""
        if sent < self._manner.chunks:
            self._chunk(BEFORE + b"@%d@" % time.monotonic_ns() + AFTER)
            due = began + (sent + 1) * self._manner.gap_ms / 1000
            self._loop.call_at(due, self._next, call, began, sent + 1)
        else:
            call[1] = time.monotonic_ns()
            self._chunk(FINISH)
            self._transport.write(b"0\r\n\r\n")

    def _chunk(self, data: bytes) -> None:
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data))

    def _whole(self, body: bytes) -> None:
        self._transport.write(_HEAD % (len(body), body))


async def serve(port: int, manner: Manner) -> None:
    """Serve until killed."""
    calls: list[list[int]] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Vendor(manner, calls), "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--chunks", type=int, default=50)
    parser.add_argument("--gap-ms", type=float, default=20.0)
    args = parser.parse_args()
    uvloop.run(serve(args.port, Manner(args.delay_ms, args.chunks, args.gap_ms)))


if __name__ == "__main__":
    main()
