"""A call whose price nobody knows does not look free: not in its reply, not in the log, not in the sums."""

import pytest
from tests.api.conftest import Client, World

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/llm/generate", {"model": "m", "prompt": "Hi"}),
        ("/v1/chat/completions", CHAT),
        ("/v1/messages", CHAT | {"max_tokens": 9}),
        ("/v1/responses", {"model": "m", "input": "Hi"}),
    ],
)
def test_an_answer_without_a_price_says_so_on_every_door(world: World, path: str, body: dict[str, object]) -> None:
    async def story(client: Client) -> None:
        world.provider.service_tier = "priority"
        asked = await client.post(body, path)
        assert asked.status == 200
        assert asked.headers["x-askonce-cost"] == "unknown"
        if path == "/llm/generate":
            assert asked.json["metadata"]["priced"] is False
        world.provider.service_tier = "default"
        known = await client.post({**body, "temperature": 0.5}, path)
        assert "x-askonce-cost" not in known.headers

    world.run(story)
    assert [record.priced for record in world.records] == [False, True]


def test_the_statistics_say_what_their_sums_leave_out(world: World) -> None:
    async def story(client: Client) -> None:
        world.provider.service_tier = "priority"
        await client.post(CHAT, "/v1/chat/completions")
        stats = (await client.get("/llm/cache/stats")).json
        assert (stats["unpriced"], stats["spentNano"], stats["estimated"]) == (1, 0, 0)
        assert "1 call has no known price" in stats["advice"]

    world.run(story)
