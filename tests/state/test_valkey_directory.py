"""The directory on a real Redis: what a process remembers of it, and for how long."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.state.redisserver import RedisServer
from tests.state.statefakes import HandClock
from tests.state.test_identity_conformance import a_card, digest
from tests.state.valkeyaccounts import connected, run

from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Edition, Holder
from askonce.state.valkey import directory as module
from askonce.state.valkey.directory import FRESH_NS, KNOWN_NS, ValkeyDirectory
from askonce.state.valkey.server import Hour, Script, Server, Word, away
from askonce.state.valkey.single import SingleServer

FRESH_S, KNOWN_S = FRESH_NS / 1e9, KNOWN_NS / 1e9


class Counting:
    """Pass calls on and count them; or be away."""

    shards = 1

    def __init__(self, server: Server) -> None:
        self.server, self.calls, self.away = server, 0, False

    async def call(self, *words: Word) -> Any:
        self._count()
        return await self.server.call(*words)

    async def act(self, script: Script, keys: Sequence[bytes], args: Sequence[Word] = ()) -> Any:
        self._count()
        return await self.server.act(script, keys, args)

    def subscriber(self) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError

    def _count(self) -> None:
        self.calls += 1
        if self.away:
            raise away("the test says so")


@pytest.fixture
def server(redis: RedisServer) -> Iterator[SingleServer]:
    redis.flush()
    with connected(redis) as server:
        run(ValkeyDirectory(server, Hour(), HandClock()).replace(RECORDS, Edition("db", 1)))
        yield server


TENANT, USER = Holder("tenant:team", version=1), Holder("user:u1", version=1)
RECORDS = (a_card(1, user_id="u1"), a_card(2), TENANT, USER)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def line(server: SingleServer) -> Counting:
    return Counting(server)


@pytest.fixture
def directory(line: Counting, clock: HandClock) -> ValkeyDirectory:
    return ValkeyDirectory(line, Hour(), clock)


def test_what_was_found_costs_no_call_for_a_tenth_of_a_second_and_then_one(
    directory: ValkeyDirectory, line: Counting, clock: HandClock
) -> None:
    for calls in (2, 0, 0):
        line.calls = 0
        assert run(directory.find(digest(1))).card == a_card(1, user_id="u1")
        run(directory.stamp())
        assert line.calls == calls
    run(directory.holders("user:u1", "tenant:team"))
    line.calls = 0
    assert run(directory.holders("user:u1", "tenant:team")) == (USER, TENANT)
    assert line.calls == 0
    clock.pass_s(FRESH_S)
    run(directory.find(digest(1)))
    assert line.calls == 1


def test_what_another_node_revokes_is_revoked_here_after_a_tenth_of_a_second(
    directory: ValkeyDirectory, server: SingleServer, clock: HandClock
) -> None:
    assert run(directory.find(digest(1))).card.revoked_ms == 0
    run(directory.holders("user:u1"))
    other = ValkeyDirectory(server, Hour(), clock)
    run(other.put("db", a_card(1, 2, user_id="u1", revoked_ms=7), Holder("user:u1", disabled_ms=7, version=2)))
    clock.pass_s(FRESH_S)
    assert run(directory.find(digest(1))).card.revoked_ms == 7
    assert run(directory.holders("user:u1"))[0].disabled_ms == 7


def test_what_is_known_stays_in_force_for_a_minute_while_the_server_is_away(
    directory: ValkeyDirectory, line: Counting, clock: HandClock
) -> None:
    run(directory.find(digest(1)))
    line.away = True
    clock.pass_s(KNOWN_S - 0.001)
    assert run(directory.find(digest(1))) is not None
    for unknown in (directory.find(digest(2)), directory.holders("user:u1"), directory.has_keys()):
        with pytest.raises(StoreUnavailable):
            run(unknown)
    clock.pass_s(0.001)
    for known in (directory.find(digest(1)), directory.stamp()):
        with pytest.raises(StoreUnavailable):
            run(known)
    line.away = False
    assert run(directory.find(digest(1))) is not None


def test_what_changes_while_it_is_looked_up_is_not_remembered(
    directory: ValkeyDirectory, server: SingleServer, clock: HandClock
) -> None:
    """The number of changes is read with what is found; one of them alone could be of another moment."""
    run(directory.stamp())
    other = ValkeyDirectory(server, Hour(), clock)
    run(other.put("db", a_card(1, 2, revoked_ms=7)))
    assert run(directory.find(digest(1))).card.revoked_ms == 7
    run(other.put("db", a_card(1, 3, revoked_ms=0)))
    assert run(directory.find(digest(1))).card.revoked_ms == 0


def test_a_server_that_lost_everything_is_not_taken_for_what_it_was(
    redis: RedisServer, directory: ValkeyDirectory, server: SingleServer, clock: HandClock
) -> None:
    stamp = run(directory.stamp())
    run(directory.find(digest(1)))
    redis.flush()
    clock.pass_s(FRESH_S)
    with pytest.raises(StoreUnavailable):
        run(directory.find(digest(1)))
    assert run(directory.has_keys()) is None
    other = ValkeyDirectory(server, Hour(), clock)
    run(other.replace([a_card(2)], Edition("db", 1)))
    clock.pass_s(FRESH_S)
    assert run(directory.find(digest(1))) is None
    assert run(directory.stamp()) > stamp


def test_only_so_many_keys_are_remembered(
    directory: ValkeyDirectory, line: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 1)
    for number in (1, 2, 1):
        run(directory.find(digest(number)))
    assert line.calls == 4


def test_a_server_without_memory_still_revokes(server: SingleServer, redis: RedisServer, clock: HandClock) -> None:
    try:
        redis.ask("CONFIG", "SET", "maxmemory", "1")
        directory = ValkeyDirectory(server, Hour(), clock)
        run(directory.put("db", a_card(1, 2, revoked_ms=5)))
        assert run(directory.find(digest(1))).card.revoked_ms == 5
    finally:
        redis.ask("CONFIG", "SET", "maxmemory", "0")
