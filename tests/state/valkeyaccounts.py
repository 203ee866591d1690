"""Budgets, keys and logins over a real Redis, for tests. All calls of a process' tests are made in one loop."""

import asyncio
import atexit
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any, cast

import pytest
from tests.state.rediscluster import RedisCluster
from tests.state.redisserver import RedisServer

from askonce.domain.clock import Clock
from askonce.domain.ledger import AuditRow, unpack_record
from askonce.state.valkey.address import parse
from askonce.state.valkey.budgets import ValkeyBudgets
from askonce.state.valkey.library import LibraryServer
from askonce.state.valkey.server import BOOKS, Hour, Server
from askonce.state.valkey.single import SingleServer

OUTBOX = (BOOKS + b"oh", BOOKS + b"ol")
DEADLINE_S = 5.0  # a busy machine is not what is tested

_runner = asyncio.Runner()
atexit.register(_runner.close)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it in the loop in which connections live."""
    return _runner.run(coroutine)


@contextlib.contextmanager
def connected(redis: RedisServer, deadline_s: float = DEADLINE_S) -> Iterator[SingleServer]:
    """Hold a connection."""
    server = SingleServer(parse(redis.url), deadline_s)
    run(server.open())
    try:
        yield server
    finally:
        run(server.close())


@contextlib.contextmanager
def connected_to_cluster(cluster: RedisCluster) -> Iterator[LibraryServer]:
    """Hold a connection to an emptied Cluster."""
    cluster.flush()
    server = LibraryServer(parse(cluster.url), DEADLINE_S)
    try:
        yield server
    finally:
        run(server.close())


@contextlib.contextmanager
def over_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """Hold a connection to what a test's parameter names: an emptied server, or an emptied `cluster`."""
    if request.param == "cluster":
        with connected_to_cluster(request.getfixturevalue("cluster")) as cluster:
            yield cluster
    else:
        redis: RedisServer = request.getfixturevalue("redis")
        redis.flush()
        with connected(redis) as server:
            yield server


def budgets_of(server: Server, clock: Clock, owner: str) -> ValkeyBudgets:
    """Make an owner that lives by a clock set by hand."""
    return ValkeyBudgets(server, Hour(clock), clock, owner)


def told(server: Server) -> list[AuditRow]:
    """Return the alerts."""
    return [cast(AuditRow, unpack_record(row)) for row in run(server.call("LRANGE", OUTBOX[1], 0, -1))]


def keys_of(server: Server) -> int:
    """Count the keys, but those of the outbox."""
    count: int = run(server.call("DBSIZE")) - run(server.call("EXISTS", *OUTBOX))
    return count
