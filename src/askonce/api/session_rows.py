"""The rows of the doors at which people and programs log in and out."""

from typing import Annotated

from msgspec import Meta, Struct

from askonce.api.bodies import Body
from askonce.api.door import Door
from askonce.domain.identity import Scope


class LoginBody(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold what opens a session; without a word a key must be sent, as for any other request."""

    word: Annotated[str, Meta(max_length=200, description="of a login link; it works once")] = ""


class SessionChange(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Say what of a session is to be different."""

    agent: Annotated[str, Meta(max_length=200, description="what the list of sessions calls it")]


class SessionView(Body, frozen=True):
    """Describe a session. `id` names it in lists and opens nothing."""

    id: str
    user_id: str
    tenant: str
    scopes: tuple[Scope, ...]
    created_at: int
    used_at: int
    expires_at: int
    address: str
    agent: str
    current: bool = False


class CurrentSession(SessionView, frozen=True):
    """Describe the session in use. `csrfToken` goes back as X-CSRF-Token with all that a cookie's page writes."""

    csrf_token: str = ""


class OpenedSession(CurrentSession, frozen=True):
    """Describe a new session. `sessionId` is for programs (X-Session-Id); browsers have it as a cookie."""

    session_id: str = ""


class SessionList(Body, frozen=True):
    """List one's own sessions, newest first."""

    sessions: tuple[SessionView, ...]


class Ended(Body, frozen=True):
    """Say how many sessions ended."""

    ended: int


class LoginQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Hold a login link's word."""

    word: Annotated[str, Meta(max_length=200, description="of the link; nothing happens to it until it is sent")] = ""


class CallbackQuery(Struct, frozen=True):
    """Hold what an identity provider sends a browser back with; some send more than this."""

    code: str = ""
    state: str = ""
    error: str = ""
    error_description: str = ""


_STORE = ("store_unavailable",)
_LOGIN = ("unauthorized", "rate_limited", "database_unavailable", *_STORE)
_BODY = ("malformed_request", "invalid_request", "unsupported_media_type", "body_too_large", "request_timeout")

SESSION_DOORS: tuple[Door, ...] = (
    Door(
        "POST",
        "/sessions",
        "open_session",
        "Log in, with a key or with a login link's word.",
        "open",
        body=LoginBody,
        reply=OpenedSession,
        errors=(*_LOGIN, *_BODY),
        status=201,
    ),
    Door("GET", "/sessions", "sessions", "List one's own sessions.", "any", reply=SessionList, errors=_STORE),
    Door("DELETE", "/sessions", "close_sessions", "End all of one's own.", "any", reply=Ended, errors=_STORE),
    Door(
        "GET",
        "/sessions/current",
        "session",
        "Say who one is, until when, and the CSRF token.",
        "any",
        reply=CurrentSession,
        errors=("not_found", *_STORE),
    ),
    Door(
        "PATCH",
        "/sessions/current",
        "change_session",
        "Give the session in use another name.",
        "any",
        body=SessionChange,
        reply=CurrentSession,
        errors=("not_found", *_BODY, *_STORE),
    ),
    Door("DELETE", "/sessions/current", "close_session", "Log out.", "any", reply=Ended, errors=("not_found", *_STORE)),
    Door(
        "DELETE",
        "/sessions/{key}",
        "close_other_session",
        "End one of one's own sessions.",
        "any",
        reply=Ended,
        errors=("not_found", *_STORE),
    ),
    Door(
        "GET",
        "/login",
        "login_page",
        "Let people log in.",
        "open",
        "standard",
        query=LoginQuery,
        media="text/html",
        errors=("invalid_request", "rate_limited", *_STORE),
    ),
    Door(
        "GET",
        "/login/oidc",
        "oidc_login",
        "Lead a browser to the identity provider.",
        "open",
        media="text/html",
        errors=("not_found", "rate_limited", "login_unavailable", *_STORE),
        status=303,
    ),
    Door(
        "GET",
        "/login/oidc/callback",
        "oidc_callback",
        "Take a browser back from the identity provider.",
        "open",
        query=CallbackQuery,
        media="text/html",
        errors=("not_found", "login_unavailable", "invalid_request", *_LOGIN),
        status=303,
    ),
)
