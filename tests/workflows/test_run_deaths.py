"""Die at every point of a run, and go on: no answer that arrived is paid for again, and none ends up at another node.

The store, the road and the engine of these tests suspend before and behind each act, and may die there. A dead process
does nothing more; what it had promised, written or checkpointed stays. The next process takes the work up.
"""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gate.gate_world import play
from tests.workflows.workflow_world import (
    Killed,
    Life,
    Paid,
    Reply,
    WorkflowWorld,
    asked_of,
    echo,
    file_block,
    node,
    workflow,
)

from askonce.domain.errors import Invalid, ProviderFailed
from askonce.domain.graph import Node

POINTS_CEILING = 2000  # far above what any of these runs has

DIAMOND = (node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c"))
REPAIRS = (node("w"), node("q", "w", type="quality"), node("r", "q", type="review"))


async def die_and_go_on(world: WorkflowWorld, graph: tuple[Node, ...], deaths: tuple[int, ...]) -> int:
    """Run to the end through these deaths; return at how many points the last life could have died."""
    await world.submit(workflow(*graph))
    for at in deaths:
        life = Life(at)
        try:
            await world.run(life=life)
        except Killed:
            await quiet()
            continue
        return life.points
    life = Life()
    await world.run(life=life)
    return life.points


async def quiet() -> None:
    """Let whatever is left of a dead process find out that it is dead."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


def every_death() -> Iterator[int]:
    yield from range(1, POINTS_CEILING)


def repairs(paid: Paid) -> Reply:
    asked = asked_of(paid.call)
    if asked.startswith("w("):
        return file_block("a.py", "broken")
    return file_block("a.py", "fine") if asked.startswith("repair") else "approve"


@pytest.mark.parametrize(("graph", "script", "calls"), [(DIAMOND, echo, 4), (REPAIRS, repairs, 3)])
def test_a_run_that_dies_once_at_any_point_ends_as_if_it_had_not(graph, script, calls):
    plain = WorkflowWorld(script)
    play(die_and_go_on(plain, graph, ()))
    texts = {id: (run.text, bytes(run.files)) for id, run in plain.store.runs["e1"].items()}
    for at in every_death():
        world = WorkflowWorld(script)
        points = play(die_and_go_on(world, graph, (at,)))
        row = world.store.rows["e1"]
        assert row.status == "succeeded", at
        assert {id: (run.text, bytes(run.files)) for id, run in world.store.runs["e1"].items()} == texts
        assert world.road.repeated == []
        assert len({paid.name for paid in world.road.paid}) == calls
        # Only what was in the air when the process died is asked twice.
        assert world.road.calls() <= calls + 2
        assert world.engine.reserved[: len(graph)] == world.engine.reserved[-len(graph) :]
        numbers = [event.number for event in world.store.told["e1"]]
        assert numbers == list(range(1, len(numbers) + 1))
        assert world.events("done")[-1]["status"] == "succeeded"
        if row.taken == 1 and points < at:
            return
    raise AssertionError("there is no end of points")


def test_what_was_paid_before_a_death_is_in_the_totals_once():
    plain = WorkflowWorld(echo)
    play(die_and_go_on(plain, DIAMOND, ()))
    for at in range(1, 120, 7):
        world = WorkflowWorld(echo)
        play(die_and_go_on(world, DIAMOND, (at,)))
        assert world.store.rows["e1"].totals.cost_nano == plain.store.rows["e1"].totals.cost_nano


@st.composite
def graphs(draw: st.DrawFn) -> tuple[Node, ...]:
    """Draw a graph of up to eight nodes; some fail, some have conditions."""
    nodes: list[Node] = []
    for number in range(draw(st.integers(1, 8))):
        known = [one.id for one in nodes]
        needs = draw(st.lists(st.sampled_from(known), unique=True, max_size=3)) if known else []
        when = ""
        if needs and draw(st.integers(0, 3)) == 0:
            wanted = draw(st.sampled_from(["failed", "succeeded", "skipped"]))
            when = f'nodes.{draw(st.sampled_from(needs))}.status == "{wanted}"'
        fails = draw(st.sampled_from(["", "", "", "lasting", "once"]))
        nodes.append(node(f"n{number}{fails}", *needs, when=when, retries=1))
    return tuple(nodes)


def moods(paid: Paid) -> Reply | list[Reply]:
    name = asked_of(paid.call).partition("(")[0]
    if name.endswith("lasting"):
        return Invalid("It cannot be.")
    if name.endswith("once"):
        return [ProviderFailed("It broke."), echo(paid)]
    return echo(paid)


@settings(max_examples=150, deadline=None)
@given(graphs(), st.lists(st.integers(1, 150), max_size=3))
def test_any_graph_ends_the_same_through_any_deaths(graph, deaths):
    plain, world = WorkflowWorld(moods), WorkflowWorld(moods)
    play(die_and_go_on(plain, graph, ()))
    play(die_and_go_on(world, graph, tuple(deaths)))
    assert world.store.rows["e1"].status == plain.store.rows["e1"].status
    for id, run in plain.store.runs["e1"].items():
        other = world.node(id)
        assert (other.status, other.text, other.error) == (run.status, run.text, run.error)
    assert {paid.name for paid in world.road.paid} == {paid.name for paid in plain.road.paid}
    assert world.road.repeated == []
    assert world.notes.defects == []
    ended = [told["id"] for told in world.events("node") if told["status"] in ("succeeded", "failed", "skipped")]
    assert len(ended) == len(set(ended)) == len(graph)
