"""The cookie of a session: not for scripts, not sent along by other sites' requests, encrypted where the client is."""

from askonce.api.replies import Headers
from askonce.domain.caller import Caller
from askonce.gate.admission import Approach
from askonce.gate.logins import SPAN_MS

NAME = "sessionId"
SPAN_S = SPAN_MS // 1000
# A session that was used within this time was prolonged by this very request, or by one beside it.
FRESH_MS = 1_000


def session_cookie(session_id: str, *, secure: bool) -> tuple[bytes, bytes]:
    """Write the header that keeps a session in a browser, as long as the session runs."""
    return set_cookie(NAME, session_id, SPAN_S, secure=secure)


def set_cookie(name: str, value: str, span_s: int, *, secure: bool, path: str = "/") -> tuple[bytes, bytes]:
    """Write a cookie's header (RFC 6265); a span of 0 deletes it."""
    flags = "; Secure" if secure else ""
    return b"set-cookie", f"{name}={value}; Path={path}; Max-Age={span_s}; HttpOnly; SameSite=Lax{flags}".encode()


def renewal(caller: Caller, approach: Approach, now_ms: int, *, secure: bool) -> Headers:
    """Return the cookie anew where its session was just prolonged."""
    session = caller.session
    if session is None or approach.session is None or session.used_ms < now_ms - FRESH_MS:
        return []
    return [session_cookie(approach.session, secure=secure)]


def sets_cookie(headers: Headers) -> bool:
    """Say whether a reply gives or takes a cookie already: who just logged out is not logged in again."""
    return any(name == b"set-cookie" for name, _ in headers)
