"""What the outbox promises when its writers and its drainer are killed at any moment."""

import asyncio
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from tests.state import outboxprocesses as roles

from askonce.domain.clock import SystemClock
from askonce.state.lmdb_outbox import LmdbOutbox
from askonce.state.lmdb_state import LmdbState

pytestmark = pytest.mark.process

PATIENCE_S = 60.0
SPAWN = multiprocessing.get_context("spawn")
WRITERS, GENERATIONS = 2, 3
REPORTS = 400  # of each generation of writers before it is killed
DRAINER = 99


class Crew:
    """Start processes, hear what they say, kill them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.members: list[tuple[SpawnProcess, Connection]] = []
        self.heard: list[tuple[str, str]] = []

    def start(self, role: Callable[[Path, int, Connection], None], slot: int) -> tuple[SpawnProcess, Connection]:
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=role, args=(self.folder, slot, theirs), daemon=True)
        process.start()
        theirs.close()
        self.members.append((process, ours))
        return process, ours

    def start_drainer(self, slot: int) -> tuple[SpawnProcess, Connection]:
        process, line = self.start(roles.drain, slot)
        assert line.poll(PATIENCE_S), "the drainer does not start"
        line.recv()
        return process, line

    def hear(self, lines: list[Connection], number: int) -> None:
        """Listen until so many things were said."""
        until = len(self.heard) + number
        deadline = time.monotonic() + PATIENCE_S
        while len(self.heard) < until:
            assert time.monotonic() < deadline, "the writers say too little"
            for line in wait(lines, PATIENCE_S):
                assert isinstance(line, Connection)
                self.heard.append(line.recv())

    def kill(self, process: SpawnProcess, line: Connection) -> None:
        """Kill it, then hear what it said before it died."""
        process.kill()
        process.join(PATIENCE_S)
        while True:
            try:
                self.heard.append(line.recv())
            except (EOFError, OSError):
                break
        self.members.remove((process, line))

    def stop(self) -> None:
        for process, _ in self.members:
            process.kill()
            process.join(PATIENCE_S)


def finish(folder: Path) -> Counter[str]:
    """Bring the rest into the database; return how often each thing is there, counts summed."""
    database = roles.open_database(folder)
    state = LmdbState(folder, 1 << 20, SystemClock(), "0:last")
    state.open()

    async def rest() -> list[tuple[str, int, str, int]]:
        outbox = LmdbOutbox(state._desk)
        await outbox.roll(-1)
        rows = []
        while (batch := await outbox.head(1_000)) is not None:
            for number, record in enumerate(batch.records, batch.first):
                rows.append((batch.source, number, *roles.told(record)))
            await outbox.settle(batch.last)
        return rows

    try:
        remaining = asyncio.run(rest())
    finally:
        state.close()
    rows = list(database.execute("SELECT source, number, name, count FROM rows"))
    last = max((row[1] for row in rows), default=0)
    rows += [row for row in remaining if row[1] > last]
    assert [row[1] for row in rows] == list(range(1, len(rows) + 1)), "numbers have gaps or are doubled"
    assert len({row[0] for row in rows}) == 1, "the outbox changed its name"
    database.close()
    found: Counter[str] = Counter()
    for _, _, name, count in rows:
        found[name] += count or 1
    return found


def test_killing_writers_and_the_drainer_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    crew, dice = Crew(tmp_path), random.Random(7)
    holder = LmdbState(tmp_path, 1 << 20, SystemClock(), "8:holder")
    holder.open()  # as the supervisor's siblings do: somebody always has the files open
    killed = 0
    try:
        drainer, said = crew.start_drainer(DRAINER)
        for generation in range(GENERATIONS):
            writers = [crew.start(roles.write, generation * 10 + slot) for slot in range(WRITERS)]
            crew.hear([line for _, line in writers], REPORTS + dice.randrange(50))
            for process, line in writers:
                crew.kill(process, line)
                killed += 1
            drainer.kill()
            drainer.join(PATIENCE_S)
            crew.members.remove((drainer, said))
            drainer, said = crew.start_drainer(DRAINER + generation + 1)
    finally:
        crew.stop()
        holder.close(clean=False)
    found = finish(tmp_path)
    calls = {name for kind, name in crew.heard if kind == "call"}
    counts = sum(kind == "count" for kind, _ in crew.heard)
    there = {name for name in found if name[0].isdigit()}
    assert len(calls) > GENERATIONS * REPORTS // 3
    assert calls <= there, "what was reported is lost"
    assert len(there - calls) <= killed, "only what was written in the moment of death may be unreported"
    assert all(found[name] == 1 and found[f"audit {name}"] == 1 for name in there), "something is doubled or halved"
    assert counts <= found["count"] <= counts + killed
