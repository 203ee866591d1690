"""Workers in processes of their own, and works of eight nodes for them, each of which is paid for in a file."""

import asyncio
import hashlib
import multiprocessing
import os
import random
import signal
from collections.abc import Sequence
from functools import partial
from multiprocessing.context import ForkServerProcess
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import replace
from tests.ledger.ledgerworld import Place

from askonce.domain.clock import SystemClock
from askonce.domain.executions import (
    QUEUES,
    Execution,
    ExecutionStatus,
    NewEvent,
    NodeRun,
    QueueName,
    Submission,
    Submitter,
    WorkerExecutions,
)
from askonce.ledger.address import SqliteFile, parse
from askonce.ledger.engine import Bounds, open_beside
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import FILE, WORKFLOWS
from askonce.ledger.migrate import LATEST, migrate
from askonce.workflows import dispatcher as dispatching
from askonce.workflows.dispatcher import Dispatcher, Limit, Terms
from askonce.workflows.engine.database import postgres_connection, postgres_engine, sqlite_engine
from askonce.workflows.engine.durable import LIVES, DurableEngine
from askonce.workflows.engine.port import Step, Steps, Tenure
from askonce.workflows.engine.tenure import AloneTenure, PostgresTenure
from askonce.workflows.wake import WakeListener

PARENTS = {
    "plan": (),
    "left": ("plan",),
    "middle": ("plan",),
    "right": ("plan",),
    "build": ("left", "middle"),
    "check": ("middle", "right"),
    "draw": ("left", "right"),
    "end": ("build", "check", "draw"),
}
MODEL_S = 0.03  # a model's answer takes up to that
PAID = "paid.log"
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["tests.workflows.engineworld"])
DAY_MS = 86_400_000
CLOCK = SystemClock()


class Plan(msgspec.Struct, frozen=True):
    """Say what a submitted work is to do."""

    does: str = "graph"  # or: nothing, waits, kills
    lives: int = LIVES


class Payments:
    """What was paid, and the answers: one line each, written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / PAID
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)

    def pay(self, name: str, answer: str) -> None:
        """Write one payment."""
        os.write(self._file, f"{name} {answer}\n".encode())

    def lines(self) -> list[tuple[str, str]]:
        """Return all payments: what for, and what was answered."""
        return [(name, answer) for name, _, answer in (line.partition(" ") for line in self._text().splitlines())]

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _text(self) -> str:
        return self._path.read_text()


class Eight:
    """Do what was submitted: eight nodes side by side as far as they go, or what `Plan` says."""

    def __init__(self, store: WorkerExecutions, folder: Path) -> None:
        self._store = store
        self._payments = Payments(folder)

    async def run(self, work_id: str, steps: Steps) -> None:
        id, _, round = work_id.rpartition(".")
        execution = await self._store.begin(id, int(round), CLOCK.wall_ms())
        if execution is None:
            return
        try:
            await self._do(execution, steps)
        except asyncio.CancelledError:
            found = await self._store.find(id, None)
            if found is not None and found.wish == "cancel":
                await self._end(execution, "cancelled")
            raise

    async def give_up(self, work_id: str, code: str, reason: str) -> None:
        id, _, round = work_id.rpartition(".")
        found = await self._store.find(id, None)
        if found is not None and found.round == int(round) and not found.has_ended:
            await self._end(replace(found, error_code=code, error=reason), "failed")

    async def _do(self, execution: Execution, steps: Steps) -> None:
        does = msgspec.json.decode(execution.submission.work, type=Plan).does
        if does == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        self._payments.pay(f"{execution.id}/begun", str(CLOCK.wall_ms()))
        if does == "waits":
            await steps.reserve("wait").run(_for_ever)
        ended = {}
        if does == "graph":
            order = list(PARENTS)
            random.shuffle(order)
            reserved = {node: steps.reserve(node) for node in PARENTS}
            for node in order:
                ended[node] = asyncio.get_running_loop().create_future()
            works = [self._node(execution, node, reserved[node], ended) for node in order]
            await asyncio.gather(*works)
        told = {node: future.result() for node, future in ended.items()}
        await self._end(replace(execution, result=Raw(msgspec.json.encode(told))), "succeeded")

    async def _node(self, execution: Execution, node: str, step: Step, ended: dict[str, asyncio.Future[str]]) -> None:
        inputs = [await ended[parent] for parent in PARENTS[node]]
        ended[node].set_result(await step.run(partial(self._settle, execution, node, inputs)))

    async def _settle(self, execution: Execution, node: str, inputs: Sequence[str]) -> str:
        answer = await self._answer(f"{execution.id}/{node}", expected(node, inputs))
        run = NodeRun(execution.id, node, status="succeeded", attempts=1, text=answer)
        await self._store.keep(run, [NewEvent("node", Raw(b"{}"))], 0)
        return answer

    async def _answer(self, name: str, answer: str) -> str:
        """Ask the model, unless its answer is there."""
        for paid, told in self._payments.lines():
            if paid == name:
                return told
        await asyncio.sleep(random.random() * MODEL_S)
        self._payments.pay(name, answer)
        return answer

    async def _end(self, execution: Execution, status: ExecutionStatus) -> None:
        await self._store.end(
            replace(execution, status=status, ended_ms=CLOCK.wall_ms()), [NewEvent("done", Raw(b"{}"))]
        )


def expected(node: str, inputs: Sequence[str]) -> str:
    """Return what a node answers."""
    return f"{node}:{hashlib.sha256(' '.join((node, *inputs)).encode()).hexdigest()[:12]}"


def outcome() -> dict[str, str]:
    """Return what all nodes answer."""
    told: dict[str, str] = {}
    for node, parents in PARENTS.items():
        told[node] = expected(node, [told[parent] for parent in parents])
    return told


def submission(id: str, queue: QueueName = "workflows", does: str = "graph", **changes: Any) -> Submission:
    """Make a submission of now."""
    work = Raw(msgspec.json.encode(Plan(does)))
    who = Submitter("key:acme", "acme")
    given: dict[str, Any] = {"work": work, "submitter": who, "created_ms": CLOCK.wall_ms()}
    return Submission(id, "workflow", queue, "custom", **{**given, **changes})


def parts(place: Place, lives: int = LIVES) -> tuple[DurableEngine, Tenure]:
    """Make the engine of a place, and the tenure of its workers."""
    address = parse(place.url, place.folder)
    if isinstance(address, SqliteFile):
        return DurableEngine(sqlite_engine(address.path.with_name("engine.db")), lives), AloneTenure()
    database = postgres_engine(address.dsn, pooled=address.pooled)
    return DurableEngine(database, lives), PostgresTenure(partial(postgres_connection, address.dsn))


def serve(place: Place, limits: dict[QueueName, Limit], lives: int, idle_s: float, ready: Event) -> None:
    """Be a worker until SIGTERM, or for ever."""
    dispatching.IDLE_S = idle_s
    asyncio.run(_serve(place, limits, lives, ready))


async def _serve(place: Place, limits: dict[QueueName, Limit], lives: int, ready: Event) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    rows = open_beside(place.url, place.folder, FILE, Bounds())
    await migrate(rows, LATEST, WORKFLOWS)
    store = SqlExecutions(rows, CLOCK)
    dispatcher = Dispatcher(store, *parts(place, lives), Terms(limits, DAY_MS, DAY_MS, drain_s=0.2), CLOCK)
    listener = WakeListener(place.folder, dispatcher.wake)
    listener.open()
    ready.set()
    await dispatcher.run(Eight(store, place.folder), stop)
    listener.close()
    await rows.dispose()


class Worker:
    """A worker's process."""

    def __init__(
        self,
        place: Place,
        limits: dict[QueueName, Limit] | None = None,
        lives: int = 1_000,
        idle_s: float = dispatching.IDLE_S,
    ) -> None:
        self.ready = FORK.Event()
        given = limits or dict.fromkeys(QUEUES, Limit(8))
        self.process: ForkServerProcess = FORK.Process(
            target=serve, args=(place, given, lives, idle_s, self.ready), daemon=True
        )
        self.process.start()
        assert self.ready.wait(30)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.join(30)

    def stop(self) -> None:
        """End it in good order."""
        self.process.terminate()
        self.process.join(30)
        assert self.process.exitcode == 0


async def _for_ever() -> str:
    await asyncio.Event().wait()
    return ""
