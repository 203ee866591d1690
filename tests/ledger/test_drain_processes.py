"""Processes and servers are killed at any moment, and every record is in the database once."""

import asyncio
import multiprocessing
import random
import shutil
import tempfile
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from tests.ledger import drainprocesses as roles
from tests.ledger.ledgerworld import Place, call, count, rows_of
from tests.ledger.postgres import Postgres

from askonce.domain.reports import UsageQuestion
from askonce.ledger import tables
from askonce.ledger.cubes import DAYS, DOOR
from askonce.ledger.migrate import migrate
from askonce.ledger.reports import SqlReports
from askonce.state.lmdb_outbox import LmdbOutbox

pytestmark = [pytest.mark.process, pytest.mark.timeout(300)]

PATIENCE_S = 60.0
KILLS = 9
RECORDS = 300  # before each kill
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", "postgresql"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Place, Postgres | None]]:
    """Have a database, and a server to kill where there is one."""
    if request.param == "sqlite":
        yield Place("", tmp_path), None
        return
    folder = Path(tempfile.mkdtemp(prefix="askonce-postgres-"))
    server = Postgres(folder, durable=True)
    try:
        server.start()
        yield Place(server.url, tmp_path), server
    finally:
        server.stop()
        shutil.rmtree(folder)


def start(place: Place, slot: int) -> tuple[SpawnProcess, Connection]:
    ours, theirs = SPAWN.Pipe()
    process = SPAWN.Process(target=roles.drain, args=(place.folder, slot, place.url, theirs), daemon=True)
    process.start()
    theirs.close()
    return process, ours


def hear(line: Connection, steps: int) -> list[str]:
    """Listen to so many steps."""
    heard = []
    for _ in range(steps):
        assert line.poll(PATIENCE_S), "the drain says nothing"
        heard.append(line.recv())
    return heard


def test_every_record_is_there_once_whatever_was_killed(site: tuple[Place, Postgres | None]) -> None:
    place, server = site
    dice = random.Random(4)
    asyncio.run(prepare(place))
    hits = 0

    async def play(outbox: LmdbOutbox) -> None:
        nonlocal hits
        for turn in range(KILLS):
            away = server is not None and turn % 3 == 1
            if server is not None and away:
                await asyncio.to_thread(server.stop, hard=True)
            process, line = start(place, turn + 2)
            for number in range(turn * RECORDS, (turn + 1) * RECORDS):
                await outbox.append(call(number, request_id=f"{number}"), count(number, number=number % 7))
                hits += number % 7
            steps = hear(line, dice.randrange(1, 2 + 2 * RECORDS // roles.BATCH))
            assert "spooled" in steps if away else set(steps) <= {"applied", "idle"}
            process.kill()
            process.join(PATIENCE_S)
            line.close()
            if server is not None and away:
                await asyncio.to_thread(server.start)
        process, line = start(place, KILLS + 2)
        while hear(line, 1) != ["idle"]:
            pass
        process.kill()
        process.join(PATIENCE_S)
        line.close()
        assert await outbox.head(1) is None

    roles.with_outbox(place.folder, "1:a", play)
    asyncio.run(check(place, hits))


async def prepare(place: Place) -> None:
    async with place.open(migrated=False) as engine:
        await migrate(engine)


async def check(place: Place, hits: int) -> None:
    async with place.open() as engine:
        rows = await rows_of(engine, tables.calls)
        assert sorted(int(row["request_id"]) for row in rows) == list(range(KILLS * RECORDS))
        assert sum(row["count"] for row in await rows_of(engine, tables.counts)) == hits
        days = [row for row in await rows_of(engine, tables.usage) if (row["grain"], row["shape"]) == (DAYS, DOOR)]
        assert sum(row["count"] for row in days) == KILLS * RECORDS + hits
        total = (await SqlReports(engine).usage(UsageQuestion(0, KILLS * RECORDS))).total
        assert total.cost_nano == sum(row["cost_nano"] for row in rows)
        (source,) = await rows_of(engine, tables.sources)
        assert (source["last"], source["missing"]) == (2 * KILLS * RECORDS, 0)
