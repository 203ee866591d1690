"""A vendor for tests: a real server on loopback that plays OpenAI-shaped answers, and notices who hangs up.

    async with Upstream(answer("Hello")) as up:
        ... ask at up.base_url ...
        assert up.seen[0].json["model"] == "gpt-4o"

Each request takes the next play; the last one is repeated. A play is a coroutine function over an `Exchange`, so a
test can also write its own.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, cast

from askonce.domain.answer import Answer, Piece
from askonce.domain.usage import Usage

REASONS = {200: "OK", 302: "Found", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found", 429: "Too Many Requests"}
USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}


async def heard(asking: AsyncIterator[Piece | Usage | Answer]) -> AsyncIterator[Piece | Answer]:
    """Leave out what is told of usage on the way. Closing it hangs up."""
    try:
        async for item in asking:
            if not isinstance(item, Usage):
                yield item
    finally:
        await asking.aclose()  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Seen:
    """Keep one request as it arrived; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Decode the body."""
        return json.loads(self.body)


@dataclass
class Exchange:
    """Give a play its request and its wire."""

    seen: Seen
    transport: asyncio.Transport
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, data: bytes) -> None:
        """Write raw bytes."""
        self.transport.write(data)

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        """Write a status line and headers."""
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}", *(f"{k}: {v}" for k, v in headers.items())]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Write a whole reply with its length."""
        base = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        self.head(status, base | dict(headers or {}))
        self.send(body)

    def open_stream(self) -> None:
        """Begin a chunked event stream."""
        self.head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})

    def chunk(self, data: bytes) -> None:
        """Write one chunk of an open stream."""
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, value: object) -> None:
        """Write one server-sent event holding JSON."""
        self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def close_stream(self) -> None:
        """End an open stream properly."""
        self.send(b"0\r\n\r\n")

    def cut(self) -> None:
        """Break the connection off."""
        self.transport.abort()


Play = Callable[[Exchange], Awaitable[None]]


def completion(text: str, **changes: Any) -> dict[str, Any]:
    """Build a chat completion as OpenAI's API reference shows it (`POST /v1/chat/completions`)."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06"}
    return whole | {"choices": [choice], "usage": USAGE} | changes


def piece(text: str | None = None, finish: str | None = None, **changes: Any) -> dict[str, Any]:
    """Build one `chat.completion.chunk` as OpenAI's API reference shows it."""
    delta = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    whole = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-08-06"}
    return whole | {"choices": [choice]} | changes


def answer(text: str = "Hello", **changes: Any) -> Play:
    """Play a whole completion; `changes` replace its top-level fields."""
    return reply(200, completion(text, **changes))


def reply(status: int, body: object, headers: Mapping[str, str] | None = None) -> Play:
    """Play any status with a body: bytes as they are, anything else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def play(exchange: Exchange) -> None:
        exchange.reply(status, data, headers)

    return play


def stream(texts: Sequence[str] = ("Hel", "lo"), usage: Mapping[str, Any] | None = USAGE) -> Play:
    """Play a streamed completion: the pieces, the finish, usage in a chunk of its own, `[DONE]`."""

    async def play(exchange: Exchange) -> None:
        exchange.open_stream()
        for text in texts:
            exchange.event(piece(text))
        exchange.event(piece(finish="stop"))
        if usage is not None:
            exchange.event(piece(choices=[], usage=dict(usage)))
        exchange.chunk(b"data: [DONE]\n\n")
        exchange.close_stream()

    return play


def half_stream(texts: Sequence[str] = ("Hel",), *, politely: bool = False) -> Play:
    """Play pieces and then break off: the connection (default), or politely the stream before its end."""

    async def play(exchange: Exchange) -> None:
        exchange.open_stream()
        for text in texts:
            exchange.event(piece(text))
        await asyncio.sleep(0)
        if politely:
            exchange.close_stream()
        else:
            exchange.cut()

    return play


def silence() -> Play:
    """Take the request and never answer."""

    async def play(exchange: Exchange) -> None:
        await exchange.gone.wait()

    return play


def stall(texts: Sequence[str] = ("Hel",)) -> Play:
    """Play pieces, then fall silent until the caller hangs up."""

    async def play(exchange: Exchange) -> None:
        exchange.open_stream()
        for text in texts:
            exchange.event(piece(text))
        await exchange.gone.wait()

    return play


class Upstream:
    """Serve plays on a loopback port. `seen`: the requests; `hung_up`: set once a peer left during a play.

    `aside` answers whatever is asked by GET, unseen and without taking a play: a gateway that is run whole looks for
    its vendors' lists of models whenever it sees fit.
    """

    def __init__(self, *plays: Play, aside: Play | None = None) -> None:
        self.plays = list(plays) or [answer()]
        self.aside = aside
        self.seen: list[Seen] = []
        self.connections = 0
        self.open_connections = 0
        self.hung_up = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()
        self.transports: set[asyncio.Transport] = set()
        self.port = 0

    @property
    def base_url(self) -> str:
        """Return the address as a vendor's row would hold it."""
        return f"{self.scheme}://127.0.0.1:{self.port}/v1"

    scheme = "http"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, ssl=self.tls())
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def tls(self) -> Any:
        """Return the TLS context to serve with, if any."""
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        for transport in self.transports:
            transport.abort()
        await asyncio.sleep(0)

    def take(self, seen: Seen) -> Play:
        """Note a request and return the play for it."""
        if self.aside is not None and seen.method == "GET":
            return self.aside
        self.seen.append(seen)
        return self.plays[min(len(self.seen), len(self.plays)) - 1]


class _Connection(asyncio.Protocol):
    """Read requests one after the other and play to each."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.buffer = b""
        self.exchange: Exchange | None = None
        self.task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's have the methods, but not the class
        self.upstream.transports.add(self.transport)
        self.upstream.connections += 1
        self.upstream.open_connections += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self.upstream.transports.discard(self.transport)
        self.upstream.open_connections -= 1
        if self.exchange is not None and self.task is not None and not self.task.done():
            self.exchange.gone.set()
            self.upstream.hung_up.set()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, rest = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines)}
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        method, path, _ = first.split(" ")
        self.begin(Seen(method, path, headers, rest[:length]))

    def begin(self, seen: Seen) -> None:
        self.exchange = Exchange(seen, self.transport)
        self.task = asyncio.ensure_future(self.perform(self.upstream.take(seen), self.exchange))
        self.upstream.tasks.add(self.task)
        self.task.add_done_callback(self.upstream.tasks.discard)

    async def perform(self, play: Play, exchange: Exchange) -> None:
        await play(exchange)
