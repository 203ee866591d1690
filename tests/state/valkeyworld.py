"""Shared state on a real Redis, as tests see it: with a clock set by hand, in whatever loop they run."""

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from tests.state.rediscluster import RedisCluster
from tests.state.redisserver import RedisServer

from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared
from askonce.state.lmdb_outbox import OUTBOX_BYTES
from askonce.state.valkey.address import parse
from askonce.state.valkey.answers import ValkeyAnswers
from askonce.state.valkey.books import ValkeyBooks
from askonce.state.valkey.budgets import ValkeyBudgets
from askonce.state.valkey.opening import AnyServer, server_of
from askonce.state.valkey.outbox import ValkeyOutbox
from askonce.state.valkey.promises import ValkeyPromises
from askonce.state.valkey.server import BOOKS, Hour, Script, Word
from askonce.state.valkey.threshold import ValkeyThreshold
from askonce.state.valkey.windows import ValkeyWindows

DEADLINE_S = 2.0  # a machine that runs tests is busy


class AnyLoop:
    """Speak with a server in whatever loop runs: each has a connection of its own."""

    def __init__(self, url: str, deadline_s: float = DEADLINE_S) -> None:
        self._address = parse(url)
        self._deadline_s = deadline_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: AnyServer | None = None
        self._guard: asyncio.Task[None] | None = None
        self.shards = server_of(self._address, deadline_s).shards

    async def call(self, *words: Word) -> Any:
        return await (await self._own()).call(*words)

    async def act(self, script: Script, keys: Sequence[bytes], args: Sequence[Word] = ()) -> Any:
        return await (await self._own()).act(script, keys, args)

    def subscriber(self) -> Any:
        assert self._server is not None
        return self._server.subscriber()

    async def close(self) -> None:
        if self._server is not None and self._loop is asyncio.get_running_loop():
            await self._server.close()

    async def _own(self) -> AnyServer:
        loop = asyncio.get_running_loop()
        if self._server is None or self._loop is not loop:
            self._loop, self._server = loop, server_of(self._address, self._deadline_s)
            self._guard = loop.create_task(_close_with_the_loop(self._server))
            await self._server.open()
        return self._server


async def _close_with_the_loop(server: AnyServer) -> None:
    """Wait to be cancelled, as everything is at the end of `asyncio.run`."""
    try:
        await asyncio.Event().wait()
    finally:
        await server.close()


class Parts(Struct):
    server: AnyLoop
    answers: ValkeyAnswers
    windows: ValkeyWindows
    outbox: ValkeyOutbox
    books: ValkeyBooks
    threshold: ValkeyThreshold
    promises: ValkeyPromises
    lost: list[tuple[CallRow | Spared, StoreUnavailable]]


def valkey_parts(
    redis: RedisServer | RedisCluster, clock: Clock, capacity: int = 2 << 20, outbox_bytes: int = OUTBOX_BYTES
) -> Parts:
    """Make the parts over an emptied server."""
    redis.flush()
    redis.ask("SET", (BOOKS + b"since").decode(), str(clock.wall_ms()))
    server, hour = AnyLoop(redis.url), Hour(clock)
    answers = ValkeyAnswers(server, hour, clock, capacity)
    windows = ValkeyWindows(server, hour)
    outbox = ValkeyOutbox(server, outbox_bytes)
    lost: list[tuple[CallRow | Spared, StoreUnavailable]] = []
    budgets = ValkeyBudgets(server, hour, clock, "a/0:1")
    books = ValkeyBooks(server, answers, outbox, budgets, lambda ending, error: lost.append((ending, error)))
    threshold = ValkeyThreshold(server, hour, windows, answers)
    promises = ValkeyPromises(server, hour, clock)
    return Parts(server, answers, windows, outbox, books, threshold, promises, lost)
