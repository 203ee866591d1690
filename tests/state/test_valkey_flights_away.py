"""What becomes of flights whose Redis is killed, frozen or emptied, and how followers hear of them again."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.state.flightworld import FLIGHT, PATIENCE_S, a_landing, play, rest_of, subscribed, until
from tests.state.redisserver import RedisServer, running
from tests.state.statefakes import key

from askonce.domain.answer import Delta
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Landing, LeaderLost
from askonce.state.valkey import ear, flights
from askonce.state.valkey.address import parse
from askonce.state.valkey.flights import ValkeyFlights
from askonce.state.valkey.server import Unsent
from askonce.state.valkey.single import SingleServer

DEADLINE_S = 0.5  # where a server is frozen
NEVER_S = 60.0


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a server that may be frozen and killed."""
    with running(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def test_a_log_that_is_appended_in_doubt_is_not_told_twice(own: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "PATIENCE_S", PATIENCE_S)

    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        lease = await one.board(FLIGHT)
        await one.append(FLIGHT, lease.generation, (Delta("one "),))
        pieces = two.follow(FLIGHT, lease.generation)
        assert await anext(pieces) == Delta("one ")
        own.freeze()
        try:
            began, waiting = time.monotonic(), asyncio.ensure_future(rest_of(pieces))
            with pytest.raises(StoreUnavailable):
                await one.append(FLIGHT, lease.generation, (Delta("two "),))
            with pytest.raises(Unsent):
                await one.land(FLIGHT, lease.generation, Landing(a_landing("one two three").entry, cut=True))
            assert time.monotonic() - began < 2 * DEADLINE_S
            await asyncio.sleep(DEADLINE_S)
            assert not waiting.done(), "who has heard a part bears with it"
        finally:
            own.thaw()
        assert (await waiting)[0] == "two three"

    play(own, scene, DEADLINE_S)


@pytest.mark.parametrize("heard", [False, True])
def test_a_follower_of_a_killed_server_is_told_soon(own: RedisServer, heard: bool) -> None:
    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        lease = await one.board(FLIGHT)
        pieces = two.follow(FLIGHT, lease.generation)
        if heard:
            await one.append(FLIGHT, lease.generation, (Delta("half"),))
            assert await anext(pieces) == Delta("half")
        waiting = asyncio.ensure_future(anext(pieces))
        await until(lambda: one.followed(FLIGHT, lease.generation))
        own.kill()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await waiting
        assert time.monotonic() - began < (flights.PATIENCE_S if heard else 0) + flights.WATCH_S + 1

    play(own, scene)


def test_a_stream_that_is_followed_survives_a_server_that_starts_again(own: RedisServer) -> None:
    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        lease = await one.board(FLIGHT)
        await one.append(FLIGHT, lease.generation, (Delta("one "),))
        pieces = two.follow(FLIGHT, lease.generation)
        assert await anext(pieces) == Delta("one ")
        waiting = asyncio.ensure_future(rest_of(pieces))
        own.kill()
        own.start()
        await until(lambda: one.renew(FLIGHT, lease.generation))
        await one.append(FLIGHT, lease.generation, (Delta("two"),))
        landing = a_landing("one two")
        await one.land(FLIGHT, lease.generation, landing)
        assert await waiting == ("two", landing)

    play(own, scene)


def test_a_lease_that_was_taken_in_doubt_is_given_back(own: RedisServer) -> None:
    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        own.freeze()
        try:
            with pytest.raises(StoreUnavailable) as told:
                await one.board(FLIGHT)
            assert not isinstance(told.value, Unsent)
            with pytest.raises(Unsent):
                await one.board(key(2))
        finally:
            own.thaw()
        began = time.monotonic()

        async def led() -> bool:
            return (await two.board(FLIGHT)).led

        await until(led)
        assert time.monotonic() - began < 2, "a lease would have run for three seconds"

    play(own, scene, DEADLINE_S)


def test_a_follower_hears_again_after_the_server_was_killed(own: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "WATCH_S", NEVER_S)

    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        async def heard() -> None:
            lease = await one.board(FLIGHT)
            pieces = two.follow(FLIGHT, lease.generation)
            for text in ("one", "two", "three"):
                waiting = asyncio.ensure_future(anext(pieces))
                await until(lambda: one.followed(FLIGHT, lease.generation))
                await asyncio.sleep(0.1)
                await one.append(FLIGHT, lease.generation, (Delta(text),))
                assert await waiting == Delta(text)
            await one.land(FLIGHT, lease.generation, Landing(None, "x", "y"))
            await rest_of(pieces)

        await heard()
        own.kill()
        own.start()
        for flying in (one, two):
            await until(lambda flying=flying: flying._server.call("PING"))  # type: ignore[misc]
        await until(lambda: subscribed(own))
        await heard()

    play(own, scene)


def test_a_subscription_that_is_not_answered_is_opened_anew(own: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ear, "QUIET_S", 0.1)
    monkeypatch.setattr(ear, "SUBSCRIBED_S", 0.2)

    async def main() -> None:
        server = SingleServer(parse(own.url), DEADLINE_S)
        opened = 0

        def subscriber() -> Any:
            nonlocal opened
            opened += 1
            return SingleServer.subscriber(server)

        monkeypatch.setattr(server, "subscriber", subscriber)
        listening = ear.Ear(server, b"a/0:1")
        changed = listening.join(FLIGHT)
        await changed.wait()
        changed.clear()
        for _ in range(10):
            await asyncio.sleep(0.05)  # several quiet times: an answered one is kept
        assert opened == 1
        own.freeze()
        try:
            while opened < 3:
                await asyncio.sleep(0.02)
        finally:
            own.thaw()
        changed.clear()

        async def told() -> bool:
            own.ask("PUBLISH", (ear.CHANNEL + b"a/0:1").decode(), FLIGHT.decode("latin-1"))
            return changed.is_set()

        await until(told)
        listening.leave(FLIGHT, changed)
        await listening.close()

    async def bounded() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await main()

    asyncio.run(bounded())


def test_a_flight_whose_server_was_emptied_is_lost(redis: RedisServer) -> None:
    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        lease = await one.board(FLIGHT)
        waiting = asyncio.ensure_future(rest_of(two.follow(FLIGHT, lease.generation)))
        await until(lambda: one.followed(FLIGHT, lease.generation))
        redis.flush()
        with pytest.raises(LeaderLost):
            await waiting
        assert not await one.renew(FLIGHT, lease.generation)
        await one.append(FLIGHT, lease.generation, (Delta("late"),))
        await one.land(FLIGHT, lease.generation, a_landing("late"))
        assert await one._server.call("KEYS", b"*") == []

    play(redis, scene)
