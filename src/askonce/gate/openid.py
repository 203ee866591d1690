"""Logging in at an identity provider: OpenID Connect's code flow, with PKCE, state and nonce, by Authlib.

    begin ─▶ the browser at the provider ─▶ finish: code ─▶ tokens ─▶ the ID token, checked ─▶ claims

Sources: OpenID Connect Core 1.0 (3.1), Discovery 1.0, RFC 7636 (PKCE), RFC 9207 (whose answer it is). Imported at the
first login of this kind only. Provider away: closed, and everything but this way of logging in goes on.
"""

import importlib
from collections.abc import Mapping
from typing import Any

from authlib.common.errors import AuthlibBaseError  # type: ignore[import-untyped]
from authlib.integrations.httpx_client import AsyncOAuth2Client  # type: ignore[import-untyped]
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from msgspec import Struct

from askonce.domain.accounts import Claims
from askonce.domain.clock import Clock
from askonce.domain.credentials import mint_token
from askonce.domain.errors import LoginUnavailable, Unauthorized

TIMEOUT_S = 10.0
KEEP_MS = 3_600_000  # what a provider says of itself; keys that are not among those known are asked for anew
LEEWAY_S = 60  # between its clock and ours
WANTED = "openid email profile"
# Signatures that only the provider can make. What our own secret could sign as well proves nothing.
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]

AWAY = "The identity provider does not answer as it should. Try again, or ask an administrator for a login link."
REFUSED = "The identity provider did not confirm this login. Begin again at /login."

# Authlib runs on whichever of its HTTP libraries is there.
_http: Any = importlib.import_module(AsyncOAuth2Client.__mro__[2].__module__.partition(".")[0])


class Begun(Struct, frozen=True):
    """Hold what a login began with; its browser brings it back. `url` is where it goes."""

    url: str
    state: str
    nonce: str
    verifier: str


class Proved(Struct, frozen=True):
    """Hold who that is, and everything that the provider says of them."""

    claims: Claims
    told: dict[str, Any]


class IdentityProvider:
    """Lead people to a provider and read what it says of them."""

    def __init__(self, issuer: str, client_id: str, client_secret: str, clock: Clock) -> None:
        self._issuer = issuer.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._clock = clock
        self._metadata: dict[str, Any] = {}
        self._keys: KeySet | None = None
        self._kept_until_ms = 0

    async def begin(self, back_to: str) -> Begun:
        """Begin a login that ends at the address `back_to`. Raises `LoginUnavailable`."""
        metadata = await self._discover()
        nonce, verifier = mint_token(), mint_token()
        async with self._client(back_to) as client:
            url, state = client.create_authorization_url(
                metadata["authorization_endpoint"], state=mint_token(), nonce=nonce, code_verifier=verifier
            )
        return Begun(str(url), str(state), nonce, verifier)

    async def finish(self, code: str, nonce: str, verifier: str, back_to: str) -> Proved:
        """Return who logged in. Raises `Unauthorized` and `LoginUnavailable`."""
        metadata = await self._discover()
        async with self._client(back_to) as client:
            try:
                token = await client.fetch_token(
                    metadata["token_endpoint"], grant_type="authorization_code", code=code, code_verifier=verifier
                )
                told = await self._read(str(token.get("id_token", "")), nonce)
                if "email" not in told and "userinfo_endpoint" in metadata:
                    more = (await client.get(metadata["userinfo_endpoint"])).json()
                    if isinstance(more, dict) and more.get("sub") == told["sub"]:  # Core, 5.3.2: else it is not theirs
                        told = more | told
            except AuthlibBaseError as error:
                raise Unauthorized(REFUSED) from error
            except (_http.HTTPError, _http.InvalidURL, ValueError) as error:
                raise LoginUnavailable(AWAY) from error
        return Proved(_claims(self._issuer, told), told)

    async def _read(self, id_token: str, nonce: str) -> dict[str, Any]:
        """Check an ID token (Core, 3.1.3.7) and return its claims."""
        try:
            try:
                told = jwt.decode(id_token, await self._key_set(), algorithms=ALGORITHMS).claims
            except (JoseError, ValueError):
                told = jwt.decode(id_token, await self._key_set(anew=True), algorithms=ALGORITHMS).claims
            jwt.JWTClaimsRegistry(
                leeway=LEEWAY_S,
                now=self._clock.wall_ms() // 1000,
                iss={"essential": True, "value": self._issuer_as_told()},
                aud={"essential": True, "value": self._client_id},
                sub={"essential": True},
                exp={"essential": True},
                iat={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(told)
        except (JoseError, ValueError) as error:
            raise Unauthorized(REFUSED) from error
        if told.get("azp", self._client_id) != self._client_id:
            raise Unauthorized(REFUSED)
        return told

    async def _discover(self) -> dict[str, Any]:
        """Return what the provider says of itself. Raises `LoginUnavailable`."""
        if self._clock.wall_ms() >= self._kept_until_ms:
            told = await self._fetch(f"{self._issuer}/.well-known/openid-configuration")
            needed = ("authorization_endpoint", "token_endpoint", "jwks_uri")
            if str(told.get("issuer", "")).rstrip("/") != self._issuer or any(name not in told for name in needed):
                raise LoginUnavailable(AWAY)
            self._metadata, self._keys = told, None
            self._kept_until_ms = self._clock.wall_ms() + KEEP_MS
        return self._metadata

    async def _key_set(self, *, anew: bool = False) -> KeySet:
        if self._keys is None or anew:
            told: Any = await self._fetch(self._metadata["jwks_uri"])
            self._keys = KeySet.import_key_set(told)
        return self._keys

    async def _fetch(self, url: str) -> dict[str, Any]:
        try:
            async with _http.AsyncClient(timeout=TIMEOUT_S) as client:
                reply = await client.get(url)
                reply.raise_for_status()
                told = reply.json()
        except (_http.HTTPError, _http.InvalidURL, ValueError) as error:
            raise LoginUnavailable(AWAY) from error
        if not isinstance(told, dict):
            raise LoginUnavailable(AWAY)
        return told

    def _issuer_as_told(self) -> str:
        return str(self._metadata["issuer"])

    def _client(self, back_to: str) -> Any:
        ways = self._metadata.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        way = "client_secret_basic" if "client_secret_basic" in ways else "client_secret_post"
        return AsyncOAuth2Client(
            self._client_id,
            self._client_secret or None,
            token_endpoint_auth_method=way if self._client_secret else "none",
            scope=WANTED,
            redirect_uri=back_to,
            code_challenge_method="S256",
            timeout=TIMEOUT_S,
        )


def _claims(issuer: str, told: Mapping[str, Any]) -> Claims:
    """Take an address only if the provider says that it was verified: anybody can claim one."""
    verified = told.get("email_verified") in (True, "true")
    name = told.get("name") or told.get("preferred_username") or ""
    email = told.get("email") if verified else ""
    return Claims(issuer, str(told["sub"]), str(email or ""), str(name)[:100])
