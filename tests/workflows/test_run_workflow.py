"""One round of a workflow, from its beginning to its end."""

import asyncio

import msgspec
import pytest
from tests.gate.gate_world import play
from tests.workflows.workflow_world import (
    COST_NANO,
    TIMEOUT_S,
    Life,
    Paid,
    WorkflowWorld,
    asked_of,
    echo,
    node,
    workflow,
)

from askonce.domain.errors import ContentRefused, Invalid, ProviderFailed, UnknownModel
from askonce.domain.executions import Execution, Submission, TurnOver
from askonce.workflows.result import WorkflowAnswer
from askonce.workflows.run import read_work_id


def failing(*names: str):
    """Answer all but these."""

    def script(paid: Paid):
        name = asked_of(paid.call).partition("(")[0]
        return UnknownModel(f"No model for {name}.") if name in names else echo(paid)

    return script


def answer_of(ended: Execution) -> WorkflowAnswer:
    return msgspec.convert(msgspec.json.decode(ended.result), WorkflowAnswer)


def test_a_node_is_told_what_it_depends_on_has_said_and_all_succeed():
    world = WorkflowWorld(echo)
    ended = play(world.do(node("a"), node("b", "a")))
    assert ended.status == "succeeded"
    assert world.node("b").text == "<b(<a()>)>"
    assert world.statuses() == {"a": "succeeded", "b": "succeeded"}
    assert (ended.progress, ended.totals.cost_nano, ended.totals.prompt_tokens) == (100, 2 * COST_NANO, 20)
    assert world.road.calls() == 2


def told(world: WorkflowWorld) -> list[tuple[str, str]]:
    return [(one.node, one.status) for one in world.notes.works]


def test_who_watches_is_told_of_each_node_that_ended_and_then_of_the_whole():
    world = WorkflowWorld(failing("b"))
    ended = play(world.do(node("a"), node("b", "a"), node("c", "b")))
    assert told(world) == [("a", "succeeded"), ("b", "failed"), ("", "failed")], "c never began"
    first, last = world.notes.works[0], world.notes.works[-1]
    assert (first.type, first.cache, first.cost_nano, first.round) == (node("a").type, "miss", COST_NANO, 1)
    assert (last.code, last.cost_nano, last.submission) == (ended.error_code, COST_NANO, ended.submission)
    assert 0 < last.began_ms <= first.began_ms <= first.ended_ms <= last.ended_ms


def test_ready_nodes_are_asked_side_by_side():
    world = WorkflowWorld(echo)
    world.road.takes_s = 1.0
    play(world.do(node("a"), node("b", "a"), node("c", "a"), node("d", "a"), node("e", "b", "c", "d")))
    assert world.road.most_in_air == 3
    assert world.node("e").text == "<e(<b(<a()>)>,<c(<a()>)>,<d(<a()>)>)>"


def test_a_failed_node_fails_by_name_what_depends_on_it_and_nothing_else():
    world = WorkflowWorld(failing("a"))
    ended = play(world.do(node("x"), node("a"), node("b", "a"), node("c", "b"), node("y", "x")))
    assert ended.status == "failed"
    assert (ended.error_code, ended.error) == ("unknown_model", "`a`: No model for a.")
    assert world.node("b").error == "Needs `a`, which failed."
    assert world.node("c").error == "Needs `b`, which failed."
    assert (world.node("b").error_code, world.node("b").attempts) == ("dependency_failed", 0)
    assert (world.node("y").status, ended.progress) == ("succeeded", 100)
    assert bytes(ended.result) == b"null"


CONDITIONS = [
    # the condition of b on a, whether a fails: how b ends, how the execution ends
    ('nodes.a.status == "failed"', True, "succeeded", "succeeded"),
    ('nodes.a.status == "failed"', False, "skipped", "succeeded"),
    ('nodes.a.status == "succeeded"', False, "succeeded", "succeeded"),
    ('nodes.a.status == "succeeded"', True, "skipped", "failed"),
    ('nodes.a.status != "failed"', True, "skipped", "failed"),
    ("nodes.a.score < 50", False, "skipped", "succeeded"),
    ("nodes.a.score < 50", True, "failed", "failed"),
]


@pytest.mark.parametrize(("when", "fails", "ends", "all_in_all"), CONDITIONS)
def test_a_condition_decides_whether_a_node_is_done(when, fails, ends, all_in_all):
    world = WorkflowWorld(failing("a") if fails else echo)
    ended = play(world.do(node("a"), node("b", "a", when=when)))
    assert (world.node("b").status, ended.status) == (ends, all_in_all)


def test_a_failure_that_somebody_saw_to_still_fails_others_and_with_them_the_execution():
    world = WorkflowWorld(failing("a"))
    seen_to = node("b", "a", when='nodes.a.status == "failed"')
    ended = play(world.do(node("a"), seen_to, node("c", "a")))
    assert (ended.status, ended.error) == ("failed", "`c`: Needs `a`, which failed.")


def test_a_skipped_node_counts_as_done_with_no_text():
    world = WorkflowWorld(echo)
    ended = play(world.do(node("a"), node("b", "a", when='nodes.a.status == "failed"'), node("c", "b")))
    assert ended.status == "succeeded"
    assert world.node("b").note == 'Its condition was not met: nodes.a.status == "failed"'
    assert world.node("c").text == "<c()>"


def test_every_change_is_an_event_and_the_last_one_says_that_it_is_done():
    world = WorkflowWorld(echo)
    play(world.do(node("a"), node("b", "a")))
    told = [(one["id"], one["status"]) for one in world.events("node")]
    assert told == [("a", "running"), ("a", "succeeded"), ("b", "running"), ("b", "succeeded")]
    assert [one["status"] for one in world.events("execution")] == ["queued", "running", "succeeded"]
    assert world.events("done") == [{"status": "succeeded", "round": 1, "progress": 100}]
    assert [event.kind for event in world.store.told["e1"]][-1] == "done"


def test_progress_is_the_share_of_nodes_that_have_ended(monkeypatch):
    world = WorkflowWorld(echo)
    seen: list[int] = []

    keep = world.store.keep

    async def watched(turn, run, events, progress):
        seen.append(progress)
        await keep(turn, run, events, progress)

    monkeypatch.setattr(world.store, "keep", watched)
    play(world.do(node("a"), node("b", "a"), node("c", "b")))
    assert seen == [0, 33, 33, 66, 66, 100]


def test_words_go_out_as_they_come_and_begin_anew_with_another_try():
    world = WorkflowWorld(lambda paid: [ProviderFailed("It broke."), "a long answer"])
    play(world.do(node("a", retries=1)))
    words = world.events("text")
    assert words[0]["at"] == 0
    said = ""
    for one in words:
        said = said[: one["at"]] + one["text"]
    assert said == "a long answer"
    assert world.node("a").attempts == 2


def test_what_was_found_finished_is_not_asked_again_and_booked_once_per_taking_up():
    world = WorkflowWorld(echo)

    async def run() -> None:
        await world.submit(workflow(node("a"), node("b", "a"), node("c", "b", when='nodes.b.status == "failed"')))
        await world.run()
        assert world.saved.booked == []
        # Dead before the end was written: as if no end had come.
        world.store.rows["e1"] = msgspec.structs.replace(world.store.rows["e1"], status="running")
        for taken in (2, 3):
            await world.run()
            assert world.saved.booked == ["a", "b"] * (taken - 1)
            world.store.rows["e1"] = msgspec.structs.replace(world.store.rows["e1"], status="running")

    play(run())
    assert world.road.calls() == 2


def test_a_resumed_round_asks_only_what_failed_and_what_waited_for_it():
    broken = ["b"]
    world = WorkflowWorld(lambda paid: failing(*broken)(paid))

    async def run() -> Execution:
        await world.do(node("a"), node("b", "a"), node("c", "b"))
        broken.clear()
        await world.store.resume("e1", None, 0)
        return await world.run()

    ended = play(run())
    assert (ended.status, ended.round, ended.taken) == ("succeeded", 2, 2)
    assert [asked_of(paid.call)[0] for paid in world.road.paid] == ["a", "b", "b", "c"]
    assert world.saved.booked == ["a"]
    assert answer_of(ended).metadata.total_tokens == 45
    assert [one["round"] for one in world.events("done")] == [1, 2]


def test_what_is_left_of_a_round_that_runs_no_more_is_nothing():
    world = WorkflowWorld(echo)

    async def run() -> None:
        await world.do(node("a"))
        await world.run()
        for work_id in ("e1.7", "unknown.1"):
            await world.runs().run(work_id, world.engine.of(work_id, Life()))

    play(run())
    assert world.road.calls() == 1


@pytest.mark.parametrize("error", [Invalid("Bad."), ContentRefused("No."), UnknownModel("Who?")])
def test_an_error_that_no_retry_changes_fails_at_once(error):
    world = WorkflowWorld(lambda paid: error)
    ended = play(world.do(node("a")))
    assert (ended.error_code, ended.error) == (error.code, f"`a`: {error.message}")
    assert world.road.calls() == 1


def test_a_defect_is_its_nodes_end_and_the_observer_hears_of_it(monkeypatch):
    world = WorkflowWorld(echo)
    monkeypatch.setattr(world.crafts, "brief", lambda task, window: 1 // 0)
    ended = play(world.do(node("a")))
    assert (ended.status, ended.error_code, world.node("a").error_code) == ("failed", *2 * ("internal_error",))
    assert [type(one) for one in world.notes.defects] == [ZeroDivisionError]


def test_a_defect_at_the_end_of_a_round_fails_it(monkeypatch):
    world = WorkflowWorld(echo)
    monkeypatch.setattr("askonce.workflows.run.workflow_answer", lambda *_: 1 // 0)
    ended = play(world.do(node("a")))
    assert (ended.status, ended.error_code, world.node("a").status) == ("failed", "internal_error", "succeeded")
    assert [type(one) for one in world.notes.defects] == [ZeroDivisionError]


def test_what_cannot_be_read_any_more_fails_instead_of_being_taken_up_for_ever():
    world = WorkflowWorld(echo)

    async def run() -> Execution:
        work = msgspec.Raw(b'{"graph":{"nodes":[],"edition":99}}')
        await world.submit(msgspec.structs.replace(workflow(), work=work))
        return await world.run()

    ended = play(run())
    assert (ended.status, ended.error_code) == ("failed", "internal_error")


def test_the_time_of_a_round_is_bounded_and_what_was_not_done_in_it_fails():
    world = WorkflowWorld(echo)
    world.road.takes_s = 7.0
    ended = play(world.do(node("a"), node("b", "a"), node("c", "b"), timeout_s=10))
    assert ended.status == "failed"
    assert (world.node("a").status, world.node("b").error_code) == ("succeeded", "timed_out")
    assert world.node("c").error == "Needs `b`, which failed."
    assert ended.ended_ms - ended.started_ms == 10_000
    assert world.road.in_air == 0


def test_without_a_time_of_its_own_a_round_has_the_houses():
    world = WorkflowWorld(echo)
    world.road.takes_s = TIMEOUT_S + 1.0
    ended = play(world.do(node("a")))
    assert ended.ended_ms - ended.started_ms == 1000 * TIMEOUT_S


async def interrupted(world: WorkflowWorld, *, wished: bool) -> Execution:
    """Cancel a run of three nodes while the second is asked, as engines do."""
    world.road.takes_s = 5.0
    await world.submit(workflow(node("a"), node("b", "a"), node("c", "b")))
    running = asyncio.ensure_future(world.run())
    await asyncio.sleep(7)
    if wished:
        await world.store.wish_cancel("e1", None, 0)
    running.cancel()
    await asyncio.wait([running], timeout=0.5)
    assert running.cancelled()
    return world.store.rows["e1"]


def test_a_wish_to_cancel_hangs_up_and_ends_at_once():
    world = WorkflowWorld(echo)
    ended = play(interrupted(world, wished=True))
    assert (ended.status, ended.error_code) == ("cancelled", "cancelled")
    assert world.statuses() == {"a": "succeeded", "b": "cancelled", "c": "cancelled"}
    assert (world.road.in_air, world.road.calls()) == (0, 2)
    assert world.events("done")[-1]["status"] == "cancelled"
    assert told(world) == [("a", "succeeded"), ("b", "cancelled"), ("", "cancelled")]
    assert ended.totals.cost_nano == COST_NANO


def test_a_process_that_stops_leaves_everything_for_the_next():
    world = WorkflowWorld(echo)

    async def run() -> Execution:
        left = await interrupted(world, wished=False)
        assert left.status == "running"
        assert world.node("b").status == "running"
        return await world.run()

    ended = play(run())
    assert (ended.status, ended.taken) == ("succeeded", 2)
    assert world.saved.booked == ["a"]


def test_an_answer_that_is_being_written_is_written_though_the_run_is_cancelled(monkeypatch):
    world = WorkflowWorld(echo)
    keep = world.store.keep

    async def slow(turn, run, events, progress):
        await asyncio.sleep(2 if run.status == "succeeded" else 0)
        await keep(turn, run, events, progress)

    async def run() -> None:
        await world.submit(workflow(node("a"), node("b", "a")))
        running = asyncio.ensure_future(world.run())
        await asyncio.sleep(1)
        running.cancel()
        await asyncio.wait([running], timeout=5)
        assert running.cancelled()

    monkeypatch.setattr(world.store, "keep", slow)
    play(run())
    assert world.statuses() == {"a": "succeeded"}


def test_whoever_was_frozen_lets_its_call_land_and_leaves_the_rest_to_whoever_took_over():
    world = WorkflowWorld(echo)
    world.road.takes_s = 5.0

    async def run() -> None:
        await world.submit(workflow(node("a"), node("b", "a")))
        frozen = asyncio.ensure_future(world.run())
        await asyncio.sleep(1)
        assert await world.store.begin("e1", 1, 0) is not None
        before = dict(world.store.runs["e1"])
        with pytest.raises(TurnOver):
            await frozen
        assert world.store.runs["e1"] == before
        await world.run()

    play(run())
    assert world.store.rows["e1"].status == "succeeded"
    assert (world.road.calls(), world.node("a").cache) == (2, "resumed")


def test_a_row_that_was_lost_behind_the_engines_checkpoint_is_made_again():
    world = WorkflowWorld(echo)
    world.engine.done["e1.1/a"] = "succeeded"
    assert play(world.do(node("a"))).status == "succeeded"
    assert world.node("a").text == "<a()>"


def test_a_wish_that_came_while_nobody_ran_it_is_fulfilled_by_whoever_takes_it_up():
    world = WorkflowWorld(echo)

    async def run() -> Execution:
        await interrupted(world, wished=False)
        await world.store.wish_cancel("e1", None, 0)
        return await world.run()

    ended = play(run())
    assert (ended.status, world.node("c").status) == ("cancelled", "cancelled")
    assert world.road.calls() == 2


def test_a_round_that_cannot_be_brought_to_an_end_is_given_up_with_the_reason():
    world = WorkflowWorld(echo)

    async def run() -> Execution:
        await interrupted(world, wished=False)
        await world.runs().give_up("e1.1", "gave_up", "It was begun eight times.")
        await world.runs().give_up("e1.1", "gave_up", "Twice.")
        return world.store.rows["e1"]

    ended = play(run())
    assert (ended.status, ended.error) == ("failed", "It was begun eight times.")
    assert world.node("a").status == "succeeded"


def test_whoever_takes_a_node_up_asks_the_same_though_another_model_would_read_more_by_now():
    world = WorkflowWorld(echo)

    async def run() -> None:
        await interrupted(world, wished=False)
        world.reach.tokens = 9000
        await world.run()

    play(run())
    assert [paid.call.params.max_tokens for paid in world.road.paid] == [1000, 1000, 1000, 9000]
    assert len({paid.name for paid in world.road.paid}) == 3


def test_work_ids_name_an_execution_and_its_round():
    assert read_work_id("exec.with.dots.12") == ("exec.with.dots", 12)


def test_what_is_asked_is_asked_in_the_submitters_name_at_its_door():
    world = WorkflowWorld(echo)
    submission: Submission = workflow(node("a"))
    play(world.do(node("a")))
    visit = world.road.paid[0].visit
    assert (visit.caller.identity, visit.caller.tenant) == (submission.submitter.identity, "acme")
    assert (visit.door, visit.request_id) == ("execute", "r1")


ROUTES = [
    (node("a", type="plan"), ("orchestrated", None, None, ("plan",))),
    (node("a", model="m-2"), ("single-model", "m-2", None, ())),
    (node("a", provider="p"), ("manual", None, "p", ())),
    (node("a", provider="p", model="m"), ("manual", "m", "p", ())),
]


@pytest.mark.parametrize(("one", "wish"), ROUTES)
def test_a_node_says_who_is_asked_or_its_type_does(one, wish):
    world = WorkflowWorld(echo)
    play(world.do(one))
    routing = world.road.paid[0].routing
    assert (routing.mode, routing.model, routing.active_provider, routing.capabilities) == wish
