"""One stream, two nodes, and a Redis that freezes in the middle of it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.state.redisserver import RedisServer, running
from tests.system.clients import Answered, post, run
from tests.system.houses import USAGE, Build, eventually, script

pytestmark = pytest.mark.process

SETTINGS = """
secret = "one secret for all of the nodes and long enough"
state_timeout = "300ms"
limit_llm = "off"
limit_standard = "off"
"""
PIECES = [f"piece {at}; " for at in range(40)]
PLAYING = script(f"chunk_ms = 100\nchunks = {PIECES}\n{USAGE}")
FROZEN_S = 0.7


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with running(tmp_path / "redis") as server:
        yield server


def test_a_stream_that_two_nodes_share_outlasts_a_frozen_redis(build: Build, redis: RedisServer) -> None:
    one, two = (build(SETTINGS, PLAYING, {"STATE_URL": redis.url}).start() for _ in range(2))

    async def play() -> tuple[Answered, Answered]:
        asked = {"prompt": "long", "stream": True}
        leading = asyncio.ensure_future(post(one.port, asked))
        await asyncio.to_thread(eventually, lambda: b"}p" in redis.ask("KEYS", "*"), "the call is under way")
        following = asyncio.ensure_future(post(two.port, asked))
        await asyncio.to_thread(eventually, lambda: b"}w" in redis.ask("KEYS", "*"), "it is followed")
        await asyncio.sleep(0.5)  # until a part was heard
        redis.freeze()
        try:
            await asyncio.sleep(FROZEN_S)
        finally:
            redis.thaw()
        return await asyncio.gather(leading, following)

    led, followed = run(play())
    assert led.whole
    assert followed.whole
    assert led.whole_answer()["code"] == followed.whole_answer()["code"] == "".join(PIECES).rstrip()
    assert followed.text.count("event: delta") > 1, "it came as it was made"
    eventually(lambda: one.stats()["misses"] == 1, "the call is booked")
    assert two.stats()["coalesced"] == 1
