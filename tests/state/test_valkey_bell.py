"""The bell on a real Redis: who listens is woken, also after a time without hearing anything."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.state.redisserver import RedisServer, running

from askonce.state.valkey.address import parse
from askonce.state.valkey.bell import Bell
from askonce.state.valkey.single import SingleServer

DEADLINE_S = 10.0


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not holds():
            await asyncio.sleep(0.01)


def test_all_who_listen_are_woken_once_more_after_the_server_was_away(tmp_path: Path) -> None:
    heard = {"one": 0, "other": 0}

    def hearing(name: str) -> Callable[[], None]:
        def hear() -> None:
            heard[name] += 1

        return hear

    async def story(redis: RedisServer) -> None:
        servers = [SingleServer(parse(redis.url), DEADLINE_S) for _ in range(3)]
        for server in servers:
            await server.open()
        ringing, one, other = bells = [Bell(server) for server in servers]
        one.listen(hearing("one"))
        other.listen(hearing("other"))
        await until(lambda: all(heard.values()))  # they may have missed something before
        before = dict(heard)
        ringing.ring()
        await until(lambda: all(heard[name] > before[name] for name in heard))
        redis.kill()
        ringing.ring()  # nobody hears it, and nobody minds
        before = dict(heard)
        redis.start()
        await until(lambda: all(heard[name] > before[name] for name in heard))
        for bell, server in zip(bells, servers, strict=True):
            await bell.close()
            await server.close()

    with running(tmp_path / "redis") as redis:
        asyncio.run(story(redis))
