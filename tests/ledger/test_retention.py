"""What is old goes; sums stay."""

import asyncio

import pytest
from tests.ledger.ledgerworld import DAY, NOON, Place, batch, call, count, no_audit, rows_of

from askonce.domain.ledger import Origin, SampleRow, TimesRow
from askonce.domain.reports import UsageQuestion
from askonce.ledger import tables
from askonce.ledger.cubes import DAYS, MINUTELY, MINUTES
from askonce.ledger.latency import HIT
from askonce.ledger.reports import SqlReports
from askonce.ledger.retention import MINUTES_DAYS, Ages, sweep, sweep_minutes
from askonce.ledger.writer import SqlLedger

EVER = UsageQuestion(NOON - 400 * DAY, NOON + DAY)


@pytest.mark.parametrize("slice_rows", [1, 3, 5_000])
def test_rows_past_their_age_go_to_the_millisecond_and_sums_stay(place: Place, slice_rows: int) -> None:
    limit = NOON - 10 * DAY
    rows = [call(limit + step, request_id=f"{step}") for step in (-DAY, -2, -1, -1, 0, 1)]
    samples = [SampleRow(limit + step, Origin("acme"), "p", "m", "exact", 1, 1) for step in (-1, 0)]
    counts = [count(limit + step) for step in (-60_000, 0)]

    async def act(engine):
        await SqlLedger(engine, no_audit).apply(batch(*rows, *samples, *counts))
        before = await SqlReports(engine).usage(EVER)
        assert await sweep(engine, Ages(10, 10, 10), NOON, slice_rows=slice_rows) == 6
        assert [row["at_ms"] - limit for row in await rows_of(engine, tables.calls)] == [0, 1]
        assert [row["at_ms"] - limit for row in await rows_of(engine, tables.samples)] == [0]
        assert [row["minute"] for row in await rows_of(engine, tables.counts)] == [limit // 60_000]
        assert await sweep(engine, Ages(10, 10, 10), NOON) == 0
        assert await SqlReports(engine).usage(EVER) == before

    place.play(act)


def test_of_several_workers_one_deletes_at_a_time_and_all_is_deleted_once(place: Place) -> None:
    async def act(engine):
        await SqlLedger(engine, no_audit).apply(batch(*(call(1, request_id=f"{number}") for number in range(60))))
        await SqlLedger(engine, no_audit).apply(batch(*(call(step) for step in range(2, 62)), first=61))
        deleted = await asyncio.gather(*(sweep(engine, Ages(10, 10, 10), NOON, slice_rows=5) for _ in range(4)))
        assert sum(deleted) + await sweep(engine, Ages(10, 10, 10), NOON) == 120
        assert await rows_of(engine, tables.calls) == []

    place.play(act)


def test_without_an_age_rows_stay_for_ever(place: Place) -> None:
    async def act(engine):
        await SqlLedger(engine, no_audit).apply(batch(call(1), count(1)))
        assert await sweep(engine, Ages(0, 0, 0), NOON) == 0

    place.play(act)


def test_what_was_deleted_does_not_come_back_with_its_batch(place: Place) -> None:
    async def act(engine):
        ledger = SqlLedger(engine, no_audit)
        await ledger.apply(batch(call(1)))
        await sweep(engine, Ages(), NOON)
        await ledger.apply(batch(call(1)))
        assert await rows_of(engine, tables.calls) == []

    place.play(act)


def test_sums_by_the_minute_go_after_some_days_and_longer_ones_stay(place: Place) -> None:
    edge = NOON - MINUTES_DAYS * DAY

    async def act(engine):
        rows = [call(edge - 1, took_ms=4), call(edge, took_ms=4)]
        await SqlLedger(engine, no_audit).apply(batch(*rows, TimesRow(edge // 60_000 - 1, "acme", {3: 1}, 9)))
        assert await sweep_minutes(engine, NOON, slice_rows=1) == len(MINUTELY) + 2
        sums = [row for row in await rows_of(engine, tables.usage) if row["grain"] == MINUTES]
        assert {row["start_ms"] for row in sums} == {edge}
        told = await rows_of(engine, tables.times)
        assert {row["start_ms"] for row in told if row["grain"] == MINUTES} == {edge}
        days = [row["count"] for row in told if row["grain"] == DAYS and row["what"] == HIT]
        assert days == [1, 1], "of all, and of the tenant"
        assert await sweep_minutes(engine, NOON) == 0

    place.play(act)
