"""What a directory needs to know of the database, and keeping one up to date.

A directory that was never filled, or by another database, or that is ahead of it (which was put back to an earlier
state), is filled anew; any other takes in what changed.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from msgspec import DecodeError
from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.accounts import Feed
from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Directory, Edition, Holder, KeyCard
from askonce.domain.ledger import LedgerUnavailable
from askonce.ledger.engine import reading, writing
from askonce.ledger.identity_tables import IDENTITY, card_of, holder_of, keys, make_number, read_number, tenants, users

# A key that ended longer ago is called unknown instead of expired or revoked, so that directories stay small.
REMEMBER_ENDED_MS = 30 * 86_400_000

FOLLOW_S = 0.5  # a revocation is promised to be in force everywhere within a second
AWAY_S = 2.0  # to a database that is away
# How often a directory is compared with all that it should hold: only then keys go from it that ended long ago.
REFILL_S = 86_400.0

Known = KeyCard | Holder

_log = logging.getLogger("askonce.ledger")


class SqlFeed:
    """Read keys and holders for directories."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._named = False

    async def edition(self) -> Edition:
        """Return the state that the database is in now; the first to ask gives it its id."""
        if not self._named:
            async with writing(self._engine) as connection:
                await make_number(connection, IDENTITY)
            self._named = True
        async with reading(self._engine) as connection:
            return await read_number(connection, IDENTITY)

    async def changes(self, since: int) -> tuple[Sequence[Known], Edition]:
        """Return what became different after that number; what comes in while reading may be among it already."""
        async with reading(self._engine) as connection:
            edition = await read_number(connection, IDENTITY)
            return await _read(connection, (keys.c.version > since,), since), edition

    async def snapshot(self) -> tuple[Sequence[Known], Edition]:
        """Return all holders, and all keys but those that ended long ago."""
        horizon_ms = self._clock.wall_ms() - REMEMBER_ENDED_MS
        remembered = (
            (keys.c.revoked_ms == 0) | (keys.c.revoked_ms > horizon_ms),
            (keys.c.expires_ms == 0) | (keys.c.expires_ms > horizon_ms),
        )
        async with reading(self._engine) as connection:
            edition = await read_number(connection, IDENTITY)
            return await _read(connection, remembered, -1), edition


async def refresh(feed: Feed, directory: Directory) -> bool:
    """Bring a directory up to date; False if it was. For one process of a machine, each second.

    Raises `LedgerUnavailable` (what is in force stays) and `StoreUnavailable`. If cancelled, it can be done again.
    """
    former = await directory.edition()  # before the database's, which never goes back by itself
    current = await feed.edition()
    if former == current:
        return False
    if former is not None and former.source == current.source and former.number < current.number:
        await directory.catch_up(*await feed.changes(former.number))
        return True
    if former is not None and former.source == current.source:
        await directory.forget()
    await directory.replace(*await feed.snapshot())
    return True


async def follow(feed: Feed, directory: Directory, rest: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
    """Keep a directory up to date until cancelled. For one process of each machine.

    Database away: what is in force stays so; revoked elsewhere meanwhile is not known here until it is back.
    """
    trouble = ""
    loop = asyncio.get_running_loop()
    refill_at = loop.time() + REFILL_S
    while True:
        try:
            await refresh(feed, directory)
            if loop.time() >= refill_at:
                refill_at = loop.time() + REFILL_S
                await directory.replace(*await feed.snapshot())
        except (LedgerUnavailable, StoreUnavailable, SQLAlchemyError, DecodeError) as error:
            if not trouble:
                _log.warning("keys: changes made elsewhere cannot be read now: %s", error)
            trouble = str(error) or type(error).__name__
        else:
            if trouble:
                _log.warning("keys: changes made elsewhere are read again")
            trouble = ""
        await rest(AWAY_S if trouble else FOLLOW_S)


async def _read(
    connection: AsyncConnection, which_keys: tuple[ColumnElement[bool], ...], since: int
) -> Sequence[Known]:
    known: list[Known] = []
    for kind, table in (("user", users), ("tenant", tenants)):
        rows = await connection.execute(select(table).where(table.c.version > since))
        known += [holder_of(kind, row) for row in rows.mappings()]
    # Keys come last: none is in force before those are who bound and disable it.
    rows = await connection.execute(select(keys).where(*which_keys))
    return [*known, *map(card_of, rows.mappings())]
