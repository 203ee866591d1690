"""Following events: a thousand readers come and go, and each is told every event once, in order, by few looks."""

import asyncio
import random
import sys
from contextlib import aclosing

import pytest
from msgspec import Raw
from tests.api.workrows import WorkRows

from askonce.api.workflows.hub import LATEST, PAGE, Hub
from askonce.domain.errors import DatabaseAway
from askonce.domain.executions import NewEvent, Submission, Submitter

LOOK_S = 0.002


def submission(id: str) -> Submission:
    return Submission(id, "workflow", "workflows", "custom", Raw(b"{}"), Submitter("addr:x", "t"), 1)


async def tell(rows: WorkRows, id: str, first: int, last: int) -> None:
    """Write events first to last."""
    events = [NewEvent("text", Raw(b'{"n":%d}' % number)) for number in range(first, last + 1)]
    await rows.tell(rows.rows[id].turn, events)


async def queued(rows: WorkRows, *ids: str) -> None:
    """Write executions; each has one event then, the second is that it was taken."""
    await rows.submit([submission(id) for id in ids])
    await rows.take()


def hub_over(rows: WorkRows, **options) -> tuple[Hub, list[BaseException]]:
    defects: list[BaseException] = []
    return Hub(rows.open, defects.append, look_s=LOOK_S, **options), defects


async def numbers(hub: Hub, id: str, after: int = 0) -> list[int]:
    """Follow to the end."""
    async with aclosing(hub.follow(id, after)) as batches:
        return [event.number async for events in batches for event in events]


def test_a_thousand_readers_leaving_and_rejoining_lose_nothing_and_hear_nothing_twice() -> None:
    ids, readers, events = [f"e{number}" for number in range(10)], 1_000, 300
    dice = random.Random(5)

    async def reader(hub: Hub, id: str) -> list[int]:
        """Follow, hang up after some events, and go on behind the last one, as a browser does."""
        heard: list[int] = []
        while not heard or heard[-1] < events + 4:
            leaves_after = dice.randint(1, 120)
            async with aclosing(hub.follow(id, heard[-1] if heard else 0)) as batches:
                async for batch in batches:
                    heard += [event.number for event in batch]
                    leaves_after -= len(batch)
                    if leaves_after <= 0:
                        break
            await asyncio.sleep(dice.random() * 0.02)
        return heard

    async def story() -> None:
        rows = WorkRows()
        hub, defects = hub_over(rows)
        await queued(rows, *ids)
        following = [asyncio.create_task(reader(hub, ids[number % len(ids)])) for number in range(readers)]
        for first in range(1, events + 1, 10):
            for id in ids:
                await tell(rows, id, first, first + 9)
            await asyncio.sleep(0.01)
        for id in ids:
            await rows.succeed(id)
        for heard in await asyncio.gather(*following):
            assert heard == list(range(1, events + 5))
        assert not defects
        assert not hub._followed
        await hub.close()

    asyncio.run(story())


def test_readers_of_a_process_share_one_look_and_nobody_reading_is_no_look() -> None:
    async def story() -> None:
        rows = WorkRows()
        hub, _ = hub_over(rows)
        await queued(rows, "a", "b")
        following = [asyncio.create_task(numbers(hub, id)) for id in ("a", "b") for _ in range(200)]
        async with asyncio.timeout(10):
            while rows.looks < 5:
                await asyncio.sleep(LOOK_S)
        assert rows.looks <= 10  # the readers alone would have been 400
        for id in ("a", "b"):
            await rows.succeed(id)
        assert await asyncio.gather(*following) == [[1, 2, 3, 4]] * 400
        before = rows.looks
        await asyncio.sleep(LOOK_S * 10)
        assert rows.looks <= before + 1
        assert hub._looking is not None
        assert hub._looking.done()

    asyncio.run(story())


def test_who_reads_slowly_holds_nothing_up_and_loses_nothing() -> None:
    """More comes than is held for readers, while one of them does not read."""
    many = LATEST + 3 * PAGE

    async def story() -> None:
        rows = WorkRows()
        hub, _ = hub_over(rows)
        await queued(rows, "a")
        async with aclosing(hub.follow("a", 0)) as slow:
            heard = [event.number for event in await anext(slow)]
            quick = asyncio.create_task(numbers(hub, "a"))
            for first in range(1, many + 1, 50):
                await tell(rows, "a", first, first + 49)
                await asyncio.sleep(0)
            await rows.succeed("a")
            total = len(rows.told["a"])
            assert await quick == list(range(1, total + 1))
            assert len(hub._followed["a"]._latest) == LATEST
            async for events in slow:
                assert len(events) <= PAGE
                heard += [event.number for event in events]
        assert heard == list(range(1, total + 1))

    asyncio.run(story())


@pytest.mark.parametrize("after", range(5))
def test_following_begins_behind_any_event(after: int) -> None:
    async def story() -> None:
        rows = WorkRows()
        hub, _ = hub_over(rows)
        await queued(rows, "a")
        await rows.succeed("a")
        heard = asyncio.create_task(numbers(hub, "a", after))
        if after < 4:
            assert await heard == list(range(after + 1, 5))
        else:
            await asyncio.sleep(LOOK_S * 3)
            await hub.close()
            assert await heard == []

    asyncio.run(story())


def test_a_resumed_execution_is_followed_through_all_its_rounds() -> None:
    async def story() -> None:
        rows = WorkRows()
        hub, _ = hub_over(rows)
        await queued(rows, "a")
        await rows.fail("a")
        await rows.resume("a", "t", 5)
        heard = asyncio.create_task(numbers(hub, "a"))
        await asyncio.sleep(LOOK_S * 5)
        assert not heard.done()
        await rows.take()
        await rows.succeed("a")
        kinds = [event.kind for event in rows.told["a"]]
        assert kinds.count("done") == 2
        assert await heard == list(range(1, len(kinds) + 1))

    asyncio.run(story())


def test_silence_is_told_and_a_database_that_is_away_for_a_while_breaks_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("askonce.api.workflows.hub.AWAY_S", 0.005)

    async def story() -> None:
        rows = WorkRows()
        hub, defects = hub_over(rows, keep_alive_s=0.01)
        await queued(rows, "a")
        async with aclosing(hub.follow("a", 0)) as batches:
            assert len(await anext(batches)) == 2
            assert await anext(batches) == ()
            rows.away = DatabaseAway("unplugged")
            assert await anext(batches) == ()
            assert await anext(batches) == ()
            rows.away = None
            await rows.succeed("a")
            told = [event async for events in batches for event in events]
            assert [event.kind for event in told] == ["execution", "done"]
        assert not defects

    asyncio.run(story())


def test_hundreds_of_executions_are_looked_at_in_bounded_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("askonce.api.workflows.hub.TOGETHER", 7)
    ids = [f"e{number}" for number in range(50)]

    async def story() -> None:
        rows = WorkRows()
        asked: list[int] = []
        events = rows.events

        async def counted(after, size):
            asked.append(len(after))
            return await events(after, size)

        rows.events = counted  # type: ignore[method-assign]
        hub, _ = hub_over(rows)
        await queued(rows, *ids)
        following = [asyncio.create_task(numbers(hub, id)) for id in ids]
        await asyncio.sleep(LOOK_S * 3)
        for id in ids:
            await rows.succeed(id)
        assert await asyncio.gather(*following) == [[1, 2, 3, 4]] * 50
        assert max(asked) == 7

    asyncio.run(story())


class Moody(WorkRows):
    """Fail at the looks that a test names, with its error."""

    def __init__(self, error: Exception, fails: range) -> None:
        super().__init__()
        self.error, self.fails, self.asked = error, fails, 0

    async def events(self, after, size):
        self.asked += 1
        if self.asked in self.fails:
            raise self.error
        return await super().events(after, size)


def test_a_look_that_fails_for_a_defect_is_told_of_and_the_next_one_goes_on() -> None:
    async def story() -> None:
        rows = Moody(ValueError("unheard of"), range(1, 3))
        hub, defects = hub_over(rows, away_s=LOOK_S)
        await queued(rows, "e")
        following = asyncio.create_task(numbers(hub, "e"))
        await rows.succeed("e")
        async with asyncio.timeout(30):
            heard = await following
        assert heard == list(range(1, len(heard) + 1))
        assert [str(defect) for defect in defects] == ["unheard of"]
        await hub.close()

    asyncio.run(story())


def test_who_waits_for_a_database_that_is_away_leaves_when_the_process_stops() -> None:
    async def story() -> None:
        rows = Moody(DatabaseAway("away"), range(2, sys.maxsize))
        hub, _ = hub_over(rows, away_s=LOOK_S)
        await queued(rows, "e")
        behind = asyncio.Event()

        async def follow() -> None:
            async with aclosing(hub.follow("e", 0)) as batches:
                async for _ in batches:
                    await tell(rows, "e", 1, LATEST + 5)
                    hub._followed["e"].add(await WorkRows.events(rows, {"e": 2}, PAGE))
                    behind.set()

        following = asyncio.create_task(follow())
        await behind.wait()
        await asyncio.sleep(0)
        await hub.close()
        async with asyncio.timeout(30):
            await following

    asyncio.run(story())
