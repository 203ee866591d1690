"""Tables of keys, users and tenants, and the number that grows whenever one of them changes.

Lists and bounds are JSON texts: nothing is searched for in them. Every writer takes the next number first, which locks
its row until the end; so numbers appear in order, and who read everything up to one has missed nothing.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Column, ForeignKey, Index, LargeBinary, RowMapping, Table, Text, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from askonce.domain.credentials import mint_id
from askonce.domain.errors import Detail, Invalid, NotFound
from askonce.domain.identity import Bounds, Edition, Holder, KeyCard, Scope
from askonce.ledger.schema import Wide, Word, metadata

IDENTITY = "identity"  # the row of `meta` whose number this is; its text is the database's own id
PROVIDER_KEYS = "provider_keys"

meta = Table(
    "meta",
    metadata,
    Column("name", Word, primary_key=True),
    Column("number", Wide, nullable=False),
    Column("text", Text, nullable=False),
)
tenants = Table(
    "tenants",
    metadata,
    Column("id", Word, primary_key=True),
    Column("name", Text, nullable=False),
    Column("bounds", Text, nullable=False),
    Column("created_ms", Wide, nullable=False),
    Column("disabled_ms", Wide, nullable=False),
    Column("version", Wide, nullable=False, index=True),
)
users = Table(
    "users",
    metadata,
    Column("id", Word, primary_key=True),
    Column("tenant", Word, ForeignKey("tenants.id"), nullable=False),
    Column("email", Word, nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("bounds", Text, nullable=False),
    Column("issuer", Word, nullable=False),
    Column("subject", Word, nullable=False),
    Column("created_ms", Wide, nullable=False),
    Column("disabled_ms", Wide, nullable=False),
    Column("login_ms", Wide, nullable=False),
    Column("version", Wide, nullable=False, index=True),
)
keys = Table(
    "keys",
    metadata,
    Column("id", Word, primary_key=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    Column("pepper", Word, nullable=False),  # which secret's key made the digest
    Column("prefix", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("tenant", Word, ForeignKey("tenants.id"), nullable=False),
    Column("user_id", Word, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("providers", Text, nullable=False),
    Column("addresses", Text, nullable=False),
    Column("bounds", Text, nullable=False),
    Column("created_ms", Wide, nullable=False),
    Column("expires_ms", Wide, nullable=False),
    Column("revoked_ms", Wide, nullable=False),
    Column("successor", Word, nullable=False),  # the key that took its place, "" where there is none
    Column("version", Wide, nullable=False, index=True),
)
login_links = Table(
    "login_links",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("user_id", Word, ForeignKey("users.id"), nullable=False, index=True),
    Column("created_ms", Wide, nullable=False),
    Column("expires_ms", Wide, nullable=False),
    Column("used_ms", Wide, nullable=False),
)
provider_keys = Table(
    "provider_keys",
    metadata,
    Column("id", Word, primary_key=True),
    Column("provider", Word, nullable=False),
    Column("name", Text, nullable=False),
    Column("hint", Text, nullable=False),
    Column("seal", Word, nullable=False),  # which secret's key sealed it, "" once it was destroyed
    Column("nonce", LargeBinary, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_ms", Wide, nullable=False),
    Column("retired_ms", Wide, nullable=False),
)
# Pages go newest first, within a tenant and over all of them.
for _table in (users, keys):
    Index(None, _table.c.tenant, _table.c.created_ms, _table.c.id)
    Index(None, _table.c.created_ms, _table.c.id)
# One person, one row; the empty text stands for "not known" and may repeat.
_KNOWN_EMAIL, _KNOWN_SUBJECT = users.c.email != "", users.c.subject != ""
Index("uq_users_email", users.c.email, unique=True, sqlite_where=_KNOWN_EMAIL, postgresql_where=_KNOWN_EMAIL)
Index(
    "uq_users_issuer_subject",
    users.c.issuer,
    users.c.subject,
    unique=True,
    sqlite_where=_KNOWN_SUBJECT,
    postgresql_where=_KNOWN_SUBJECT,
)

_scopes = msgspec.json.Decoder(tuple[Scope, ...]).decode
_texts = msgspec.json.Decoder(tuple[str, ...]).decode
_bounds = msgspec.json.Decoder(Bounds).decode


async def next_number(connection: AsyncConnection, name: str) -> Edition:
    """Take the next number of a row of `meta`, made if it is missing. Until the transaction ends others wait."""
    taken = (
        update(meta).where(meta.c.name == name).values(number=meta.c.number + 1).returning(meta.c.text, meta.c.number)
    )
    row = (await connection.execute(taken)).first()
    if row is None:
        await make_number(connection, name)
        row = (await connection.execute(taken)).one()
    return Edition(row.text, row.number)


async def take_turn(connection: AsyncConnection, name: str) -> None:
    """Let nobody else change what a row of `meta` counts until the transaction ends: what is read now stays true."""
    await make_number(connection, name)
    await connection.execute(select(meta.c.number).where(meta.c.name == name).with_for_update())


async def read_number(connection: AsyncConnection, name: str) -> Edition:
    """Return a row of `meta`; the edition of nothing at all where it is missing."""
    wanted = select(meta.c.text, meta.c.number).where(meta.c.name == name)
    row = (await connection.execute(wanted)).first()
    return Edition("", 0) if row is None else Edition(row.text, row.number)


async def make_number(connection: AsyncConnection, name: str) -> None:
    """Make a row of `meta` where it is missing; several may try at once."""
    fields = {"name": name, "number": 0, "text": mint_id()}
    if connection.dialect.name == "postgresql":
        await connection.execute(postgresql.insert(meta).values(fields).on_conflict_do_nothing())
    else:
        await connection.execute(sqlite.insert(meta).values(fields).on_conflict_do_nothing())


async def ensure_tenant(connection: AsyncConnection, tenant: str, now_ms: int, version: int) -> None:
    """Make a tenant where there is none of this id; within a transaction that took a number."""
    if (await connection.execute(select(tenants.c.id).where(tenants.c.id == tenant))).first() is None:
        await connection.execute(
            insert(tenants).values(
                id=tenant, name=tenant, bounds=text_of(Bounds()), created_ms=now_ms, disabled_ms=0, version=version
            )
        )


def text_of(value: object) -> str:
    """Write a list or bounds as JSON."""
    return msgspec.json.encode(value).decode()


def card_of(row: RowMapping) -> KeyCard:
    """Read a key's row."""
    return KeyCard(
        id=row["id"],
        digest=bytes(row["digest"]),
        prefix=row["prefix"],
        name=row["name"],
        tenant=row["tenant"],
        user_id=row["user_id"],
        scopes=_scopes(row["scopes"]),
        models=_texts(row["models"]),
        providers=_texts(row["providers"]),
        addresses=_texts(row["addresses"]),
        bounds=_bounds(row["bounds"]),
        created_ms=row["created_ms"],
        expires_ms=row["expires_ms"],
        revoked_ms=row["revoked_ms"],
        version=row["version"],
    )


def holder_of(kind: str, row: RowMapping) -> Holder:
    """Read what of a user or tenant (`kind`) bounds its keys and sessions."""
    scopes = _scopes(row["scopes"]) if "scopes" in row else ()
    return Holder(f"{kind}:{row['id']}", _bounds(row["bounds"]), row["disabled_ms"], row["version"], scopes)


def scopes_of(row: RowMapping) -> tuple[Scope, ...]:
    """Read a row's scopes."""
    return _scopes(row["scopes"])


def bounds_of(row: RowMapping) -> Bounds:
    """Read a row's bounds."""
    return _bounds(row["bounds"])


async def page_of(
    connection: AsyncConnection, table: Table, where: Sequence[Any], after: str, size: int
) -> tuple[Sequence[RowMapping], str]:
    """Read a page of a table that has `created_ms` and `id`, newest first, and the cursor of the next."""
    made, row_id = table.c.created_ms, table.c.id
    wanted = select(table).where(*where).order_by(made.desc(), row_id.desc()).limit(size + 1)
    if after:
        created_ms, last_id = _read_cursor(after)
        wanted = wanted.where((made < created_ms) | ((made == created_ms) & (row_id < last_id)))
    rows = (await connection.execute(wanted)).mappings().all()
    following = f"{rows[size - 1]['created_ms']}.{rows[size - 1]['id']}" if len(rows) > size else ""
    return rows[:size], following


def missing(kind: str, name: str) -> NotFound:
    """Make the refusal of a thing that is not there."""
    return NotFound(f"There is no {kind} {name[:64]!r}.")


def _read_cursor(after: str) -> tuple[int, str]:
    created, dot, last_id = after.partition(".")
    if not dot or not created.isascii() or not created.isdigit() or len(created) > 15:
        problem = "is not a cursor of this list; take it from the page before, as it is"
        raise Invalid("The cursor cannot be read.", details=[Detail("after", problem)])
    return int(created), last_id
