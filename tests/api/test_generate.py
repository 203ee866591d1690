"""POST /llm/generate as its callers see it."""

import asyncio

import pytest

from askonce.domain.errors import ProviderBusy, ProviderFailed

PROMPT = {"prompt": "hello world"}


def test_a_repeated_prompt_is_free_and_the_same(world):
    async def story(client):
        first, second = await client.post(PROMPT), await client.post(PROMPT)
        assert (first.status, second.status) == (200, 200)
        assert first.json["code"] == second.json["code"] == "print(1)\n"
        assert first.json["files"] == [{"path": "src/a.py", "language": "python", "content": "print(1)\n"}]
        paid, free = first.json["metadata"], second.json["metadata"]
        assert (paid["cached"], paid["cache"], paid["cost"], paid["costNano"]) == (False, "miss", "$0.0013", 1262500)
        assert (paid["saved"], paid["savedNano"]) == ("$0.0000", 0)
        assert (free["cached"], free["cache"], free["cost"], free["costNano"]) == (True, "hit", "$0.0000", 0)
        assert (free["saved"], free["savedNano"]) == ("$0.0013", 1262500)
        assert paid["usage"] == {"promptTokens": 57, "completionTokens": 112, "totalTokens": 169}
        assert (paid["provider"], paid["model"], paid["modelVersion"]) == ("fake", "m", "m-2024")
        assert len(world.provider.calls) == 1

    world.run(story)


def test_answers_say_their_cache_status_and_age(world):
    async def story(client):
        first = await client.post(PROMPT)
        world.clock.pass_s(90)
        second = await client.post(PROMPT)
        assert first.headers["cache-status"] == "askonce; fwd=miss; stored"
        assert second.headers["cache-status"] == "askonce; hit; ttl=3510"
        assert second.headers["age"] == "90"
        assert second.json["metadata"]["ageSeconds"] == 90

    world.run(story)


def test_an_entry_is_kept_an_hour_or_as_long_as_was_asked(world):
    async def story(client):
        await client.post(PROMPT)
        await client.post({"prompt": "short", "cache": {"ttl": 60}})
        world.clock.pass_s(61)
        assert (await client.post({"prompt": "short"})).json["metadata"]["cache"] == "miss"
        assert (await client.post(PROMPT)).json["metadata"]["cache"] == "hit"
        world.clock.pass_s(3600)
        assert (await client.post(PROMPT)).json["metadata"]["cache"] == "miss"

    world.run(story)


@pytest.mark.parametrize(
    ("body", "header", "cache", "calls"),
    [
        ({}, "", "hit", 1),
        ({"cache": {"mode": "refresh"}}, "", "refresh", 2),
        ({"cache": {"mode": "off"}}, "", "off", 2),
        ({"cache": {"mode": "only"}}, "", "hit", 1),
        ({}, "no-cache", "refresh", 2),
        ({}, "no-store", "off", 2),
        ({}, "only-if-cached", "hit", 1),
        ({}, "max-age=0", "miss", 2),
        ({}, "max-age=100", "hit", 1),
        ({"cache": {"mode": "default"}}, "no-store", "hit", 1),  # the body wins
    ],
)
def test_the_caller_controls_the_cache(world, body, header, cache, calls):
    async def story(client):
        await client.post(PROMPT)
        answer = await client.post(PROMPT | body, headers={"cache-control": header})
        assert answer.json["metadata"]["cache"] == cache
        assert len(world.provider.calls) == calls

    world.run(story)


def test_only_without_an_entry_is_a_cache_miss(world):
    async def story(client):
        answer = await client.post(PROMPT | {"cache": {"mode": "only"}})
        assert (answer.status, answer.json["code"]) == (404, "cache_miss")
        assert answer.headers["x-ratelimit-remaining"] == "19"
        assert world.provider.calls == []

    world.run(story)


@pytest.mark.parametrize("streams", [(True, False), (False, True), (True, True)])
def test_one_stored_answer_serves_streams_and_plain_requests(world, streams):
    async def story(client):
        replies = [await client.post(PROMPT | {"stream": stream}) for stream in streams]
        assert len(world.provider.calls) == 1
        for stream, reply in zip(streams, replies, strict=True):
            whole = dict(reply.events)["done"] if stream else reply.json
            assert whole["code"] == "print(1)\n"
            assert whole["files"][0]["path"] == "src/a.py"

    world.run(story)


def test_a_stream_has_named_events_in_order(world):
    async def story(client):
        answer = await client.post(PROMPT | {"stream": True})
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert [name for name, _ in answer.events] == ["start", "delta", "delta", "delta", "file", "done"]
        assert "".join(data["text"] for name, data in answer.events if name == "delta") == "".join(
            world.provider.pieces
        )
        assert dict(answer.events)["file"]["content"] == "print(1)\n"
        assert dict(answer.events)["done"]["metadata"]["cache"] == "miss"

    world.run(story)


def test_identical_questions_in_flight_are_paid_once(world):
    async def story(client):
        world.limits["llm"] = world.limits["standard"]
        world.provider.gate = asyncio.Event()
        asking = [asyncio.ensure_future(client.post(PROMPT | {"stream": n % 2 == 1})) for n in range(20)]
        while not world.provider.calls:
            await asyncio.sleep(0)
        world.provider.gate.set()
        replies = await asyncio.gather(*asking)
        wholes = [dict(r.events)["done"] if r.events else r.json for r in replies]
        assert [w["metadata"]["cache"] for w in wholes].count("miss") == 1
        assert [w["metadata"]["cache"] for w in wholes].count("coalesced") == 19
        assert len(world.provider.calls) == 1
        totals = await world.state.books.totals("anonymous")
        assert (totals.misses, totals.coalesced, totals.saved_coalesced_nano) == (1, 19, 19 * 1262500)

    world.run(story)


def test_a_caller_that_leaves_alone_hangs_up_the_provider_and_is_booked(world):
    async def story(client):
        world.provider.gate = asyncio.Event()
        left = asyncio.Event()
        asking = asyncio.ensure_future(client.post(PROMPT, left=left))
        while not world.provider.calls:
            await asyncio.sleep(0)
        left.set()
        assert (await asking).status == 0
        while not world.records:
            await asyncio.sleep(0)
        assert world.records[0].ending == "abandoned"

    world.run(story)


def test_a_failure_before_the_first_byte_is_an_ordinary_status(world):
    async def story(client):
        world.provider.error = ProviderBusy("Fake is busy.", retry_after_s=7)
        for stream in (False, True):
            answer = await client.post(PROMPT | {"stream": stream})
            assert (answer.status, answer.json["code"]) == (503, "provider_rate_limited")
            assert answer.headers["retry-after"] == "7"
            assert answer.json["retryAfter"] == 7

    world.run(story)


def test_failures_are_not_kept(world):
    async def story(client):
        world.provider.error = ProviderFailed("Fake broke.")
        assert (await client.post(PROMPT)).status == 502
        world.provider.error = None
        assert (await client.post(PROMPT)).json["metadata"]["cache"] == "miss"

    world.run(story)


def test_tenants_never_share(world):
    world.keys = [("key-one-1", "a"), ("key-two-2", "b"), ("key-three", "a")]

    async def story(client):
        def key(secret):
            return {"headers": {"authorization": f"Bearer {secret}"}}

        await client.post(PROMPT, **key("key-one-1"))
        assert (await client.post(PROMPT, **key("key-two-2"))).json["metadata"]["cache"] == "miss"
        assert (await client.post(PROMPT, **key("key-three"))).json["metadata"]["cache"] == "hit"
        listed = (await client.get("/llm/cache/entries", **key("key-two-2"))).json["entries"]
        assert len(listed) == 1
        theirs = (await client.get("/llm/cache/entries", **key("key-one-1"))).json["entries"][0]["key"]
        assert (await client.get(f"/llm/cache/entries/{theirs}", **key("key-two-2"))).status == 404
        assert (await client.ask("DELETE", f"/llm/cache/entries/{theirs}", **key("key-two-2"))).status == 404

    world.run(story)
