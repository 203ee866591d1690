"""Delete what is old, in slices, without reading it; sums stay for ever, but for those by the minute.

Both databases delete by ranges of time, because rows stand in that order. PostgreSQL could drop whole partitions
instead, at once and without leaving dead rows: that would cost a partition made ahead for every day, a default one for
late rows, and another key. Measured in `bench/ledger.py`, ranges delete more per second than any outbox brings, so
that deleting keeps up; the room is used again by new rows, and the file does not shrink by itself.
"""

import asyncio
from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Column, ColumnElement, CursorResult, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.ledger.cubes import DAY_MS, MINUTE_MS, MINUTELY, MINUTES
from askonce.ledger.engine import writing
from askonce.ledger.latency import ALL, FIRST_TOKEN, HIT, MISS
from askonce.ledger.tables import calls, counts, samples, texts, times, usage

# Rows in one transaction: a fraction of a second, for which SQLite's only writer waits.
SLICE = 5_000
MINUTES_DAYS = 3  # so long the sums by the minute are kept: a day, and the day before to compare it with
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
            old = _Part(table.primary_key.columns[0])
            deleted += await _delete_before(engine, old, (now_ms - days * DAY_MS) // unit_ms, slice_rows)
    return deleted


async def sweep_minutes(engine: AsyncEngine, now_ms: int, *, slice_rows: int = SLICE) -> int:
    """Delete sums by the minute that nobody looks at any more, and return how many. Raises `LedgerUnavailable`."""
    deleted = 0
    for part in _minutes():
        deleted += await _delete_before(engine, part, now_ms - MINUTES_DAYS * DAY_MS, slice_rows)
    return deleted


class _Part(NamedTuple):
    """Name rows of a table that stand in the order of `time`."""

    time: Column[Any]
    wanted: tuple[ColumnElement[bool], ...] = ()


def _minutes() -> Iterator[_Part]:
    """Name the sums by the minute, each part by what its key begins with."""
    for shape in sorted(MINUTELY):
        yield _Part(usage.c.start_ms, (usage.c.grain == MINUTES, usage.c.shape == shape))
    for what in (HIT, MISS, FIRST_TOKEN):
        whole = (times.c.grain == MINUTES, times.c.tenant == ALL, times.c.what == what)
        yield _Part(times.c.start_ms, whole)


async def _delete_before(engine: AsyncEngine, part: _Part, end: int, slice_rows: int) -> int:
    """Delete all rows of a part before `end`, the oldest first."""
    time, wanted = part
    oldest = select(time).where(*wanted, time < end).order_by(time).limit(slice_rows).subquery()
    last = select(func.max(oldest.c[0])).scalar_subquery()
    deleted = 0
    while True:
        async with writing(engine) as connection:
            if not await _may(connection):
                return deleted
            result: CursorResult[tuple[()]] = await connection.execute(delete(time.table).where(*wanted, time <= last))
        if not result.rowcount:
            return deleted
        deleted += result.rowcount
        await asyncio.sleep(0)


async def _may(connection: AsyncConnection) -> bool:
    """Say whether nobody else deletes; nobody does until this transaction is over. A file has one writer anyway."""
    if connection.dialect.name != "postgresql":
        return True
    return bool(await connection.scalar(select(func.pg_try_advisory_xact_lock(_LOCK))))
