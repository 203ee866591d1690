"""What the drivers' errors mean, told by real databases."""

import asyncio
import os
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.ledger.ledgerworld import Place, batch, call, no_audit, rows_of
from tests.ledger.postgres import Postgres

from askonce.domain.ledger import LedgerUnavailable
from askonce.ledger import engine as engines
from askonce.ledger import tables
from askonce.ledger.engine import Bounds, open_engine, reading, writing
from askonce.ledger.migrate import migrate
from askonce.ledger.writer import LedgerRefused, SqlLedger


@pytest.fixture
def own() -> Iterator[Postgres]:
    """Have a server that may be killed."""
    folder = Path(tempfile.mkdtemp(prefix="askonce-postgres-"))
    server = Postgres(folder, durable=True)
    server.start()
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def test_a_server_that_dies_is_away_and_the_same_ledger_goes_on_when_it_is_back(own: Postgres, tmp_path: Path) -> None:
    async def act() -> None:
        engine = open_engine(own.url, tmp_path)
        try:
            await migrate(engine)
            ledger = SqlLedger(engine, no_audit)
            await ledger.apply(batch(call(1)))
            for hard in (True, False):
                await asyncio.to_thread(own.stop, hard=hard)
                for _ in range(3):
                    with pytest.raises(LedgerUnavailable) as away:
                        await ledger.apply(batch(call(2), first=2))
                    assert not isinstance(away.value, LedgerRefused)
                await asyncio.to_thread(own.start)
            await ledger.apply(batch(call(2), first=2))
            assert [row["at_ms"] for row in await rows_of(engine, tables.calls)] == [1, 2]
        finally:
            await engine.dispose()

    asyncio.run(act())


def test_a_server_that_dies_in_the_middle_of_a_batch_is_away(own: Postgres, tmp_path: Path) -> None:
    async def die(*_: object) -> None:
        await asyncio.to_thread(own.stop, hard=True)

    async def act() -> None:
        engine = open_engine(own.url, tmp_path)
        try:
            await migrate(engine)
            killer = SqlLedger(engine, no_audit)
            killer._add_up = die  # type: ignore[assignment,method-assign]
            with pytest.raises(LedgerUnavailable) as away:
                await killer.apply(batch(call(1)))
            assert not isinstance(away.value, LedgerRefused)
            await asyncio.to_thread(own.start)
            await SqlLedger(engine, no_audit).apply(batch(call(1)))
            assert len(await rows_of(engine, tables.calls)) == 1
        finally:
            await engine.dispose()

    asyncio.run(act())


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://nobody@127.0.0.1:1/x",
        "postgresql://nobody@does-not-exist.invalid/x?connect_timeout=5",
    ],
)
def test_a_server_that_is_not_there_is_away(url: str, tmp_path: Path) -> None:
    async def act() -> None:
        engine = open_engine(url, tmp_path)
        with pytest.raises(LedgerUnavailable):
            await migrate(engine)
        await engine.dispose()

    asyncio.run(act())


def test_a_database_or_user_that_is_not_there_is_away(postgres: Postgres, tmp_path: Path) -> None:
    async def act() -> None:
        for url in (f"{postgres.url}-missing", postgres.url.replace("askonce@", "stranger@")):
            engine = open_engine(url, tmp_path)
            with pytest.raises(LedgerUnavailable):
                await migrate(engine)
            await engine.dispose()

    asyncio.run(act())


def test_a_statement_that_takes_too_long_is_ended(place: Place) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"

    async def act() -> None:
        engine = open_engine(place.url, place.folder, Bounds(statement_s=0.2))
        try:
            with pytest.raises(LedgerUnavailable):
                async with reading(engine) as connection:
                    await connection.execute(text(endless))
            async with reading(engine) as connection:
                assert (await connection.execute(text("SELECT 1"))).scalar() == 1
        finally:
            await engine.dispose()

    engines.LOCK_S, before = 0.2, engines.LOCK_S
    try:
        asyncio.run(act())
    finally:
        engines.LOCK_S = before


def test_whoever_reads_cannot_write(place: Place) -> None:
    async def act(engine):
        with pytest.raises(LedgerUnavailable):
            async with reading(engine) as connection:
                await connection.execute(tables.calls.delete())
        async with writing(engine) as connection:
            await connection.execute(tables.calls.delete())

    place.play(act)


def test_a_wrong_statement_is_a_defect(place: Place) -> None:
    async def act(engine):
        with pytest.raises(DBAPIError):
            async with writing(engine) as connection:
                await connection.execute(text("SELECT nothing FROM nowhere"))

    place.play(act)


def test_a_file_that_another_holds_is_away_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "LOCK_S", 0.1)
    place = Place("", tmp_path)

    async def act(engine):
        holder = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        try:
            holder.execute("BEGIN IMMEDIATE")
            with pytest.raises(LedgerUnavailable, match="another process"):
                await SqlLedger(engine, no_audit).apply(batch(call()))
            assert await rows_of(engine, tables.calls) == []  # reading needs no lock
            holder.execute("ROLLBACK")
        finally:
            holder.close()
        await SqlLedger(engine, no_audit).apply(batch(call()))

    place.play(act)


def threads_end() -> None:
    """Wait for the driver's threads: where a connection fails, it tells a loop that may be closed by then."""
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            thread.join()


def test_a_folder_that_is_not_there_and_a_damaged_file_are_away(tmp_path: Path) -> None:
    async def act(folder: Path) -> None:
        engine = open_engine("", folder)
        with pytest.raises(LedgerUnavailable):
            await migrate(engine)
        await engine.dispose()
        await asyncio.to_thread(threads_end)

    asyncio.run(act(tmp_path / "missing"))
    (tmp_path / "ledger.db").write_bytes(os.urandom(8192))
    asyncio.run(act(tmp_path))


def test_behind_a_pooler_nothing_is_kept_on_a_connection(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.database()

    async def act() -> None:
        engine = open_engine(f"{url}?pgbouncer=true", tmp_path)
        try:
            await migrate(engine)
            ledger = SqlLedger(engine, no_audit)
            for number in range(1, 4):
                await ledger.apply(batch(call(number), first=number))
            assert len(await rows_of(engine, tables.calls)) == 3
            async with reading(engine) as connection:
                shown = (await connection.execute(text("SHOW application_name"))).scalar()
                assert shown == ""  # no settings are sent at the start
        finally:
            await engine.dispose()

    try:
        asyncio.run(act())
    finally:
        postgres.drop(url)
