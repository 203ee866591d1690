"""Two nodes with flights over one real Redis, as tests play with them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from tests.state.rediscluster import RedisCluster
from tests.state.redisserver import RedisServer
from tests.state.statefakes import an_entry, key

from askonce.domain.clock import SystemClock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Landing
from askonce.state.valkey.address import parse
from askonce.state.valkey.flights import ValkeyFlights
from askonce.state.valkey.opening import server_of
from askonce.state.valkey.server import Hour

FLIGHT = key(1)
PATIENCE_S = 30.0


@contextlib.asynccontextmanager
async def process(redis: RedisServer | RedisCluster, owner: str, deadline_s: float) -> AsyncIterator[ValkeyFlights]:
    server = server_of(parse(redis.url), deadline_s)
    await server.open()
    flying = ValkeyFlights(server, Hour(), owner)
    try:
        yield flying
    finally:
        await flying.close()
        await server.close()


Scene: TypeAlias = Callable[[ValkeyFlights, ValkeyFlights], Awaitable[None]]


def play(redis: RedisServer | RedisCluster, scene: Scene, deadline_s: float = PATIENCE_S) -> None:
    async def main() -> None:
        redis.flush()
        async with process(redis, "a/0:1", deadline_s) as one, process(redis, "b/0:1", deadline_s) as two:
            async with asyncio.timeout(PATIENCE_S):
                await scene(one, two)

    asyncio.run(main())


async def until(reached: Callable[[], Awaitable[Any]]) -> None:
    """Wait until something is so, whatever the server does meanwhile."""
    while True:
        with contextlib.suppress(StoreUnavailable):
            if await reached():
                return
        await asyncio.sleep(0.02)


async def subscribed(redis: RedisServer | RedisCluster) -> bool:
    """Say whether the second process listens."""
    nodes = redis.nodes if isinstance(redis, RedisCluster) else [redis]
    return any(b"ear:b/0:1" in node.ask("PUBSUB", "CHANNELS", "*") for node in nodes)


def a_landing(text: str) -> Landing:
    return Landing(an_entry(1, SystemClock().wall_ms(), text))


async def rest_of(pieces: AsyncIterator[Any]) -> tuple[str, Landing]:
    text = ""
    async for piece in pieces:
        if isinstance(piece, Landing):
            return text, piece
        text += piece.text
    raise AssertionError("ended without a landing")
