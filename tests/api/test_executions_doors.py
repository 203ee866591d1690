"""Workflows at the door: found right before anything is written, taken in once, waited for, told as what they are."""

import asyncio
import json

import pytest
from tests.api.conftest import Client, World
from tests.api.workrows import ANSWER

from askonce.domain.errors import DatabaseAway

NODES: list[dict[str, object]] = [
    {"id": "plan", "type": "plan", "prompt": "Plan {{input.what}}."},
    {"id": "build", "type": "build", "prompt": "Build: {{nodes.plan.text}}", "dependsOn": ["plan"]},
]
GRAPH = {"graph": {"nodes": NODES}, "input": {"what": "a clock"}}
WISH = {"prompt": "a clock", "complexity": "simple"}
EXECUTE, GENERATE = "/llm/execute-workflow", "/llm/workflow/generate"


async def until(true) -> None:
    """Turn the loop until something holds."""
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0)


def test_a_graph_is_taken_in_and_told_where_it_is(world: World) -> None:
    async def story(client: Client) -> None:
        reply = await client.post(GRAPH, EXECUTE)
        told = reply.json
        path = f"/llm/executions/{told['executionId']}"
        assert (reply.status, told["status"], reply.headers["location"]) == (202, "queued", path)
        assert told["links"] == {"self": path, "events": f"{path}/events", "cancel": path}
        assert reply.headers["x-ratelimit-remaining"] == "19"
        assert world.nudges == 1
        (kept,) = world.work.rows.values()
        submission = kept.submission
        work = json.loads(bytes(submission.work))
        assert (submission.kind, submission.queue, submission.name) == ("workflow", "workflows", "custom")
        assert (submission.submitter.identity, submission.submitter.tenant) == ("addr:127.0.0.1", "anonymous")
        assert (submission.door, submission.request_id) == ("execute_workflow", reply.headers["x-request-id"])
        assert work["input"] == {"what": "a clock"}
        assert [node["id"] for node in work["graph"]["nodes"]] == ["plan", "build"]

    world.run(story)


def test_the_shorthand_is_the_standard_workflow(world: World) -> None:
    async def story(client: Client) -> None:
        assert (await client.post(WISH, EXECUTE)).status == 202
        (kept,) = world.work.rows.values()
        assert kept.submission.name == "standard"

    world.run(story)


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"graph": {"nodes": []}}, "graph.nodes", "one at least"),
        ({"graph": {"nodes": [NODES[1]]}, "input": {}}, "graph.nodes[0].dependsOn[0]", "is no node"),
        (GRAPH | {"prompt": "x"}, "prompt", "belongs to the shorthand"),
        (GRAPH | {"inputs": {}}, "inputs", "did you mean input?"),
        (GRAPH | {"input": []}, "input", "must be an object"),
        ({"input": {}}, "graph", "must be an object with nodes"),
        ({}, "prompt", "is required"),
        ({"prompt": " "}, "prompt", "must not be blank"),
        ({"prompt": "x", "wait": 3}, "wait", "true or false"),
        ({"prompt": "x", "wait": False, "stream": True}, "wait", "contradicts stream"),
        ({"prompt": "x", "promt": 1}, "promt", "did you mean prompt?"),
    ],
)
@pytest.mark.parametrize("path", [EXECUTE, GENERATE])
def test_what_is_wrong_is_named_before_anything_is_written(
    world: World, body: dict[str, object], field: str, says: str, path: str
) -> None:
    async def story(client: Client) -> None:
        reply = await client.post(body, path)
        (detail,) = reply.json["details"]
        assert (reply.status, reply.json["code"], detail["field"]) == (400, "invalid_request", field)
        assert says in detail["problem"]
        assert "x-ratelimit-remaining" not in reply.headers
        assert not world.work.rows

    world.run(story)


def test_who_waits_is_told_the_finished_execution(world: World) -> None:
    async def story(client: Client) -> None:
        asking = asyncio.create_task(client.post(GRAPH | {"wait": True}, EXECUTE))
        await until(lambda: world.work.rows)
        (id,) = world.work.rows
        await world.work.take()
        await world.work.say(id, "plan", "Gears", " and hands.")
        await world.work.leave(id, node="plan", text="Gears and hands.", provider="fake", model="m", cost_nano=7)
        await world.work.succeed(id)
        reply = await asking
        told = reply.json
        assert (reply.status, told["status"], told["progress"], told["result"]) == (200, "succeeded", 100, ANSWER)
        assert [(node["id"], node["status"]) for node in told["nodes"]] == [("plan", "succeeded"), ("build", "waiting")]
        assert told["nodes"][0]["text"] == "Gears and hands."
        assert reply.headers["location"] == f"/llm/executions/{id}"

    world.run(story)


def test_whoever_waited_long_enough_is_told_that_it_goes_on(world: World) -> None:
    async def story(client: Client) -> None:
        for path in (EXECUTE, GENERATE):
            reply = await client.post(WISH, path, headers={"prefer": "wait=0"})
            assert (reply.status, reply.json["status"]) == (202, "queued")
        started = asyncio.get_running_loop().time()
        reply = await client.post(WISH, GENERATE, headers={"Prefer": "return=minimal, wait=1"})
        assert (reply.status, reply.headers["preference-applied"]) == (202, "wait=1")
        assert asyncio.get_running_loop().time() - started < 5
        reply = await client.post(WISH, GENERATE, headers={"Prefer": "respond-async"})
        assert (reply.status, reply.headers["preference-applied"]) == (202, "respond-async")
        assert (await client.post(WISH | {"wait": False}, GENERATE)).status == 202
        assert (await client.post(WISH, EXECUTE, headers={"Prefer": "wait=soon"})).status == 400

    world.run(story)


def test_generating_answers_with_what_came_of_it(world: World) -> None:
    world.work.at_once = True

    async def story(client: Client) -> None:
        reply = await client.post(WISH, GENERATE)
        assert (reply.status, reply.json) == (200, ANSWER)

    world.run(story)


def test_a_failed_run_is_never_told_as_done(world: World) -> None:
    async def story(client: Client) -> None:
        asking = asyncio.create_task(client.post(WISH, GENERATE))
        await until(lambda: world.work.rows)
        (id,) = world.work.rows
        await world.work.take()
        await world.work.leave(id, node="plan", status="failed", error_code="provider_error", error="It broke.")
        await world.work.fail(id)
        reply = await asking
        assert (reply.status, reply.json["code"]) == (502, "workflow_failed")
        assert reply.json["details"] == [
            {"field": "executionId", "problem": id},
            {"field": "nodes.plan", "problem": "It broke. (provider_error)"},
        ]
        assert reply.headers["location"] == f"/llm/executions/{id}"
        assert f"POST /llm/executions/{id}/resume" in reply.json["message"]
        waited = await client.post(WISH | {"wait": True}, EXECUTE, headers={"prefer": "wait=0"})
        assert waited.status == 202

    world.run(story)


def test_hanging_up_stops_no_run(world: World) -> None:
    async def story(client: Client) -> None:
        left = asyncio.Event()
        asking = asyncio.create_task(client.post(WISH, GENERATE, left=left))
        await until(lambda: world.work.rows)
        left.set()
        assert (await asking).status == 0
        (row,) = world.work.rows.values()
        assert (row.status, row.wish) == ("queued", "")

    world.run(story)


def test_a_name_for_a_request_makes_its_retries_the_same_work(world: World) -> None:
    async def story(client: Client) -> None:
        named = {"idempotency-key": "k1"}
        first = await client.post(GRAPH, EXECUTE, headers=named)
        world.clock.pass_s(5)
        again = await client.post(GRAPH, EXECUTE, headers=named)
        assert again.json == first.json
        assert again.status == 202
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert (len(world.work.rows), world.nudges) == (1, 1)
        for body, path in ((GRAPH | {"input": {"what": "a boat"}}, EXECUTE), (GRAPH | {"wait": False}, GENERATE)):
            other = await client.post(body, path, headers=named)
            assert (other.status, other.json["code"]) == (400, "idempotency_key_reused")
        assert (await client.post(GRAPH, EXECUTE, headers={"idempotency-key": "k2"})).json != first.json
        assert (await client.post(GRAPH, EXECUTE, headers={"idempotency-key": "é"})).status == 400

    world.run(story)


def test_the_same_name_of_somebody_else_is_another_one(world: World) -> None:
    world.keys = [("a" * 20, "t"), ("b" * 20, "t"), ("c" * 20, "u")]

    async def story(client: Client) -> None:
        told = set()
        for key, _ in world.keys:
            headers = {"idempotency-key": "k1", "authorization": f"Bearer {key}"}
            told.add((await client.post(GRAPH, EXECUTE, headers=headers)).json["executionId"])
        assert len(told) == 3

    world.run(story)


def test_streaming_tells_its_events(world: World) -> None:
    async def story(client: Client) -> None:
        asking = asyncio.create_task(client.post(GRAPH | {"stream": True}, EXECUTE))
        await until(lambda: world.work.rows)
        (id,) = world.work.rows
        await world.work.take()
        await world.work.say(id, "plan", "Gears")
        await world.work.succeed(id)
        reply = await asking
        assert reply.headers["content-type"].startswith("text/event-stream")
        kinds = [name for name, _ in reply.events]
        assert kinds == ["execution", "execution", "node", "text", "execution", "done"]
        assert b"id: 6\nevent: done\n" in reply.body

    world.run(story)


def test_generating_streams_nodes_and_then_the_whole(world: World) -> None:
    async def story(client: Client) -> None:
        asking = asyncio.create_task(client.post(WISH | {"stream": True}, GENERATE))
        await until(lambda: world.work.rows)
        (id,) = world.work.rows
        await world.work.take()
        await world.work.say(id, "plan", "Gears", " and")
        await world.work.leave(id, node="plan", text="Gears and")
        await world.work.succeed(id)
        events = (await asking).events
        assert [name for name, _ in events] == ["start", "node", "node", "node", "node", "done"]
        assert events[0][1]["executionId"] == id
        assert events[2][1] == {"id": "plan", "at": 0, "text": "Gears", "status": "running"}
        assert events[-1][1] == ANSWER

    world.run(story)


def test_a_stream_of_a_failed_run_ends_with_the_error(world: World) -> None:
    async def story(client: Client) -> None:
        asking = asyncio.create_task(client.post(WISH | {"stream": True}, GENERATE))
        await until(lambda: world.work.rows)
        (id,) = world.work.rows
        await world.work.take()
        await world.work.fail(id)
        name, error = (await asking).events[-1]
        assert (name, error["code"], error["details"][0]["problem"]) == ("error", "workflow_failed", id)

    world.run(story)


def test_whoever_follows_a_process_that_stops_is_sent_on(world: World) -> None:
    async def story(client: Client) -> None:
        streaming = asyncio.create_task(client.post(WISH | {"stream": True}, GENERATE))
        waiting = asyncio.create_task(client.post(WISH, GENERATE))
        following = asyncio.create_task(client.post(WISH | {"stream": True}, EXECUTE))
        await until(lambda: len(world.work.rows) == 3)
        await until(lambda: world.work.looks > 3)
        await world.hub.close()
        name, error = (await streaming).events[-1]
        assert (name, error["code"]) == ("error", "draining")
        assert (await waiting).status == 202
        assert [name for name, _ in (await following).events] == ["execution"]

    world.run(story)


def test_switched_off_there_is_nothing_and_the_setting_is_named(world: World) -> None:
    world.takes_work = False

    async def story(client: Client) -> None:
        tries: list[tuple[str, str, object]] = [("POST", path, WISH) for path in (EXECUTE, GENERATE, "/llm/jobs")]
        tries += [("GET", path, None) for path in ("/llm/executions", "/llm/jobs/x", "/llm/batches/x", "/llm/queues")]
        for method, path, body in tries:
            reply = await client.ask(method, path, body=json.dumps(body).encode() if body is not None else b"")
            assert (reply.status, reply.json["code"]) == (404, "workflows_off"), path
            assert "ASKONCE_WORKFLOWS" in reply.json["message"]

    world.run(story)


def test_without_its_database_nothing_is_taken_and_questions_are_answered(world: World) -> None:
    async def story(client: Client) -> None:
        world.work.away = DatabaseAway("The database is away.", retry_after_s=5)
        reply = await client.post(WISH, EXECUTE)
        assert (reply.status, reply.json["code"], reply.headers["retry-after"]) == (503, "database_unavailable", "5")
        assert (await client.get("/llm/executions")).json["code"] == "database_unavailable"
        assert (await client.post({"prompt": "hello"})).status == 200

    world.run(story)


def test_each_submission_counts_once_in_the_window_of_questions(world: World) -> None:
    world.work.at_once = True

    async def story(client: Client) -> None:
        for _ in range(10):
            assert (await client.post(WISH, GENERATE)).status == 200
            assert (await client.post(WISH, EXECUTE)).status == 202
        reply = await client.post(WISH, EXECUTE)
        assert (reply.status, reply.json["message"][:21]) == (429, "Too many LLM requests")
        assert (await client.get("/llm/executions")).status == 200
        assert len(world.work.rows) == 20

    world.run(story)


def test_a_model_that_nobody_has_is_named_before_anything_is_paid(world: World) -> None:
    nodes = [NODES[0], NODES[1] | {"model": "nope"}, {"id": "more", "type": "build", "model": "nope"}]

    async def story(client: Client) -> None:
        reply = await client.post({"graph": {"nodes": nodes}, "input": {"what": "x"}}, EXECUTE)
        assert (reply.status, reply.json["code"]) == (400, "invalid_request")
        assert [one["field"] for one in reply.json["details"]] == ["graph.nodes[1].model", "graph.nodes[2].model"]
        assert reply.json["details"][0]["problem"] == "cannot be asked: There is no model nope"
        job = await client.post({"kind": "generate", "body": {"prompt": "x", "model": "nope"}}, "/llm/jobs")
        assert (job.status, job.json["code"]) == (404, "unknown_model")
        lines = b"\n".join(
            b'{"custom_id": "%b", "method": "POST", "url": "/llm/generate", "body": {"prompt": "x", "model": "%b"}}' % c
            for c in ((b"1", b"m"), (b"2", b"nope"))
        )
        batch = await client.post(lines, "/llm/batches", headers={"content-type": "application/jsonl"})
        assert (batch.status, [one["field"] for one in batch.json["details"]]) == (400, ["lines[2].body"])
        assert not world.work.rows

    world.run(story)
