"""A database of which a part is broken stops that part of the worker's work, and nothing else."""

import asyncio
import logging
import sqlite3
from pathlib import Path

import pytest

from askonce.config.paths import RUN_FOLDER
from askonce.config.settings import Config
from askonce.wiring.worker import Worker

DEADLINE_S = 20.0


def test_a_table_that_is_missing_does_not_end_the_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / RUN_FOLDER).mkdir()

    async def act() -> None:
        config = Config(data_dir=str(tmp_path), cache_size_bytes=1 << 20, local_model="off", secret="s" * 40)
        worker, stop = Worker(config, 1, None), asyncio.Event()
        working = asyncio.create_task(worker.run(stop))
        async with asyncio.timeout(DEADLINE_S):
            await worker._prepared.wait()
            ledger = sqlite3.connect(tmp_path / "ledger.db")
            with ledger:
                ledger.execute("ALTER TABLE users RENAME TO users_gone")
                ledger.execute("UPDATE meta SET number = number + 1")
            while "cannot be read now" not in caplog.text:
                await asyncio.sleep(0.05)
            rows = 0
            while not rows:  # the drain goes on: what a start tells the audit arrives
                assert not working.done()
                (rows,) = ledger.execute("SELECT count(*) FROM audit WHERE action = 'config.loaded'").fetchone()
                await asyncio.sleep(0.05)
            with ledger:
                ledger.execute("ALTER TABLE users_gone RENAME TO users")
            while "are read again" not in caplog.text:
                await asyncio.sleep(0.05)
            ledger.close()
            stop.set()
            await working

    asyncio.run(act())
