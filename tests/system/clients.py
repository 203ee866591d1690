"""Ask a real server: one connection per request, so that requests spread over workers, or one that is held."""

import asyncio
import json
import socket
from collections.abc import Coroutine, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

GENERATE = "/llm/generate"
TIMEOUT_S = 30.0

T = TypeVar("T")


@dataclass(frozen=True)
class Answered:
    """Hold a reply. `whole` is false where the connection broke before its end."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def worker(self) -> str:
        """Name the process that served: request ids begin with what each draws at its start."""
        return self.headers["x-request-id"][:12]

    @property
    def cache(self) -> str:
        """Say how the answer came about, whether it was streamed or not."""
        return str(self.whole_answer()["metadata"]["cache"])

    def json(self) -> Any:
        return json.loads(self.body)

    def events(self) -> list[tuple[str, Any]]:
        """Return a stream's events; each is whole and well-formed."""
        blocks = [block for block in self.text.split("\n\n") if block and not block.startswith(":")]
        assert not self.body or self.text.endswith("\n\n")
        found = []
        for block in blocks:
            name, _, data = block.partition("\n")
            assert name.startswith("event: "), block
            assert data.startswith("data: "), block
            assert "\n" not in data
            found.append((name[7:], json.loads(data[6:])))
        return found

    def whole_answer(self) -> Any:
        """Return the JSON answer, out of the last event where it was streamed."""
        if not self.headers.get("content-type", "").startswith("text/event-stream"):
            return self.json()
        name, data = self.events()[-1]
        assert name == "done", self.text
        return data

    def streamed_text(self) -> str:
        """Join the pieces of a stream."""
        return "".join(data["text"] for name, data in self.events() if name == "delta")


def encode(method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> bytes:
    """Write a request."""
    lines = [f"{method} {path} HTTP/1.1"]
    sent = {"Host": "127.0.0.1", **(headers or {})}
    if body:
        sent.setdefault("Content-Type", "application/json")
        sent.setdefault("Content-Length", str(len(body)))
    lines += [f"{name}: {value}" for name, value in sent.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Line:
    """Hold one connection. Reads replies one after the other; also what was pipelined."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int, source: str = "") -> "Line":
        local = (source, 0) if source else None
        line = cls(*await asyncio.open_connection("127.0.0.1", port, local_addr=local, limit=1 << 20))
        _open.get().append(line)
        return line

    @property
    def local_port(self) -> int:
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answered:
        await self.send(encode(method, path, body, headers))
        return await self.reply(method)

    async def post(self, **body: object) -> Answered:
        return await self.ask("POST", GENERATE, json.dumps(body).encode())

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read a reply's status and headers. Raises `EOFError` where there is none."""
        raw = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines if line)
        return int(first.split()[1]), {name.lower(): value.strip() for name, _, value in pairs}

    async def reply(self, method: str = "GET") -> Answered:
        """Read a whole reply, or what came of it before the connection broke."""
        async with asyncio.timeout(TIMEOUT_S):
            status, headers = await self.head()
            if status == 100:
                status, headers = await self.head()
            got = _Body()
            try:
                await self._read_body(got, headers, bodiless=method == "HEAD" or status in (204, 304))
            except (EOFError, ConnectionError):
                return Answered(status, headers, bytes(got.data), whole=False)
            return Answered(status, headers, bytes(got.data))

    async def piece(self) -> bytes:
        """Read one chunk of a stream whose head was read; b"" at the end."""
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        data = await self._reader.readexactly(size + 2)
        return data[:-2]

    async def rest(self) -> bytes:
        """Read until the server closes."""
        async with asyncio.timeout(TIMEOUT_S):
            return await self._reader.read(-1)

    def hang_up(self) -> None:
        self._writer.close()

    def abort(self) -> None:
        """Leave at once, with a reset."""
        self._writer.transport.abort()

    async def _read_body(self, got: "_Body", headers: Mapping[str, str], bodiless: bool) -> None:
        if bodiless:
            return
        if headers.get("transfer-encoding") == "chunked":
            while data := await self.piece():
                got.data += data
        elif "content-length" in headers:
            left = int(headers["content-length"])
            while left:
                data = await self._reader.read(left)
                if not data:
                    raise EOFError
                got.data += data
                left -= len(data)
        else:
            got.data += await self._reader.read(-1)


@dataclass
class _Body:
    data: bytearray = field(default_factory=bytearray)


_open: ContextVar[list[Line]] = ContextVar("open")  # the connections of the loop that runs


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a test's asynchronous part in a loop of its own, and leave no connection behind."""

    async def tidy() -> T:
        lines: list[Line] = []
        _open.set(lines)
        try:
            return await work
        finally:
            for line in lines:
                line.abort()
            await asyncio.sleep(0)  # the loop closes the sockets in its next turn

    return asyncio.run(tidy())


async def request(
    port: int, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, source: str = ""
) -> Answered:
    """Ask once over a connection of its own."""
    line = await Line.to(port, source)
    try:
        return await line.ask(method, path, body, {"Connection": "close", **(headers or {})})
    finally:
        line.hang_up()


async def post(port: int, body: object, headers: Mapping[str, str] | None = None, source: str = "") -> Answered:
    """Ask /llm/generate once over a connection of its own."""
    return await request(port, "POST", GENERATE, json.dumps(body).encode(), headers, source)


async def at_once(
    port: int, bodies: Iterable[object], source: str = "", headers: Mapping[str, str] | None = None
) -> list[Answered]:
    """Ask all together: every connection is there before the first request is sent. `{}` in a header is the number."""
    return await at_once_on([(port, body) for body in bodies], source, headers)


async def at_once_on(
    where: Iterable[tuple[int, object]], source: str = "", headers: Mapping[str, str] | None = None
) -> list[Answered]:
    """Ask all together, each at a port of its own."""
    ports, bodies = zip(*where, strict=True)
    asked = [json.dumps(body).encode() for body in bodies]
    lines = await asyncio.gather(*(Line.to(port, source) for port in ports))
    sent = [{name: value.format(at) for name, value in (headers or {}).items()} for at in range(len(asked))]
    try:
        return await asyncio.gather(
            *(line.ask("POST", GENERATE, body, more) for line, body, more in zip(lines, asked, sent, strict=True))
        )
    finally:
        for line in lines:
            line.hang_up()


def request_now(port: int, path: str, method: str = "GET", headers: Mapping[str, str] | None = None) -> Answered:
    """Ask without a loop of one's own."""
    return run(request(port, method, path, headers=headers))


def post_now(port: int, body: object, headers: Mapping[str, str] | None = None) -> Answered:
    """Ask /llm/generate without a loop of one's own."""
    return run(post(port, body, headers))


def nobody_listens(port: int) -> bool:
    """Say whether a port refuses connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
