"""What several processes promise each other through the state files, and what killing or freezing one of them costs."""

import asyncio
import ctypes
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import pytest
from tests.state import stateprocesses as roles
from tests.state.statefakes import key

from askonce.domain.clock import SystemClock
from askonce.state.lmdb_state import LmdbState

pytestmark = pytest.mark.process

PATIENCE_S = 30.0
SPAWN = multiprocessing.get_context("spawn")


class Crew:
    """Start processes, talk with them, and leave none behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[SpawnProcess] = []

    def start(self, role: Callable[[Path, int, Connection], None], slot: int = 0) -> tuple[SpawnProcess, Connection]:
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=role, args=(self.folder, slot, theirs), daemon=True)
        process.start()
        theirs.close()
        self.processes.append(process)
        return process, ours

    def stop(self) -> None:
        for process in self.processes:
            if process.is_alive():
                process.kill()
            process.join(PATIENCE_S)
            process.close()


def hear(line: Connection) -> Any:
    assert line.poll(PATIENCE_S), "a process said nothing"
    return line.recv()


def kill(process: SpawnProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE_S)


@pytest.fixture
def crew(tmp_path: Path) -> Iterator[Crew]:
    crew = Crew(tmp_path)
    yield crew
    crew.stop()


@contextmanager
def opened(folder: Path) -> Iterator[LmdbState]:
    state = LmdbState(folder, 64 << 20, SystemClock(), "9:test")
    state.open()
    try:
        yield state
    finally:
        state.close()


def test_killing_writers_at_any_moment_loses_no_count_and_no_entry(crew: Crew, tmp_path: Path) -> None:
    said: list[tuple[str, int]] = []
    for turn in range(3):
        writers = [crew.start(roles.book_and_keep, slot=2 * turn + place) for place in range(2)]
        for place, (process, line) in enumerate(writers):
            said += [hear(line) for _ in range(50 + 37 * turn + place)]
            kill(process)
        for _, line in writers:
            said += what_is_left_of(line)
    kept = [number for what, number in said if what == "kept"]
    with opened(tmp_path) as state:
        totals = asyncio.run(state.books.totals("team"))
        assert totals.hits >= sum(what == "booked" for what, _ in said) > 100
        assert totals.entries >= len(kept) > 100
        for number in kept:
            assert asyncio.run(state.answers.find("team", [key(number)], 0)) is not None


def what_is_left_of(line: Connection) -> list[tuple[str, int]]:
    """Return what a dead process had still said; its last word may be cut off."""
    said = []
    try:
        while line.poll():
            said.append(line.recv())
    except (EOFError, OSError):
        pass
    return said


def test_four_processes_never_admit_more_than_the_limit_and_not_less(crew: Crew) -> None:
    lines = [crew.start(roles.hammer, slot)[1] for slot in range(4)]
    for line in lines:
        assert hear(line) == "ready"
    for line in lines:
        line.send("go")
    assert sum(hear(line) for line in lines) == roles.HAMMERED.limit


def test_a_process_frozen_while_writing_blocks_the_others_only_until_it_is_killed(crew: Crew, tmp_path: Path) -> None:
    _, waiting = crew.start(roles.book_once, slot=1)
    assert hear(waiting) == "ready"
    frozen, line = crew.start(roles.freeze_while_writing, slot=0)
    assert hear(line) == "frozen"
    waiting.send("go")
    assert hear(waiting) == "booking"
    assert not waiting.poll(0.2), "the lock is held"
    kill(frozen)
    assert hear(waiting) == "booked"
    with opened(tmp_path) as state:
        assert asyncio.run(state.books.totals("team")).hits == 2
        assert asyncio.run(state.books.totals("half")).hits == 0, "half a transaction is none"


def test_processes_that_open_at_once_agree(crew: Crew, tmp_path: Path) -> None:
    lines = [crew.start(roles.open_once, slot)[1] for slot in range(6)]
    for line in lines:
        line.send("go")
    since = {hear(line) for line in lines}
    assert len(since) == 1
    for line in lines:
        line.send("done")
    for process in crew.processes:
        process.join(PATIENCE_S)
        assert process.exitcode == 0
    with opened(tmp_path) as state:
        assert state._premises.alone
        totals = asyncio.run(state.books.totals("team"))
        assert (totals.hits, totals.since_ms) == (6, since.pop())


@pytest.mark.parametrize("respawned", [True, False])
def test_when_a_leader_is_killed_its_follower_learns_and_leads(crew: Crew, respawned: bool) -> None:
    leader, line = crew.start(roles.lead, slot=0)
    hear(line)
    _, follower = crew.start(roles.follow, slot=1)
    assert hear(follower) is False, "it follows"
    assert hear(follower) == "half"
    kill(leader)
    if respawned:
        assert hear(crew.start(roles.succeed, slot=0)[1]) == "released"
        assert follower.poll(1.0), "nobody waits for the lease to run out"
    assert hear(follower) == "lost"
    assert hear(follower) is True, "it leads"


def test_a_bound_on_file_sizes_stops_the_keeping_and_nothing_else(crew: Crew) -> None:
    kept, found, counted, degraded, notes = hear(crew.start(roles.keep_under_a_file_limit)[1])
    assert 100 < kept < 10_000
    assert (found, counted) == (True, True)
    assert list(degraded) == ["cache"]
    assert notes == ()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mount a small file system in memory; only root may."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounted: list[bytes] = []

    def mount(megabytes: int) -> Path:
        path = tmp_path / "disk"
        path.mkdir()
        target = str(path).encode()
        if libc.mount(b"askonce-test", target, b"tmpfs", 0, b"size=%dm" % megabytes):
            pytest.skip(f"a tmpfs cannot be mounted here: {os.strerror(ctypes.get_errno())}")
        mounted.append(target)
        return path

    yield mount
    for target in mounted:
        libc.umount2(target, 2)  # lazily: a killed process may not be gone yet


def test_a_full_disk_stops_the_keeping_and_nothing_else(crew: Crew, small_disk: Callable[[int], Path]) -> None:
    crew.folder = small_disk(144)
    kept, found, counted, degraded, notes = hear(crew.start(roles.keep_on_a_small_disk)[1])
    assert 50 < kept < 800
    assert (found, counted) == (True, True)
    assert degraded in ({"cache": "the disk is full"}, {"cache": "the disk is full or failing"})
    assert notes == ()
    _, _, counted, degraded, _ = hear(crew.start(roles.keep_on_a_small_disk, slot=1)[1])
    assert counted, "it starts on a full disk, too"
    assert list(degraded) == ["cache"]


def test_books_without_a_reserve_are_away_while_the_disk_is_full(crew: Crew, small_disk: Callable[[int], Path]) -> None:
    crew.folder = small_disk(40)
    kept, found, counted, degraded, notes = hear(crew.start(roles.keep_on_a_small_disk)[1])
    assert kept > 50
    assert (found, counted) == (True, False)
    assert set(degraded) == {"books", "cache"}
    assert "plainly" in notes[0]
