"""Replies as values, so that deciding and rendering know nothing of ASGI."""

import functools
from collections.abc import AsyncGenerator, Callable

from msgspec import Struct

from askonce.domain.errors import AskonceError, MethodNotAllowed, OverBudget
from askonce.domain.ports import Verdict, Window

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
# On everything: no browser guesses types, and no address of ours is told to other sites.
GUARDS = ((b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer"))
NO_STORE = (b"cache-control", b"no-store")


class About(Struct):
    """Say what those who watch are told of a reply: how its answer came about, or which error it is."""

    cache: str = ""
    provider: str = ""
    model: str = ""
    code: str = ""
    saved_nano: int = 0
    entered_us: int = 0


class Reply(Struct):
    """Hold a whole reply."""

    status: int
    headers: Headers
    body: bytes
    about: About | None = None


class StreamReply(Struct):
    """Hold a reply whose body comes in pieces. Whoever sends it calls `release` at the end, sent or not."""

    headers: Headers
    pieces: AsyncGenerator[bytes, None]
    release: Callable[[], None]
    about: About | None = None


def json_reply(body: bytes, headers: Headers | None = None, status: int = 200) -> Reply:
    """Answer with JSON that nobody between us and the caller may keep."""
    return Reply(status, [JSON, NO_STORE, *(headers or ())], body)


def stream_headers(headers: Headers) -> Headers:
    """Return the headers of server-sent events."""
    # X-Accel-Buffering keeps nginx from holding chunks back.
    return [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        NO_STORE,
        (b"x-accel-buffering", b"no"),
        *headers,
    ]


def nothing_held() -> None:
    """Release nothing: the reply holds no seat."""


# Longer waits than that the vendors' libraries do not keep: they try again after seconds instead.
LIBRARIES_WAIT_S = 60


def error_reply(error: AskonceError, body: bytes, headers: Headers | None = None) -> Reply:
    """Answer with an error whose body is in the door's shape."""
    extra = list(headers or ())
    if error.retry_after_s is not None:
        extra.append((b"retry-after", str(error.retry_after_s).encode()))
    # The vendors' client libraries would try again and again; this header of theirs tells them that it is no use.
    if _is_no_use(error):
        extra.append((b"x-should-retry", b"false"))
    if isinstance(error, MethodNotAllowed):
        extra.append((b"allow", ", ".join(error.allowed).encode()))
    if error.status == 401:
        extra.append((b"www-authenticate", b'Bearer realm="askonce"'))
    reply = json_reply(body, extra, error.status)
    reply.about = About(code=error.code)
    return reply


def _is_no_use(error: AskonceError) -> bool:
    """Say whether trying again can change nothing, or not before the libraries have given up."""
    if isinstance(error, OverBudget):
        return (error.retry_after_s or 0) > LIBRARIES_WAIT_S
    return error.status >= 500 and not error.retryable and error.retry_after_s is None


def limit_headers(window: Window | None, verdict: Verdict | None, wall_ms: int) -> Headers:
    """Tell the caller where it stands: the X-RateLimit trio, and the IETF draft's RateLimit fields.

    Source: contract; draft-ietf-httpapi-ratelimit-headers-10 (`q` quota, `w` and `t` seconds, `r` remaining).
    """
    if window is None or verdict is None:
        return []
    reset_ms = wall_ms - (-verdict.reset_ns // 1_000_000)
    reset_s = -(-verdict.reset_ns // 1_000_000_000)
    name = window.name.partition("|")[0]
    fixed = _fixed_limit_headers(name, window.limit, window.span_ns)
    return [
        *fixed,
        (b"x-ratelimit-remaining", b"%d" % verdict.remaining),
        (b"x-ratelimit-reset", b"%d" % reset_ms),
        (b"ratelimit", b'"%b";r=%d;t=%d' % (name.encode(), verdict.remaining, reset_s)),
    ]


@functools.lru_cache(maxsize=256)
def _fixed_limit_headers(name: str, limit: int, span_ns: int) -> tuple[tuple[bytes, bytes], ...]:
    policy = f'"{name}";q={limit};w={span_ns // 1_000_000_000}'
    return ((b"x-ratelimit-limit", b"%d" % limit), (b"ratelimit-policy", policy.encode()))
