"""Pages of other origins (CORS, fetch.spec.whatwg.org): those that the configuration names may ask, with a key.

Cookies never cross: nothing here allows credentials, so a page of another origin is never its reader's session.
"""

from collections.abc import Sequence

from askonce.api.replies import Headers, Reply
from askonce.api.requests import Request

ANY = "*"
PREFLIGHT_S = 600  # Chromium keeps no answer longer than two hours; ten minutes is a change's patience

TAKEN = (
    "Authorization, Content-Type, Cache-Control, Idempotency-Key, X-Api-Key, X-Request-Id, X-Session-Id, X-CSRF-Token, "
    "Prefer, Last-Event-ID, Anthropic-Version, Anthropic-Beta, OpenAI-Organization, OpenAI-Project, OpenAI-Beta, "
    "Anthropic-Dangerous-Direct-Browser-Access, X-Stainless-Arch, X-Stainless-Lang, X-Stainless-OS, "
    "X-Stainless-Package-Version, X-Stainless-Retry-Count, X-Stainless-Runtime, X-Stainless-Runtime-Version, "
    "X-Stainless-Timeout, X-Stainless-Helper-Method"
)
GIVEN = (
    "X-Request-Id, Request-Id, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, RateLimit, "
    "RateLimit-Policy, Retry-After, X-Should-Retry, Cache-Status, Age, X-Askonce-Route, X-Askonce-Estimated, "
    "Idempotent-Replayed, Location, Preference-Applied, "
    "X-RateLimit-Limit-Requests, X-RateLimit-Remaining-Requests, X-RateLimit-Reset-Requests, "
    "Anthropic-RateLimit-Requests-Limit, Anthropic-RateLimit-Requests-Remaining, Anthropic-RateLimit-Requests-Reset"
)
_VARY = (b"vary", b"origin")


class Crossing:
    """Let pages of some origins in. `*` among them: of all, but never where no key protects the owner."""

    def __init__(self, origins: Sequence[str]) -> None:
        self.origins = frozenset(origins)

    def headers(self, request: Request) -> Headers:
        """Return what a page's browser needs to hand a reply over."""
        origin = self._allowed(request)
        if origin is None:
            return [_VARY]
        return [_VARY, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", GIVEN.encode())]

    def preflight(self, request: Request, methods: Sequence[str]) -> Reply | None:
        """Answer a browser that asks before it sends; None where this is no such question, or not one of ours."""
        if b"access-control-request-method" not in request.headers or self._allowed(request) is None:
            return None
        headers: Headers = [
            (b"access-control-allow-methods", ", ".join(methods).encode()),
            (b"access-control-allow-headers", TAKEN.encode()),
            (b"access-control-max-age", b"%d" % PREFLIGHT_S),
        ]
        return Reply(204, headers, b"")

    def _allowed(self, request: Request) -> bytes | None:
        origin = request.headers.get(b"origin")
        if origin is None:
            return None
        return origin if ANY in self.origins or origin.decode("latin-1") in self.origins else None


NOWHERE = Crossing(())
