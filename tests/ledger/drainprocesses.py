"""A drain over real parts, in a process of its own, to be killed at any moment."""

import asyncio
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

from tests.ledger.ledgerworld import no_audit

from askonce.domain.clock import SystemClock
from askonce.ledger import drain as drains
from askonce.ledger.drain import Drain
from askonce.ledger.engine import open_engine
from askonce.ledger.spool import Spool
from askonce.ledger.writer import SqlLedger
from askonce.state.lmdb_outbox import LmdbOutbox
from askonce.state.lmdb_state import LmdbState

BATCH = 23  # so that there are many steps to die between


def with_outbox(folder: Path, owner: str, play: Callable[[LmdbOutbox], Awaitable[None]]) -> None:
    """Do something with the outbox of a data folder."""
    state = LmdbState(folder, 1 << 20, SystemClock(), owner)
    state.open()
    try:
        asyncio.run(play(LmdbOutbox(state._desk)))  # type: ignore[arg-type]
    finally:
        state.close()


def drain(folder: Path, slot: int, url: str, line: Connection) -> None:
    """Drain for ever, and say what each step was."""
    drains.BATCH = BATCH

    async def play(outbox: LmdbOutbox) -> None:
        engine = open_engine(url, folder)
        work = Drain(outbox, SqlLedger(engine, no_audit), Spool(folder))
        while True:
            step = await work.step()
            line.send(step)
            if step != "applied":
                await asyncio.sleep(0.01)

    with_outbox(folder, f"{slot}:a", play)
