"""A gateway opens the store of executions once, however many ask for it at once, and however long that takes."""

import asyncio
from types import SimpleNamespace

import pytest

from askonce.config.settings import Config
from askonce.domain.clock import SystemClock
from askonce.domain.errors import DatabaseAway
from askonce.wiring.archive import LateArchive


class SlowShelves:
    """Take until a test says so, then raise what it says."""

    store = object()

    def __init__(self) -> None:
        self.prepared = False
        self.tries = 0
        self.let = asyncio.Event()
        self.error: Exception | None = DatabaseAway("away")

    async def prepare(self) -> object:
        self.tries += 1
        await self.let.wait()
        if self.error is not None:
            raise self.error
        self.prepared = True
        return self.store

    async def close(self) -> None:
        """Do nothing."""


def opened(monkeypatch: pytest.MonkeyPatch) -> tuple[LateArchive, SlowShelves]:
    shelves = SlowShelves()
    module = SimpleNamespace(open_shelves=lambda config, clock: shelves)
    monkeypatch.setattr("askonce.wiring.archive.importlib.import_module", lambda name: module)
    return LateArchive(Config(), SystemClock()), shelves


async def begun(shelves: SlowShelves) -> None:
    """Wait for the first try."""
    async with asyncio.timeout(30):
        while not shelves.tries:
            await asyncio.sleep(0.001)


def test_all_who_wait_for_a_database_that_is_away_hear_of_one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        late, shelves = opened(monkeypatch)
        waiting = [asyncio.create_task(late.open()) for _ in range(50)]
        await begun(shelves)
        shelves.let.set()
        outcomes = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DatabaseAway}
        assert shelves.tries == 1
        shelves.error = None
        assert await late.open() is shelves.store
        assert (await late.open(), shelves.tries) == (shelves.store, 2)
        await late.close()

    asyncio.run(story())


def test_who_leaves_while_it_is_opened_takes_it_from_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        late, shelves = opened(monkeypatch)
        first, second = (asyncio.create_task(late.open()) for _ in range(2))
        await begun(shelves)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        shelves.error = None
        shelves.let.set()
        assert await second is shelves.store
        assert shelves.tries == 1
        await late.close()

    asyncio.run(story())


def test_a_stop_does_not_wait_for_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        late, shelves = opened(monkeypatch)
        waiting = asyncio.create_task(late.open())
        await begun(shelves)
        async with asyncio.timeout(30):
            await late.close()
            with pytest.raises(DatabaseAway):
                await waiting

    asyncio.run(story())
