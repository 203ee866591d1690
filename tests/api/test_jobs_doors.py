"""Jobs: questions and workflows in the background, with what may be said of them; queues, which are the house's."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.api.adminworld import AdminWorld
from tests.api.conftest import Client, World
from tests.api.test_executions_doors import GRAPH, WISH

JOBS = "/llm/jobs"
ASKED = {"kind": "generate", "body": {"prompt": "hello"}}


@pytest.fixture
def admin_world(tmp_path: Path) -> AdminWorld:
    return AdminWorld(tmp_path)


def test_a_question_is_taken_in_with_all_that_is_said_of_it(world: World) -> None:
    world.webhook_hosts = ("hooks.example.org",)

    async def story(client: Client) -> None:
        more = {"urgency": "HIGH", "delay": 60, "timeout": 90, "attempts": 2, "webhook": "https://hooks.example.org/x"}
        reply = await client.post(ASKED | more, JOBS)
        id = reply.json["jobId"]
        assert (reply.status, reply.headers["location"]) == (202, f"{JOBS}/{id}")
        assert reply.json["executionId"] == id
        kept = world.work.rows[id].submission
        assert json.loads(bytes(kept.work)) == {"url": "/llm/generate", "body": {"prompt": "hello"}}
        assert (kept.kind, kept.queue, kept.urgency, kept.attempts) == ("generate", "generation", "HIGH", 2)
        assert (kept.not_before_ms - kept.created_ms, kept.timeout_s) == (60_000, 90)
        assert kept.webhook == "https://hooks.example.org/x"
        view = (await client.get(f"{JOBS}/{id}")).json
        assert (view["maxAttempts"], view["attempts"], view["timeout"], view["status"]) == (2, 0, 90, "queued")
        assert view["links"]["result"] == f"{JOBS}/{id}/result"
        assert view["notBefore"] == kept.not_before_ms

    world.run(story)


def test_a_workflow_can_be_a_job_and_both_lists_show_both(world: World) -> None:
    async def story(client: Client) -> None:
        for body in (WISH, GRAPH):
            reply = await client.post({"kind": "workflow", "body": body}, JOBS)
            assert reply.status == 202
            assert world.work.rows[reply.json["jobId"]].submission.queue == "workflows"
        await client.post(ASKED, JOBS)
        await client.post(WISH, "/llm/execute-workflow")
        jobs = (await client.get(JOBS)).json["jobs"]
        executions = (await client.get("/llm/executions")).json["executions"]
        assert [one["id"] for one in jobs] == [one["id"] for one in executions]
        assert len(jobs) == 4
        assert len((await client.get(f"{JOBS}?kind=generate")).json["jobs"]) == 1

    world.run(story)


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        ({"kind": "generate"}, "body", "is required"),
        (ASKED | {"kind": "other"}, "kind", "is wrong"),
        (ASKED | {"urgency": "urgent"}, "urgency", "is wrong"),
        (ASKED | {"attempts": 4}, "attempts", "<= 3"),
        (ASKED | {"delay": -1}, "delay", ">= 0"),
        (ASKED | {"timeout": 3_601}, "timeout", "at most 3,600"),
        (ASKED | {"dely": 1}, "dely", "did you mean delay?"),
        (ASKED | {"body": {"prompt": " "}}, "body.prompt", "must not be blank"),
        (ASKED | {"body": {"prompt": "x", "modl": "y"}}, "body.modl", "did you mean model?"),
        (ASKED | {"body": {"prompt": "x", "stream": True}}, "body.stream", "not for work in the background"),
        ({"kind": "workflow", "body": WISH | {"wait": True}}, "body.wait", "not for work in the background"),
        ({"kind": "workflow", "body": {"graph": {"nodes": []}}}, "body.graph.nodes", "one at least"),
        ({"kind": "workflow", "body": WISH, "attempts": 2}, "attempts", "retries of their own"),
        (ASKED | {"webhook": "https://hooks.example.org/"}, "webhook", "webhook_hosts"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_written(
    world: World, body: dict[str, object], field: str, says: str
) -> None:
    async def story(client: Client) -> None:
        reply = await client.post(body, JOBS)
        assert (reply.status, reply.json["code"]) == (400, "invalid_request")
        assert [one["field"] for one in reply.json["details"]] == [field]
        assert says in reply.json["details"][0]["problem"]
        assert not world.work.rows

    world.run(story)


def test_while_a_job_of_a_name_lives_another_is_not_made(world: World) -> None:
    async def story(client: Client) -> None:
        first = await client.post(ASKED | {"dedup": "nightly"}, JOBS)
        again = await client.post(ASKED | {"dedup": "nightly"}, JOBS)
        assert (again.status, again.json["jobId"]) == (202, first.json["jobId"])
        assert again.json["deduplicated"] is True
        assert "deduplicated" not in first.json
        assert world.nudges == 1
        await world.work.take()
        await world.work.succeed(first.json["jobId"])
        later = await client.post(ASKED | {"dedup": "nightly"}, JOBS)
        assert later.json["jobId"] != first.json["jobId"]

    world.run(story)


def test_retries_of_a_delayed_job_are_the_same_job(world: World) -> None:
    async def story(client: Client) -> None:
        headers = {"idempotency-key": "k"}
        first = await client.post(ASKED | {"delay": 60}, JOBS, headers=headers)
        world.clock.pass_s(30)
        again = await client.post(ASKED | {"delay": 60}, JOBS, headers=headers)
        assert (again.json, again.headers["idempotent-replayed"]) == (first.json, "true")
        for other in (ASKED, ASKED | {"delay": 61}, ASKED | {"delay": 60, "urgency": "LOW"}):
            assert (await client.post(other, JOBS, headers=headers)).json["code"] == "idempotency_key_reused"

    world.run(story)


def test_a_result_is_there_when_it_is_and_what_went_wrong_is_told(world: World) -> None:
    async def story(client: Client) -> None:
        ids = [(await client.post(ASKED, JOBS)).json["jobId"] for _ in range(4)]
        path = f"{JOBS}/{ids[0]}/result"
        waits = await client.get(path)
        assert (waits.status, waits.json["code"], waits.headers["retry-after"]) == (404, "not_finished", "2")
        await world.work.take()
        assert (await client.get(path)).json["message"].startswith("It is running, 0 % of it done.")
        await world.work.succeed(ids[0], {"code": "1"})
        done = await client.get(path)
        assert (done.status, done.json, done.headers["content-type"]) == (200, {"code": "1"}, "application/json")
        await world.work.leave(ids[1], node="answer", status="failed", error_code="unknown_model", error="No.")
        await world.work.fail(ids[1], "unknown_model", "No.")
        failed = await client.get(f"{JOBS}/{ids[1]}/result")
        assert (failed.status, failed.json["code"]) == (502, "workflow_failed")
        assert "No. (unknown_model)" in failed.json["message"]
        assert (await client.get(f"{JOBS}/{ids[1]}")).json["attempts"] == 1
        assert (await client.ask("DELETE", f"{JOBS}/{ids[2]}")).status == 202
        assert (await client.get(f"{JOBS}/none/result")).json["code"] == "not_found"
        late = (await client.post(ASKED, JOBS)).json["jobId"]
        assert (await client.ask("DELETE", f"{JOBS}/{late}")).json["status"] == "cancelled"
        cancelled = await client.get(f"{JOBS}/{late}/result")
        assert (cancelled.status, cancelled.json["code"]) == (409, "cancelled")

    world.run(story)


def test_queues_are_told_paused_and_resumed_by_the_houses_administrators(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        await caller.ask("acme/use", "POST", JOBS, ASKED)
        await caller.ask("beta/use", "POST", JOBS, ASKED | {"delay": 5})
        queues = (await caller.ask("acme/report", "GET", "/llm/queues")).json["queues"]
        assert [queue["name"] for queue in queues] == ["workflows", "generation", "batch"]
        assert (queues[1]["queued"], queues[1]["delayed"], queues[1]["paused"]) == (1, 1, False)
        assert queues[1]["oldest"] > 0
        assert (await caller.ask("acme/admin", "POST", "/llm/queues/generation/pause")).status == 403
        paused = await caller.ask("acme/root", "POST", "/llm/queues/generation/pause")
        assert (paused.status, paused.json["paused"]) == (200, True)
        assert await admin_world.work.take() == ()
        again = await caller.ask("acme/root", "POST", "/llm/queues/generation/resume")
        assert again.json["paused"] is False
        assert (await caller.ask("acme/root", "POST", "/llm/queues/none/pause")).json["code"] == "not_found"
        told = [(row.action, row.subject) for row in await admin_world.audited() if row.action.startswith("queue")]
        assert told == [("queue.paused", "generation"), ("queue.resumed", "generation")]

    admin_world.tell(story)
