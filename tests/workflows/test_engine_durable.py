"""The engine, in one process over SQLite: works that end, are cancelled, are left, and go on."""

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from functools import partial
from pathlib import Path

from askonce.domain.errors import DatabaseAway
from askonce.workflows.engine.database import sqlite_engine
from askonce.workflows.engine.durable import DurableEngine
from askonce.workflows.engine.port import Steps

DEADLINE_S = 30.0
Body = Callable[[str, Steps], Awaitable[None]]


class Scripted:
    """Do what a test says; remember what was given up, and what runs here no more."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.lives = 0
        self.given_up: list[tuple[str, str]] = []
        self.gone: asyncio.Queue[str] = asyncio.Queue()

    async def run(self, work_id: str, steps: Steps) -> None:
        self.lives += 1
        await self.body(work_id, steps)

    async def give_up(self, work_id: str, code: str, reason: str) -> None:
        self.given_up.append((work_id, reason))

    async def ended(self) -> str:
        """Wait for the next work to leave."""
        async with asyncio.timeout(DEADLINE_S):
            return await self.gone.get()


class Life:
    """One life of an engine over a file."""

    def __init__(self, folder: Path, work: Scripted, lives: int = 8) -> None:
        self.engine = DurableEngine(sqlite_engine(folder / "engine.db"), lives)
        self.work = work

    async def __aenter__(self) -> DurableEngine:
        await self.engine.start(self.work, self.work.gone.put_nowait)
        return self.engine

    async def __aexit__(self, *_: object) -> None:
        await self.engine.stop(0)


def test_a_work_runs_to_its_end_once_and_its_room_is_free_then(tmp_path):
    done: list[str] = []

    async def body(work_id: str, steps: Steps) -> None:
        first, second = steps.reserve("a"), steps.reserve("b")
        done.extend(await asyncio.gather(second.run(_says("b")), first.run(_says("a"))))

    async def act() -> None:
        work = Scripted(body)
        async with Life(tmp_path, work) as engine:
            assert await engine.run("x.1")
            assert not await engine.run("x.1")
            assert list(engine.running()) == ["x.1"]
            assert await work.ended() == "x.1"
            assert not engine.running()
        assert (work.lives, done) == (1, ["b", "a"])

    asyncio.run(act())


def test_what_was_left_goes_on_and_steps_that_ended_are_not_done_again(tmp_path):
    paid: list[str] = []
    told: list[list[str]] = []

    async def body(work_id: str, steps: Steps) -> None:
        names = [f"n{number}" for number in range(8)]
        reserved = [steps.reserve(name) for name in names]

        async def pay(name: str) -> str:
            if name in ("n2", "n5") and work.lives == 1:
                await asyncio.sleep(DEADLINE_S)
            paid.append(name)
            return f"answer of {name}"

        each = [step.run(partial(pay, name)) for name, step in zip(names, reserved, strict=True)]
        told.append(list(await asyncio.gather(*each)))

    async def act() -> None:
        async with Life(tmp_path, work) as engine:
            await engine.run("x.1")
            await _until(lambda: _remembered(tmp_path) == 6)
        await work.ended()
        async with Life(tmp_path, work) as engine:
            assert await engine.run("x.1")
            await work.ended()

    work = Scripted(body)
    asyncio.run(act())
    assert sorted(paid) == [f"n{number}" for number in range(8)]
    assert told == [[f"answer of n{number}" for number in range(8)]]


def test_a_cancelled_work_stops_at_once_and_is_not_taken_up_again(tmp_path):
    asked: list[str] = []
    stopped: list[float] = []

    async def body(work_id: str, steps: Steps) -> None:
        async def never() -> str:
            asked.append(work_id)
            try:
                await asyncio.sleep(DEADLINE_S)
            except asyncio.CancelledError:
                stopped.append(time.monotonic())
                raise
            return ""

        await steps.reserve("a").run(never)

    async def act() -> None:
        work = Scripted(body)
        async with Life(tmp_path, work) as engine:
            await engine.run("x.1")
            await _until(lambda: bool(asked))
            began = time.monotonic()
            assert engine.cancel("x.1")
            await work.ended()
            assert stopped[0] - began < 1.0
            assert not engine.cancel("x.1")
            assert not work.given_up

    asyncio.run(act())


def test_an_error_of_a_step_is_not_remembered(tmp_path):
    async def body(work_id: str, steps: Steps) -> None:
        step = steps.reserve("a")

        async def away() -> str:
            if work.lives == 1:
                raise DatabaseAway("away", retry_after_s=1)
            return "here"

        told.append(await step.run(away))

    async def act() -> None:
        async with Life(tmp_path, work) as engine:
            await engine.run("x.1")
            await work.ended()
            assert await engine.run("x.1")
            await work.ended()

    told: list[str] = []
    work = Scripted(body)
    asyncio.run(act())
    assert (told, work.lives, work.given_up) == (["here"], 2, [])


def test_a_work_that_fails_is_given_up_with_a_reason(tmp_path, caplog):
    async def body(work_id: str, steps: Steps) -> None:
        raise ZeroDivisionError

    async def act() -> None:
        async with Life(tmp_path, work) as engine:
            await engine.run("x.1")
            await work.ended()

    work = Scripted(body)
    asyncio.run(act())
    assert work.given_up == [("x.1", "It failed for a reason that is in the server's log.")]
    assert "ZeroDivisionError" in caplog.text


def _says(word: str) -> Callable[[], Awaitable[str]]:
    async def say() -> str:
        return word

    return say


def _remembered(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "engine.db")) as connection:
        count: int = connection.execute("SELECT count(*) FROM operation_outputs").fetchone()[0]
        return count


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0.005)
