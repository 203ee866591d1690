"""Delete what is old, in slices, without reading it; sums stay for ever.

Both databases delete by ranges of time, because rows stand in that order. PostgreSQL could drop whole partitions
instead, at once and without leaving dead rows: that would cost a partition made ahead for every day, a default one for
late rows, and another key. Measured in `bench/ledger.py`, ranges delete more per second than any outbox brings, so
that deleting keeps up; the room is used again by new rows, and the file does not shrink by itself.
"""

import asyncio
from typing import NamedTuple

from sqlalchemy import CursorResult, Table, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.ledger.cubes import DAY_MS, MINUTE_MS
from askonce.ledger.engine import writing
from askonce.ledger.tables import calls, counts, samples, texts

# Rows in one transaction: a fraction of a second, for which SQLite's only writer waits.
SLICE = 5_000
# Of PostgreSQL's advisory locks: "old rows" in letters, so that nobody else's is the same.
_LOCK = int.from_bytes(b"old rows")


class Ages(NamedTuple):
    """Say after how many days rows go; 0 keeps them for ever. The sums per hour, day and month stay anyway."""

    calls: int = 400
    samples: int = 30
    counts: int = 400
    texts: int = 7


async def sweep(engine: AsyncEngine, ages: Ages, now_ms: int, *, slice_rows: int = SLICE) -> int:
    """Delete everything that is too old, and return how many rows that were.

    Goes in slices of whole milliseconds (counters: minutes), between which others have their turn. If cancelled, what
    was deleted is deleted, and the next time goes on. What another worker is at is left to it. Raises
    `LedgerUnavailable`.
    """
    deleted = 0
    tables = ((calls, 1), (samples, 1), (texts, 1), (counts, MINUTE_MS))
    for table, unit_ms in tables:
        days: int = getattr(ages, table.name)
        if days:
            deleted += await _delete_before(engine, table, (now_ms - days * DAY_MS) // unit_ms, slice_rows)
    return deleted


async def _delete_before(engine: AsyncEngine, table: Table, end: int, slice_rows: int) -> int:
    """Delete all rows before `end`, the oldest first."""
    time = table.primary_key.columns[0]
    oldest = select(time).where(time < end).order_by(time).limit(slice_rows).subquery()
    last = select(func.max(oldest.c[0])).scalar_subquery()
    deleted = 0
    while True:
        async with writing(engine) as connection:
            if not await _may(connection):
                return deleted
            result: CursorResult[tuple[()]] = await connection.execute(delete(table).where(time <= last))
        if not result.rowcount:
            return deleted
        deleted += result.rowcount
        await asyncio.sleep(0)


async def _may(connection: AsyncConnection) -> bool:
    """Say whether nobody else deletes; nobody does until this transaction is over. A file has one writer anyway."""
    if connection.dialect.name != "postgresql":
        return True
    return bool(await connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))))
