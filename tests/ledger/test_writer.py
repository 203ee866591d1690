"""Batches become rows and sums, exactly once."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.ledger.ledgerworld import NOON, Place, batch, call, clear, count, no_audit, records, rows_of

from askonce.domain.ledger import AuditRow, Batch, CallRow, CountRow, LedgerUnavailable, SampleRow
from askonce.ledger import tables
from askonce.ledger.engine import reading, writing
from askonce.ledger.schema import qualified
from askonce.ledger.writer import LedgerRefused, SqlLedger


async def numbers(engine: AsyncEngine, table: Table = tables.calls) -> list[int]:
    return sorted(row["number"] for row in await rows_of(engine, table))


def test_every_field_arrives(place: Place) -> None:
    row = call(
        user_id="u", trace_id="t", ending="failed", counted=False, stored=False, saved_prompt_cache_nano=1,
        cached_tokens=2, cache_write_tokens=3, reasoning_tokens=4, estimated=True, first_token_ms=5, error_code="e",
        priced=False, cache_write_1h_tokens=2, story="{}",
    )  # fmt: skip

    async def act(engine):
        await SqlLedger(engine, no_audit).apply(batch(row))
        assert await rows_of(engine, tables.calls) == [
            {
                "at_ms": NOON, "source": 1, "number": 1, "tenant": "acme", "key_id": "k1", "user_id": "u",
                "door": "generate", "request_id": "r", "trace_id": "t", "provider": "openai", "model": "gpt-4o",
                "model_version": "gpt-4o-2024-08-06", "kind": "failed", "counted": 0, "stored": 0,
                "cost_nano": 1_262_500, "saved_prompt_cache_nano": 1, "prompt_tokens": 57, "completion_tokens": 112,
                "cached_tokens": 2, "cache_write_tokens": 3, "reasoning_tokens": 4, "estimated": 1, "took_ms": 812,
                "first_token_ms": 5, "error_code": "e", "priced": 0, "cache_write_1h_tokens": 2, "story": "{}",
            }
        ]  # fmt: skip

    place.play(act)


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([(1, 3), (1, 3)], [1, 2, 3]),  # again
        ([(1, 3), (1, 2)], [1, 2, 3]),  # a part again
        ([(1, 3), (2, 5)], [1, 2, 3, 4, 5]),  # again, with more
        ([(1, 2), (3, 4)], [1, 2, 3, 4]),
        ([(7, 8), (9, 9)], [7, 8, 9]),  # an outbox that was another database's
    ],
)
def test_a_record_is_written_once_however_often_it_comes(place: Place, batches, expected) -> None:
    async def act(engine):
        ledger = SqlLedger(engine, no_audit)
        for first, last in batches:
            await ledger.apply(batch(*(call(NOON + number) for number in range(first, last + 1)), first=first))
        assert await numbers(engine) == expected
        (total,) = {row["count"] for row in await rows_of(engine, tables.usage)}
        assert total == len(expected)
        assert (await rows_of(engine, tables.sources))[0]["last"] == expected[-1]

    place.play(act)


def test_outboxes_are_counted_apart(place: Place) -> None:
    async def act(engine):
        ledger = SqlLedger(engine, no_audit)
        for source in ("a", "b", "a", "b"):
            await ledger.apply(batch(call(), source=source))
        assert await numbers(engine) == [1, 1]

    place.play(act)


def test_records_that_never_came_are_told(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def act(engine):
        ledger = SqlLedger(engine, no_audit)
        await ledger.apply(batch(call(), call(NOON + 1)))
        await ledger.apply(batch(call(NOON + 5), first=6))
        (source,) = await rows_of(engine, tables.sources)
        assert (source["last"], source["missing"]) == (6, 3)

    place.play(act)
    assert "3 records of s never came (3 to 5)" in caplog.text


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(records, max_size=12), cuts=st.lists(st.integers(0, 12), max_size=3))
def test_sums_agree_with_rows_however_they_are_cut(place: Place, rows, cuts) -> None:
    async def act(engine):
        await clear(engine)
        ledger = SqlLedger(engine, no_audit)
        edges = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
        for first, last in itertools.pairwise(edges):
            await ledger.apply(batch(*rows[first:last], first=first + 1))
        calls = [row for row in rows if isinstance(row, CallRow)]
        counts = [row for row in rows if isinstance(row, CountRow)]
        usage = await rows_of(engine, tables.usage)
        for cube in {(row["grain"], row["shape"]) for row in usage}:
            part = [row for row in usage if (row["grain"], row["shape"]) == cube]
            assert sum(row["count"] for row in part) == len(calls) + sum(row.count for row in counts)
            assert sum(row["cost_nano"] for row in part) == sum(row.cost_nano for row in calls)
            assert sum(row["saved_nano"] for row in part) == sum(row.saved_nano for row in counts)
            assert sum(row["prompt_tokens"] for row in part) == sum(row.prompt_tokens for row in calls)
            assert sum(row["first_tokens"] for row in part) == sum(row.first_token_ms > 0 for row in calls)
        assert len(await rows_of(engine, tables.calls)) == len(calls)
        assert len(await rows_of(engine, tables.samples)) == sum(isinstance(row, SampleRow) for row in rows)
        assert sum(row["count"] for row in await rows_of(engine, tables.counts)) == sum(row.count for row in counts)

    place.play(act)


def test_what_no_database_holds_is_written_as_far_as_it_can_be(place: Place) -> None:
    strange = "a\0b\ud800c"
    row = call(model=strange, request_id=strange, cost_nano=2**63, took_ms=-5, error_code="e\0")

    async def act(engine):
        ledger = SqlLedger(engine, no_audit)
        await ledger.apply(batch(row, count(model=strange)))
        await ledger.apply(batch(row, first=3))
        first, second = await rows_of(engine, tables.calls)
        assert first["model"] == second["model"] == "a\ufffdb\ufffdc"
        assert first["cost_nano"] == 2**63 - 1

    place.play(act)


def test_audit_rows_are_sealed_in_order_within_the_batch(place: Place) -> None:
    seen: list[str] = []

    async def seal(connection: AsyncConnection, rows: Sequence[AuditRow]) -> None:
        seen.extend(row.action for row in rows)
        if len(seen) < 3:
            raise LedgerUnavailable

    async def act(engine):
        ledger = SqlLedger(engine, seal)
        mixed = batch(AuditRow(1, "system", "one"), call(), AuditRow(2, "system", "two"))
        with pytest.raises(LedgerUnavailable):
            await ledger.apply(mixed)
        assert await rows_of(engine, tables.calls) == []  # all or nothing
        await ledger.apply(mixed)
        await ledger.apply(mixed)
        assert seen == ["one", "two", "one", "two"]
        assert await numbers(engine) == [2]

    place.play(act)


def test_a_batch_that_counts_wrongly_is_a_defect(place: Place) -> None:
    async def act(engine):
        with pytest.raises(ValueError, match="cannot be numbered"):
            await SqlLedger(engine, no_audit).apply(Batch("s", 1, 3, (call(),)))

    place.play(act)


def test_a_database_of_another_shape_refuses_and_keeps_nothing(place: Place) -> None:
    async def act(engine):
        async with writing(engine) as connection:
            await connection.execute(text(f"DROP TABLE {qualified(connection.dialect, 'usage')}"))
        with pytest.raises(LedgerRefused):
            await SqlLedger(engine, no_audit).apply(batch(call()))
        assert await rows_of(engine, tables.sources) == []

    place.play(act)


def test_numbers_of_places_that_were_not_kept_are_not_remembered(place: Place) -> None:
    async def fail(connection: AsyncConnection, rows: Sequence[AuditRow]) -> None:
        raise LedgerUnavailable

    async def act(engine):
        ledger = SqlLedger(engine, fail)
        with pytest.raises(LedgerUnavailable):
            await ledger.apply(batch(call(model="new"), AuditRow(1, "system", "x")))
        await ledger.apply(batch(call(model="new")))
        known = {row["id"] for row in await rows_of(engine, tables.places)}
        assert {row["place"] for row in await rows_of(engine, tables.usage)} == known

    place.play(act)


def test_writers_at_once_add_up(place: Place) -> None:
    """Several outboxes, whose rows fall into the same sums, brought in opposite orders."""

    async def act(engine):
        async def one(source: str, step: int) -> None:
            ledger = SqlLedger(engine, no_audit)
            for first in range(1, 41, 8):
                rows = [call(NOON + number, model=f"m{(number * step) % 5}") for number in range(first, first + 8)]
                await ledger.apply(batch(*rows, first=first, source=source))

        await asyncio.gather(one("a", 1), one("b", -1), one("c", 2))
        assert len(await rows_of(engine, tables.calls)) == 120
        usage = await rows_of(engine, tables.usage)
        assert {
            sum(row["count"] for row in usage if (row["grain"], row["shape"]) == cube)
            for cube in {(row["grain"], row["shape"]) for row in usage}
        } == {120}

    place.play(act)


def test_readers_see_one_state_while_it_is_written(place: Place) -> None:
    async def act(engine):
        ledger = SqlLedger(engine, no_audit)
        await ledger.apply(batch(call()))
        async with reading(engine) as connection:
            before = (await connection.execute(tables.calls.select())).all()
            await ledger.apply(batch(call(NOON + 1), first=2))
            assert (await connection.execute(tables.calls.select())).all() == before

    place.play(act)
