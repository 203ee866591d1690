"""What is particular to flights over a real Redis: bounds, TTLs, and processes of other nodes, dead ones too."""

import asyncio
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import pytest
from tests.state import flightprocesses as roles
from tests.state.flightworld import FLIGHT, PATIENCE_S, a_landing, play, process, rest_of, subscribed, until
from tests.state.rediscluster import RedisCluster
from tests.state.redisserver import RedisServer
from tests.state.statefakes import key

from askonce.domain.answer import Delta
from askonce.domain.ports import LeaderLost
from askonce.state.lmdb_log import LOG_MAX
from askonce.state.valkey import ear, flight_scripts, flights
from askonce.state.valkey.flights import ValkeyFlights

SPAWN = multiprocessing.get_context("spawn")


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


def test_what_is_given_back_is_only_what_was_taken_in_doubt(redis: RedisServer) -> None:
    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        lease = await one.board(FLIGHT)
        for owner, attempt in ((b"a/0:1", 7), (b"b/0:1", 1)):
            words = (flight_scripts.GIVE_BACK, FLIGHT, owner, attempt, FLIGHT)
            assert await one._act(*words) == 0
        assert await one.renew(FLIGHT, lease.generation)
        assert not (await two.board(FLIGHT)).led

    play(redis, scene)


@pytest.fixture(params=["redis", pytest.param("cluster", marks=pytest.mark.soak)])
def either(request: pytest.FixtureRequest) -> RedisServer | RedisCluster:
    found: RedisServer | RedisCluster = request.getfixturevalue(request.param)
    return found


def test_a_successor_ends_the_leases_of_the_dead_and_no_others(either: RedisServer | RedisCluster) -> None:
    async def scene(one: ValkeyFlights, two: ValkeyFlights) -> None:
        async with contextlib.AsyncExitStack() as stack:
            others = [
                await stack.enter_async_context(process(either, owner, PATIENCE_S))
                for owner in ("a/0:9", "a/10:1", "b/0:0")
            ]
            flying = {key(number): led for number, led in enumerate([one, *others])}
            leases = {flight: await led.board(flight) for flight, led in flying.items()}
            pieces = [two.follow(flight, lease.generation) for flight, lease in leases.items()]
            waiting = [asyncio.ensure_future(anext(each)) for each in pieces]
            for flight, led in flying.items():
                await until(lambda led=led, flight=flight: led.followed(flight, leases[flight].generation))  # type: ignore[misc]
            await until(lambda: subscribed(either))
            began = time.monotonic()
            async with process(either, "a/0:2", PATIENCE_S) as successor:
                await successor.release_slot()
            with pytest.raises(LeaderLost):
                await waiting[0]
            assert time.monotonic() - began < 2, "its lease would have run for three seconds"
            assert (await two.board(key(0))).led
            for flight, led in list(flying.items())[1:]:
                assert await led.renew(flight, leases[flight].generation)
                await led.append(flight, leases[flight].generation, (Delta("on"),))
            assert await asyncio.gather(*waiting[1:]) == 3 * [Delta("on")]
            for each in pieces:
                await each.aclose()  # type: ignore[attr-defined]

    play(either, scene)


def test_what_began_long_ago_says_nothing_of_who_is_dead(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(one: ValkeyFlights, _: ValkeyFlights) -> None:
        one._ear._note(b"a/0:5")
        assert [one._ear.is_dead(owner) for owner in (b"a/0:4", b"a/0:5", b"a/1:4", b"")] == [True, False, False, False]
        monkeypatch.setattr(ear, "LEASE_NS", 0)
        assert not one._ear.is_dead(b"a/0:4")
        one._ear._note(b"a/1:5")
        assert list(one._ear._begun) == [b"a/1"]

    play(redis, scene)


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
