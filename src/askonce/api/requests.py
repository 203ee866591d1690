"""Requests as values: what the doors need of an ASGI scope, read once."""

import itertools
import os
import re
import time

from askonce.api.asgi import Receive, Scope
from askonce.api.slow_bodies import SlowBodies
from askonce.domain.errors import Malformed, TooLarge, UnsupportedMediaType
from askonce.gate.admission import Approach

# What a caller may choose as its request id: printable, short, harmless in logs, headers and JSON.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:/+=@-]{0,127}")

# The cookies by their exact names: cookies of other programs on the same host are sent to us as well.
_COOKIE = rb"(?:^|[;,]\s*)%b=([^;,\s]*)"
_SESSION = re.compile(_COOKIE % b"sessionId")

_READ = frozenset(
    (
        b"host",
        b"origin",
        b"authorization",
        b"x-api-key",
        b"x-session-id",
        b"cookie",
        b"content-type",
        b"content-length",
        b"content-encoding",
        b"transfer-encoding",
        b"cache-control",
        b"idempotency-key",
        b"prefer",
        b"last-event-id",
        b"x-request-id",
        b"x-forwarded-for",
        b"traceparent",
        b"x-forwarded-proto",
        b"x-csrf-token",
        b"user-agent",
        b"access-control-request-method",
        b"access-control-request-private-network",
        b"accept",
        b"accept-encoding",
        b"if-none-match",
        b"anthropic-beta",
        b"anthropic-version",
    )
)
# These are lists by their definition; of all others a second line is a contradiction.
_LISTS = frozenset(
    (
        b"cache-control",
        b"x-forwarded-for",
        b"x-forwarded-proto",
        b"cookie",
        b"accept",
        b"accept-encoding",
        b"if-none-match",
        b"anthropic-beta",
        b"prefer",
    )
)

# Version, trace id, parent id, flags; an id of zeros is none.
_TRACE = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")

JSON_KINDS = (b"application/json",)

_prefix = os.urandom(6).hex()
_numbers = itertools.count(1)


class ClientLeft(Exception):
    """The caller hung up; nobody reads what we would answer."""


class Request:
    """Hold one request. Header names in lower case.

    `id` is the caller's own where it sent one; `answer_id` is ours in any case, and no other request's.
    """

    __slots__ = ("answer_id", "client", "headers", "id", "method", "path", "query", "receive", "scheme", "started_ns")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.receive = receive
        self.client: str = (scope.get("client") or ("",))[0]
        self.scheme: str = scope.get("scheme", "http")
        self.started_ns = time.perf_counter_ns()
        self.headers = headers = {}  # type: dict[bytes, bytes]
        twice = b""
        for name, value in scope["headers"]:
            if name in _READ:
                if name in headers:
                    if name in _LISTS:
                        value = headers[name] + b", " + value
                    elif headers[name] != value:
                        twice = name
                headers[name] = value
        sent = headers.get(b"x-request-id")
        self.answer_id = f"{_prefix}{next(_numbers):06x}"
        self.id = sent.decode() if sent and _REQUEST_ID.fullmatch(sent) else self.answer_id
        if twice:
            headers[b":twice"] = twice

    def check(self) -> None:
        """Refuse what contradicts itself. Raises `Malformed`."""
        twice = self.headers.get(b":twice")
        if twice:
            raise Malformed(f"The header {twice.decode()} is sent twice with different values.")

    def approach(self) -> Approach:
        """Return what the request says about its sender."""
        # Decoded in place, not by calls: this runs for every request, and most headers are absent.
        get = self.headers.get
        host, origin, forwarded = get(b"host"), get(b"origin"), get(b"x-forwarded-for")
        authorization, api_key, cookie = get(b"authorization"), get(b"x-api-key"), get(b"cookie")
        word, proto, session = get(b"x-csrf-token"), get(b"x-forwarded-proto"), get(b"x-session-id")
        return Approach(
            self.client,
            None if host is None else host.decode("latin-1"),
            None if origin is None else origin.decode("latin-1"),
            None if forwarded is None else forwarded.decode("latin-1"),
            None if authorization is None else authorization.decode("latin-1"),
            None if api_key is None else api_key.decode("latin-1"),
            _only(_SESSION, cookie) if session is None and cookie is not None else _text(session),
            session is None,
            None if word is None else word.decode("latin-1"),
            self.scheme,
            None if proto is None else proto.decode("latin-1"),
        )

    def without_session(self) -> Approach:
        """Return the same, as if no session had been sent: for who is about to open one."""
        approach = self.approach()
        approach.session, approach.by_cookie = None, False
        return approach

    def cookie(self, name: str) -> str | None:
        """Return a cookie's value; None where it is not there, or there more than once with different values."""
        sent = self.headers.get(b"cookie")
        return (_only(re.compile(_COOKIE % re.escape(name.encode())), sent) or None) if sent is not None else None

    def text(self, name: bytes) -> str | None:
        """Return a header's value, or None."""
        return _text(self.headers.get(name))

    def named(self, names: tuple[bytes, ...]) -> list[tuple[str, str]]:
        """Return those of the named headers that were sent."""
        return [(name.decode(), self.headers[name].decode("latin-1")) for name in names if name in self.headers]

    def traceparent(self) -> str:
        """Return the W3C trace context that the request came with, "" for none or one that is not valid."""
        sent = self.headers.get(b"traceparent")
        return "" if sent is None or _TRACE.fullmatch(sent) is None else sent[:55].decode()

    def trace_id(self) -> str:
        """Return the id of the W3C trace that the request belongs to (Trace Context, 3.2), "" for none."""
        sent = self.headers.get(b"traceparent")
        match = None if sent is None else _TRACE.fullmatch(sent)
        return "" if match is None else match[1].decode()

    def latency_ms(self) -> int:
        """Return milliseconds since the request was read."""
        return (time.perf_counter_ns() - self.started_ns) // 1_000_000

    @property
    def has_body(self) -> bool:
        """Say whether a body was announced."""
        announced = self.headers.keys() & {b"content-type", b"transfer-encoding"}
        return bool(announced) or self.headers.get(b"content-length", b"0") != b"0"

    async def json_body(self, limit: int, slow: SlowBodies, kinds: tuple[bytes, ...] = JSON_KINDS) -> bytes:
        """Read the body, at most `limit` bytes, of one of some kinds.

        Raises `UnsupportedMediaType`, `TooLarge`, `BodyTimeout` and `ClientLeft`.
        """
        kind = self.headers.get(b"content-type", b"")
        if kind != kinds[0] and kind.partition(b";")[0].strip().lower() not in kinds:
            what = "JSON" if kinds is JSON_KINDS else "lines of JSON"
            raise UnsupportedMediaType(f"Send the body as {what}, with the header Content-Type: {kinds[0].decode()}.")
        if self.headers.get(b"content-encoding", b"identity") != b"identity":
            raise UnsupportedMediaType("Send the body as it is, without Content-Encoding.")
        length = self.headers.get(b"content-length", b"")
        if length.isdigit() and int(length[:20]) > limit:
            raise TooLarge(_over(limit))
        since = time.monotonic()
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await slow.receive(self.receive, since)
            if message["type"] == "http.disconnect":
                raise ClientLeft
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            more = message.get("more_body", False)
            if size > limit:
                raise TooLarge(_over(limit))
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _only(pattern: re.Pattern[bytes], cookies: bytes) -> str | None:
    """Return the one value that is meant; "" where several differ: nobody can say which of them is ours."""
    values = set(pattern.findall(cookies))
    if not values:
        return None
    return values.pop().decode("latin-1") if len(values) == 1 else ""


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def _over(limit: int) -> str:
    return f"The body is larger than {limit} bytes. Send less, or raise ASKONCE_BODY_LIMIT."
