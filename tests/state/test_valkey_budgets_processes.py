"""Budgets of real processes on several nodes over a real Redis: caps hold, and what killed ones held comes back."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import pytest
from tests.state import budgetprocesses as roles
from tests.state.redisserver import RedisServer
from tests.state.test_budgets_conformance import stand
from tests.state.valkeyaccounts import budgets_of, connected, run, told

from askonce.domain.budget import Amounts, Refusal
from askonce.domain.clock import SystemClock
from askonce.state.valkey.single import SingleServer

pytestmark = pytest.mark.process

PATIENCE_S = 30.0
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def server(redis: RedisServer) -> Iterator[SingleServer]:
    redis.flush()
    with connected(redis) as server:
        yield server


class Crowd:
    """Hold processes of several nodes."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.processes: list[SpawnProcess] = []
        self.lines: list[Connection] = []

    def add(self, role: Callable[[str, str, Connection], None], owner: str) -> None:
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=role, args=(self.url, owner, theirs), daemon=True)
        process.start()
        theirs.close()
        self.processes.append(process)
        self.lines.append(ours)

    def hear(self, number: int) -> Any:
        assert self.lines[number].poll(PATIENCE_S), "a process said nothing"
        return self.lines[number].recv()

    def kill(self, number: int) -> int:
        """Kill one; return the sum of what it had still said."""
        self.processes[number].kill()
        self.processes[number].join(PATIENCE_S)
        said = 0
        with contextlib.suppress(EOFError, OSError):  # its last word may be cut off
            while self.lines[number].poll():
                said += self.lines[number].recv()
        return said


@pytest.fixture
def crowd(redis: RedisServer, server: SingleServer) -> Iterator[Crowd]:
    crowd = Crowd(redis.url)
    yield crowd
    for process in crowd.processes:
        process.kill()
        process.join(PATIENCE_S)
        process.close()


def test_processes_of_many_nodes_let_in_exactly_what_the_budget_allows(server: SingleServer, crowd: Crowd) -> None:
    for node in range(3):
        crowd.add(roles.hammer_server, f"{node}/0:1")
    assert [crowd.hear(node) for node in range(3)] == ["ready"] * 3
    for line in crowd.lines:
        line.send("go")
    assert sum(crowd.hear(node) for node in range(3)) == 500
    owner = budgets_of(server, SystemClock(), "z/0:1")
    assert isinstance(run(owner.reserve((roles.REQUESTS,), Amounts(1))), Refusal)
    assert [balance.used for balance in run(owner.statement(roles.PLENTY)).balances] == [500 * roles.ESTIMATE] * 2


def test_killed_processes_pass_no_cap_lose_no_sum_and_hold_nothing(server: SingleServer, crowd: Crowd) -> None:
    owner, amount, reported = budgets_of(server, SystemClock(), "z/0:1"), roles.MONEY.budgets[0].amount, 0
    for node in range(3):
        crowd.add(roles.spend_on_server, f"{node}/0:1")
    for node in range(3):
        reported += sum(crowd.hear(node) for _ in range(100))
        spent, reserved = stand(owner, roles.MONEY)[0][0]
        assert spent + reserved <= amount
        assert stand(owner, roles.MONEY)[1] <= roles.MONEY.concurrency
        reported += crowd.kill(node)
        run(budgets_of(server, SystemClock(), f"{node}/0:2").release_slot(0))
    ((used, reserved),), in_flight = stand(owner, roles.MONEY)
    assert (reserved, in_flight) == (0, 0)
    assert reported <= used <= min(amount, reported + 3 * roles.ESTIMATE), "a kill may come before the report"
    assert stand(owner, roles.PLENTY)[0] == [(used, 0)] * 2
    assert len(told(server)) == (used >= amount // 5)
