"""Doors and keys whose requests use the cache only where they ask for it."""

import pytest

from askonce.api.doors import DOORS
from askonce.cache.policy import Unsaid
from askonce.config.values import ASKING_DOORS

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
V1 = Unsaid(frozenset({"/v1/chat/completions", "/llm/generate"}))
STATUS = {
    "off": "askonce; fwd=bypass",
    "hit": "askonce; hit",
    "refresh": "askonce; fwd=request; stored",
}


def test_the_settings_know_every_door_where_a_question_is_asked():
    assert {door.path for door in DOORS if door.limit == "llm" and not door.outlives} == set(ASKING_DOORS)


@pytest.mark.parametrize(
    ("header", "came"),
    [("", "off"), ("no-store", "off"), ("max-age=600", "hit"), ("only-if-cached", "hit"), ("no-cache", "refresh")],
)
def test_what_the_header_says_wins_over_the_doors_default(world, header, came):
    world.unsaid = V1

    async def story(client):
        await client.post(CHAT, "/v1/chat/completions", headers={"cache-control": "no-cache"})
        reply = await client.post(CHAT, "/v1/chat/completions", headers={"cache-control": header})
        assert reply.headers["cache-status"].startswith(STATUS[came])
        assert len(world.provider.calls) == (1 if came == "hit" else 2)

    world.run(story)


@pytest.mark.parametrize(
    ("cache", "came"),
    [(None, "off"), ({"ttl": 60}, "off"), ({"mode": "default"}, "miss"), ({"mode": "refresh"}, "refresh")],
)
def test_what_the_body_says_wins_over_the_doors_default(world, cache, came):
    world.unsaid = V1

    async def story(client):
        reply = await client.post({"prompt": "hi", "cache": cache})
        assert reply.json["metadata"]["cache"] == came

    world.run(story)


def test_other_doors_and_other_keys_are_as_ever(world):
    world.keys = [("secret-of-team", "team"), ("secret-of-others", "others")]
    world.unsaid = Unsaid(callers=frozenset({"team"}))

    async def story(client):
        for secret, entries in (("secret-of-team", 0), ("secret-of-others", 1)):
            sent = {"authorization": f"Bearer {secret}"}
            await client.post(CHAT, "/v1/chat/completions", headers=sent)
            assert (await client.get("/llm/cache/stats", headers=sent)).json["entries"] == entries

    world.run(story)
