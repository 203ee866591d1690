"""Who hangs up ends what was done for them, and only that."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

import pytest

from askonce.api.asking import unless_left
from askonce.api.requests import ClientLeft


class Line:
    """Be a connection that stays open until it is hung up."""

    def __init__(self) -> None:
        self.hung_up = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        await self.hung_up.wait()
        return {"type": "http.disconnect"}


def test_work_that_ends_first_is_returned_and_the_line_no_longer_watched() -> None:
    async def main() -> None:
        line = Line()

        async def work() -> int:
            await asyncio.sleep(0)
            return 7

        assert await unless_left(line.receive, work()) == 7
        line.hung_up.set()
        for _ in range(5):
            await asyncio.sleep(0)  # a watcher that is left over would cancel this task now
        assert len(asyncio.all_tasks()) == 1

    asyncio.run(main())


def test_hanging_up_cancels_the_work_and_not_its_caller() -> None:
    async def main() -> None:
        line, ended = Line(), asyncio.Event()

        async def work() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()

        asyncio.get_running_loop().call_soon(line.hung_up.set)
        with pytest.raises(ClientLeft):
            await unless_left(line.receive, work())
        assert ended.is_set()
        await asyncio.sleep(0)  # the task itself goes on uncancelled
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0

    asyncio.run(main())


@pytest.mark.parametrize("hung_up_too", [False, True])
def test_a_cancellation_from_outside_stays_one(hung_up_too: bool) -> None:
    async def main() -> None:
        line = Line()
        waiting = asyncio.ensure_future(unless_left(line.receive, asyncio.Event().wait()))
        await asyncio.sleep(0)
        waiting.cancel()
        if hung_up_too:
            line.hung_up.set()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_what_the_work_fails_with_is_raised() -> None:
    async def main() -> None:
        async def work() -> None:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await unless_left(Line().receive, work())

    asyncio.run(main())
