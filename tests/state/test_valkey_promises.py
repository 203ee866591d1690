"""What is particular to promises over a real Redis: TTLs, many nodes, and a server that is away."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from tests.state.redisserver import RedisServer, running
from tests.state.statefakes import an_entry, key

from askonce.domain.answer import Entry
from askonce.domain.clock import SystemClock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Filters, Promise
from askonce.state.valkey.address import parse
from askonce.state.valkey.promises import LOOKED_AT, ValkeyPromises
from askonce.state.valkey.server import Hour
from askonce.state.valkey.single import SingleServer

CLOCK = SystemClock()
DAY_MS = 86_400_000
DEADLINE_S = 0.5  # where the server is frozen
PATIENCE_S = 30.0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    with running(tmp_path / "redis") as server:
        yield server


def play(
    redis: RedisServer,
    scene: Callable[[SingleServer, ValkeyPromises], Awaitable[None]],
    deadline_s: float = PATIENCE_S,
) -> None:
    async def main() -> None:
        server = SingleServer(parse(redis.url), deadline_s)
        await server.open()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await scene(server, ValkeyPromises(server, Hour(), CLOCK))
        finally:
            await server.close()

    redis.flush()
    asyncio.run(main())


def an_answer(number: int, text: str = "hello") -> Entry:
    return an_entry(number, CLOCK.wall_ms(), text)


def promise(number: int, question: int = 7) -> Promise:
    return Promise(key(1000 + number), key(question))


def test_an_answer_is_stored_once_and_everything_runs_out_with_its_last_promise(redis: RedisServer) -> None:
    async def scene(server: SingleServer, promises: ValkeyPromises) -> None:
        answer, now_ms = an_answer(1), CLOCK.wall_ms()
        assert await promises.keep(answer, {promise(number): now_ms + DAY_MS - number for number in range(20)})
        assert await promises.keep(answer, {promise(20): now_ms + DAY_MS // 2})
        keys = await server.call("KEYS", b"*")
        assert len(keys) == 21 + 2
        ends = [await server.call("PEXPIRETIME", found) for found in keys]
        assert max(ends) == now_ms + DAY_MS
        assert min(ends) == now_ms + DAY_MS // 2
        answers = [found for found in keys if b"{r" in found]
        assert [await server.call("PEXPIRETIME", found) for found in answers] == 2 * [now_ms + DAY_MS]

    play(redis, scene)


def test_what_was_promised_for_a_moment_is_forgotten_by_the_server(redis: RedisServer) -> None:
    async def scene(server: SingleServer, promises: ValkeyPromises) -> None:
        assert await promises.keep(an_answer(1), {promise(1): CLOCK.wall_ms() + 100})
        while await server.call("DBSIZE"):
            await asyncio.sleep(0.02)
        assert await promises.find(promise(1).key) is None
        assert await promises.keep(an_answer(2), {promise(1, question=8): CLOCK.wall_ms() + DAY_MS})
        assert await promises.question(promise(1).key) == key(8)

    play(redis, scene)


def test_of_many_who_promise_at_once_under_one_name_all_tell_the_same(redis: RedisServer) -> None:
    async def scene(server: SingleServer, promises: ValkeyPromises) -> None:
        until_ms = CLOCK.wall_ms() + DAY_MS
        answers = [an_answer(number, f"answer {number}") for number in range(20)]
        kept = await asyncio.gather(
            *(promises.keep(answer, {promise(1, question=at): until_ms}) for at, answer in enumerate(answers))
        )
        assert all(kept)
        first = await promises.find(promise(1).key)
        assert first is not None
        at = answers.index(first.entry)
        assert first.promise == promise(1, question=at)
        other = (at + 1) % len(answers)
        assert await promises.keep(answers[other], {promise(1, question=other): until_ms + 1})
        assert await promises.find(promise(1).key) == first

    play(redis, scene)


def test_a_purge_goes_through_however_many_answers(redis: RedisServer) -> None:
    many = 20 * LOOKED_AT

    async def scene(server: SingleServer, promises: ValkeyPromises) -> None:
        until_ms = CLOCK.wall_ms() + DAY_MS
        for number in range(many):
            assert await promises.keep(an_answer(number), {promise(number): until_ms})
        await promises.purge("team", Filters(provider="another"))
        assert await promises.find(promise(many - 1).key) is not None
        await promises.purge("others", Filters())
        assert await promises.find(promise(0).key) is not None
        await promises.purge("team", Filters(provider="acme"))
        assert [number for number in range(many) if await promises.find(promise(number).key)] == []
        assert not [found for found in await server.call("KEYS", b"*") if b"{r" in found]
        assert await promises.keep(an_answer(1), {promise(1): until_ms}), "its name is free again"
        assert await promises.find(promise(1).key) is not None

    play(redis, scene)


def test_a_frozen_server_keeps_nobody_up_and_what_was_promised_is_there_again(own: RedisServer) -> None:
    async def scene(server: SingleServer, promises: ValkeyPromises) -> None:
        until_ms = CLOCK.wall_ms() + DAY_MS
        assert await promises.keep(an_answer(1), {promise(1): until_ms})
        own.freeze()
        try:
            began = time.monotonic()
            assert not await promises.keep(an_answer(2), {promise(2): until_ms})
            for _ in range(100):
                with pytest.raises(StoreUnavailable):
                    await promises.find(promise(1).key)
            assert time.monotonic() - began < 2 * DEADLINE_S
        finally:
            own.thaw()
        while not await promises.keep(an_answer(2), {promise(2): until_ms}):
            await asyncio.sleep(0.02)
        for named in (promise(1), promise(2)):
            kept = await promises.find(named.key)
            assert kept is not None
            assert kept.expires_ms == until_ms

    play(own, scene, DEADLINE_S)
