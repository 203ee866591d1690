"""From the outbox into the database: whatever dies when, nothing is lost and nothing comes twice."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.ledger.ledgerworld import Place, call, no_audit, rows_of

from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import Batch, LedgerUnavailable, Record
from askonce.ledger import drain as drains
from askonce.ledger import tables
from askonce.ledger.drain import FIRST_WAIT_S, IDLE_S, LONGEST_WAIT_S, Drain
from askonce.ledger.spool import Spool
from askonce.ledger.writer import SqlLedger


class Killed(BaseException):
    """The process died here."""


class Fate:
    """Say what happens at each step. What is done before a death was done."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def __call__(self, point: str) -> None:
        event = self._events.pop(0) if self._events else "go on"
        if event == "die":
            raise Killed
        if event == "away" and point.startswith("outbox"):
            raise StoreUnavailable("away")
        if event == "away":
            raise LedgerUnavailable("away")


class FakeOutbox:
    """Keep records in memory, which outlives `Killed` as shared state outlives a process."""

    def __init__(self, fate: Callable[[str], None]) -> None:
        self.records: dict[int, Record] = {}
        self._next = 1
        self._fate = fate

    async def append(self, *records: Record) -> None:
        for record in records:
            self.records[self._next] = record
            self._next += 1

    async def head(self, size: int) -> Batch | None:
        self._fate("outbox head")
        numbers = sorted(self.records)[:size]
        if not numbers:
            return None
        return Batch("s", numbers[0], numbers[-1], tuple(self.records[number] for number in numbers))

    async def settle(self, last: int) -> None:
        self._fate("outbox before settle")
        self.records = {number: record for number, record in self.records.items() if number > last}
        self._fate("outbox after settle")


class FakeLedger:
    """Write each record once, as `sources` does."""

    def __init__(self, fate: Callable[[str], None]) -> None:
        self.written: list[Record] = []
        self.last = 0
        self._fate = fate

    async def apply(self, batch: Batch) -> None:
        self._fate("ledger before")
        assert batch.first <= self.last + 1, "records were lost on the way"
        self.written += batch.records[max(0, self.last + 1 - batch.first) :]
        self.last = max(self.last, batch.last)
        self._fate("ledger after")


class FakeSpool:
    """Keep records in a list."""

    def __init__(self, fate: Callable[[str], None]) -> None:
        self.records: dict[int, Record] = {}
        self._fate = fate

    async def add(self, batch: Batch) -> None:
        self._fate("spool before add")
        self.records |= dict(enumerate(batch.records, batch.first))
        self._fate("spool after add")

    async def head(self, size: int) -> Batch | None:
        self._fate("spool head")
        numbers = sorted(self.records)[:size]
        if not numbers:
            return None
        first = numbers[0]
        run = [number for place, number in enumerate(numbers) if number == first + place]
        return Batch("s", first, run[-1], tuple(self.records[number] for number in run))

    async def settle(self, batch: Batch) -> None:
        self._fate("spool before settle")
        for number in range(batch.first, batch.last + 1):
            self.records.pop(number, None)
        self._fate("spool after settle")


@settings(max_examples=400, deadline=None)
@given(
    events=st.lists(st.sampled_from(["go on", "go on", "die", "away", "away"]), max_size=60),
    income=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    size=st.integers(1, 4),
)
def test_whatever_dies_or_is_away_when_every_record_arrives_once_and_in_order(events, income, size):
    fate = Fate(events)
    outbox, ledger, spool = FakeOutbox(fate), FakeLedger(fate), FakeSpool(fate)
    sent: list[Record] = []

    async def whole() -> None:
        before, drains.BATCH = drains.BATCH, size
        try:
            worker = Drain(outbox, ledger, spool)
            # Afterwards nothing happens any more that is not in order, so that all must arrive.
            for number in [*income, *[0] * (len(events) + sum(income) + 2)]:
                rows = [call(len(sent) + place) for place in range(number)]
                sent.extend(rows)
                await outbox.append(*rows)
                try:
                    await worker.step()
                except Killed:
                    worker = Drain(outbox, ledger, spool)
        finally:
            drains.BATCH = before

    asyncio.run(whole())
    assert ledger.written == sent
    assert not outbox.records
    assert not spool.records


def quiet(_: str) -> None:
    """Let everything happen."""


def world(fate: Callable[[str], None] = quiet, **options: Any) -> tuple[FakeOutbox, FakeLedger, FakeSpool, Drain]:
    parts = FakeOutbox(fate), FakeLedger(fate), FakeSpool(fate)
    return *parts, Drain(*parts, **options)


def test_while_the_database_is_away_the_outbox_stays_empty_and_afterwards_all_is_there_in_order():
    def away(point: str) -> None:
        if point.startswith("ledger") and not back:
            raise LedgerUnavailable("The database is away: gone fishing.")

    back: list[int] = []
    outbox, ledger, spool, drain = world(away)
    rows = [call(number) for number in range(10)]

    async def whole() -> None:
        for row in rows[:5]:
            await outbox.append(row)
            assert await drain.step() == "spooled"
            assert "fishing" in drain.ailment
            assert not outbox.records
        back.append(1)
        await outbox.append(*rows[5:])
        while await drain.step() != "idle":
            assert drain.ailment == ""
        assert ledger.written == rows
        assert not spool.records

    asyncio.run(whole())


def test_without_room_for_the_spool_everything_stays_in_the_outbox():
    def away(point: str) -> None:
        if point.startswith(("ledger", "spool before")):
            raise LedgerUnavailable("full")

    outbox, _, _, drain = world(away)

    async def whole() -> None:
        await outbox.append(call())
        assert await drain.step() == "stuck"
        assert len(outbox.records) == 1

    asyncio.run(whole())


def test_what_nodes_share_stays_where_it_is_but_what_a_spool_holds_already_is_written():
    def away(point: str) -> None:
        if point.startswith("ledger") and not back:
            raise LedgerUnavailable("The database is away: gone fishing.")

    back: list[int] = []
    outbox, ledger, spool, drain = world(away, spools=False)
    rows = [call(number) for number in range(4)]

    async def whole() -> None:
        await outbox.append(*rows)
        spool.records = {1: outbox.records.pop(1)}
        for _ in range(3):
            assert await drain.step() == "stuck"
            assert "fishing" in drain.ailment
        assert len(outbox.records) == 3
        back.append(1)
        assert [await drain.step() for _ in range(3)] == ["applied", "applied", "idle"]
        assert ledger.written == rows
        assert not spool.records

    asyncio.run(whole())


def test_a_defect_is_not_taken_for_an_absence():
    def broken(point: str) -> None:
        if point == "ledger before":
            raise ZeroDivisionError

    outbox, _, _, drain = world(broken)

    async def whole() -> None:
        await outbox.append(call())
        with pytest.raises(ZeroDivisionError):
            await drain.step()
        assert len(outbox.records) == 1

    asyncio.run(whole())


def test_pauses_double_up_to_a_bound_and_start_anew_after_a_success():
    plan = ["away"] * 9 + ["back"] + ["away"] * 2
    pauses: list[float] = []

    def fate(point: str) -> None:
        if point == "ledger before" and plan[0] == "away":
            raise LedgerUnavailable("away")

    outbox, _, _, drain = world(fate, dice=lambda: 1.0, wait=None)

    async def whole() -> None:
        stop = asyncio.Event()

        async def wait(seconds: float, _: asyncio.Event) -> None:
            pauses.append(seconds)
            await outbox.append(call())
            if seconds != IDLE_S or plan[0] == "back":
                plan.pop(0)
            if not plan:
                stop.set()

        drain._wait = wait
        await outbox.append(call())
        await drain.run(stop)

    asyncio.run(whole())
    doubling = [min(LONGEST_WAIT_S, FIRST_WAIT_S * 2**step) for step in range(9)]
    assert pauses == [*doubling, IDLE_S, FIRST_WAIT_S, 2 * FIRST_WAIT_S]


def test_it_stops_at_once_when_told_to():
    *_, drain = world()

    async def whole() -> None:
        stop = asyncio.Event()
        task = asyncio.create_task(drain.run(stop))
        await asyncio.sleep(0)
        stop.set()
        async with asyncio.timeout(IDLE_S * 20):
            await task

    asyncio.run(whole())


def test_real_parts_together_lose_nothing_when_cancelled_anywhere(place: Place) -> None:
    """The database, the spool's file, and a drain that is cut off again and again."""
    outbox = FakeOutbox(quiet)
    rows = [call(number) for number in range(400)]

    async def act(engine):
        spool = Spool(place.folder)
        ledger = SqlLedger(engine, no_audit)
        try:
            for start in range(0, 400, 20):
                await outbox.append(*rows[start : start + 20])
                task = asyncio.create_task(Drain(outbox, ledger, spool).run(asyncio.Event()))
                for _ in range(start // 4):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.wait([task])
            drain = Drain(outbox, ledger, spool)
            while await drain.step() != "idle":
                assert drain.ailment == ""
            assert [row["at_ms"] for row in await rows_of(engine, tables.calls)] == [row.at_ms for row in rows]
        finally:
            await spool.close()

    place.play(act)
