"""Keys in the database: made, listed, changed, revoked, rotated; and put in force in shared state.

A key's text is never stored, only its keyed hash. The database is the truth, the directory follows: what was changed
is put there at once, and should that fail the next reading of changes (each second) brings it.
"""

import logging
from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, structs
from sqlalchemy import ColumnElement, RowMapping, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.accounts import DEFAULT_TENANT, Issued, KeyChange, KeyWish, Listing, Rotated, SecretChanged
from askonce.domain.clock import Clock
from askonce.domain.credentials import PREFIX_LETTERS, fingerprint, key_digest, key_id, mint_key
from askonce.domain.errors import Detail, Invalid, StoreUnavailable
from askonce.domain.identity import Directory, Holder, KeyCard
from askonce.ledger.engine import afterwards, reading, writing
from askonce.ledger.identity_tables import (
    IDENTITY,
    card_of,
    ensure_tenant,
    keys,
    missing,
    next_number,
    page_of,
    tenants,
    text_of,
    users,
)
from askonce.ledger.wishes import check_wish, refuse

# Of keys that have not ended. Each takes some 300 bytes of the books (128 MiB), which others need too.
KEYS_MAX = 20_000
PAGE_MAX = 500
GRACE_MAX_MS = 90 * 86_400_000  # a successor that nobody uses after three months is not in use

_log = logging.getLogger("askonce.ledger")


class SqlKeys:
    """Keep keys. `peppers` are the keys of the hashes, that in force first, then the former."""

    def __init__(self, engine: AsyncEngine, directory: Directory, peppers: Sequence[bytes], clock: Clock) -> None:
        self._engine = engine
        self._directory = directory
        self._pepper = peppers[0]
        self._known = {fingerprint(pepper) for pepper in peppers}
        self._clock = clock

    async def check_secret(self) -> None:
        """Raise `SecretChanged` where keys that have not ended were hashed with a secret that is not known."""
        wanted = select(keys.c.pepper, func.count()).where(*_alive(self._clock.wall_ms())).group_by(keys.c.pepper)
        async with reading(self._engine) as connection:
            counts = {row[0]: row[1] for row in await connection.execute(wanted)}
        strange = {pepper: count for pepper, count in counts.items() if pepper not in self._known}
        if strange:
            raise SecretChanged(
                f"ASKONCE_SECRET: {sum(strange.values())} keys in the database were made with another secret "
                f"({', '.join(sorted(strange))}; in force is {fingerprint(self._pepper)}). Add the former secret "
                "behind the new one, separated by a comma, or revoke those keys. All nodes need the same."
            )

    async def create(self, wish: KeyWish) -> Issued:
        """Make a key; the default tenant is made with its first one."""
        now_ms = self._clock.wall_ms()
        check_wish(wish, now_ms)
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            await _check_room(connection, now_ms)
            if wish.tenant == DEFAULT_TENANT:
                await ensure_tenant(connection, wish.tenant, now_ms, edition.number)
            await _check_holders(connection, wish)
            issued = await self._issue(connection, wish, now_ms, edition.number)
        await announce(self._engine, self._directory, edition.source, issued.card)
        return issued

    async def get(self, key_id: str, tenant: str = "") -> KeyCard:
        """Return a key by its public id."""
        async with reading(self._engine) as connection:
            return card_of(await _row(connection, key_id, tenant))

    async def list(self, tenant: str = "", after: str = "", size: int = 100) -> Listing[KeyCard]:
        """Return a page of keys, newest first."""
        where = [keys.c.tenant == tenant] if tenant else []
        async with reading(self._engine) as connection:
            rows, following = await page_of(connection, keys, where, after, min(size, PAGE_MAX))
        return Listing(tuple(card_of(row) for row in rows), following)

    async def update(self, key_id: str, change: KeyChange, tenant: str = "") -> KeyCard:
        """Change what a key may do."""
        now_ms = self._clock.wall_ms()
        changed = {name: value for name, value in structs.asdict(change).items() if value is not UNSET}
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            card = card_of(await _row(connection, key_id, tenant))
            if card.revoked_ms:
                refuse(iter([Detail("id", "this key was revoked; make a new one")]))
            check_wish(structs.replace(_wish_of(card), **changed), now_ms if "expires_ms" in changed else 0)
            card = await _write(connection, structs.replace(card, **changed, version=edition.number))
        await announce(self._engine, self._directory, edition.source, card)
        return card

    async def revoke(self, key_id: str, tenant: str = "") -> KeyCard:
        """End a key now; one that was revoked is put in force as that again."""
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            card = card_of(await _row(connection, key_id, tenant))
            ended_ms = card.revoked_ms or self._clock.wall_ms()
            card = await _write(connection, structs.replace(card, revoked_ms=ended_ms, version=edition.number))
        await announce(self._engine, self._directory, edition.source, card)
        return card

    async def rotate(self, key_id: str, grace_ms: int, tenant: str = "") -> Rotated:
        """Make a key that may do the same; the former one ends after the grace, or when it would have anyway."""
        now_ms = self._clock.wall_ms()
        if not 0 <= grace_ms <= GRACE_MAX_MS:
            refuse(iter([Detail("grace", "a span from 0 to 90 days is needed")]))
        async with writing(self._engine) as connection:
            edition = await next_number(connection, IDENTITY)
            row = await _row(connection, key_id, tenant)
            former = card_of(row)
            _check_rotatable(former, row["successor"], now_ms)
            issued = await self._issue(connection, _wish_of(former), now_ms, edition.number)
            end_ms = min(now_ms + grace_ms, former.expires_ms or now_ms + grace_ms)
            former = structs.replace(former, expires_ms=end_ms, version=edition.number)
            await _write(connection, former, successor=issued.card.id)
        await announce(self._engine, self._directory, edition.source, issued.card, former)
        return Rotated(issued, former)

    async def _issue(self, connection: AsyncConnection, wish: KeyWish, now_ms: int, version: int) -> Issued:
        key = mint_key()
        card = KeyCard(
            id=key_id(key),
            digest=key_digest(self._pepper, key),
            prefix=key[:PREFIX_LETTERS],
            **{name: getattr(wish, name) for name in KeyWish.__struct_fields__},
            created_ms=now_ms,
            version=version,
        )
        await connection.execute(insert(keys).values(**_fields(card), pepper=fingerprint(self._pepper), successor=""))
        return Issued(card, key)


async def announce(engine: AsyncEngine, directory: Directory, source: str, *records: KeyCard | Holder) -> None:
    """Put in force what the database holds, once it does. With shared state away, reading the changes will do it."""

    async def put() -> None:
        try:
            await directory.put(source, *records)
        except StoreUnavailable as error:
            _log.warning("a change of keys will be in force a little later: %s", error.message)

    await afterwards(engine, put)


def _alive(now_ms: int) -> tuple[ColumnElement[bool], ...]:
    return keys.c.revoked_ms == 0, (keys.c.expires_ms == 0) | (keys.c.expires_ms > now_ms)


async def _check_room(connection: AsyncConnection, now_ms: int) -> None:
    count = await connection.scalar(select(func.count()).select_from(keys).where(*_alive(now_ms)))
    if count is not None and count >= KEYS_MAX:
        raise Invalid(f"There are {count} keys in force, and no room for more. Revoke those that nobody needs.")


async def _check_holders(connection: AsyncConnection, wish: KeyWish) -> None:
    """Raise `Invalid` unless the tenant is there, and the user is one of its."""
    if (await connection.execute(select(tenants.c.id).where(tenants.c.id == wish.tenant))).first() is None:
        refuse(iter([Detail("tenant", f"there is no tenant {wish.tenant[:64]!r}; make it first")]))
    if wish.user_id:
        found = select(users.c.id).where(users.c.id == wish.user_id, users.c.tenant == wish.tenant)
        if (await connection.execute(found)).first() is None:
            refuse(iter([Detail("user_id", f"the tenant has no user {wish.user_id[:64]!r}")]))


def _check_rotatable(card: KeyCard, successor: str, now_ms: int) -> None:
    if card.revoked_ms or (card.expires_ms and card.expires_ms <= now_ms):
        refuse(iter([Detail("id", "this key has ended; make a new one")]))
    if successor:
        refuse(iter([Detail("id", f"this key was rotated already, its successor is {successor}")]))


async def _row(connection: AsyncConnection, key_id: str, tenant: str) -> RowMapping:
    wanted = select(keys).where(keys.c.id == key_id)
    row = (await connection.execute(wanted)).mappings().first()
    if row is None or tenant not in ("", row["tenant"]):
        raise missing("key", key_id)
    return row


async def _write(connection: AsyncConnection, card: KeyCard, **more: str) -> KeyCard:
    await connection.execute(update(keys).where(keys.c.id == card.id).values(**_fields(card), **more))
    return card


def _wish_of(card: KeyCard) -> KeyWish:
    return KeyWish(**{name: getattr(card, name) for name in KeyWish.__struct_fields__})


def _fields(card: KeyCard) -> dict[str, Any]:
    fields = {name: getattr(card, name) for name in KeyCard.__struct_fields__}
    return fields | {name: text_of(fields[name]) for name in ("scopes", "models", "providers", "addresses", "bounds")}
