"""The overview agrees with the rows, in every range, and with the reports over the same time."""

import random

import pytest
from tests.ledger.ledgerworld import DAY, NOON, Place, batch, call, count, no_audit

from askonce.domain.durations import DURATIONS_US, bucket_of
from askonce.domain.ledger import CallRow, Record, TimesRow
from askonce.domain.reports import Figures, Narrow, Range, UsageQuestion
from askonce.ledger.cubes import HOUR_MS
from askonce.ledger.overview import SCALES
from askonce.ledger.reports import SqlReports
from askonce.ledger.writer import SqlLedger

RANGES: tuple[Range, ...] = tuple(SCALES)
TENANTS = ("acme", "beta")


def some(seed: int = 1) -> list[Record]:
    """Return calls and counters of two tenants, more of them the nearer to noon."""
    dice = random.Random(seed)
    rows: list[Record] = []
    for _ in range(400):
        at_ms = NOON - int(2 ** dice.uniform(10, 36))
        tenant = dice.choice(TENANTS)
        rows.append(call(at_ms, tenant=tenant, model=dice.choice("abc"), cost_nano=dice.randrange(1000)))
        kind = dice.choice(["exact", "coalesced", "rate_limited"])
        rows.append(count(at_ms, kind, dice.randrange(1, 5), tenant=tenant))
    return rows


def summed(moments) -> Figures:
    figures = Figures()
    for moment in moments:
        for name in Figures.__struct_fields__:
            setattr(figures, name, getattr(figures, name) + getattr(moment.figures, name))
    return figures


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_steps_add_up_to_the_total_which_is_what_happened(place: Place, tenant: str | None) -> None:
    rows = some()

    async def act(engine):
        await SqlLedger(engine, no_audit).apply(batch(*rows))
        reports = SqlReports(engine)
        for name in RANGES:
            told = await reports.overview(name, tenant, NOON - 1)
            assert NOON <= told.end_ms < NOON + told.step_ms
            assert (told.end_ms - told.start_ms) % told.step_ms == 0
            assert summed(told.moments) == told.total
            steps = {moment.at_ms for moment in told.moments}
            assert all(told.start_ms <= at_ms < told.end_ms and at_ms % told.step_ms == 0 for at_ms in steps)
            true = [row for row in rows if isinstance(row, CallRow) and told.start_ms <= row.at_ms < told.end_ms]
            mine = [row for row in true if tenant in (None, row.origin.tenant)]
            assert told.total.misses == len(mine)
            assert told.total.cost_nano == sum(row.cost_nano for row in mine)
            by_model = sum(one.figures.cost_nano for one in told.models)
            assert by_model == told.total.cost_nano if tenant is None else by_model >= told.total.cost_nano
            if told.start_ms % HOUR_MS == 0:
                question = UsageQuestion(told.start_ms, told.end_ms, narrow=Narrow(tenant=tenant))
                assert told.total == (await reports.usage(question)).total

    place.play(act)


def test_the_time_before_is_as_long_and_none_where_nothing_was(place: Place) -> None:
    async def act(engine):
        reports = SqlReports(engine)
        await SqlLedger(engine, no_audit).apply(batch(call(NOON - 60_000), call(NOON - HOUR_MS - 60_000, cost_nano=7)))
        told = await reports.overview("1h", None, NOON - 1)
        assert (told.total.misses, told.first_ms) == (1, NOON - 60_000)
        assert told.before is not None
        assert (told.before.misses, told.before.cost_nano) == (1, 7)
        quarter = await reports.overview("15m", None, NOON - 1)
        assert (quarter.before, quarter.latency_before) == (None, None)
        empty = await reports.overview("15m", None, NOON + DAY)
        assert (empty.moments, empty.models, empty.first_ms, empty.total) == ((), (), 0, Figures())

    place.play(act)


def test_percentiles_are_in_the_bucket_of_the_true_one(place: Place) -> None:
    dice = random.Random(2)
    took = [int(2 ** dice.uniform(0, 14)) for _ in range(300)]
    hits = [int(2 ** dice.uniform(6, 12)) for _ in range(300)]
    counts: dict[int, int] = {}
    for us in hits:
        counts[bucket_of(us)] = counts.get(bucket_of(us), 0) + 1

    async def act(engine):
        rows = [call(NOON - 60_000, took_ms=ms, first_token_ms=ms // 2) for ms in took]
        rows += [call(NOON - 60_000, took_ms=9, tenant="beta"), call(NOON - 60_000, ending="failed", took_ms=9)]
        times = [TimesRow(NOON // 60_000 - 1, "acme", counts, sum(hits)) for _ in range(2)]
        await SqlLedger(engine, no_audit).apply(batch(*rows, *times))
        for tenant, misses in ((None, 301), ("acme", 300)):
            latency = (await SqlReports(engine).overview("15m", tenant, NOON - 1)).latency
            assert (latency.hit.count, latency.miss.count) == (600, misses)
            assert latency.hit.mean_ms == round(sum(hits) / 300 / 1000, 3)
            for told, true in ((latency.hit.p50_ms, sorted(hits)[150]), (latency.hit.p99_ms, sorted(hits)[297])):
                assert abs(bucket_of(int(1000 * told)) - bucket_of(true)) <= 1
            assert abs(bucket_of(int(1000 * latency.miss.p95_ms)) - bucket_of(1000 * sorted(took)[285])) <= 1
            assert latency.first_token.count == sum(ms >= 2 for ms in took)

    place.play(act)


def test_no_measurement_stops_the_books(place: Place) -> None:
    async def act(engine):
        wild = TimesRow(NOON // 60_000, "", {-1: 1, 10**6: 1}, 2**62)
        await SqlLedger(engine, no_audit).apply(batch(call(NOON, took_ms=-5), call(NOON, took_ms=2**62), wild))
        latency = (await SqlReports(engine).overview("1h", None, NOON)).latency
        assert (latency.miss.count, latency.hit.count) == (2, 2)
        assert latency.miss.p99_ms == DURATIONS_US[-1] / 1000

    place.play(act)
