"""Logins: opened, used, ended. What a session may do is never more than its key or its user may do now.

    open ─▶ (use, prolonged by it) ─▶ runs out │ is closed │ its key ends │ its user or tenant is disabled

The id is made here, always, and given out once; one that a client brings along is only ever looked up. More rights need
another login, which has another id. Store away: closed.
"""

import hmac
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from askonce.domain.accounts import User
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.credentials import mint_token, token_digest
from askonce.domain.errors import Forbidden, Unauthorized
from askonce.domain.identity import Directory, Holder, KeyCard, Scope, Session, Sessions, Standing
from askonce.gate.scopes import DISABLED, require_address, require_standing

SPAN_MS = 24 * 3_600_000  # after the last use
# A write at every use would cost more than answering from the cache; so a session may end a minute early.
PROLONG_EVERY_MS = 60_000
AGENT_LETTERS = 200  # of a browser's own description: enough to recognise it in a list

UNKNOWN_SESSION = "This session is not known here or has run out. Log in again, or send a key."
WRONG_WORD = (
    "This request does not carry its session's CSRF word. Send it as X-CSRF-Token, as /sessions/current tells it."
)


class Opened(Struct, frozen=True):
    """Hold a new session and its id, which is not kept anywhere else. Shows itself without it."""

    id: str
    session: Session

    def __repr__(self) -> str:
        return f"Opened({self.session.user_id})"


class Entered(NamedTuple):
    """Hold a session in use, and what bounds it: its key, or a card without a key that names its user.

    None for a session of a configured key, which nothing bounds.
    """

    session: Session
    standing: Standing | None


class Logins:
    """Open and use sessions. `static` are the scopes of configured keys by the keys' digests."""

    def __init__(
        self,
        sessions: Sessions,
        directory: Directory,
        clock: Clock,
        static: Mapping[bytes, tuple[Scope, ...]] | None = None,
    ) -> None:
        self._sessions = sessions
        self._directory = directory
        self._clock = clock
        self._static = dict(static or {})

    async def open_for_user(self, user: User, address: str = "", agent: str = "") -> Opened:
        """Open a session for somebody who has just proved who they are."""
        return await self._open(
            Session(b"", user.id, user.tenant, user.scopes, "", 0, 0, 0, address, agent[:AGENT_LETTERS])
        )

    async def open_for_key(self, standing: Standing, address: str = "", agent: str = "") -> Opened:
        """Open a session that may do what a key may, and ends with it."""
        card = standing.card
        agent = agent[:AGENT_LETTERS]
        return await self._open(
            Session(b"", f"key:{card.id}", card.tenant, card.scopes, "", 0, 0, 0, address, agent, card.digest)
        )

    async def open_for_static(self, caller: Caller, digest: bytes, address: str = "", agent: str = "") -> Opened:
        """Open a session for a configured key; it ends once the key is configured no more."""
        agent = agent[:AGENT_LETTERS]
        return await self._open(
            Session(b"", f"key:{caller.key_id}", caller.tenant, caller.scopes, "", 0, 0, 0, address, agent, digest)
        )

    async def use(self, session_id: str, address: str) -> Session:
        """Return the session with what it may do now, prolonged; raises as `enter`."""
        return (await self.enter(session_id, address)).session

    async def enter(self, session_id: str, address: str) -> Entered:
        """Return the session with what it may do now, prolonged, and what bounds it.

        Raises `Unauthorized`, `Forbidden` (its key may not be used from the address), `StoreUnavailable`.
        """
        now_ms = self._clock.wall_ms()
        session = await self._sessions.find(token_digest(session_id), now_ms)
        if session is None:
            raise Unauthorized(UNKNOWN_SESSION)
        scopes, standing = await self._now(session, address, now_ms)
        if now_ms - session.used_ms >= PROLONG_EVERY_MS:
            if not await self._sessions.prolong(session.digest, now_ms, now_ms + SPAN_MS):
                raise Unauthorized(UNKNOWN_SESSION)
            session = replace(session, used_ms=now_ms, expires_ms=max(session.expires_ms, now_ms + SPAN_MS))
        return Entered(replace(session, scopes=_both(session.scopes, scopes)), standing)

    async def of(self, user_id: str) -> tuple[Session, ...]:
        """Return a user's sessions, newest first."""
        return await self._sessions.of_user(user_id, self._clock.wall_ms())

    async def change(self, session: Session) -> None:
        """Keep a session's new description. It never adds anything to what it may do."""
        await self._sessions.describe(session.digest, session.agent[:AGENT_LETTERS], self._clock.wall_ms())

    async def close_one(self, user_id: str, digest: bytes) -> bool:
        """End one of a user's sessions, named by its hash; False where the user has no such session."""
        session = await self._sessions.find(digest, self._clock.wall_ms())
        return session is not None and session.user_id == user_id and await self._sessions.close(digest)

    async def close_all(self, user_id: str) -> int:
        """End all of a user's sessions, and return how many."""
        return await self._sessions.close_all(user_id)

    async def close(self, session_id: str) -> bool:
        """End a session; False where there was none."""
        return await self._sessions.close(token_digest(session_id))

    async def _open(self, session: Session) -> Opened:
        now_ms, session_id = self._clock.wall_ms(), mint_token()
        opened = replace(
            session,
            digest=token_digest(session_id),
            csrf=mint_token(),
            created_ms=now_ms,
            used_ms=now_ms,
            expires_ms=now_ms + SPAN_MS,
        )
        await self._sessions.open(opened)
        return Opened(session_id, opened)

    async def _now(self, session: Session, address: str, now_ms: int) -> tuple[tuple[Scope, ...], Standing | None]:
        """Return what its key or its user may do now, and what bounds it. Raises `Unauthorized` where that ended."""
        if session.key_digest in self._static:
            return self._static[session.key_digest], None
        if session.key_digest:
            standing = await self._directory.find(session.key_digest)
            if standing is None:
                raise Unauthorized(UNKNOWN_SESSION)
            card = require_standing(standing, now_ms)
            require_address(card.addresses, address)
            return card.scopes, standing
        user_name, tenant_name = f"user:{session.user_id}", f"tenant:{session.tenant}"
        holders = {holder.name: holder for holder in await self._directory.holders(user_name, tenant_name)}
        if any(holder.disabled_ms for holder in holders.values()):
            raise Unauthorized(DISABLED)
        user = holders.get(user_name)
        if user is None:
            raise Unauthorized(UNKNOWN_SESSION)
        return user.scopes, Standing(_card_of(session, user), user, holders.get(tenant_name))


def _card_of(session: Session, user: Holder) -> KeyCard:
    """Make the card of a login without a key, so that its user's and its tenant's budgets hold for it as well."""
    return KeyCard("", b"", "", "", session.tenant, session.user_id, user.scopes)


def require_word(session: Session, sent: str | None) -> None:
    """Raise `Forbidden` unless a request that came with a cookie and writes carries its session's word."""
    if sent is None or not hmac.compare_digest(session.csrf.encode(), sent.encode("utf-8", "surrogateescape")):
        raise Forbidden(WRONG_WORD)


def _both(at_login: Iterable[Scope], now: Iterable[Scope]) -> tuple[Scope, ...]:
    allowed = frozenset(now)
    return tuple(scope for scope in at_login if scope in allowed)
