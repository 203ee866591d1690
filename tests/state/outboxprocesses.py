"""What real processes do with the outbox in the tests. Each function runs in a process of its own."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

from askonce.domain.clock import SystemClock
from askonce.domain.ledger import AuditRow, CallRow, CountRow, Origin, Tallied
from askonce.state.lmdb_outbox import LmdbOutbox
from askonce.state.lmdb_state import LmdbState

WHAT = Tallied("team", "k1", "generate", "openai", "gpt-4o", "exact")
SAVED = 1_250
MINUTES = 3  # counters stay open for so many counts, so that rolling meets counting


def a_call(name: str) -> CallRow:
    return CallRow(1, Origin("team", request_id=name), "openai", "gpt-4o", "v", "answered", True, True, SAVED)


def with_outbox(folder: Path, owner: str, play: Callable[[LmdbOutbox], Awaitable[None]]) -> None:
    state = LmdbState(folder, 1 << 20, SystemClock(), owner)
    state.open()
    asyncio.run(play(LmdbOutbox(state._desk)))  # type: ignore[arg-type]
    state.close()


def write(folder: Path, slot: int, line: Connection) -> None:
    """Append calls and count for ever; report each after it was done."""

    async def play(outbox: LmdbOutbox) -> None:
        number = 0
        while True:
            name = f"{slot}-{number}"
            await outbox.append(a_call(name), AuditRow(1, "system", name))
            line.send(("call", name))
            await outbox.count(number // 50, WHAT, SAVED, 1)
            line.send(("count", name))
            number += 1

    with_outbox(folder, f"{slot}:a", play)


def drain(folder: Path, slot: int, line: Connection) -> None:
    """Roll, and bring batches into a database as the ledger does, for ever."""
    database = open_database(folder)

    async def play(outbox: LmdbOutbox) -> None:
        line.send("ready")
        turn = 0
        while True:
            turn += 1
            await outbox.roll(turn % MINUTES)
            batch = await outbox.head(97)
            if batch is None:
                await asyncio.sleep(0)
                continue
            with database:
                row = database.execute("SELECT last FROM sources WHERE source = ?", (batch.source,)).fetchone()
                last = row[0] if row else batch.first - 1
                assert batch.first <= last + 1, "numbers are missing"
                for number, record in enumerate(batch.records, batch.first):
                    if number > last:
                        database.execute("INSERT INTO rows VALUES (?, ?, ?, ?)", (batch.source, number, *told(record)))
                database.execute("REPLACE INTO sources VALUES (?, ?)", (batch.source, max(last, batch.last)))
            await outbox.settle(batch.last)

    with_outbox(folder, f"{slot}:a", play)


def told(record: object) -> tuple[str, int]:
    """Say of a record what the test asks about."""
    if isinstance(record, CallRow):
        return record.origin.request_id, 0
    if isinstance(record, CountRow):
        assert (record.saved_nano, record.saved_tokens) == (SAVED * record.count, record.count)
        return "count", record.count
    assert isinstance(record, AuditRow)
    return f"audit {record.action}", 0


def open_database(folder: Path) -> sqlite3.Connection:
    """Open what stands in for the ledger."""
    database = sqlite3.connect(folder / "ledger.db", timeout=30)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = OFF")  # processes are killed here, not machines
    database.execute("CREATE TABLE IF NOT EXISTS sources (source TEXT PRIMARY KEY, last INTEGER)")
    database.execute("CREATE TABLE IF NOT EXISTS rows (source TEXT, number INTEGER, name TEXT, count INTEGER)")
    database.commit()
    return database
