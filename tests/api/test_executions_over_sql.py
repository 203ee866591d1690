"""The doors of workflows over the real store, on each database: what is written is what is found again."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from msgspec import Raw
from msgspec.structs import replace
from tests.api.conftest import Client, Place, World
from tests.api.test_batches_doors import CHAT, line, post, results
from tests.api.test_executions_doors import EXECUTE, GRAPH

from askonce.domain.executions import Execution, Room
from askonce.ledger.engine import Bounds, open_beside
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import FILE, WORKFLOWS
from askonce.ledger.migrate import LATEST, migrate
from askonce.workflows.events import ending_events


class Shelves:
    """Open the real store (port `Archive`)."""

    def __init__(self, store: SqlExecutions) -> None:
        self._store = store

    async def open(self) -> SqlExecutions:
        """Return it."""
        return self._store


def play(world: World, place: Place, story: Callable[[Client, SqlExecutions], Coroutine[Any, Any, None]]) -> None:
    """Tell a story over an empty store."""

    async def told() -> None:
        engine = open_beside(place.url, place.folder, FILE, Bounds())
        try:
            await migrate(engine, LATEST, WORKFLOWS)
            store = SqlExecutions(engine, world.clock)
            world.archive = Shelves(store)
            client = Client(world.build())
            try:
                await story(client, store)
            finally:
                await world.hub.close()
        finally:
            await engine.dispose()

    asyncio.run(told())


async def work(store: SqlExecutions) -> tuple[Execution, ...]:
    """Take everything."""
    rooms = (Room("workflows", 9_999), Room("generation", 9_999), Room("batch", 9_999))
    return await store.claim(rooms, "w", 1 << 60)


async def end(store: SqlExecutions, execution: Execution, result: object) -> None:
    """Let one succeed."""
    ended = replace(execution, status="succeeded", progress=100, result=Raw(json.dumps(result).encode()))
    assert await store.end(ended, ending_events(ended))


def test_retries_find_their_execution_and_other_work_is_refused(world: World, place: Place) -> None:
    async def story(client: Client, store: SqlExecutions) -> None:
        named = {"idempotency-key": "k"}
        asked = [client.post(GRAPH, EXECUTE, headers=named | {"x-request-id": f"r{number}"}) for number in range(8)]
        replies = await asyncio.gather(*asked)
        assert len({reply.json["executionId"] for reply in replies}) == 1
        assert sum("idempotent-replayed" not in reply.headers for reply in replies) == 1
        other = await client.post(GRAPH | {"input": {"what": "else"}}, EXECUTE, headers=named)
        assert other.json["code"] == "idempotency_key_reused"
        job = {"kind": "workflow", "body": GRAPH, "dedup": "one", "delay": 9}
        first, again = [await client.post(job, "/llm/jobs") for _ in range(2)]
        assert (again.json["deduplicated"], again.json["jobId"]) == (True, first.json["jobId"])
        assert len((await client.get("/llm/executions")).json["executions"]) == 2

    play(world, place, story)


def test_a_run_is_followed_waited_for_and_told(world: World, place: Place) -> None:
    async def story(client: Client, store: SqlExecutions) -> None:
        waiting = asyncio.create_task(client.post(GRAPH | {"wait": True}, EXECUTE))
        taken: tuple[Execution, ...] = ()
        while not taken:
            await asyncio.sleep(0.005)
            taken = await work(store)
        following = [asyncio.create_task(client.get(f"/llm/executions/{taken[0].id}/events")) for _ in range(20)]
        await asyncio.sleep(0.02)
        await end(store, taken[0], {"code": "x"})
        told = (await waiting).json
        assert (told["status"], told["result"], len(told["nodes"])) == ("succeeded", {"code": "x"}, 2)
        for reply in await asyncio.gather(*following):
            assert [name for name, _ in reply.events] == ["execution", "execution", "execution", "done"]
        assert (await client.get("/llm/executions?after=abc")).json["code"] == "invalid_request"

    play(world, place, story)


def test_a_batch_of_several_pages_is_told_in_order(world: World, place: Place) -> None:
    count = 620

    async def story(client: Client, store: SqlExecutions) -> None:
        world.body_limit = 1 << 20
        lines = [*(line(str(number)) for number in range(count - 1)), CHAT]
        named = {"idempotency-key": "k"}
        first = await post(client, *lines, **named)
        again = await post(client, *lines, **named)
        assert again.json == first.json
        assert again.headers["idempotent-replayed"] == "true"
        assert (await post(client, *lines[:-1], **named)).json["code"] == "idempotency_key_reused"
        taken = await work(store)
        assert len(taken) == count
        for execution in taken[: count - 1]:
            await end(store, execution, {"name": execution.submission.name})
        await store.wish_cancel(taken[-1].id, None, 5)
        cancelled = replace(taken[-1], status="cancelled", error_code="cancelled", error="Stopped.")
        assert await store.end(cancelled, ending_events(cancelled))
        told = results(await client.get(f"/llm/batches/{first.json['id']}/results"))
        assert [one["custom_id"] for one in told] == [one["custom_id"] for one in lines]
        for one in told:
            if one["response"] is not None:
                assert one["response"]["body"] == {"name": one["custom_id"]}
        assert sum(one["response"] is None for one in told) == 1

    play(world, place, story)
