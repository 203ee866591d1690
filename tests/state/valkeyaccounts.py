"""Budgets, keys and logins over a real Redis, for tests. All calls of a process' tests are made in one loop."""

import asyncio
import atexit
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any, cast

from tests.state.redisserver import RedisServer

from askonce.domain.clock import Clock
from askonce.domain.ledger import AuditRow, unpack_record
from askonce.state.valkey.address import parse
from askonce.state.valkey.budgets import ValkeyBudgets
from askonce.state.valkey.server import BOOKS, Hour
from askonce.state.valkey.single import SingleServer

OUTBOX = (BOOKS + b"oh", BOOKS + b"ol")
DEADLINE_S = 5.0  # a busy machine is not what is tested

_runner = asyncio.Runner()
atexit.register(_runner.close)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run it in the loop in which connections live."""
    return _runner.run(coroutine)


async def connect(redis: RedisServer, deadline_s: float = DEADLINE_S) -> SingleServer:
    """Connect to a server."""
    server = SingleServer(parse(redis.url), deadline_s)
    await server.open()
    return server


@contextlib.contextmanager
def connected(redis: RedisServer, deadline_s: float = DEADLINE_S) -> Iterator[SingleServer]:
    """Hold a connection."""
    server = run(connect(redis, deadline_s))
    try:
        yield server
    finally:
        run(server.close())


def budgets_of(server: SingleServer, clock: Clock, owner: str) -> ValkeyBudgets:
    """Make an owner that lives by a clock set by hand."""
    return ValkeyBudgets(server, Hour(clock), clock, owner)


def told(server: SingleServer) -> list[AuditRow]:
    """Return the alerts."""
    return [cast(AuditRow, unpack_record(row)) for row in run(server.call("LRANGE", OUTBOX[1], 0, -1))]


def keys_of(server: SingleServer) -> int:
    """Count the keys, but those of the outbox."""
    count: int = run(server.call("DBSIZE")) - run(server.call("EXISTS", *OUTBOX))
    return count
