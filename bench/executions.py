"""What the durable engine costs: works that do nothing, steps, a worker that waits, and how soon work begins.

Both databases: SQLite with one worker, PostgreSQL (every commit on the disk) with two. The whole way counts: rows of
executions, the dispatcher's claims, the engine; only the models are missing.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from tests.ledger.ledgerworld import Place
from tests.workflows.engineworld import CLOCK, Worker, parts, submission

from askonce.domain.executions import QUEUES, Submission
from askonce.ledger.engine import Bounds, open_beside
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import FILE, WORKFLOWS
from askonce.ledger.migrate import LATEST, migrate
from askonce.workflows.dispatcher import Limit
from askonce.workflows.engine.port import Steps
from askonce.workflows.wake import Waker
from bench.figures import Result, Scale, median
from bench.ledger import server

WORKS = 1_000
PROBES = 40
STEPS = 6
IDLE_S = 10.0
LIMITS = dict.fromkeys(QUEUES, Limit(8))
TICKS = os.sysconf("SC_CLK_TCK")


def run(folder: Path, scale: Scale) -> list[Result]:
    """Measure SQLite, then PostgreSQL."""
    results = measure("sqlite", Place("", folder), scale, workers=1, target=200)
    with server() as url, tempfile.TemporaryDirectory() as other:
        return results + measure("postgresql", Place(url, Path(other)), scale, workers=2, target=400)


def measure(name: str, place: Place, scale: Scale, workers: int, target: int) -> list[Result]:
    """Run workers over one database, and see."""
    idle, started_ms, rates = [], [], []
    lives = [Worker(place, LIMITS) for _ in range(workers)]
    try:
        time.sleep(2.0)  # for what a start does once
        idle = [used(life, IDLE_S) for life in lives[:1]]
        for round in range(scale.rounds):
            rates.append(asyncio.run(flood(place, f"{round}", WORKS // 10 if scale.quick else WORKS)))
            started_ms += asyncio.run(probe(place, f"{round}", PROBES))
    finally:
        for life in lives:
            life.kill()
    step_ms = asyncio.run(steps(place, 50))
    rate, start_ms, share = median(rates), median(started_ms), median(idle)
    print(f"{name}: {', '.join(f'{each:.0f}' for each in rates)}/s")
    return [
        Result("executions", f"{name}: no-op works, {workers} workers", f"{rate:.0f}/s", f"{target}/s", rate >= target),
        Result("executions", f"{name}: submit to start, busy, p50", f"{start_ms:.0f} ms", "100 ms", start_ms < 100),
        Result("executions", f"{name}: idle worker", f"{share:.1%} of a core", "2 %", share < 0.02),
        Result("executions", f"{name}: engine's part of a step", f"{step_ms:.1f} ms", "10 ms", step_ms < 10),
    ]


def used(worker: Worker, span_s: float) -> float:
    """Return which share of a core a worker takes while it waits."""
    before = ticks(worker)
    time.sleep(span_s)
    return (ticks(worker) - before) / TICKS / span_s


def ticks(worker: Worker) -> int:
    """Return the processor time that a worker has had."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


async def flood(place: Place, round: str, works: int) -> float:
    """Submit many works at once; return how many are done per second, from the first claim to the last end."""
    async with Store(place) as store:
        ids = [f"f{round}-{number}" for number in range(works)]
        await store.pause("workflows", paused=True)
        for first in range(0, works, 100):
            await store.submit([submission(id, does="nothing") for id in ids[first : first + 100]])
        await store.pause("workflows", paused=False)
        await until(partial(idle, store), 0.2)
        found = [row for id in ids if (row := await store.find(id, None))]
        began_ms, ended_ms = min(row.started_ms for row in found), max(row.ended_ms for row in found)
        return works * 1000 / (ended_ms - began_ms)


async def probe(place: Place, round: str, probes: int) -> list[float]:
    """Keep a queue busy, and submit to another one now and then; return the milliseconds until each began."""
    waker, waits = Waker(place.folder), []
    async with Store(place) as store:
        busy = [submission(f"b{round}-{number}") for number in range(probes)]
        await store.submit(busy)
        for number in range(probes):
            one: Submission = submission(f"p{round}-{number}", "batch", "nothing")
            await store.submit([one])
            waker.wake()
            await until(partial(ended, store, one.id), 0.05)
            row = await store.find(one.id, None)
            waits.append(float(row.started_ms - one.created_ms) if row else 0.0)
    waker.close()
    return waits


async def idle(store: SqlExecutions) -> bool:
    """Say whether everything is done."""
    return not any(state.queued or state.running for state in await store.queues(CLOCK.wall_ms()))


async def ended(store: SqlExecutions, id: str) -> bool:
    """Say whether one is done."""
    row = await store.find(id, None)
    return row is not None and row.has_ended


async def until(condition: Callable[[], Awaitable[bool]], span_s: float) -> None:
    """Look again and again."""
    while not await condition():  # noqa: ASYNC110 - it happens in other processes
        await asyncio.sleep(span_s)


async def steps(place: Place, works: int) -> float:
    """Return what one step takes of the engine's time: works of six steps against works of none, one by one."""
    gone: asyncio.Queue[str] = asyncio.Queue()
    engine, _ = parts(place)
    work = Idle()
    await engine.start(work, gone.put_nowait)
    taken = {}
    for work.steps in (0, STEPS):
        each = []
        for number in range(works):
            began = time.perf_counter()
            await engine.run(f"s{work.steps}-{number}.1")
            await gone.get()
            each.append(time.perf_counter() - began)
        taken[work.steps] = median(each)
    await engine.stop(1.0)
    return (taken[STEPS] - taken[0]) * 1000 / STEPS


class Idle:
    """Do so many steps that do nothing, one by one."""

    steps = 0

    async def run(self, work_id: str, steps: Steps) -> None:
        """Do them."""
        for step in [steps.reserve(f"n{number}") for number in range(self.steps)]:
            await step.run(nothing)

    async def give_up(self, work_id: str, code: str, reason: str) -> None:
        """Fail."""
        raise AssertionError(reason)


class Store:
    """The rows of executions, open for a while."""

    def __init__(self, place: Place) -> None:
        self._rows = open_beside(place.url, place.folder, FILE, Bounds())

    async def __aenter__(self) -> SqlExecutions:
        await migrate(self._rows, LATEST, WORKFLOWS)
        return SqlExecutions(self._rows, CLOCK)

    async def __aexit__(self, *_: object) -> None:
        await self._rows.dispose()


async def nothing() -> str:
    """Do nothing."""
    return "done"
