"""The duty on a real Redis: one worker of all nodes has it, and another soon where that one dies."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.state.redisserver import RedisServer
from tests.state.valkeyaccounts import connected, run

from askonce.state.valkey import duty as module
from askonce.state.valkey.duty import ValkeyDuty
from askonce.state.valkey.server import Server

LEASE_MS = 200


@pytest.fixture
def server(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(module, "LEASE_MS", LEASE_MS)
    redis.flush()
    with connected(redis) as server:
        yield server


def test_one_has_it_and_keeps_it_until_it_leaves(server: Server) -> None:
    one, other = ValkeyDuty(server, "a/1:1"), ValkeyDuty(server, "b/1:1")
    assert run(one.take("ledger")) == ""
    assert run(one.take("ledger")) == ""
    assert run(other.take("another ledger")) == "ledger"
    run(other.leave())
    assert run(other.take("ledger")) == "ledger", "nobody leaves for another"
    run(one.leave())
    assert run(other.take("ledger")) == ""
    assert run(one.take("ledger")) == "ledger"


def test_of_a_dead_one_it_lapses_and_its_successor_has_it_at_once(server: Server) -> None:
    one, successor, other = (ValkeyDuty(server, owner) for owner in ("a/1:1", "a/1:2", "a/11:1"))
    assert run(one.take("ledger")) == ""
    assert run(other.take("ledger")) == "ledger", "another place of the same node is another worker"
    assert run(successor.take("ledger")) == ""

    async def wait() -> None:
        async with asyncio.timeout(20 * LEASE_MS / 1000):
            while await other.take("ledger"):
                await asyncio.sleep(LEASE_MS / 10_000)

    run(wait())
    assert run(successor.take("ledger")) == "ledger"


def test_of_many_that_try_at_once_one_has_it(server: Server) -> None:
    many = [ValkeyDuty(server, f"n{number}/1:1") for number in range(20)]

    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(each.take("ledger") for each in many))

    assert sorted(run(all_at_once())) == [""] + ["ledger"] * 19
