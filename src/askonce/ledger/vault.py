"""Providers' keys, encrypted: who has the database has none of them without ASKONCE_SECRET.

Each is sealed (`config.sealing`) for its provider and the row's id, so that it opens in its own place only.
"""

from msgspec.structs import replace
from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.config.sealing import Sealed, Sealer
from askonce.domain.accounts import ProviderKey, Revealed
from askonce.domain.clock import Clock
from askonce.domain.credentials import mint_id
from askonce.domain.errors import Detail, Invalid
from askonce.ledger.engine import reading, writing
from askonce.ledger.identity_tables import PROVIDER_KEYS, missing, next_number, provider_keys, read_number
from askonce.ledger.wishes import refuse, wrong_name

SECRET_LETTERS = (8, 4096)  # shorter ones are slips; longer ones fit no header
KEYS_MAX = 500  # of all providers; each costs a little whenever they are read
HINT_LETTERS = 4  # of each end, of keys that are long enough to spare them
HINT_FROM = 24


DESTROYED = Sealed("", b"", b"")


class SqlProviderKeys:
    """Keep providers' keys."""

    def __init__(self, engine: AsyncEngine, sealer: Sealer, clock: Clock) -> None:
        self._engine = engine
        self._sealer = sealer
        self._clock = clock

    async def add(self, provider: str, name: str, secret: str) -> ProviderKey:
        """Keep a key of a provider, beside those that it has."""
        refuse(wrong_name("provider", provider))
        refuse(wrong_name("name", name))
        secret = _checked(secret)
        key = ProviderKey(mint_id(), provider, name, hint(secret), self._clock.wall_ms())
        sealed = self._sealer.seal(secret, _place(provider, key.id))
        async with writing(self._engine) as connection:
            await next_number(connection, PROVIDER_KEYS)
            kept = (await connection.execute(select(provider_keys.c.id).where(provider_keys.c.retired_ms == 0))).all()
            if len(kept) >= KEYS_MAX:
                raise Invalid(f"There are {len(kept)} provider keys, and no room for more. Retire some.")
            await connection.execute(insert(provider_keys).values(**_fields(key), **_sealed_fields(sealed)))
        return key

    async def list(self) -> tuple[ProviderKey, ...]:
        """Return all keys, masked, newest first."""
        wanted = select(provider_keys).order_by(provider_keys.c.created_ms.desc(), provider_keys.c.id)
        async with reading(self._engine) as connection:
            return tuple(_key(row) for row in (await connection.execute(wanted)).mappings())

    async def rotate(self, key_id: str, secret: str) -> ProviderKey:
        """Put another key in a key's place; the former is destroyed."""
        secret = _checked(secret)
        async with writing(self._engine) as connection:
            await next_number(connection, PROVIDER_KEYS)
            key = _key(await _row(connection, key_id))
            if key.retired_ms:
                refuse(iter([Detail("id", "this key was retired; add a new one")]))
            key = replace(key, hint=hint(secret))
            await _write(connection, key, self._sealer.seal(secret, _place(key.provider, key_id)))
        return key

    async def retire(self, key_id: str) -> ProviderKey:
        """Destroy a key; that there was one stays known."""
        async with writing(self._engine) as connection:
            await next_number(connection, PROVIDER_KEYS)
            key = _key(await _row(connection, key_id))
            key = replace(key, retired_ms=key.retired_ms or self._clock.wall_ms())
            await _write(connection, key, DESTROYED)
        return key

    async def reveal(self) -> tuple[Revealed, ...]:
        """Return all keys that are in force, oldest first."""
        in_force = select(provider_keys).where(provider_keys.c.retired_ms == 0)
        async with reading(self._engine) as connection:
            rows = (
                await connection.execute(in_force.order_by(provider_keys.c.created_ms, provider_keys.c.id))
            ).mappings()
            return tuple(self._revealed(row) for row in rows)

    async def reseal(self) -> int:
        """Seal everything anew with the secret in force and return how much was not; then the former can go."""
        former = select(provider_keys).where(
            provider_keys.c.retired_ms == 0, provider_keys.c.seal != self._sealer.seal_id
        )
        async with writing(self._engine) as connection:
            await next_number(connection, PROVIDER_KEYS)
            rows = (await connection.execute(former)).mappings().all()
            for row in rows:
                secret = self._revealed(row).secret
                await _write(connection, _key(row), self._sealer.seal(secret, _place(row["provider"], row["id"])))
        return len(rows)

    async def version(self) -> int:
        """Return a number that grows with every change."""
        async with reading(self._engine) as connection:
            return (await read_number(connection, PROVIDER_KEYS)).number

    def _revealed(self, row: RowMapping) -> Revealed:
        sealed = Sealed(row["seal"], bytes(row["nonce"]), bytes(row["sealed"]))
        return Revealed(row["id"], row["provider"], self._sealer.open(sealed, _place(row["provider"], row["id"])))


def hint(secret: str) -> str:
    """Return enough of a key to recognise it, and too little to use it: `sk-p…9xYz`, or `…` for a short one."""
    return f"{secret[:HINT_LETTERS]}…{secret[-HINT_LETTERS:]}" if len(secret) >= HINT_FROM else "…"


def _place(provider: str, key_id: str) -> str:
    return f"provider key {provider} {key_id}"


def _checked(secret: str) -> str:
    secret = secret.strip()
    low, high = SECRET_LETTERS
    if not low <= len(secret) <= high or not secret.isascii() or not secret.isprintable() or " " in secret:
        refuse(iter([Detail("secret", f"{low} to {high} printable ASCII letters without spaces are needed")]))
    return secret


async def _row(connection: AsyncConnection, key_id: str) -> RowMapping:
    row = (await connection.execute(select(provider_keys).where(provider_keys.c.id == key_id))).mappings().first()
    if row is None:
        raise missing("provider key", key_id)
    return row


async def _write(connection: AsyncConnection, key: ProviderKey, sealed: Sealed) -> None:
    changed = update(provider_keys).where(provider_keys.c.id == key.id)
    await connection.execute(changed.values(**_fields(key), **_sealed_fields(sealed)))


def _fields(key: ProviderKey) -> dict[str, object]:
    return {name: getattr(key, name) for name in ProviderKey.__struct_fields__}


def _sealed_fields(sealed: Sealed) -> dict[str, object]:
    return {"seal": sealed.seal, "nonce": sealed.nonce, "sealed": sealed.text}


def _key(row: RowMapping) -> ProviderKey:
    return ProviderKey(**{name: row[name] for name in ProviderKey.__struct_fields__})
