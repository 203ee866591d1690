"""What callers are told of who answered, and what operators read of it."""

import pytest
from tests.api.conftest import Client, World

from askonce.domain.errors import ProviderBusy, ProviderFailed
from askonce.domain.money import Price, Rate

DOORS = [
    ("/llm/generate", {"prompt": "hello"}),
    ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hello"}]}),
    ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}),
]


@pytest.mark.parametrize(("path", "body"), DOORS)
@pytest.mark.parametrize("stream", [False, True])
def test_every_door_says_who_answered_after_how_many_attempts(
    world: World, path: str, body: dict[str, object], stream: bool
) -> None:
    async def story(client: Client) -> None:
        first = await client.post(body | {"stream": stream}, path)
        again = await client.post(body | {"stream": stream}, path)
        assert first.headers["x-askonce-route"] == "fake:m; attempts=1"
        assert again.headers["x-askonce-route"] == "fake:m; attempts=0"

    world.run(story)


def test_the_native_answer_explains_the_decision(world: World) -> None:
    async def story(client: Client) -> None:
        metadata = (await client.post({"prompt": "hello"})).json["metadata"]
        (attempt,) = metadata["routing"].pop("attempts")
        assert attempt.pop("tookMs") >= 0
        assert attempt == {"provider": "fake", "model": "m"}
        assert metadata["routing"] == {"mode": "single-model", "chosen": "fake:m", "candidates": []}
        streamed = await client.post({"prompt": "hello", "stream": True})
        assert streamed.events[-1][1]["metadata"]["routing"]["attempts"] == []

    world.run(story)


def test_a_failure_tells_how_often_it_was_tried(world: World) -> None:
    async def story(client: Client) -> None:
        world.provider.error = ProviderFailed("It broke.")
        failed = await client.post({"prompt": "hello"})
        assert (failed.status, failed.headers["x-askonce-route"]) == (502, "fake:m; attempts=2")
        world.provider.error = ProviderBusy("Slow down.", retry_after_s=7)
        busy = await client.post({"prompt": "hello"})
        assert (busy.status, busy.headers["retry-after"]) == (503, "7")
        refused = await client.post({"prompt": "another"})
        assert (refused.status, refused.headers["retry-after"]) == (503, "7")
        assert "x-askonce-route" not in refused.headers
        assert len(world.provider.calls) == 3

    world.run(story)


def test_a_call_that_cost_more_than_was_allowed_says_so_once(world: World) -> None:
    async def story(client: Client) -> None:
        body = {"prompt": "hello", "maxCost": 0.001}
        first = (await client.post(body)).json["metadata"]
        assert first["routing"]["warnings"] == ["The call cost $0.001262, which is over maxCost."]
        assert "warnings" not in (await client.post(body)).json["metadata"]["routing"]

    world.run(story)


def test_statistics_name_what_the_vendors_cache_saved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    price = Price(Rate(2_500_000_000), Rate(10_000_000_000), cache_read=Rate(1_250_000_000))
    monkeypatch.setattr(world, "price", lambda *_: price)
    world.provider.cached_tokens = 40

    async def story(client: Client) -> None:
        await client.post({"prompt": "hello"})
        stats = (await client.get("/llm/cache/stats")).json
        assert stats["savings"]["providerPromptCache"] == 40 * 1250
        assert stats["savingsNano"] == 0  # no call was avoided

    world.run(story)
