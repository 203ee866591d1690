"""Looking at executions: of one's own tenant, page by page, event by event; stopping them; going on with them."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.api.adminworld import AdminWorld
from tests.api.conftest import Client, World
from tests.api.test_executions_doors import EXECUTE, GRAPH, WISH


@pytest.fixture
def admin_world(tmp_path: Path) -> AdminWorld:
    return AdminWorld(tmp_path)


async def submitted(client: Client, **headers: str) -> str:
    reply = await client.post(GRAPH, EXECUTE, headers=headers)
    return str(reply.json["executionId"])


def test_a_tenant_sees_its_own_and_another_tenants_is_not_there(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        ids = {}
        for tenant in ("acme", "beta"):
            ids[tenant] = (await caller.ask(f"{tenant}/use", "POST", EXECUTE, WISH)).json["executionId"]
            await caller.ask(f"{tenant}/root", "POST", "/llm/jobs", {"kind": "generate", "body": {"prompt": "x"}})
        for tenant in ("acme", "beta"):
            listed = (await caller.ask(f"{tenant}/use", "GET", "/llm/executions")).json["executions"]
            assert len(listed) == 2  # another key's of the same tenant, too
            assert ids[tenant] in {one["id"] for one in listed}
            assert len((await caller.ask(f"{tenant}/use", "GET", "/llm/jobs")).json["jobs"]) == 2
        id = ids["beta"]
        execution, job = f"/llm/executions/{id}", f"/llm/jobs/{id}"
        for method, path in [
            ("GET", execution), ("GET", f"{execution}/events"), ("DELETE", execution), ("POST", f"{execution}/resume"),
            ("GET", job), ("GET", f"{job}/result"), ("DELETE", job),
        ]:  # fmt: skip
            theirs = await caller.ask("acme/use", method, path)
            nobodys = await caller.ask("acme/use", method, path.replace(id, "exec_none"))
            assert (theirs.status, theirs.json["code"]) == (404, "not_found"), path
            assert theirs.json | {"requestId": ""} == nobodys.json | {"requestId": ""}
        assert admin_world.work.rows[id].status == "queued"

    admin_world.tell(story)


def test_the_submitter_is_kept_so_that_nodes_ask_in_its_name(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        id = (await caller.ask("acme/use", "POST", EXECUTE, WISH)).json["executionId"]
        submitter = admin_world.work.rows[id].submission.submitter
        standing = await admin_world.directory.find(submitter.key_digest)
        assert standing is not None
        assert standing.card.id == submitter.key_id == admin_world.ids["acme", "use"]
        assert (submitter.tenant, submitter.address) == ("acme", "127.0.0.1")

    admin_world.tell(story)


def test_lists_are_narrowed_and_paged(world: World) -> None:
    async def story(client: Client) -> None:
        ids = []
        for _ in range(3):
            ids.append(await submitted(client))
            world.clock.pass_s(1)
        await client.post({"kind": "generate", "body": {"prompt": "x"}}, "/llm/jobs")
        await world.work.take()
        await world.work.fail(ids[0])
        first = (await client.get("/llm/executions?limit=2")).json
        second = (await client.get(f"/llm/executions?limit=2&after={first['next']}")).json
        assert second["next"] is None
        assert [one["id"] for one in first["executions"] + second["executions"]][1:] == ids[::-1]
        for query, count in [
            ("status=failed", 1), ("status=failed,running", 4), ("kind=generate", 1), ("queue=workflows", 3),
            ("status=queued", 0), ("batch=b", 0),
        ]:  # fmt: skip
            assert len((await client.get(f"/llm/executions?{query}")).json["executions"]) == count, query
        for query, says in [
            ("queue=batch,workflows", "takes one"),
            ("status=done", "choose among"), ("kind=x", "choose among"), ("queue=x", "choose among"),
            ("since=soon", "epoch milliseconds"), ("limit=0", "1 to 500"), ("stat=x", "did you mean status?"),
        ]:  # fmt: skip
            reply = await client.get(f"/llm/executions?{query}")
            assert (reply.status, reply.json["code"]) == (400, "invalid_request")
            assert says in reply.json["message"], query

    world.run(story)


def test_events_are_told_as_they_come_and_behind_any_of_them(world: World) -> None:
    async def story(client: Client) -> None:
        id = await submitted(client)
        path = f"/llm/executions/{id}/events"
        left = asyncio.Event()
        early = asyncio.create_task(client.get(path, left=left))
        await world.work.take()
        await world.work.say(id, "plan", "Gears")
        while not any("text" in name for name in [event.kind for event in world.work.told[id]]):
            await asyncio.sleep(0)
        await asyncio.sleep(0.05)
        left.set()
        seen = await early
        assert [name for name, _ in seen.events] == ["execution", "execution", "node", "text"]
        assert seen.body.startswith(b": still here\n\n")
        last = seen.body.decode().rpartition("id: ")[2].partition("\n")[0]
        rejoined = asyncio.create_task(client.get(f"{path}?after=1", headers={"last-event-id": last}))
        await world.work.succeed(id)
        assert [name for name, _ in (await rejoined).events] == ["execution", "done"]
        assert [name for name, _ in (await client.get(f"{path}?after=4")).events] == ["execution", "done"]
        over = await client.get(f"{path}?after=6")
        assert (over.status, over.body) == (204, b"")
        for query, header in (("?after=7", ""), ("?after=-1", ""), ("", "x"), ("", "99")):
            reply = await client.get(path + query, headers={"last-event-id": header})
            assert (reply.status, reply.json["code"]) == (400, "invalid_request")

    world.run(story)


def test_cancelling_is_a_wish_that_is_told_and_can_be_repeated(world: World) -> None:
    async def story(client: Client) -> None:
        waits, runs = await submitted(client), await submitted(client)
        gone = await client.ask("DELETE", f"/llm/executions/{waits}")
        assert (gone.status, gone.json["status"], gone.json["error"]["code"]) == (200, "cancelled", "cancelled")
        await world.work.take()
        for _ in range(2):
            going = await client.ask("DELETE", f"/llm/executions/{runs}")
            assert (going.status, going.json["status"], going.json["cancelling"]) == (202, "running", True)
        assert (await client.ask("DELETE", f"/llm/executions/{waits}")).status == 200
        await world.trail.flush()
        batch = await world.state.outbox.head(100)
        assert batch is not None
        told = [(row.action, row.subject) for row in batch.records]  # type: ignore[union-attr]
        assert told == [("execution.cancelled", waits), ("execution.cancelled", runs)]

    world.run(story)


def test_only_what_failed_or_was_cancelled_goes_on(world: World) -> None:
    async def story(client: Client) -> None:
        id = await submitted(client)
        path = f"/llm/executions/{id}/resume"
        for status in ("queued", "running"):
            reply = await client.ask("POST", path)
            assert (reply.status, reply.json["code"]) == (409, "not_resumable")
            assert status in reply.json["message"]
            await world.work.take()
        await world.work.fail(id)
        nudges = world.nudges
        reply = await client.ask("POST", path)
        assert (reply.status, reply.json["status"], reply.json["executionId"]) == (202, "queued", id)
        assert (world.work.rows[id].round, world.nudges) == (2, nudges + 1)
        await world.work.take()
        await world.work.succeed(id)
        assert (await client.ask("POST", path)).status == 409

    world.run(story)


def test_the_document_tells_everything_of_its_nodes(world: World) -> None:
    async def story(client: Client) -> None:
        id = await submitted(client)
        await world.work.take()
        await world.work.leave(
            id, node="plan", text="Gears.", provider="fake", model="m", cache="miss", cost_nano=1_000, prompt_tokens=5
        )
        await world.work.leave(id, node="build", status="failed", error_code="provider_error", error="It broke.")
        await world.work.fail(id)
        told = (await client.get(f"/llm/executions/{id}")).json
        plan, build = told["nodes"]
        assert (plan["status"], plan["cost"], plan["usage"]["promptTokens"]) == ("succeeded", "$0.0000", 5)
        assert build["error"] == {"code": "provider_error", "message": "It broke."}
        assert build["dependsOn"] == ["plan"]
        assert (told["status"], told["error"]["code"]) == ("failed", "provider_error")
        assert "result" not in told

    world.run(story)
