"""Batches: every line is found right before any is written, and answered in its place."""

import json
from typing import Any

import pytest
from msgspec.structs import replace
from tests.api.conftest import Client, Response, World

from askonce.api.workflows.bodies import BATCH_LINES_MAX

BATCHES = "/llm/batches"


def line(id: str, url: str = "/llm/generate", **body: Any) -> dict[str, Any]:
    return {"custom_id": id, "method": "POST", "url": url, "body": body or {"prompt": f"hello {id}"}}


CHAT = line("chat", "/v1/chat/completions", model="m", messages=[{"role": "user", "content": "hi"}])


async def post(client: Client, *lines: object, kind: str = "application/jsonl", **headers: str) -> Response:
    raw = b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in lines)
    return await client.post(raw, BATCHES, headers={"content-type": kind} | headers)


def results(reply: Response) -> list[Any]:
    return [json.loads(one) for one in reply.body.splitlines()]


@pytest.mark.parametrize("kind", ["application/jsonl", "application/x-ndjson; charset=utf-8"])
def test_a_batch_is_a_question_a_line(world: World, kind: str) -> None:
    async def story(client: Client) -> None:
        reply = await post(client, line("1"), b"", CHAT, line("3"), kind=kind)
        told = reply.json
        assert (reply.status, told["object"], told["status"]) == (202, "batch", "in_progress")
        assert told["request_counts"] == {"total": 3, "completed": 0, "failed": 0, "cancelled": 0}
        assert reply.headers["location"] == f"{BATCHES}/{told['id']}"
        rows = [row.submission for row in world.work.rows.values()]
        assert [(row.name, row.batch, row.line, row.queue) for row in rows] == [
            (name, told["id"], number, "batch") for number, name in enumerate(("1", "chat", "3"), 1)
        ]
        assert json.loads(bytes(rows[1].work)) == {"url": CHAT["url"], "body": CHAT["body"]}
        assert len((await client.get(f"/llm/executions?batch={told['id']}")).json["executions"]) == 3
        assert reply.headers["x-ratelimit-remaining"] == "19"

    world.run(story)


def test_answers_are_told_in_the_order_of_the_lines(world: World) -> None:
    async def story(client: Client) -> None:
        id = (await post(client, *(line(str(number)) for number in range(4)), CHAT, line("late"))).json["id"]
        path = f"{BATCHES}/{id}"
        rows = list(world.work.rows)
        early = await client.get(f"{path}/results")
        assert (early.status, early.json["code"]) == (404, "not_finished")
        await world.work.take()
        for number in (2, 0):
            await world.work.succeed(rows[number], {"n": number})
        for number in (5, 4, 1):
            code = "timed_out" if number == 5 else "unknown_model"
            await world.work.fail(rows[number], code, "There is no model m.")
        assert (await client.get(f"{path}/results")).json["message"].startswith("1 of 6 lines")
        assert (await client.get(path)).json["request_counts"]["completed"] == 2
        await client.ask("DELETE", path)
        assert world.work.rows[rows[3]].wish == "cancel"
        ended = world.work.rows[rows[3]]
        world.work.rows[rows[3]] = replace(ended, status="cancelled", ended_ms=world.work.now_ms(), wish="")
        told = (await client.get(path)).json
        assert (told["status"], told["completed_at"]) == ("completed", world.work.now_ms() // 1000)
        assert told["request_counts"] == {"total": 6, "completed": 2, "failed": 3, "cancelled": 1}
        reply = await client.get(told["results"])
        assert reply.headers["content-type"] == "application/jsonl"
        lines = results(reply)
        assert [one["custom_id"] for one in lines] == ["0", "1", "2", "3", "chat", "late"]
        assert [one["id"] for one in lines] == rows
        assert lines[0]["response"]["status_code"] == 200
        assert lines[2]["response"]["body"] == {"n": 2}
        assert (lines[1]["response"]["status_code"], lines[1]["response"]["body"]["code"]) == (404, "unknown_model")
        assert lines[4]["response"]["body"]["error"]["message"] == "There is no model m."
        assert (lines[3]["response"], lines[3]["error"]["code"]) == (None, "batch_cancelled")
        assert (lines[5]["response"], lines[5]["error"]["code"]) == (None, "timed_out")
        assert [one["error"] for one in lines if one["response"]] == [None] * 4

    world.run(story)


@pytest.mark.parametrize(
    ("lines", "field", "says"),
    [
        ([line("1"), b"{"], "lines[2].body", "not JSON"),
        ([line("1"), b"[]"], "lines[2].body", "no JSON object"),
        ([line("1"), line("1")], "lines[2].custom_id", "that of line 1"),
        ([line("")], "lines[1].custom_id", "1 to 200"),
        ([line("1") | {"method": "GET"}], "lines[1].method", "must be POST"),
        ([line("1", "/v1/files")], "lines[1].url", "/v1/chat/completions"),
        ([line("1", prompt=" ")], "lines[1].body.prompt", "must not be blank"),
        ([line("1", prompt="x", stream=True)], "lines[1].body.stream", "not for batches"),
        ([line("1"), line("2", "/v1/chat/completions", messages=3)], "lines[2].body.messages", ""),
        ([line("1") | {"priority": 1}], "lines[1].priority", "not a known field"),
        ([{"custom_id": "1", "method": "POST", "url": "/llm/generate"}], "lines[1].body", "is required"),
    ],
)
def test_one_wrong_line_is_named_and_none_is_written(world: World, lines: list[object], field: str, says: str) -> None:
    async def story(client: Client) -> None:
        reply = await post(client, *lines)
        assert (reply.status, reply.json["code"]) == (400, "invalid_request"), reply.body
        assert field in [one["field"] for one in reply.json["details"]]
        assert says in reply.json["message"]
        assert not world.work.rows

    world.run(story)


def test_batches_are_bounded_and_are_lines_of_json(world: World) -> None:
    world.body_limit = 1 << 21

    async def story(client: Client) -> None:
        many = await post(client, *(line(str(number)) for number in range(BATCH_LINES_MAX + 1)))
        assert (many.status, f"{BATCH_LINES_MAX:,} at once" in many.json["message"]) == (400, True)
        assert (await post(client, b"\n \n")).status == 400
        assert (await post(client, line("1"), kind="application/json")).status == 415
        long = await post(client, line("1", prompt="x" * (1 << 20)))
        assert (long.status, long.json["details"][0]["field"]) == (400, "lines[1].body")
        assert (await post(client, b"x" * (1 << 21), b"")).status == 413
        assert not world.work.rows
        assert (await client.get(f"{BATCHES}/none")).json["code"] == "not_found"

    world.run(story)


def test_a_batch_is_another_tenants_affair(world: World) -> None:
    world.keys = [("a" * 20, "t"), ("b" * 20, "u")]

    async def story(client: Client) -> None:
        mine, theirs = ({"authorization": f"Bearer {key}"} for key, _ in world.keys)
        id = (await post(client, line("1"), **mine)).json["id"]
        assert (await client.get(f"{BATCHES}/{id}", headers=mine)).status == 200
        for method, path in (("GET", id), ("GET", f"{id}/results"), ("DELETE", id)):
            assert (await client.ask(method, f"{BATCHES}/{path}", headers=theirs)).status == 404

    world.run(story)


def test_a_retry_of_a_batch_is_the_same_batch(world: World) -> None:
    async def story(client: Client) -> None:
        named = {"idempotency-key": "k"}
        first = await post(client, line("1"), line("2"), **named)
        world.clock.pass_s(3)
        again = await post(client, line("1"), line("2"), **named)
        assert again.json["id"] == first.json["id"]
        assert (again.headers["idempotent-replayed"], len(world.work.rows)) == ("true", 2)
        for other in ([line("1")], [line("1"), line("2"), line("3")], [line("1"), line("2", prompt="else")]):
            reply = await post(client, *other, **named)
            assert (reply.status, reply.json["code"]) == (400, "idempotency_key_reused")
        assert len(world.work.rows) == 2

    world.run(story)
