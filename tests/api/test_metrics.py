"""/metrics is open like /health unless the owner says otherwise, and requests are told to those who count."""

import pytest
from tests.api.conftest import Client, World


@pytest.mark.parametrize(("who", "key", "status"), [("open", "", 200), ("key", "", 401), ("key", "k" * 20, 200)])
def test_who_may_read_it(world: World, who: str, key: str, status: int) -> None:
    world.metrics_for = who
    world.keys = [("k" * 20, "t")]

    async def story(client: Client) -> None:
        reply = await client.get("/metrics", headers={"authorization": f"Bearer {key}"} if key else {})
        assert reply.status == status

    world.run(story)


def test_it_can_be_switched_off(world: World) -> None:
    world.metrics_for = "off"

    async def story(client: Client) -> None:
        reply = await client.get("/metrics")
        assert (reply.status, reply.json["code"]) == (404, "not_found")
        assert "`metrics`" in reply.json["message"]

    world.run(story)


def test_each_request_is_told_once_with_how_it_ended(world: World) -> None:
    async def story(client: Client) -> None:
        await client.post({"prompt": "x"})
        await client.post({"prompt": "x"})
        await client.post({"prompt": "x", "stream": True})
        await client.post({"prompt": ""})
        await client.get("/nowhere")
        await client.get("/health")

    world.run(story)
    told = [(one.door, one.status, one.cache, one.code) for one in world.served_all]
    assert told == [
        ("generate", 200, "miss", ""),
        ("generate", 200, "hit", ""),
        ("generate", 200, "hit", ""),
        ("generate", 400, "", "invalid_request"),
        ("", 404, "", "not_found"),
        ("health", 200, "", ""),
    ]
    miss, hit, *_ = world.served_all
    assert (miss.provider, miss.model, miss.saved_nano) == ("fake", "m", 0)
    assert (hit.provider, hit.model) == ("fake", "m")
    assert hit.took_us > 0
    assert hit.request_id != miss.request_id
