"""Work that is finished whatever happens to whoever began it."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from askonce.gate.unbroken import unbroken


async def at_once(result: int) -> int:
    return result


async def after(event: asyncio.Event, result: int) -> int:
    await asyncio.sleep(0)
    await event.wait()
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
    return result


async def broken() -> int:
    await asyncio.sleep(0)
    raise ZeroDivisionError


def test_work_that_does_not_wait_is_done_without_a_task() -> None:
    async def main() -> None:
        tasks = len(asyncio.all_tasks())
        work = unbroken(at_once(7))
        with pytest.raises(StopIteration) as done:
            work.send(None)
        assert done.value.value == 7
        assert len(asyncio.all_tasks()) == tasks

    asyncio.run(main())


def test_work_that_waits_is_finished_before_its_cancellation_is_raised() -> None:
    async def main() -> None:
        event, done = asyncio.Event(), []

        async def work() -> None:
            done.append(await after(event, 7))

        doing = asyncio.ensure_future(unbroken(work()))
        await asyncio.sleep(0)
        for _ in range(3):
            doing.cancel()
            await asyncio.sleep(0)
        assert not doing.done()
        event.set()
        with pytest.raises(asyncio.CancelledError):
            await doing
        assert done == [7]

    asyncio.run(main())


@pytest.mark.parametrize(("work", "result"), [(at_once, 7), (after, 8)])
def test_the_result_is_returned(work: Any, result: int) -> None:
    async def main() -> None:
        event = asyncio.Event()
        event.set()
        made: Coroutine[Any, Any, int] = work(result) if work is at_once else work(event, result)
        assert await unbroken(made) == result

    asyncio.run(main())


def test_what_the_work_raises_is_raised_now_or_later() -> None:
    async def now() -> None:
        raise KeyError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await unbroken(broken())
        with pytest.raises(KeyError):
            await unbroken(now())

    asyncio.run(main())
