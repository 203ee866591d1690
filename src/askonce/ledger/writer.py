"""Batches become rows and sums, exactly once.

Each outbox has a row in `sources` that says how far it is written, changed in the same transaction as everything else.
So a batch may come as often as it likes: what is written already is left out. One transaction writes it all or nothing,
and when nobody can say whether it was kept (the connection broke just then), the batch comes again and finds out.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.ledger import AuditRow, Batch, CallRow, CountRow, LedgerUnavailable, Record, SampleRow, TextRow
from askonce.ledger.bulk import Bulk, Row
from askonce.ledger.cubes import Addition, additions, paid_kind
from askonce.ledger.engine import writing
from askonce.ledger.latency import timings
from askonce.ledger.places import Places, Shaped
from askonce.ledger.tables import calls, counts, samples, sources, texts, times, usage

# Seals the audit's rows in their order and writes them, as part of the transaction that it is given.
Seal = Callable[[AsyncConnection, Sequence[AuditRow]], Awaitable[None]]

_log = logging.getLogger("askonce.ledger")
_calls, _samples, _texts = Bulk(calls), Bulk(samples), Bulk(texts)
_counts, _usage, _times = (Bulk(table, known="added") for table in (counts, usage, times))


class LedgerRefused(LedgerUnavailable):
    """Tell that the database is there but did not take a batch: a defect of ours, or of the database's shape."""


class Mark(NamedTuple):
    """Say how far an outbox is written. `id` stands for its name in the rows."""

    id: int
    last: int
    missing: int


class SqlLedger:
    """Write batches into the database."""

    def __init__(self, engine: AsyncEngine, seal: Seal, *, wall_ms: Callable[[], int] | None = None) -> None:
        self._engine = engine
        self._seal = seal
        self._places = Places()
        self._wall_ms = wall_ms or (lambda: time.time_ns() // 1_000_000)

    async def apply(self, batch: Batch) -> None:
        """Write a batch, once, however often it is given.

        Raises `LedgerUnavailable`: then it may or may not have been written, and is to be given again. The same holds
        if this is cancelled.
        """
        if len(batch.records) != batch.last - batch.first + 1:
            raise ValueError(
                f"a batch of {len(batch.records)} records cannot be numbered {batch.first} to {batch.last}"
            )
        try:
            async with writing(self._engine) as connection:
                mark = await _find(connection, batch)
                found = await self._write(connection, mark, batch) if batch.last > mark.last else {}
            self._places.keep(found)
        except SQLAlchemyError as error:
            _log.error("the database refused %s %d to %d: %s", batch.source, batch.first, batch.last, error)
            raise LedgerRefused(f"The database refused a batch ({type(error).__name__}): see the log.") from error

    async def _write(self, connection: AsyncConnection, mark: Mark, batch: Batch) -> dict[Shaped, int]:
        first = max(batch.first, mark.last + 1)
        gap = first - mark.last - 1
        if gap:
            _log.error("%d records of %s never came (%d to %d)", gap, batch.source, mark.last + 1, first - 1)
        records = batch.records[first - batch.first :]
        # In a thread: many rows take some tenths of a second, in which whoever else lives in this loop must not wait.
        rows, more = await asyncio.to_thread(_prepared, mark.id, first, records)
        await rows.write(connection)
        found = await self._add_up(connection, more)
        audit = [record for record in records if isinstance(record, AuditRow)]
        if audit:
            await self._seal(connection, audit)
        await connection.execute(
            update(sources)
            .where(sources.c.id == mark.id)
            .values(last=batch.last, missing=mark.missing + gap, applied_ms=self._wall_ms())
        )
        return found

    async def _add_up(self, connection: AsyncConnection, more: list[Addition]) -> dict[Shaped, int]:
        numbers = await self._places.numbers(connection, {(part.shape, part.place) for part in more})
        rows: list[Row] = [
            (part.grain, part.shape, part.start_ms, numbers[part.shape, part.place], *part.values) for part in more
        ]
        rows.sort()  # who locks in one order never waits in a circle
        await _usage.insert(connection, rows)
        return numbers


async def _find(connection: AsyncConnection, batch: Batch) -> Mark:
    """Return how far the outbox is written, and let no other process write of it until this transaction ends.

    An outbox that is new here begins with what it brings: the earlier records went to another database.
    """
    known = select(sources.c.id, sources.c.last, sources.c.missing).where(sources.c.source == batch.source)
    row = (await connection.execute(known.with_for_update())).one_or_none()
    if row is None:
        # Another worker may begin with it at this very moment: then its row is the one.
        begun = {"source": batch.source, "last": batch.first - 1, "missing": 0, "applied_ms": 0}
        if connection.dialect.name == "postgresql":
            await connection.execute(postgresql.insert(sources).values(begun).on_conflict_do_nothing())
        else:
            await connection.execute(sqlite.insert(sources).values(begun).on_conflict_do_nothing())
        row = (await connection.execute(known.with_for_update())).one()
    return Mark(*row)


class _Rows(NamedTuple):
    """Hold what a batch writes as rows of their own, by table."""

    called: list[Row]
    sampled: list[Row]
    told: list[Row]
    counted: list[Row]
    timed: list[Row]

    async def write(self, connection: AsyncConnection) -> None:
        await _calls.insert(connection, self.called)
        await _samples.insert(connection, self.sampled)
        await _texts.insert(connection, self.told)
        await _counts.insert(connection, self.counted)
        await _times.insert(connection, self.timed)


def _prepared(source: int, first: int, records: Sequence[Record]) -> tuple[_Rows, list[Addition]]:
    """Return what records write, and what they add to the sums."""
    rows = _Rows([], [], [], [], timings(records))
    counted: dict[Row, Row] = {}
    for number, record in enumerate(records, first):
        if isinstance(record, CallRow):
            rows.called.append(_call(source, number, record))
        elif isinstance(record, SampleRow):
            rows.sampled.append(_sample(source, number, record))
        elif isinstance(record, TextRow):
            rows.told.append(_text(source, number, record))
        elif isinstance(record, CountRow):
            _add(counted, record)
    rows.counted.extend((*place, *sums) for place, sums in sorted(counted.items()))
    return rows, additions(records)


def _call(source: int, number: int, row: CallRow) -> Row:
    return (
        row.at_ms,
        source,
        number,
        *_origin(row),
        row.provider,
        row.model,
        row.model_version,
        paid_kind(row),
        int(row.counted),
        int(row.stored),
        row.cost_nano,
        row.saved_prompt_cache_nano,
        row.prompt_tokens,
        row.completion_tokens,
        row.cached_tokens,
        row.cache_write_tokens,
        row.reasoning_tokens,
        int(row.estimated),
        row.took_ms,
        row.first_token_ms,
        row.error_code,
        int(row.priced),
        row.cache_write_1h_tokens,
        row.story,
    )


def _sample(source: int, number: int, row: SampleRow) -> Row:
    return (
        row.at_ms,
        source,
        number,
        *_origin(row),
        row.provider,
        row.model,
        row.kind,
        row.saved_nano,
        row.took_ms,
    )


def _text(source: int, number: int, row: TextRow) -> Row:
    origin = row.origin
    return (
        row.at_ms,
        source,
        number,
        origin.tenant,
        origin.request_id,
        row.provider,
        row.model,
        row.question,
        row.answer,
        int(row.cut),
    )


def _origin(row: CallRow | SampleRow) -> tuple[str, ...]:
    origin = row.origin
    return origin.tenant, origin.key_id, origin.user_id, origin.door, origin.request_id, origin.trace_id


def _add(counted: dict[Row, Row], row: CountRow) -> None:
    """Add to what one minute's counter gets: a statement may touch each counter once."""
    place = (row.minute, row.tenant, row.key_id, row.door, row.provider, row.model, row.kind)
    count, nano, tokens = counted.get(place, (0, 0, 0))
    counted[place] = (int(count) + row.count, int(nano) + row.saved_nano, int(tokens) + row.saved_tokens)
