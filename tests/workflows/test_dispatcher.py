"""The dispatcher over rows in memory and an engine that does nothing by itself."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import pytest
from tests.gate.gate_world import LoopClock
from tests.workflows.engineworld import submission
from tests.workflows.workflow_world import MemoryExecutions

from askonce.domain.errors import DatabaseAway
from askonce.domain.executions import QUEUES, Execution, Room
from askonce.workflows import dispatcher as module
from askonce.workflows.dispatcher import Dispatcher, Limit, Terms
from askonce.workflows.engine.port import Work

DEADLINE_S = 20.0
LIMITS = dict.fromkeys(QUEUES, Limit(2))


class Hand:
    """Be an engine whose works end when the test says so."""

    def __init__(self) -> None:
        self.here: list[str] = []
        self.told: list[str] = []
        self.dropped = 0
        self.stopped = False

    async def start(self, work: Work, left: Callable[[str], None]) -> None:
        self.left = left

    async def run(self, work_id: str) -> bool:
        self.here.append(work_id)
        return True

    def cancel(self, work_id: str) -> bool:
        self.told.append(work_id)
        return work_id in self.here

    def running(self) -> Collection[str]:
        return self.here

    async def drop(self) -> None:
        self.dropped += 1
        for work_id in list(self.here):
            self.leave(work_id)

    async def sweep(self, now_ms: int, size: int) -> int:
        return 0

    async def stop(self, drain_s: float) -> None:
        self.stopped = True

    def leave(self, work_id: str) -> None:
        """Let a work end."""
        self.here.remove(work_id)
        self.left(work_id)


class Names:
    """Be a tenure: names are `w1`, `w2` …; who is dead is said by the test."""

    def __init__(self) -> None:
        self.taken = 0
        self.held = True
        self.dead: set[str] = set()

    async def take(self) -> str:
        self.taken += 1
        self.held = True
        return f"w{self.taken}"

    async def holds(self) -> bool:
        return self.held

    async def inherit(self, worker: str, take_over: Callable[[], Awaitable[None]]) -> bool:
        if worker not in self.dead:
            return False
        await take_over()
        return True

    async def release(self) -> None:
        self.held = False


class Nobody:
    """Be a work that is never done."""

    async def run(self, work_id: str, steps: object) -> None:
        raise AssertionError

    async def give_up(self, work_id: str, code: str, reason: str) -> None:
        raise AssertionError


class Scene:
    """A dispatcher at work."""

    def __init__(self, store: MemoryExecutions | None = None) -> None:
        self.store = store or MemoryExecutions()
        self.engine, self.names = Hand(), Names()
        self.dispatcher = Dispatcher(self.store, self.engine, self.names, Terms(LIMITS, 1, 1), LoopClock())
        self._stop = asyncio.Event()

    async def __aenter__(self) -> "Scene":
        self._running = asyncio.create_task(self.dispatcher.run(Nobody(), self._stop))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._running
        assert self.engine.stopped

    async def submit(self, *ids: str) -> None:
        await self.store.submit([submission(id) for id in ids])
        self.dispatcher.wake()

    async def see(self, *work_ids: str) -> None:
        """Wait until exactly these run."""
        async with asyncio.timeout(DEADLINE_S):
            while sorted(self.engine.here) != sorted(work_ids):
                await asyncio.sleep(0.002)


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look only when woken: what a test sees is not by chance."""
    monkeypatch.setattr(module, "IDLE_S", 3_600.0)
    monkeypatch.setattr(module, "BUSY_S", 3_600.0)
    monkeypatch.setattr(module, "TEND_S", 0.01)
    monkeypatch.setattr(module, "AWAY_S", 0.01)


def test_so_many_run_at_once_and_an_end_makes_room_for_the_next() -> None:
    async def act() -> None:
        async with Scene() as scene:
            await scene.submit("a", "b", "c")
            await scene.see("a.1", "b.1")
            scene.engine.leave("a.1")
            await scene.see("b.1", "c.1")
            assert scene.dispatcher.busy() == 2

    asyncio.run(act())


def test_each_queue_has_room_of_its_own() -> None:
    async def act() -> None:
        async with Scene() as scene:
            await scene.store.submit([submission(f"{queue}{number}", queue) for queue in QUEUES for number in range(3)])
            scene.dispatcher.wake()
            await scene.see(*(f"{queue}{number}.1" for queue in QUEUES for number in range(2)))

    asyncio.run(act())


def test_what_is_ours_and_does_not_run_is_begun_before_what_waits() -> None:
    async def act() -> None:
        store = MemoryExecutions()
        await store.submit([submission("old")])
        await store.claim([Room("workflows", 1)], "w1", 0)
        await store.submit([submission("b"), submission("c"), submission("d")])
        async with Scene(store) as scene:
            await scene.see("b.1", "c.1")
            scene.engine.leave("b.1")
            await scene.see("c.1", "old.1")

    asyncio.run(act())


def test_the_works_of_a_dead_worker_are_taken_over_and_those_of_a_living_one_are_not() -> None:
    async def act() -> None:
        store = MemoryExecutions()
        await store.submit([submission("a"), submission("b")])
        await store.claim([Room("workflows", 1)], "dead", 0)
        await store.claim([Room("workflows", 1)], "alive", 0)
        async with Scene(store) as scene:
            scene.names.dead = {"dead"}
            await scene.see("a.1")
            assert store.workers == {"a": "w1", "b": "alive"}

    asyncio.run(act())


def test_a_wish_is_passed_on_to_the_engine() -> None:
    async def act() -> None:
        async with Scene() as scene:
            await scene.submit("a")
            await scene.see("a.1")
            await scene.store.wish_cancel("a", None, 1)
            scene.dispatcher.wake()
            async with asyncio.timeout(DEADLINE_S):
                while "a.1" not in scene.engine.told:
                    await asyncio.sleep(0.002)

    asyncio.run(act())


def test_who_lost_its_name_leaves_everything_and_goes_on_under_another() -> None:
    async def act() -> None:
        async with Scene() as scene:
            await scene.submit("a")
            await scene.see("a.1")
            scene.names.held, scene.names.dead = False, {"w1"}
            async with asyncio.timeout(DEADLINE_S):
                while scene.store.workers["a"] != "w2":
                    await asyncio.sleep(0.002)
            await scene.see("a.1")
            assert scene.engine.dropped == 1

    asyncio.run(act())


def test_a_database_that_is_away_is_asked_again() -> None:
    class Flaky(MemoryExecutions):
        tries = 0

        async def claim(self, rooms: Sequence[Room], worker: str, now_ms: int) -> tuple[Execution, ...]:
            self.tries += 1
            if self.tries < 4:
                scenes[0].dispatcher.wake()
                raise DatabaseAway("away", retry_after_s=1)
            return await super().claim(rooms, worker, now_ms)

    async def act() -> None:
        async with Scene(Flaky()) as scene:
            scenes.append(scene)
            await scene.submit("a")
            await scene.see("a.1")

    scenes: list[Scene] = []
    asyncio.run(act())


def test_a_row_that_nobody_here_can_read_keeps_no_other_from_being_done(caplog: pytest.LogCaptureFixture) -> None:
    class Newer(MemoryExecutions):
        """Hold one row of a version that is to come."""

        looked = 0

        async def find(self, id: str, tenant: str | None) -> Execution | None:
            if id == "newer":
                self.looked += 1
                raise ValueError("unheard of")
            return await super().find(id, tenant)

    async def act() -> None:
        store = Newer()
        await store.submit([submission("newer"), submission("old")])
        await store.claim([Room("workflows", 2)], "w1", 0)
        async with Scene(store) as scene:
            await scene.see("old.1")
            scene.engine.leave("old.1")
            await scene.submit("next")
            async with asyncio.timeout(DEADLINE_S):
                while store.looked < 3 or "next.1" not in scene.engine.here:
                    await asyncio.sleep(0.002)

    asyncio.run(act())
    assert [record.message for record in caplog.records if "cannot be read" in record.message] == [
        "newer.1 cannot be read by this version; it waits for another"
    ]


def test_a_defect_of_one_look_ends_no_worker_and_is_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryExecutions):
        tries = 0

        async def claim(self, rooms: Sequence[Room], worker: str, now_ms: int) -> tuple[Execution, ...]:
            self.tries += 1
            if self.tries < 4:
                scenes[0].dispatcher.wake()
                raise ValueError("unheard of")
            return await super().claim(rooms, worker, now_ms)

    async def act() -> None:
        async with Scene(Broken()) as scene:
            scenes.append(scene)
            await scene.submit("a")
            await scene.see("a.1")

    scenes: list[Scene] = []
    asyncio.run(act())
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_dead_workers_execution_that_is_to_be_cancelled_waits_for_no_room() -> None:
    async def act() -> None:
        store = MemoryExecutions()
        await store.submit([submission("unwanted"), submission("wanted")])
        await store.claim([Room("workflows", 2)], "dead", 0)
        async with Scene(store) as scene:
            names = [f"{queue}{number}" for queue in QUEUES for number in range(2)]
            await store.submit([submission(name, name[:-1]) for name in names])  # type: ignore[arg-type]
            scene.dispatcher.wake()
            full = [f"{name}.1" for name in names]
            await scene.see(*full)
            await store.wish_cancel("unwanted", None, 1)
            scene.names.dead = {"dead"}
            await scene.see(*full, "unwanted.1")
            assert (store.workers["unwanted"], store.workers["wanted"]) == ("w1", "dead")

    asyncio.run(act())
