"""Writing to a database that is away for a while."""

import asyncio

import pytest
from tests.gate.gate_world import play
from tests.workflows.workflow_world import WorkflowWorld, echo, node

from askonce.domain.errors import DatabaseAway
from askonce.workflows.scribe import DATABASE_PATIENCE_S


def away_until(world: WorkflowWorld, back_s: float, monkeypatch) -> None:
    """Let the database be away from the second second on."""
    for name in ("keep", "tell", "end", "find"):
        act = getattr(world.store, name)

        async def acted(*args, act=act):
            if 2 < asyncio.get_running_loop().time() < back_s:
                raise DatabaseAway("Away.")
            return await act(*args)

        monkeypatch.setattr(world.store, name, acted)


def test_a_database_that_comes_back_fails_no_node_and_loses_no_event(monkeypatch):
    world = WorkflowWorld(echo)
    world.road.takes_s = 5.0
    away_until(world, 300.0, monkeypatch)
    ended = play(world.do(node("a")))
    assert (ended.status, world.road.calls()) == ("succeeded", 1)
    assert [one["status"] for one in world.events("node")] == ["running", "succeeded"]
    assert "".join(one["text"] for one in world.events("text")) == "<a()>"


def test_a_database_that_stays_away_leaves_the_work_for_later_and_the_answer_promised(monkeypatch):
    world = WorkflowWorld(echo)
    world.road.takes_s = 5.0
    away_until(world, 10 * DATABASE_PATIENCE_S, monkeypatch)
    with pytest.raises(DatabaseAway):
        play(world.do(node("a"), timeout_s=86_400))
    assert world.store.rows["e1"].status == "running"
    monkeypatch.undo()
    assert play(world.run()).status == "succeeded"
    assert (world.road.calls(), world.node("a").cache) == (1, "resumed")


def test_a_run_that_is_cancelled_while_the_database_is_away_stops_at_once(monkeypatch):
    world = WorkflowWorld(echo)
    world.road.takes_s = 50.0
    away_until(world, 300.0, monkeypatch)

    async def run() -> None:
        running = asyncio.ensure_future(world.do(node("a")))
        await asyncio.sleep(5)
        running.cancel()
        await asyncio.wait([running], timeout=1)
        assert running.cancelled()

    play(run())
    assert world.store.rows["e1"].status == "running"
