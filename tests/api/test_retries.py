"""Retries as their callers see them: one payment, the same answer, at every door and in every cache mode."""

import asyncio
import json
from typing import Any

import pytest

from askonce.domain.answer import Answer
from askonce.domain.errors import ProviderRejected
from askonce.domain.usage import Usage
from askonce.providers.scripted_vectors import vectors

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
ASKED: dict[str, Any] = {
    "/llm/generate": {"prompt": "hi"},
    "/v1/chat/completions": CHAT,
    "/v1/responses": {"model": "m", "input": "hi"},
    "/v1/messages": CHAT | {"max_tokens": 9},
}
DOORS = pytest.mark.parametrize("path", ASKED)
MODES = pytest.mark.parametrize("header", ["", "no-cache", "no-store"])
NAMED = {"idempotency-key": "k-1"}


@DOORS
@MODES
def test_a_retry_is_told_the_same_and_says_so(world, path, header):
    async def story(client):
        sent = NAMED | {"cache-control": header}
        first = await client.post(ASKED[path], path, headers=sent)
        again = await client.post(ASKED[path], path, headers=sent)
        assert (first.status, again.status) == (200, 200)
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert again.headers["cache-status"] == "askonce; hit; detail=replayed"
        assert again.headers["x-ratelimit-remaining"] == "18"
        assert len(world.provider.calls) == 1
        stats = (await client.get("/llm/cache/stats")).json
        assert (stats["hits"], stats["entries"]) == (1, 0 if header == "no-store" else 1)
        assert stats["savingsNano"] > 0

    world.run(story)


@DOORS
def test_a_retry_may_be_a_stream_though_its_first_try_was_none(world, path):
    async def story(client):
        sent = NAMED | {"cache-control": "no-store"}
        await client.post(ASKED[path], path, headers=sent)
        again = await client.post(ASKED[path] | {"stream": True}, path, headers=sent)
        assert again.headers["content-type"].startswith("text/event-stream")
        assert again.headers["idempotent-replayed"] == "true"
        assert b"print(1)" in again.body
        assert len(world.provider.calls) == 1

    world.run(story)


def test_embeddings_are_promised_too(world, monkeypatch):
    async def embed(call, model, deadline_s):
        world.provider.calls.append(call)
        yield Answer("", "stop", Usage(1, 0), "fake", model, model, parts=(vectors(call, 4),))

    async def story(client):
        monkeypatch.setattr(world.provider, "ask", embed)
        sent = NAMED | {"cache-control": "no-store"}
        body = {"model": "m", "input": "hi"}
        for _ in range(2):
            reply = await client.post(body, "/v1/embeddings", headers=sent)
        assert len(world.provider.calls) == 1
        assert reply.headers["idempotent-replayed"] == "true"

    world.run(story)


@DOORS
@MODES
def test_a_retry_joins_what_its_first_try_left_in_the_air(world, path, header):
    async def story(client):
        world.provider.gate = asyncio.Event()
        left, sent = asyncio.Event(), NAMED | {"cache-control": header}
        first = asyncio.create_task(client.post(ASKED[path], path, headers=sent, left=left))
        while not world.provider.calls:
            await asyncio.sleep(0)
        left.set()
        assert (await first).status == 0
        again = asyncio.create_task(client.post(ASKED[path], path, headers=sent))
        for _ in range(20):
            await asyncio.sleep(0)
        world.provider.gate.set()
        reply = await again
        assert reply.status == 200
        assert reply.headers["cache-status"] == "askonce; fwd=miss; collapsed"
        assert len(world.provider.calls) == 1
        assert [record.ending for record in world.records] == ["answered"]

    world.run(story)


@DOORS
def test_a_name_used_for_another_question_is_refused_in_the_doors_shape(world, path):
    async def story(client):
        await client.post(ASKED[path], path, headers=NAMED)
        other = json.loads(json.dumps(ASKED[path]).replace("hi", "ho"))
        refused = await client.post(other, path, headers=NAMED)
        assert refused.status == 400
        assert b"Idempotency-Key was used for another question" in refused.body
        if path == "/llm/generate":
            assert refused.json["code"] == "idempotency_key_reused"
            assert refused.json["details"][0]["field"] == "Idempotency-Key"
        fine = await client.post(other, path, headers={"idempotency-key": "k-2"})
        assert fine.status == 200
        assert fine.headers["x-ratelimit-remaining"] == "18"  # what was refused did not count

    world.run(story)


@DOORS
def test_a_name_that_cannot_be_one_is_refused_by_name(world, path):
    async def story(client):
        refused = await client.post(ASKED[path], path, headers={"idempotency-key": "k" * 256})
        assert refused.status == 400
        assert b"Idempotency-Key must be 1 to 255 printable ASCII characters" in refused.body
        assert world.provider.calls == []

    world.run(story)


def test_a_failed_request_is_asked_anew(world):
    async def story(client):
        world.provider.error = ProviderRejected("No.")
        assert (await client.post(ASKED["/llm/generate"], headers=NAMED)).status == 400
        world.provider.error = None
        assert (await client.post(ASKED["/llm/generate"], headers=NAMED)).status == 200
        assert len(world.provider.calls) == 2

    world.run(story)


def test_one_promise_serves_all_doors_where_the_question_is_the_same(world):
    async def story(client):
        await client.post(CHAT, "/v1/chat/completions", headers=NAMED | {"cache-control": "no-store"})
        again = await client.post(ASKED["/v1/responses"], "/v1/responses", headers=NAMED)
        assert again.headers["idempotent-replayed"] == "true"
        assert len(world.provider.calls) == 1

    world.run(story)


@pytest.mark.parametrize(("query", "left"), [("", 0), ("?provider=fake", 0), ("?provider=another", 1)])
@MODES
def test_deleting_the_cache_deletes_what_was_promised_from_it(world, header, query, left):
    async def story(client):
        sent = NAMED | {"cache-control": header}
        await client.post(ASKED["/llm/generate"], headers=sent)
        assert (await client.ask("DELETE", f"/llm/cache{query}")).status == 200
        again = await client.post(ASKED["/llm/generate"], headers=sent)
        assert again.headers.get("idempotent-replayed") == (None if left == 0 else "true")
        assert len(world.provider.calls) == 2 - left

    world.run(story)
