"""People in the database, who they are at an identity provider, and the links that log in once."""

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.accounts import DEFAULT_TENANT, Claims, Listing, User
from askonce.domain.clock import Clock
from askonce.domain.credentials import mint_id, mint_token, token_digest
from askonce.domain.errors import Detail
from askonce.domain.identity import Directory, Holder
from askonce.ledger.engine import reading, writing
from askonce.ledger.identity_tables import (
    IDENTITY,
    bounds_of,
    ensure_tenant,
    login_links,
    missing,
    next_number,
    page_of,
    scopes_of,
    tenants,
    text_of,
    users,
)
from askonce.ledger.keys import PAGE_MAX, announce
from askonce.ledger.wishes import refuse, wrong_bounds, wrong_email, wrong_name

FIRST_ADMINISTRATOR = "First administrator"


class SqlUsers:
    """Keep users."""

    def __init__(self, engine: AsyncEngine, directory: Directory, clock: Clock) -> None:
        self._engine = engine
        self._directory = directory
        self._clock = clock

    async def create(self, user: User) -> User:
        """Make a user; its id and times are given here."""
        user = replace(user, id=mint_id(), email=user.email.lower(), created_ms=self._clock.wall_ms(), login_ms=0)
        _check(user)
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            await _check_place(connection, user)
            await _insert(connection, user, edition.number)
        await announce(self._engine, self._directory, edition.source, _holder(user, edition.number))
        return user

    async def get(self, user_id: str, tenant: str = "") -> User:
        """Return a user."""
        async with reading(self._engine) as connection:
            return await _get(connection, user_id, tenant)

    async def list(self, tenant: str = "", after: str = "", size: int = 100) -> Listing[User]:
        """Return a page of users, newest first."""
        where = [users.c.tenant == tenant] if tenant else []
        async with reading(self._engine) as connection:
            rows, following = await page_of(connection, users, where, after, min(size, PAGE_MAX))
        return Listing(tuple(_user(row) for row in rows), following)

    async def update(self, user: User) -> User:
        """Give a user this name, these scopes and bounds, this state; who they are and where they belong stays."""
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            known = await _get(connection, user.id, "")
            changed = replace(
                known, name=user.name, scopes=user.scopes, bounds=user.bounds, disabled_ms=user.disabled_ms
            )
            _check(changed)
            await _write(connection, changed, edition.number)
        await announce(self._engine, self._directory, edition.source, _holder(changed, edition.number))
        return changed

    async def login(self, claims: Claims) -> User | None:
        """Return who that is, noting the login: by issuer and subject, else by a verified address, for the first time.

        An address binds only a user that has no subject yet, so that nobody takes another's place by renaming.
        """
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            user = await _claimed(connection, claims)
            if user is None or user.disabled_ms:
                return None
            user = replace(user, issuer=claims.issuer, subject=claims.subject, login_ms=self._clock.wall_ms())
            await _write(connection, user, edition.number)
        return user

    async def administrator(self) -> User | None:
        """Return a user who has logged in, is not disabled, and may administer everything."""
        async with reading(self._engine) as connection:
            return next((user for user in await _administrators(connection) if user.login_ms), None)


class SqlLoginLinks:
    """Keep links: of each only its hash."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def issue(self, user_id: str, expires_ms: int) -> str:
        """Return the link's word; the user's former links end."""
        async with writing(self._engine) as connection:
            await _get(connection, user_id, "")
            return await self._issue(connection, user_id, expires_ms)

    async def first_administrator(self, expires_ms: int) -> str:
        """Return a word for the first administrator, the same person however often it is asked for."""
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            known = await _administrators(connection)
            if any(user.login_ms for user in known):
                return ""
            now_ms = self._clock.wall_ms()
            if not known:
                await ensure_tenant(connection, DEFAULT_TENANT, now_ms, edition.number)
                known = [User(mint_id(), DEFAULT_TENANT, "", FIRST_ADMINISTRATOR, ("root",), created_ms=now_ms)]
                await _insert(connection, known[0], edition.number)
            return await self._issue(connection, known[0].id, expires_ms)

    async def redeem(self, word: str) -> User | None:
        """Return who logs in by it, once, however many try at the same moment."""
        now_ms = self._clock.wall_ms()
        async with writing(self._engine) as connection:
            used = (
                update(login_links)
                .where(login_links.c.digest == token_digest(word), login_links.c.used_ms == 0)
                .where(login_links.c.expires_ms > now_ms)
                .values(used_ms=now_ms)
                .returning(login_links.c.user_id)
            )
            user_id = await connection.scalar(used)
            if user_id is None:
                return None
            user = await _get(connection, user_id, "")
            if user.disabled_ms:
                return None
            await connection.execute(update(users).where(users.c.id == user_id).values(login_ms=now_ms))
            return replace(user, login_ms=now_ms)

    async def _issue(self, connection: AsyncConnection, user_id: str, expires_ms: int) -> str:
        now_ms, word = self._clock.wall_ms(), mint_token()
        former = (login_links.c.user_id == user_id) & (login_links.c.expires_ms > now_ms)
        await connection.execute(update(login_links).where(former).values(expires_ms=now_ms))
        await connection.execute(
            insert(login_links).values(
                digest=token_digest(word), user_id=user_id, created_ms=now_ms, expires_ms=expires_ms, used_ms=0
            )
        )
        return word


async def _claimed(connection: AsyncConnection, claims: Claims) -> User | None:
    """Return whom these claims mean, None for nobody; the empty subject is nobody's."""
    if not claims.issuer or not claims.subject:
        return None
    bound = select(users).where(users.c.issuer == claims.issuer, users.c.subject == claims.subject)
    row = (await connection.execute(bound)).mappings().first()
    if row is None and claims.email:
        invited = select(users).where(users.c.email == claims.email.lower(), users.c.subject == "")
        row = (await connection.execute(invited)).mappings().first()
    return None if row is None else _user(row)


async def _administrators(connection: AsyncConnection) -> Sequence[User]:
    likely = select(users).where(users.c.scopes.contains('"root"'), users.c.disabled_ms == 0).order_by(users.c.id)
    return [_user(row) for row in (await connection.execute(likely)).mappings()]


async def _check_place(connection: AsyncConnection, user: User) -> None:
    if (await connection.execute(select(tenants.c.id).where(tenants.c.id == user.tenant))).first() is None:
        refuse(iter([Detail("tenant", f"there is no tenant {user.tenant[:64]!r}; make it first")]))
    taken = select(users.c.id).where(users.c.email == user.email, users.c.email != "")
    if (await connection.execute(taken)).first() is not None:
        refuse(iter([Detail("email", "there is a user with this address already")]))


def _check(user: User) -> None:
    if user.name:
        refuse(wrong_name("name", user.name))
    refuse(wrong_email(user.email))
    refuse(wrong_bounds(user.bounds))
    if not user.name and not user.email:
        refuse(iter([Detail("email", "a user needs an address or a name")]))


async def _get(connection: AsyncConnection, user_id: str, tenant: str) -> User:
    row = (await connection.execute(select(users).where(users.c.id == user_id))).mappings().first()
    if row is None or tenant not in ("", row["tenant"]):
        raise missing("user", user_id)
    return _user(row)


async def _insert(connection: AsyncConnection, user: User, version: int) -> None:
    await connection.execute(insert(users).values(**_fields(user), version=version))


async def _write(connection: AsyncConnection, user: User, version: int) -> None:
    await connection.execute(update(users).where(users.c.id == user.id).values(**_fields(user), version=version))


def _fields(user: User) -> dict[str, object]:
    fields = {name: getattr(user, name) for name in User.__struct_fields__}
    return fields | {"scopes": text_of(user.scopes), "bounds": text_of(user.bounds)}


def _holder(user: User, version: int) -> Holder:
    return Holder(f"user:{user.id}", user.bounds, user.disabled_ms, version, user.scopes)


def _user(row: RowMapping) -> User:
    plain = ("id", "tenant", "email", "name", "issuer", "subject", "created_ms", "disabled_ms", "login_ms")
    return User(**{name: row[name] for name in plain}, scopes=scopes_of(row), bounds=bounds_of(row))
