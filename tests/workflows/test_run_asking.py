"""A node's question on the road: what is waited for meanwhile, what is heard of it, what it cost."""

import asyncio

import pytest
from tests.gate.gate_world import play
from tests.workflows.workflow_world import (
    COST_NANO,
    WorkflowWorld,
    answer_of,
    card,
    echo,
    entry_of,
    node,
    workflow,
)

from askonce.domain.answer import Delta
from askonce.domain.errors import FlightLost, ModelLoading, OverBudget, ProviderFailed, StoreUnavailable
from askonce.domain.executions import Execution, NodeRun, Submitter
from askonce.workflows.asking import listen


def scripted(*replies):
    return lambda paid: list(replies)


def test_a_node_waits_for_room_in_the_budget_and_says_so():
    world = WorkflowWorld(scripted(OverBudget("Full.", retry_after_s=40), OverBudget("Full.", retry_after_s=2), "done"))
    ended = play(world.do(node("a", retries=0)))
    assert (ended.status, world.node("a").attempts) == ("succeeded", 1)
    assert ended.ended_ms - ended.started_ms == 42_000
    waits = [one for one in world.events("node") if one["status"] == "waiting"]
    assert waits == [
        {"id": "a", "status": "waiting", "attempts": 1, "error": "Full.", "waitsFor": "over_budget", "waitMs": ms}
        for ms in (40_000, 2_000)
    ]


def test_room_that_comes_only_after_the_end_fails_at_once_and_says_when_it_would_come():
    world = WorkflowWorld(scripted(OverBudget("Full until tomorrow.", retry_after_s=90_000)))
    ended = play(world.do(node("a")))
    assert ended.status == "failed"
    assert ended.ended_ms - ended.started_ms < 1000
    assert ended.error.startswith("`a`: Full until tomorrow. That is after the end of this execution's time, 20")


@pytest.mark.parametrize("error", [StoreUnavailable("Away."), ModelLoading("Loading."), FlightLost("Lost.")])
def test_what_passes_is_waited_for_without_a_try_being_counted(error):
    world = WorkflowWorld(scripted(error, error, "done"))
    play(world.do(node("a", retries=0)))
    assert (world.node("a").text, world.node("a").attempts) == ("done", 1)


def test_a_failure_is_tried_again_as_often_as_the_node_says():
    world = WorkflowWorld(scripted(*4 * [ProviderFailed("It broke.")], "done"))
    ended = play(world.do(node("a", retries=3)))
    assert (ended.error_code, ended.error) == ("provider_error", "`a`: It broke.")
    assert (world.road.calls(), world.node("a").attempts) == (4, 4)
    assert ended.ended_ms - ended.started_ms == 7_000
    assert len({paid.name for paid in world.road.paid}) == 1


def test_an_answer_that_says_nothing_is_a_failure_and_what_it_cost_is_counted():
    world = WorkflowWorld(scripted("  \n", "done"))
    ended = play(world.do(node("a")))
    assert (ended.status, world.node("a").attempts, ended.totals.cost_nano) == ("succeeded", 2, 2 * COST_NANO)


def test_an_answer_that_a_filter_ended_is_no_answer():
    world = WorkflowWorld(scripted(answer_of("I", "content_filter")))
    ended = play(world.do(node("a")))
    assert (ended.error_code, world.road.calls(), ended.totals.cost_nano) == ("content_refused", 1, COST_NANO)


def test_an_answer_that_was_cut_short_is_one_and_a_note_says_so():
    world = WorkflowWorld(scripted(answer_of("half", "length")))
    ended = play(world.do(node("a")))
    assert (ended.status, world.node("a").note) == (
        "succeeded",
        "The answer was cut short: it is as long as was allowed (maxTokens).",
    )


def test_an_answer_from_the_store_costs_nothing_and_its_words_are_told():
    world = WorkflowWorld(echo)

    async def run() -> Execution:
        world.road.stored["a()"] = entry_of("stored", world.clock.wall_ms() - 5)
        return await world.do(node("a"))

    ended = play(run())
    row = world.node("a")
    assert (row.cache, row.cost_nano, row.saved_nano) == ("hit", 0, COST_NANO)
    assert world.events("text") == [{"id": "a", "at": 0, "text": "stored"}]
    assert (ended.totals.cached_nodes, ended.totals.saved_nano, world.road.calls()) == (1, COST_NANO, 0)


def test_an_answer_told_again_is_resumed_and_costs_what_it_did_if_it_was_paid_in_this_round():
    world = WorkflowWorld(echo)

    async def run() -> None:
        await world.do(node("a"))
        began_ms = world.clock.wall_ms() - 1000
        world.store.rows["e1"] = Execution(workflow(node("a")), "running", taken=1, started_ms=began_ms)
        world.store.runs["e1"]["a"] = NodeRun("e1", "a", "running", 1, started_ms=began_ms)
        await world.run()

    play(run())
    row = world.node("a")
    assert (row.cache, row.cost_nano, row.saved_nano, row.attempts) == ("resumed", COST_NANO, 0, 2)
    assert world.road.calls() == 1


def test_an_answer_told_again_that_an_earlier_round_paid_is_spared():
    world = WorkflowWorld(echo)

    async def run() -> Execution:
        await world.do(node("a"))
        world.store.rows["e1"] = Execution(workflow(node("a")), "failed", ended_ms=1)
        del world.store.runs["e1"]["a"]
        await asyncio.sleep(5)
        await world.store.resume("e1", None, 0)
        return await world.run()

    ended = play(run())
    assert (world.node("a").cache, ended.totals.cost_nano, ended.totals.saved_nano) == ("resumed", 0, COST_NANO)
    assert ended.totals.cached_nodes == 1


def test_words_go_out_in_bundles():
    text = "x" * 3000 + "y" * 3000
    world = WorkflowWorld(scripted(text))
    play(world.do(node("a")))
    told = world.events("text")
    assert "".join(one["text"] for one in told) == text
    assert [one["at"] for one in told] == [0, 3000]


def test_a_long_answer_from_the_store_is_told_in_parts():
    world = WorkflowWorld(echo)
    world.road.stored["a()"] = entry_of("x" * 150_000, 0)
    play(world.do(node("a")))
    assert [(one["at"], len(one["text"])) for one in world.events("text")] == [
        (0, 65_536),
        (65_536, 65_536),
        (131_072, 18_928),
    ]


def test_words_that_did_not_come_one_by_one_are_told_at_the_end():
    world = WorkflowWorld(echo)
    world.road.streams = False
    play(world.do(node("a")))
    assert world.events("text") == [{"id": "a", "at": 0, "text": "<a()>"}]


class Trickle:
    """Say a letter every so often; cancelled, it has said none."""

    def __init__(self, pause_s: float, count: int) -> None:
        self.pause_s, self.count, self.said = pause_s, count, 0

    async def more(self):
        if self.said == self.count:
            return None
        await asyncio.sleep(1 + self.pause_s * (self.said + 1) - asyncio.get_running_loop().time())
        self.said += 1
        return (Delta("x"),)


class Heard:
    """Note when words came."""

    def __init__(self) -> None:
        self.words_at: list[tuple[float, int, str]] = []

    async def words(self, at: int, text: str) -> None:
        self.last_words(at, text)

    def last_words(self, at: int, text: str) -> None:
        self.words_at.append((round(asyncio.get_running_loop().time() - 1, 2), at, text))


@pytest.mark.parametrize(
    ("pause_s", "count", "heard"),
    [
        (0.06, 9, [(0.26, 0, "xxxx"), (0.5, 4, "xxxx"), (0.54, 8, "x")]),
        (1.0, 2, [(1.2, 0, "x"), (2.0, 1, "x")]),
    ],
)
def test_words_wait_no_longer_than_a_fifth_of_a_second(pause_s, count, heard):
    ears = Heard()
    total = play(listen(Trickle(pause_s, count), ears))  # type: ignore[arg-type]
    assert ears.words_at == heard
    assert total == count


def of_key(**more) -> Submitter:
    return Submitter("key:k1", "acme", "k1", key_digest=b"d", **more)


def test_a_node_asks_with_what_its_submitters_key_may_do_by_now():
    world = WorkflowWorld(echo)
    world.directory.cards[b"d"] = card(models=("m-*",))
    play(world.do(node("a"), submitter=of_key()))
    assert world.road.paid[0].visit.caller.standing == world.directory.cards[b"d"]


def test_a_key_that_was_revoked_meanwhile_asks_nothing_more():
    world = WorkflowWorld(echo)
    world.directory.cards[b"d"] = card(revoked_ms=1)
    ended = play(world.do(node("a"), submitter=of_key()))
    assert (ended.error_code, world.road.calls()) == ("forbidden", 0)
    assert ended.error == "`a`: This key was revoked. Ask the operator for a new one."
