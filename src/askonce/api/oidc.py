"""The doors to an identity provider and back. What a login began with travels in a cookie, signed and short-lived."""

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from askonce.api.admin.office import Office, Offices
from askonce.api.cookies import session_cookie, set_cookie
from askonce.api.errands import Errand, Handler
from askonce.api.login import PAGE_HEADERS
from askonce.api.replies import Reply
from askonce.api.sessions import SessionDoors
from askonce.domain.accounts import Claims, User
from askonce.domain.admittance import Rule, admitted
from askonce.domain.clock import Clock
from askonce.domain.errors import Invalid, NotFound, Unauthorized

COOKIE = "askonceLogin"
COOKIE_PATH = "/login/oidc"
CALLBACK = "/login/oidc/callback"
SPAN_S = 600  # to type a password and a second factor

NONE = "This server has no identity provider (oidc_issuer). Ask an administrator for a login link."
NOT_BEGUN = "This login was not begun in this browser, or too long ago. Begin again at /login."
NOT_INVITED = "You are not known here. Ask an administrator to invite the address that you log in with."
DECLINED = "The identity provider did not let you log in. Begin again at /login."


class Begun(Protocol):
    """Hold what a login began with."""

    @property
    def url(self) -> str:
        """Return where the browser goes."""
        ...

    @property
    def state(self) -> str:
        """Return the word that the provider sends back."""
        ...

    @property
    def nonce(self) -> str:
        """Return the word that stands in the ID token."""
        ...

    @property
    def verifier(self) -> str:
        """Return the word that only who began can send with the code."""
        ...


class Travelling(Struct, frozen=True, array_like=True):
    """Hold what a login began with, while its browser is away."""

    state: str
    nonce: str
    verifier: str
    until_ms: int


class Proved(Protocol):
    """Hold who that is."""

    @property
    def claims(self) -> Claims:
        """Return them."""
        ...

    @property
    def told(self) -> dict[str, object]:
        """Return everything that was said of them."""
        ...


class Provider(Protocol):
    """Know people by an identity provider."""

    async def begin(self, back_to: str) -> Begun:
        """Begin a login. Raises `LoginUnavailable`."""
        ...

    async def finish(self, code: str, begun: Travelling, back_to: str) -> Proved:
        """Return who logged in. Raises `Unauthorized`, `LoginUnavailable`."""
        ...


class Foyer(Struct, frozen=True):
    """Hold what logging in elsewhere needs. `key` signs what travels; `rules` let in who was not invited."""

    provider: Provider | None
    key: bytes
    rules: Sequence[Rule]
    offices: Offices
    sessions: SessionDoors
    clock: Clock


def oidc_handlers(foyer: Foyer) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def begin(errand: Errand) -> Reply:
        begun = await _provider(foyer).begin(_back_to(errand))
        until_ms = foyer.clock.wall_ms() + SPAN_S * 1000
        travelling = Travelling(begun.state, begun.nonce, begun.verifier, until_ms)
        cookie = set_cookie(COOKIE, seal(foyer.key, travelling), SPAN_S, secure=errand.secure, path=COOKIE_PATH)
        return Reply(303, [*PAGE_HEADERS, (b"location", begun.url.encode()), cookie], b"")

    async def finish(errand: Errand) -> Reply:
        provider = _provider(foyer)
        begun = unseal(foyer.key, errand.request.cookie(COOKIE) or "", foyer.clock.wall_ms())
        if begun is None or not hmac.compare_digest(begun.state.encode(), errand.query.state.encode()):
            raise await foyer.sessions.refuse(errand, "oidc", NOT_BEGUN)
        if errand.query.error or not errand.query.code:
            raise await foyer.sessions.refuse(errand, "oidc", DECLINED)
        try:
            proved = await provider.finish(errand.query.code, begun, _back_to(errand))
        except Unauthorized as error:
            raise await foyer.sessions.refuse(errand, "oidc", error.message) from error
        user = await _user(await foyer.offices.open(), foyer.rules, proved)
        if user is None:
            raise await foyer.sessions.refuse(errand, "oidc", NOT_INVITED)
        opened = await foyer.sessions.welcome(errand, user, "oidc")
        gone = set_cookie(COOKIE, "", 0, secure=errand.secure, path=COOKIE_PATH)
        headers = [(b"location", b"/login"), gone, session_cookie(opened.id, secure=errand.secure)]
        return Reply(303, [*PAGE_HEADERS, *headers], b"")

    return {"oidc_login": begin, "oidc_callback": finish}


def seal(key: bytes, travelling: Travelling) -> str:
    """Write what travels, so that nobody else can."""
    told = base64.urlsafe_b64encode(msgspec.msgpack.encode(travelling)).decode().rstrip("=")
    return f"{told}.{hmac.digest(key, told.encode(), 'sha256').hex()}"


def unseal(key: bytes, text: str, now_ms: int) -> Travelling | None:
    """Read what `seal` wrote; None for anything else, and after its time."""
    told, _, mac = text.partition(".")
    if not hmac.compare_digest(hmac.digest(key, told.encode("latin-1"), "sha256").hex().encode(), mac.encode()):
        return None
    try:
        raw = base64.urlsafe_b64decode(told + "=" * (-len(told) % 4))
        travelling = msgspec.msgpack.decode(raw, type=Travelling)
    except (binascii.Error, msgspec.DecodeError):
        return None
    return travelling if travelling.until_ms > now_ms else None


async def _user(office: Office, rules: Sequence[Rule], proved: Proved) -> User | None:
    """Return who that is here: somebody known or invited, else somebody whom a rule lets in."""
    claims = proved.claims
    user = await office.users.login(claims)
    if user is not None:
        return user
    rule = admitted(rules, claims, proved.told)
    if rule is None or not claims.email:
        return None  # without a verified address nobody could be told from another who only has the same name
    try:
        await office.tenants.get(rule.tenant)
    except NotFound:
        await office.tenants.create(rule.tenant)
    try:
        await office.users.create(User("", rule.tenant, claims.email, claims.name, rule.scopes))
    except Invalid:
        return None  # somebody else has the address, or they are disabled
    return await office.users.login(claims)


def _provider(foyer: Foyer) -> Provider:
    if foyer.provider is None:
        raise NotFound(NONE)
    return foyer.provider


def _back_to(errand: Errand) -> str:
    host = errand.request.text(b"host") or "127.0.0.1"
    return f"{'https' if errand.secure else 'http'}://{host}{CALLBACK}"
