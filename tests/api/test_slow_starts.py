"""Streams of models that think for long: begun before the first piece, kept alive, and ended in their own shape."""

import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest
from tests.gate.gate_world import CALLER, World, play, start

from askonce.api.asking import PATIENCE_S, AskDoor, Desk, Intake
from askonce.api.replies import Reply, StreamReply
from askonce.api.requests import Request
from askonce.api.slow_bodies import SlowBodies
from askonce.api.voices import voice_of
from askonce.domain.errors import ContentRefused
from askonce.domain.usage import Usage
from askonce.gate.answering import NUDGE_BEATS
from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.native_answer import NATIVE
from askonce.wire.openai_door import CHAT

DOORS = [
    ("/llm/generate", NATIVE, {"prompt": "hello", "stream": True}),
    ("/v1/chat/completions", CHAT, {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}),
    (
        "/v1/messages",
        MESSAGES,
        {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hello"}]},
    ),
]


def request(path: str, body: object) -> Request:
    messages = [{"type": "http.request", "body": json.dumps(body).encode()}]

    async def receive() -> MutableMapping[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:3001"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 1234),
    }
    return Request(scope, receive)


def door(world: World, path: str, codec: Any) -> AskDoor:
    desk = Desk(world.road, world.sky.clock, world.notes, Intake(100_000, SlowBodies(30.0)))
    return AskDoor("door", codec, desk, voice_of(path))


@pytest.mark.parametrize(("path", "codec", "body"), DOORS)
@pytest.mark.parametrize("fails", [False, True])
def test_a_stream_begins_while_its_model_still_thinks(path: str, codec: Any, body: object, fails: bool) -> None:
    async def main() -> None:
        world = World()
        await world.answering.start()
        loop = asyncio.get_running_loop()
        began = loop.time()
        replying = start(door(world, path, codec)(request(path, body), CALLER, None))
        line = await world.vendor.call()
        reply = await replying
        assert PATIENCE_S <= loop.time() - began <= 2 * NUDGE_BEATS
        assert isinstance(reply, StreamReply)
        assert dict(reply.headers)[b"content-type"].startswith(b"text/event-stream")
        sent = [await anext(reply.pieces), await anext(reply.pieces)]  # its beginning, and a sign of life
        assert all(sent)
        if fails:
            line.fail(ContentRefused("No."))
        else:
            line.say("an answer")
            line.finish()
        rest = b"".join([piece async for piece in reply.pieces])
        assert (b"No." if fails else b"an answer") in rest
        reply.release()
        await world.close()

    play(main())


def test_what_fails_early_is_an_ordinary_reply() -> None:
    async def main() -> None:
        world = World()
        await world.answering.start()
        path, codec, body = DOORS[1]
        replying = start(door(world, path, codec)(request(path, body), CALLER, None))
        (await world.vendor.call()).fail(ContentRefused("No."))
        reply = await replying
        assert isinstance(reply, Reply)
        assert reply.status == 400
        await world.close()

    play(main())


def test_the_prompts_tokens_are_told_at_the_beginning_where_the_vendor_tells_them() -> None:
    async def main() -> None:
        world = World()
        path, codec, body = DOORS[2]
        replying = start(door(world, path, codec)(request(path, body), CALLER, None))
        line = await world.vendor.call()
        line.send(Usage(50, 9, cached_tokens=20, reasoning_tokens=5, estimated=True))
        line.say("an answer")
        reply = await replying
        assert isinstance(reply, StreamReply)
        begun = await anext(reply.pieces)
        usage = json.loads(begun.split(b"data: ")[1].split(b"\n")[0])["message"]["usage"]
        assert (usage["input_tokens"], usage["cache_read_input_tokens"], usage["output_tokens"]) == (30, 20, 0)
        assert "output_tokens_details" not in usage
        line.finish()
        assert b"message_stop" in b"".join([piece async for piece in reply.pieces])
        reply.release()
        await world.close()

    play(main())
