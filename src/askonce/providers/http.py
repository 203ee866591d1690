"""The only way to a vendor: one pool of HTTP/1.1 connections per process, with deadlines and bounds.

Rules of this file:
- Leaving an exchange early, by an error, a cancellation or a closed iterator, closes its connection at once. That is
  why this is not a Rust client: those run a request to its response head even after its caller has gone.
- Redirects are not followed: a key is sent to the configured address and nowhere else.
- Nothing is retried here. Whether a call may be made again is decided where its price is known.
- Foreign errors become ours in `_FAILURES` and nowhere else. Sentences name the provider, never an address or a key.
"""

import asyncio
import contextlib
import math
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

from askonce.domain.errors import AskonceError, ProviderBusy, ProviderFailed, ProviderTimeout, unsent
from askonce.domain.tracing import outgoing
from askonce.providers.connection import Broken, Connection
from askonce.providers.network import Inward, Network, Proxy, public_address

MAX_CONNECTIONS = 400  # leaves room under the usual 1,024 descriptors for as many clients and our own files
MAX_WAYS = 256  # URLs remembered; a process calls two or three at each provider
MAX_REFUSAL_BYTES = 64 << 10  # a refusal is a sentence or two; longer ones are web pages
MAX_BODY_BYTES = 64 << 20  # the longest answers are under 1 MB; beyond 64 MB it is not an answer
# Kept-alive connections are let go before common servers do (uvicorn, Node and llama.cpp: 5 s), so that a request is
# not written into a connection that its server is just closing. A longer `Keep-Alive: timeout=` is believed.
IDLE_KEEP_S = 4.0
MAX_KEEP_S = 60.0
MAX_DIGITS = 15  # a header's number; the largest that makes sense, a date in milliseconds, has 13
MAX_RETRY_AFTER_S = 24 * 3600  # no vendor's window is longer than a day

Origin = tuple[str, str, int, Proxy | None]


class Limits(Struct, frozen=True):
    """Bound one exchange, in seconds: connecting, the answer's begin, the gap within it, everything.

    An answer begins with its head, a stream of events with its first event (see `Reply.begins_with_an_event`).
    """

    connect_s: float
    first_byte_s: float
    idle_s: float
    total_s: float


class Request(Struct, frozen=True):
    """Hold what is sent. `who` names the provider in error sentences. Header values are latin-1, without breaks."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    who: str


class Reply:
    """Hold a reply's status and headers, and its body as it comes."""

    def __init__(self, connection: Connection, deadline: "_Deadline", first_until: float) -> None:
        self.status = connection.status
        self.headers: Mapping[str, str] = connection.headers
        self._connection = connection
        self._deadline = deadline
        self._first_until = first_until
        self._until: float | None = None  # before a stream's first event: the loop's time at which that is late
        self._size = 0

    def begins_with_an_event(self) -> None:
        """Count the time for the answer's begin on until `heard`: a head, comments and pings answer nothing yet."""
        self._until = self._first_until

    def heard(self) -> None:
        """Take note that the answer began: from now on whatever comes, be it a comment, is a sign of life."""
        self._until = None

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body piece by piece, none held back. Raises `ProviderFailed`, `ProviderTimeout`."""
        while piece := await self.piece():
            yield piece

    async def piece(self) -> bytes:
        """Return the next piece, b"" at the end. Raises `ProviderFailed`, `ProviderTimeout`."""
        deadline, until = self._deadline, self._until
        try:
            piece = await self._connection.piece(deadline.until(deadline.limits.idle_s) if until is None else until)
        except FOREIGN as error:  # by hand: `over` cost 3 of the 80 µs that a streamed piece took
            late = "did not answer in time" if until == self._first_until else "sent nothing more for too long"
            raise deadline.translated(error, late) from None
        self._size += len(piece)
        if self._size > MAX_BODY_BYTES:
            raise ProviderFailed(f"{self._deadline.who} sent more than {MAX_BODY_BYTES >> 20} MiB.")
        return piece

    async def body(self) -> bytes:
        """Read the whole body. Raises `ProviderFailed`, `ProviderTimeout`."""
        read: list[bytes] = []
        while piece := await self.piece():
            read.append(piece)
        return read[0] if len(read) == 1 else b"".join(read)

    async def beginning(self) -> bytes:
        """Read the body up to `MAX_REFUSAL_BYTES`; what comes after is nobody's business. Raises as `body`."""
        read = b""
        while len(read) < MAX_REFUSAL_BYTES and (piece := await self.piece()):
            read += piece
        return read[:MAX_REFUSAL_BYTES]

    async def settle(self, grace_s: float) -> None:
        """Read what is left for at most `grace_s`, so that the connection can be used again; never raises for it."""
        with contextlib.suppress(AskonceError, TimeoutError):
            async with asyncio.timeout(grace_s):
                while await self.piece():
                    pass


class Http:
    """Keep the connections of one process. Build it after the fork, inside the running loop.

    `public_only`: for addresses that others named. Names that lead into a network of one's own are not spoken to;
    where a proxy stands between, that is its matter.
    """

    def __init__(
        self, network: Network | None = None, max_connections: int = MAX_CONNECTIONS, *, public_only: bool = False
    ) -> None:
        self._public_only = public_only
        self._network = network or Network()
        self._tls: ssl.SSLContext | None = None
        self._bound = max_connections
        self._free = asyncio.Semaphore(max_connections)
        self._idle: dict[Origin, deque[tuple[Connection, float]]] = {}
        self._all: set[Connection] = set()
        self._ways: dict[str, tuple[SplitResult, Origin]] = {}

    def exchange(self, request: Request, limits: Limits) -> "Exchange":
        """Send a request and give its reply once the head is there: `async with http.exchange(…) as reply`.

        Leaving before the body's end hangs up. Entering raises `ProviderFailed`, `ProviderTimeout`, and `ProviderBusy`
        when no connection came free within the time for connecting; if cancelled, nothing is held.
        """
        return Exchange(self, request, limits)

    async def begin(self, request: Request, limits: Limits) -> tuple[Reply, Origin, Connection]:
        """Do what entering an exchange does."""
        deadline = _Deadline(request.who, limits)
        with unsent():
            target, origin = self._whereto(request.url)
            message = _encode(request, target, origin)
        await self._seat(deadline)
        try:
            connection = await self._acquire(origin, deadline)
        except BaseException:
            self._free.release()
            raise
        try:
            connection.send(message)
            first_until = deadline.until(limits.first_byte_s)
            with deadline.over("did not answer in time"):
                await connection.head(first_until)
        except BaseException:
            self.end(origin, connection)
            raise
        return Reply(connection, deadline, first_until), origin, connection

    def end(self, origin: Origin, connection: Connection) -> None:
        """Do what leaving an exchange does."""
        self._release(origin, connection)
        self._free.release()

    async def _acquire(self, origin: Origin, deadline: "_Deadline") -> Connection:
        connection = self._reuse(origin)
        if connection is None:
            until = deadline.until(deadline.limits.connect_s)
            with unsent(), deadline.over("could not be connected to in time"):
                async with asyncio.timeout_at(until):
                    connection = await self._connect(origin, until)
            self._all.add(connection)
            self._make_room()
        return connection

    async def _seat(self, deadline: "_Deadline") -> None:
        if not self._free.locked():
            await self._free.acquire()  # does not wait
            return
        with unsent():
            try:
                async with asyncio.timeout_at(deadline.until(deadline.limits.connect_s)):
                    await self._free.acquire()
            except TimeoutError:
                raise ProviderBusy(
                    f"All connections to providers are in use; {deadline.who} was not asked.", retry_after_s=1
                ) from None

    async def close(self) -> None:
        """Hang up everything."""
        for connection in [*self._all]:
            connection.hang_up()
        self._all.clear()
        self._idle.clear()

    def _whereto(self, url: str) -> tuple[SplitResult, Origin]:
        """Take a URL apart and choose the way to it; remembered, for there are few and each call goes to one."""
        known = self._ways.get(url)
        if known is None:
            target = urlsplit(url)
            port = target.port or (443 if target.scheme == "https" else 80)
            known = target, (target.scheme, target.hostname or "", port, self._network.proxy_for(target))
            if len(self._ways) >= MAX_WAYS:
                self._ways.clear()
            self._ways[url] = known
        return known

    def _reuse(self, origin: Origin) -> Connection | None:
        now = time.monotonic()
        idle = self._idle.get(origin)
        while idle:
            connection, until = idle.pop()  # the youngest first, so that the others may age out
            if not connection.lost and until > now:
                return connection
            self._drop(connection)
        return None

    def _release(self, origin: Origin, connection: Connection) -> None:
        """Keep a connection whose exchange is over; hang up any other. Also lets aged ones go."""
        now = time.monotonic()
        idle = self._idle.setdefault(origin, deque())
        while idle and (idle[0][0].lost or idle[0][1] <= now):
            self._drop(idle.popleft()[0])
        if connection.ended == "whole" and connection.reusable and not connection.lost:
            idle.append((connection, now + _keep_s(connection.headers)))
        else:
            self._drop(connection)

    def _make_room(self) -> None:
        """Let the longest idle connections go while there are more connections than the bound."""
        for idle in self._idle.values():
            while idle and len(self._all) > self._bound:
                self._drop(idle.popleft()[0])

    def _drop(self, connection: Connection) -> None:
        connection.hang_up()
        self._all.discard(connection)

    async def _connect(self, origin: Origin, until: float) -> Connection:
        scheme, host, port, proxy = origin
        loop = asyncio.get_running_loop()
        connection = Connection()
        try:
            if proxy is None:
                tls = self._context() if scheme == "https" else None
                where = await public_address(host, port) if self._public_only else host
                name = host if tls else None
                await loop.create_connection(lambda: connection, where, port, ssl=tls, server_hostname=name)
            else:
                await loop.create_connection(lambda: connection, proxy.host, proxy.port)
                if scheme == "https":
                    await self._tunnel(connection, origin, until)
        except BaseException:  # a cancellation too: nobody else knows this connection yet
            connection.hang_up()
            raise
        return connection

    async def _tunnel(self, connection: Connection, origin: Origin, until: float) -> None:
        """Ask the proxy for a tunnel (RFC 9110, 9.3.6) and start TLS in it."""
        _, host, port, proxy = origin
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
        if proxy is not None and proxy.authorization:
            lines.append(f"Proxy-Authorization: {proxy.authorization}")
        connection.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        status, _ = await connection.head(until)
        if status != 200 or connection.transport is None:
            raise _Refused(status)
        loop = asyncio.get_running_loop()
        transport = await loop.start_tls(connection.transport, connection, self._context(), server_hostname=host)
        if transport is None:
            raise Broken
        connection.connection_made(transport)

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._network.tls()
        return self._tls


class Exchange:
    """Hold one exchange while it is open. A class, because a generator for each cost a call some 10 µs."""

    def __init__(self, http: Http, request: Request, limits: Limits) -> None:
        self._http = http
        self._asked = (request, limits)
        self._held: tuple[Origin, Connection] | None = None

    async def __aenter__(self) -> Reply:
        """Send the request and wait for the reply's head."""
        reply, origin, connection = await self._http.begin(*self._asked)
        self._held = (origin, connection)
        return reply

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Keep the connection if the reply was read to its end, else hang up."""
        if self._held is not None:
            self._http.end(*self._held)


class _Refused(Exception):
    """Report that a proxy refused the tunnel, with its status."""


# What connecting, sending and reading raise; all of it becomes ours.
FOREIGN = (OSError, Broken, _Refused, Inward)


class _Deadline:
    """Give each wait of an exchange its own time, and all of them the total; translate what goes wrong."""

    def __init__(self, who: str, limits: Limits) -> None:
        self.who = who
        self.limits = limits
        self._now = asyncio.get_running_loop().time
        self._end = self._now() + limits.total_s

    def until(self, limit_s: float) -> float:
        """Return the loop's time at which a wait that begins now is over."""
        at = self._now() + limit_s
        return at if at < self._end else self._end

    @contextmanager
    def over(self, late: str) -> Iterator[None]:
        """Translate what a wait raises (see `translated`)."""
        try:
            yield
        except FOREIGN as error:
            raise self.translated(error, late) from None

    def translated(self, error: Exception, late: str) -> AskonceError:
        """Return ours for a foreign error: `ProviderTimeout` where a wait was too `late`, else `ProviderFailed`."""
        if isinstance(error, TimeoutError):
            return ProviderTimeout(f"{self.who} {late}.")
        return ProviderFailed(f"{self.who} {_reason(error)}.")


# In order: the first class that fits. The remedy differs, so the sentence does.
_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "showed a certificate that is not trusted (see SSL_CERT_FILE)"),
    (ssl.SSLError, "could not be spoken to over TLS"),
    (socket.gaierror, "has an address whose name cannot be resolved; check its base URL and the network"),
    (ConnectionRefusedError, "is not running: nothing listens at its address; start it, or correct its base URL"),
    (ConnectionError, "closed the connection; ask again"),
    (OSError, "cannot be reached; check the network and its base URL"),
    (Inward, "has a name that leads to no public network, and such are not spoken to"),
    (_Refused, "cannot be reached: the proxy refused the connection"),
    (Broken, "broke the answer off or did not speak HTTP; ask again, or check its base URL"),
)


def _reason(error: Exception) -> str:
    return next(words for kind, words in _FAILURES if isinstance(error, kind))


def _encode(request: Request, target: SplitResult, origin: Origin) -> bytes:
    """Write a request (RFC 9112, 3). Through a proxy without a tunnel the target is the whole URL (3.2.2)."""
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    proxy = origin[3] if target.scheme == "http" else None
    lines = [
        f"{request.method} {request.url if proxy else path} HTTP/1.1",
        f"Host: {target.netloc.rpartition('@')[2]}",
        "User-Agent: askonce",
        "Accept-Encoding: identity",
        f"Content-Length: {len(request.body)}",
        *(f"{name}: {value}" for name, value in request.headers),
    ]
    if traceparent := outgoing.get():
        lines.append(f"traceparent: {traceparent}")
    if proxy and proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body


def _keep_s(headers: Mapping[str, str]) -> float:
    """Say how long an idle connection is safe to keep, by the server's `Keep-Alive: timeout=N`."""
    for part in headers.get("keep-alive", "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "timeout" and (seconds := _digits(value)) is not None:
            return min(max(seconds - 1.0, 0.0), MAX_KEEP_S)
    return IDLE_KEEP_S


def _digits(word: str) -> int | None:
    """Read a whole number as a header may hold it; None for anything longer or stranger than one can mean."""
    return int(word) if len(word) <= MAX_DIGITS and word.isascii() and word.isdigit() else None


def retry_after_s(headers: Mapping[str, str], now_s: float) -> int | None:
    """Read how long a vendor asks us to wait, in whole seconds rounded up; None without a usable word.

    `Retry-After` holds seconds or a date (RFC 9110, 10.2.3); `retry-after-ms` is Azure's and OpenAI's finer one.
    """
    if (ms := _digits(headers.get("retry-after-ms", ""))) is not None:
        return min(-(-ms // 1000), MAX_RETRY_AFTER_S)
    word = headers.get("retry-after", "").strip()
    try:
        wait = float(word) if word[:1].isdigit() else parsedate_to_datetime(word).timestamp() - now_s
    except (ValueError, OverflowError):
        return None
    return min(max(math.ceil(wait), 0), MAX_RETRY_AFTER_S) if math.isfinite(wait) else None
