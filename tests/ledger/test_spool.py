"""A file for what the database cannot take yet."""

import asyncio
import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from tests.ledger.ledgerworld import batch, call, count, records

from askonce.domain.ledger import AuditRow, Batch, LedgerUnavailable
from askonce.ledger.spool import FILE, Spool


def play(folder, act):
    async def whole():
        spool = Spool(folder)
        try:
            await act(spool)
        finally:
            await spool.close()

    asyncio.run(whole())


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(rows=st.lists(records, min_size=1, max_size=8))
def test_records_come_back_as_they_were(tmp_path, rows):
    async def act(spool):
        await spool.add(batch(*rows))
        whole = await spool.head(100)
        assert whole == batch(*rows)
        await spool.settle(whole)

    play(tmp_path, act)


def test_an_audit_rows_details_come_back(tmp_path):
    row = AuditRow(1, "system", "key.created", details=Raw(b'{"a":1}'))

    async def act(spool):
        await spool.add(batch(row))
        back = (await spool.head(1)).records[0]
        assert isinstance(back, AuditRow)
        assert bytes(back.details) == bytes(row.details)

    play(tmp_path, act)


def test_batches_leave_in_the_order_in_which_they_came_and_never_twice(tmp_path):
    async def act(spool):
        rows = [call(number) for number in range(9)]
        await spool.add(batch(*rows[:3]))
        await spool.add(batch(*rows[:5]))  # again, with more: its outbox did not know
        await spool.add(batch(*rows[5:7], first=1, source="other"))
        await spool.add(batch(*rows[7:9], first=9))  # some between were another's
        found = []
        while (head := await spool.head(4)) is not None:
            found.append((head.source, head.first, head.last))
            assert len(head.records) == head.last - head.first + 1
            await spool.settle(head)
        assert found == [("s", 1, 4), ("s", 5, 5), ("other", 1, 2), ("s", 9, 10)]
        assert await spool.count() == 0

    play(tmp_path, act)


def test_what_was_added_outlives_the_process(tmp_path):
    play(tmp_path, lambda spool: spool.add(batch(call(), count())))

    async def act(spool):
        assert await spool.head(9) == batch(call(), count())

    play(tmp_path, act)


def test_a_file_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / FILE).write_bytes(b"this is no database" * 100)

    async def act(spool):
        with pytest.raises(LedgerUnavailable, match="spool"):
            await spool.add(batch(call()))

    play(tmp_path, act)


def test_whoever_is_cancelled_leaves_nothing_half_done(tmp_path):
    async def act(spool):
        for first in range(1, 200, 10):
            task = asyncio.create_task(spool.add(batch(*(call(number) for number in range(10)), first=first)))
            for _ in range(first % 7):
                await asyncio.sleep(0)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        seen = []
        while (head := await spool.head(10_000)) is not None:
            assert isinstance(head, Batch)
            assert (head.first % 10, head.last % 10) == (1, 0)
            seen.append(head.first)
            await spool.settle(head)
        assert seen == sorted(seen)

    play(tmp_path, act)
