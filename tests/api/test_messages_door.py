"""The doors of Anthropic's shape in a whole gateway: one entry with the other doors, errors and limits in its words."""

import asyncio
import json
from typing import Any

from tests.api.conftest import Client, World

from askonce.api.app import LimitRule
from askonce.domain.call import Call
from askonce.domain.errors import ProviderBusy, ProviderFailed

MESSAGES, CHAT, COUNT = "/v1/messages", "/v1/chat/completions", "/v1/messages/count_tokens"
HELLO: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "system": "Be brief.",
    "temperature": 0.5,
    "messages": [{"role": "user", "content": "Hi"}],
}
SAME: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "temperature": 0.5,
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
}


def test_one_answer_serves_both_doors_plain_and_streamed(world: World) -> None:
    async def story(client: Client) -> None:
        asked = await client.post(HELLO, MESSAGES)
        assert asked.headers["cache-status"] == "askonce; fwd=miss; stored"
        for path, body in ((CHAT, SAME), (MESSAGES, HELLO | {"stream": True}), (CHAT, SAME | {"stream": True})):
            again = await client.post(body, path)
            assert again.status == 200
            assert again.headers["cache-status"].startswith("askonce; hit"), path
        assert len(world.provider.calls) == 1

    world.run(story)


def test_a_replay_is_a_whole_stream(world: World) -> None:
    async def story(client: Client) -> None:
        await client.post(HELLO, MESSAGES)
        again = await client.post(HELLO | {"stream": True}, MESSAGES)
        kinds = [kind for kind, _ in again.events]
        assert kinds[0] == "message_start"
        assert kinds[-2:] == ["message_delta", "message_stop"]

    world.run(story)


def test_betas_are_passed_on_and_part_of_the_question_but_for_those_that_change_no_answer(world: World) -> None:
    async def asked(client: Client, betas: str) -> bool:
        reply = await client.post(HELLO, MESSAGES, headers={"anthropic-beta": betas} if betas else {})
        return reply.headers["cache-status"].startswith("askonce; hit")

    async def story(client: Client) -> None:
        assert not await asked(client, "one,two")
        (aside,) = world.provider.calls[0].asides
        assert (aside.at, bytes(aside.json)) == (("headers", "anthropic-beta"), b'"one,two"')
        assert await asked(client, "two, one,prompt-caching-2024-07-31")
        assert not await asked(client, "one")
        assert not await asked(client, "")
        assert await asked(client, "prompt-caching-2024-07-31,extended-cache-ttl-2025-04-11")

    world.run(story)


def test_betas_are_no_part_of_the_question_where_another_vendor_answers(world: World) -> None:
    world.shapes["fake"] = "openai"

    async def story(client: Client) -> None:
        asked = await client.post(HELLO, MESSAGES, headers={"anthropic-beta": "one"})
        assert asked.headers["cache-status"].startswith("askonce; fwd=miss")
        for path, body, betas in ((MESSAGES, HELLO, "two"), (CHAT, SAME, "")):
            again = await client.post(body, path, headers={"anthropic-beta": betas} if betas else {})
            assert again.headers["cache-status"].startswith("askonce; hit"), path

    world.run(story)


def test_the_vendors_library_finds_the_requests_id(world: World) -> None:
    # Anthropic's "Errors", "Request id": the header `request-id`; OpenAI's "Debugging requests": `x-request-id`.
    async def story(client: Client) -> None:
        plain, streamed = await client.post(HELLO, MESSAGES), await client.post(HELLO | {"stream": True}, MESSAGES)
        for reply in (plain, streamed, await client.post(HELLO, COUNT)):
            assert reply.headers["request-id"] == reply.headers["x-request-id"]
        other = await client.post({"model": HELLO["model"], "messages": HELLO["messages"]}, "/v1/chat/completions")
        assert "x-request-id" in other.headers
        assert "request-id" not in other.headers

    world.run(story)


def test_refusals_and_failures_have_the_vendors_shape(world: World) -> None:
    async def story(client: Client) -> None:
        for body, path, status, kind in (
            (HELLO | {"max_tokens": None}, MESSAGES, 400, "invalid_request_error"),
            (b"{", MESSAGES, 400, "invalid_request_error"),
            (HELLO | {"model": "nope"}, MESSAGES, 404, "not_found_error"),
            (HELLO | {"model": "nope"}, COUNT, 404, "not_found_error"),
            ({}, "/v1/messages/nothing", 404, "not_found_error"),
        ):
            told = await client.post(body, path)
            assert told.status == status
            assert (told.json["type"], told.json["error"]["type"]) == ("error", kind)
            assert told.json["request_id"] == told.headers["x-request-id"] == told.headers["request-id"]
        world.provider.error = ProviderFailed("no")
        assert (await client.post(HELLO, MESSAGES)).json["error"]["type"] == "api_error"
        world.provider.error = ProviderBusy("no", retry_after_s=7)
        busy = await client.post(HELLO | {"stream": True}, MESSAGES)
        assert (busy.status, busy.headers["retry-after"]) == (503, "7")
        assert busy.json["error"]["type"] == "overloaded_error"

    world.run(story)


def test_limits_are_told_in_the_vendors_headers_as_well(world: World) -> None:
    world.limits["llm"] = LimitRule(1, 60_000_000_000, "slow down")

    async def story(client: Client) -> None:
        first = await client.post(HELLO, MESSAGES)
        assert first.headers["anthropic-ratelimit-requests-remaining"] == "0"
        over = await client.post(HELLO, MESSAGES)
        assert over.status == 429
        assert over.json["error"] == {"type": "rate_limit_error", "message": "slow down"}
        assert over.headers["anthropic-ratelimit-requests-limit"] == "1"
        assert over.headers["anthropic-ratelimit-requests-reset"].endswith("Z")
        assert over.headers["retry-after"] == "60"

    world.run(story)


def test_tokens_are_counted_without_asking_and_in_the_other_window(world: World) -> None:
    world.limits["standard"] = LimitRule(1, 60_000_000_000)

    async def story(client: Client) -> None:
        told = await client.post({name: HELLO[name] for name in ("model", "messages", "system")}, COUNT)
        assert told.status == 200
        assert told.json["input_tokens"] > 0
        assert told.headers["x-askonce-estimated"] == "true"
        assert told.headers["x-ratelimit-remaining"] == "0"
        assert (await client.post(HELLO, COUNT)).status == 429
        assert not world.provider.calls
        assert (await client.post(HELLO, MESSAGES)).status == 200

    world.run(story)


def test_a_count_by_the_vendor_is_not_marked(world: World) -> None:
    class Counted:
        async def count(self, call: Call, candidate: Any) -> tuple[int, bool]:
            return 14, False

    async def told() -> None:
        app = world.build()
        app._s.asking["count_tokens"]._counting = Counted()  # type: ignore[attr-defined]
        reply = await Client(app).post(HELLO, COUNT)
        assert json.loads(reply.body) == {"input_tokens": 14}
        assert "x-askonce-estimated" not in reply.headers

    asyncio.run(told())
