"""A question in the background: answered as its door answers, asked once whatever dies."""

import msgspec
import pytest
from tests.gate.gate_world import play
from tests.workflows.workflow_world import (
    COST_NANO,
    Killed,
    Life,
    Paid,
    WorkflowWorld,
    answer_of,
    entry_of,
    file_block,
    workflow,
)

from askonce.domain.errors import ProviderFailed, UnknownModel
from askonce.domain.executions import Execution, NodeRun, Room, Submission

BODY = {"prompt": "hello world", "temperature": 0.5}
REPLY = file_block("a.py", "print('hello')")


def question(work: object = BODY, **more) -> Submission:
    return workflow(kind="generate", queue="generation", work=msgspec.Raw(msgspec.json.encode(work)), **more)


def do(world: WorkflowWorld, submission: Submission) -> Execution:
    async def run() -> Execution:
        await world.submit(submission)
        return await world.run()

    return play(run())


@pytest.mark.parametrize("work", [BODY, {"url": "/llm/generate", "body": BODY}])
def test_a_question_is_answered_as_its_door_answers(work):
    world = WorkflowWorld(lambda paid: REPLY)
    ended = do(world, question(work))
    told = msgspec.json.decode(ended.result)
    assert ended.status == "succeeded"
    assert told["files"] == [{"path": "a.py", "language": "python", "content": "print('hello')\n"}]
    assert told["metadata"]["costNano"] == COST_NANO
    assert told["metadata"]["cache"] == "miss"
    assert told["metadata"]["requestId"] == "r1"
    assert told["metadata"]["routing"]["chosen"] == "vendor:m-1"
    assert world.road.paid[0].call.params.temperature == 0.5
    assert (ended.totals.cost_nano, world.statuses()) == (COST_NANO, {"answer": "succeeded"})


def test_what_others_had_asked_is_a_hit_with_its_age():
    world = WorkflowWorld(lambda paid: REPLY)
    world.road.stored["hello world"] = entry_of(REPLY, 0)
    metadata = msgspec.json.decode(do(world, question()).result)["metadata"]
    assert (metadata["cache"], metadata["cached"], metadata["savedNano"]) == ("hit", True, COST_NANO)
    assert metadata["ageSeconds"] > 0


def test_it_is_tried_as_often_as_its_submission_says_with_growing_pauses():
    world = WorkflowWorld(lambda paid: ProviderFailed("It broke."))
    ended = do(world, question(attempts=3))
    assert (ended.status, ended.error_code, ended.error) == ("failed", "provider_error", "It broke.")
    assert (world.road.calls(), world.node("answer").attempts) == (3, 3)
    assert ended.ended_ms - ended.started_ms == 3_000
    assert bytes(ended.result) == b"null"


def test_what_no_retry_changes_fails_at_once():
    world = WorkflowWorld(lambda paid: UnknownModel("Who?"))
    assert do(world, question(attempts=3)).error == "Who?"
    assert world.road.calls() == 1


@pytest.mark.parametrize(
    ("work", "code"),
    [
        ({"url": "/v1/nothing", "body": BODY}, "invalid_request"),
        ({"prompt": " "}, "invalid_request"),
        ({"url": "/llm/generate", "body": {"promt": "x"}}, "invalid_request"),
    ],
)
def test_a_body_that_cannot_be_asked_fails_with_the_doors_words(work, code):
    world = WorkflowWorld(lambda paid: REPLY)
    assert do(world, question(work)).error_code == code
    assert world.road.calls() == 0


def test_a_death_at_any_point_asks_nothing_again_that_was_answered():
    for at in range(1, 200):
        world = WorkflowWorld(lambda paid: REPLY)

        async def run(world: WorkflowWorld = world, at: int = at) -> Life:
            life = Life(at)
            await world.submit(question())
            try:
                await world.run(life=life)
            except Killed:
                life = Life()
                await world.run(life=life)
            return life

        life = play(run())
        row = world.store.rows["e1"]
        assert (row.status, world.road.repeated) == ("succeeded", [])
        assert msgspec.json.decode(row.result)["metadata"]["provider"] == "vendor"
        assert world.road.calls() <= 2
        if row.taken == 1 and life.points < at:
            return
    raise AssertionError("there is no end of points")


def test_a_question_that_is_cancelled_ends_so():
    world = WorkflowWorld(lambda paid: REPLY)

    async def run() -> Execution:
        await world.submit(question())
        await world.store.claim([], "w1", 0)
        world.store.rows["e1"] = msgspec.structs.replace(world.store.rows["e1"], status="running", wish="cancel")
        return await world.run()

    ended = play(run())
    assert (ended.status, world.statuses(), world.road.calls()) == ("cancelled", {"answer": "cancelled"}, 0)


def said_twice(paid: Paid):
    return [answer_of("", "stop"), REPLY]


def test_an_empty_answer_is_asked_again_and_both_are_paid():
    world = WorkflowWorld(said_twice)
    ended = do(world, question(attempts=2))
    assert (ended.status, ended.totals.cost_nano) == ("succeeded", 2 * COST_NANO)


@pytest.mark.parametrize("left", ["nothing", "its beginning"])
def test_a_row_that_a_power_cut_took_from_behind_the_engines_checkpoint_is_made_again(left):
    world = WorkflowWorld(lambda paid: REPLY)
    world.engine.done["e1.1/answer"] = "succeeded"

    async def run() -> Execution:
        await world.submit(question())
        if left == "its beginning":
            await world.store.claim([Room("generation", 1)], "w0", world.clock.wall_ms())
            former = await world.store.begin("e1", 1, 0)
            assert former is not None
            await world.store.keep(former.turn, NodeRun("e1", "answer", "running", attempts=1), (), 0)
        return await world.run()

    ended = play(run())
    assert (ended.status, ended.error_code) == ("succeeded", "")
    assert msgspec.json.decode(ended.result)["files"][0]["path"] == "a.py"
    assert world.road.calls() == 1
