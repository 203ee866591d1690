"""What is particular to flights over a real Redis: other nodes, and a server that is away for a moment or for good."""

import asyncio
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from tests.state import flightprocesses as roles
from tests.state.redisserver import RedisServer, running
from tests.state.statefakes import an_entry, key

from askonce.domain.answer import Delta
from askonce.domain.clock import SystemClock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Landing, LeaderLost
from askonce.state.lmdb_log import LOG_MAX
from askonce.state.valkey import ear, flight_scripts, flights
from askonce.state.valkey.address import parse
from askonce.state.valkey.flights import ValkeyFlights
from askonce.state.valkey.server import Hour, Unsent
from askonce.state.valkey.single import SingleServer

FLIGHT = key(1)
DEADLINE_S = 0.5  # where a server is frozen
PATIENCE_S = 30.0
NEVER_S = 60.0
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def own(tmp_path: Path) -> Iterator[RedisServer]:
    """Return a server that may be frozen and killed."""
    with running(tmp_path / "redis", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@contextlib.asynccontextmanager
async def process(redis: RedisServer, owner: str, deadline_s: float) -> AsyncIterator[ValkeyFlights]:
    server = SingleServer(parse(redis.url), deadline_s)
    await server.open()
    flying = ValkeyFlights(server, Hour(), owner)
    try:
        yield flying
    finally:
        await flying.close()
        await server.close()


Scene: TypeAlias = Callable[[ValkeyFlights, ValkeyFlights], Awaitable[None]]


def play(redis: RedisServer, scene: Scene, deadline_s: float = PATIENCE_S) -> None:
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


def a_landing(text: str) -> Landing:
    return Landing(an_entry(1, SystemClock().wall_ms(), text))


async def rest_of(pieces: AsyncIterator[Any]) -> tuple[str, Landing]:
    text = ""
    async for piece in pieces:
        if isinstance(piece, Landing):
            return text, piece
        text += piece.text
    raise AssertionError("ended without a landing")


def test_a_log_over_its_bound_is_cut_and_followers_get_the_rest_with_the_landing(redis: RedisServer) -> None:
    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        lease = await one.board(FLIGHT)
        texts = [str(number) * (1 << 20) for number in range(8)] * 3
        for text in texts:
            await one.append(FLIGHT, lease.generation, (Delta(text),))
        (log,) = (found for found in await one._server.call("KEYS", b"*") if b"}p" in found)
        assert await one._server.call("LLEN", log) == (LOG_MAX >> 20) - 1, "of a megabyte and some bytes each"
        landing = a_landing("".join(texts))
        await one.land(FLIGHT, lease.generation, landing)
        assert await rest_of(two.follow(FLIGHT, lease.generation)) == ("".join(texts), landing)

    play(redis, scene)


def test_everything_of_a_flight_runs_out(redis: RedisServer) -> None:
    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        lease = await one.board(FLIGHT)
        await two.board(FLIGHT)
        await one.append(FLIGHT, lease.generation, (Delta("a"),))
        waiting = asyncio.ensure_future(rest_of(two.follow(FLIGHT, lease.generation)))
        await until(lambda: one.followed(FLIGHT, lease.generation))
        keys = await one._server.call("KEYS", b"*")
        assert len(keys) == 4
        assert all([0 < await one._server.call("PTTL", found) <= 8000 for found in keys])
        await one.land(FLIGHT, lease.generation, a_landing("a"))
        await waiting

    play(redis, scene)


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


def test_what_is_given_back_is_only_what_was_taken_in_doubt(redis: RedisServer) -> None:
    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        lease = await one.board(FLIGHT)
        for owner, attempt in ((b"a/0:1", 7), (b"b/0:1", 1)):
            words = (flight_scripts.GIVE_BACK, FLIGHT, owner, attempt, FLIGHT)
            assert await one._act(*words) == 0
        assert await one.renew(FLIGHT, lease.generation)
        assert not (await two.board(FLIGHT)).led

    play(redis, scene)


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

    async def subscribed(redis: RedisServer) -> bool:
        return b"ear:b/0:1" in redis.ask("PUBSUB", "CHANNELS", "*")

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


class Crew:
    """Start processes, and leave none behind."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.processes: list[SpawnProcess] = []

    def start(self, role: Callable[[str, str, Connection], None], owner: str) -> Connection:
        ours, theirs = SPAWN.Pipe()
        started = SPAWN.Process(target=role, args=(self.url, owner, theirs), daemon=True)
        started.start()
        theirs.close()
        self.processes.append(started)
        return ours


@pytest.fixture
def crew(redis: RedisServer) -> Iterator[Crew]:
    redis.flush()
    crew = Crew(redis.url)
    yield crew
    for started in crew.processes:
        started.kill()
        started.join(PATIENCE_S)
        started.close()


def hear(line: Connection) -> Any:
    assert line.poll(PATIENCE_S), "a process said nothing"
    return line.recv()


@pytest.mark.process
def test_a_piece_reaches_followers_on_other_nodes_at_once(crew: Crew) -> None:
    leader = crew.start(roles.lead, "a/0:1")
    assert hear(leader) is True
    followers = [crew.start(roles.measure, f"{node}/0:1") for node in ("b", "c")]
    assert [hear(line) for line in followers] == [False, False]
    leader.send("go")
    for line in followers:
        took = hear(line)
        assert len(took) == roles.PIECES
        assert statistics.median(took) / 1e9 < flights.WATCH_S / 4, "looking now and then is slower"


@pytest.mark.process
def test_a_killed_leader_has_one_successor(crew: Crew) -> None:
    leader = crew.start(roles.lead_until_killed, "a/0:1")
    assert hear(leader) is True
    followers = [crew.start(roles.outlive, f"{node}/0:1") for node in ("b", "c", "d")]
    assert [hear(line) for line in followers] == ["half"] * 3
    crew.processes[0].kill()
    assert sorted(hear(line) for line in followers) == [False, False, True]


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
