"""Runs on the real road over stores in memory: what is booked, what is told again after a death, what is hung up."""

import asyncio
from typing import Any

from tests.gate.gate_world import COST_NANO, Line, Sky, Vendor, World, play
from tests.workflows.workflow_world import (
    Engine,
    Guarded,
    Killed,
    Life,
    MemoryExecutions,
    WorkflowWorld,
    node,
    workflow,
)

from askonce.domain.content import text_of
from askonce.domain.executions import QUEUES, Execution, Room
from askonce.domain.ledger import CallRow
from askonce.wire.native_answer import NATIVE
from askonce.workflows.asking import Asking
from askonce.workflows.making import Tools
from askonce.workflows.run import House, Runs
from askonce.workflows.scribe import Scribe
from askonce.workflows.submitters import Submitters


class Ready(Vendor):
    """Answer every call at once with what it asks."""

    holds = False

    def opened(self, line: Line) -> None:
        """Say and finish, unless told to hold."""
        said = text_of(line.call.messages[-1].content)
        line.say(f"<{said}>")
        if not self.holds:
            line.finish()


class Site:
    """What outlives processes: rows, shared state, the engine's memory."""

    def __init__(self) -> None:
        self.sky = Sky()
        self.vendor = Ready()
        self.store = MemoryExecutions()
        self.engine = Engine()
        self.paper = WorkflowWorld(lambda paid: "")
        self.worlds: list[World] = []

    async def submit(self, *nodes: Any) -> None:
        await self.store.submit([workflow(*nodes)])

    async def run(self, life: Life | None = None) -> Execution:
        """Take it up in a process of its own, which ends with that."""
        life = life or Life()
        world = World(self.sky, self.vendor, f"{len(self.worlds)}:worker")
        self.worlds.append(world)
        await world.answering.start()
        try:
            await self.run_in(world, life)
        finally:
            await world.answering.stop(0)
        return self.store.rows["e1"]

    async def run_in(self, world: World, life: Life) -> None:
        """Take it up in a process."""
        clock, paper = self.sky.clock, self.paper
        asking = Asking(world.road, Submitters(paper.directory, clock), clock, lambda: 0.0)
        tools = Tools(asking, paper.crafts, paper.reach, NATIVE)
        scribe = Scribe(Guarded(self.store, life))
        runs = Runs(House(scribe, tools, {}, paper.saved, clock, paper.notes, 600))
        await self.store.claim([Room(queue, 9) for queue in QUEUES], "w", clock.wall_ms())
        await runs.run("e1.1", self.engine.of("e1.1", life))

    @property
    def paid(self) -> list[CallRow]:
        """Return what was booked as paid."""
        return [row for world in self.worlds for row in world.booked if isinstance(row, CallRow)]


GRAPH = (node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c"))


def test_each_node_is_paid_and_booked_once_and_its_words_are_told():
    async def run() -> tuple[Site, Execution]:
        site = Site()
        await site.submit(*GRAPH)
        return site, await site.run()

    site, ended = play(run())
    assert ended.status == "succeeded"
    assert site.store.runs["e1"]["d"].text == "<d(<b(<a()>)>,<c(<a()>)>)>"
    assert ended.totals.cost_nano == 4 * COST_NANO
    assert [row.ending for row in site.paid] == 4 * ["answered"]
    assert {row.origin.door for row in site.paid} == {"execute"}


def test_a_death_at_any_act_of_the_store_pays_no_answer_twice_that_was_kept():
    async def run(at: int) -> tuple[Site, int]:
        site, life = Site(), Life(at)
        await site.submit(*GRAPH)
        try:
            await site.run(life)
        except Killed:
            life = Life()
            await site.run(life)
        return site, life.points

    for at in range(1, 100):
        site, points = play(run(at))
        row = site.store.rows["e1"]
        assert row.status == "succeeded"
        assert row.totals.cost_nano == 4 * COST_NANO
        assert len([one for one in site.paid if one.ending == "answered"]) == 4, at
        assert len(site.vendor.lines) <= 6
        if row.taken == 1 and points < at:
            return
    raise AssertionError("there is no end of points")


class SlowSite(Site):
    """Have a store that takes a moment to find an execution, so that more can happen meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        find = self.store.find

        async def slowly(id: str, tenant: str | None) -> Execution | None:
            await asyncio.sleep(0.1)
            return await find(id, tenant)

        self.store.find = slowly  # type: ignore[method-assign]


async def cancelled(*, wished: bool, repeated: bool = False) -> Site:
    """Cancel a run while its node is asked; the process lives on."""
    site = SlowSite() if repeated else Site()
    site.vendor.holds = True
    await site.submit(node("a"))
    world = World(site.sky, site.vendor)
    await world.answering.start()
    running = asyncio.ensure_future(site.run_in(world, Life()))
    line = await site.vendor.call()
    await asyncio.sleep(1)
    if wished:
        await site.store.wish_cancel("e1", None, 0)
    running.cancel()
    if repeated:
        await asyncio.sleep(0.05)
        running.cancel()
    await asyncio.wait([running], timeout=0.5)
    await asyncio.sleep(0.5)
    assert line.closed == wished
    line.finish()
    await world.answering.stop(5)
    return site


def test_a_wish_to_cancel_hangs_up_the_call_at_the_vendor_within_a_second():
    site = play(cancelled(wished=True))
    assert site.store.rows["e1"].status == "cancelled"


def test_a_call_is_hung_up_though_its_run_is_cancelled_again_meanwhile():
    site = play(cancelled(wished=True, repeated=True))
    assert site.store.rows["e1"].status == "cancelled"


def test_a_run_that_is_only_put_off_lets_its_call_land_and_is_told_the_answer_later():
    async def run() -> tuple[Site, Execution]:
        site = await cancelled(wished=False)
        await asyncio.sleep(3)
        return site, await site.run()

    site, ended = play(run())
    assert (ended.status, site.store.runs["e1"]["a"].cache, len(site.vendor.lines)) == ("succeeded", "resumed", 1)
    assert ended.totals.cost_nano == COST_NANO
