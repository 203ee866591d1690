"""What a gateway does while the tables of executions are being made."""

import asyncio
from pathlib import Path

import pytest

from askonce.config.settings import Config
from askonce.domain.clock import SystemClock
from askonce.domain.errors import DatabaseAway
from askonce.ledger.engine import Bounds, open_beside
from askonce.ledger.executions.tables import FILE, WORKFLOWS
from askonce.ledger.migrate import LATEST, migrate
from askonce.wiring import shelves
from askonce.wiring.shelves import open_shelves


def test_who_asks_first_waits_for_a_worker_that_makes_the_tables(tmp_path: Path) -> None:
    async def play() -> None:
        opened = open_shelves(Config(data_dir=str(tmp_path)), SystemClock())
        asking = asyncio.create_task(opened.prepare())
        await asyncio.sleep(3 * shelves.LOOK_S)
        assert not asking.done()
        engine = open_beside("", tmp_path, FILE, Bounds(1, name="a test"))
        await migrate(engine, LATEST, WORKFLOWS)
        async with asyncio.timeout(20):
            assert await asking is opened.store
        await engine.dispose()
        await opened.close()

    asyncio.run(play())


def test_without_a_worker_it_is_told_and_only_the_first_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "LOOKS", 3)
    monkeypatch.setattr(shelves, "LOOK_S", 0.0)

    async def play() -> None:
        opened = open_shelves(Config(data_dir=str(tmp_path)), SystemClock())
        with pytest.raises(DatabaseAway, match="the worker makes them"):
            await opened.prepare()
        monkeypatch.setattr(shelves, "LOOK_S", 1e9)
        with pytest.raises(DatabaseAway):
            await opened.prepare()
        await opened.close()

    asyncio.run(play())
