"""Ids of answers: each its own, whatever callers call their requests."""

import pytest
from tests.api.conftest import Client, World

DOORS = [
    ("/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "hello"}]}),
    ("/v1/messages", {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}),
    ("/v1/responses", {"model": "m", "input": "hello"}),
]


@pytest.mark.parametrize(("path", "body"), DOORS)
def test_answers_have_ids_of_their_own_though_their_requests_have_one_name(
    world: World, path: str, body: object
) -> None:
    async def story(client: Client) -> None:
        replies = [await client.post(body, path, headers={"x-request-id": "constant"}) for _ in range(3)]
        assert len({reply.json["id"] for reply in replies}) == 3
        assert {reply.headers["x-request-id"] for reply in replies} == {"constant"}

    world.run(story)


def test_our_own_answer_is_called_as_its_request_is(world: World) -> None:
    async def story(client: Client) -> None:
        reply = await client.post({"prompt": "hello"}, headers={"x-request-id": "mine"})
        assert reply.json["metadata"]["requestId"] == reply.headers["x-request-id"] == "mine"

    world.run(story)
