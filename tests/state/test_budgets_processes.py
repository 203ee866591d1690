"""Budgets of several real processes: caps hold among them, and what killed ones held comes back."""

import asyncio
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.state import budgetprocesses as roles

from askonce.domain.budget import Account, Amounts, Reservation
from askonce.limits.budget import LEASE_NS
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_state import LmdbState

pytestmark = pytest.mark.process

PATIENCE_S = 30.0
SPAWN = multiprocessing.get_context("spawn")
Start = Callable[[Callable[[Path, str, Connection], None], str], tuple[SpawnProcess, Connection]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    processes: list[SpawnProcess] = []

    def begin(role: Callable[[Path, str, Connection], None], owner: str) -> tuple[SpawnProcess, Connection]:
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=role, args=(tmp_path, owner, theirs), daemon=True)
        process.start()
        theirs.close()
        processes.append(process)
        return process, ours

    yield begin
    for process in processes:
        process.kill()
        process.join(PATIENCE_S)
        process.close()


@pytest.fixture
def ours(tmp_path: Path, start: Start) -> Iterator[tuple[LmdbState, LmdbBudgets]]:
    state, budgets = roles.opened(tmp_path, "9:test")
    yield state, budgets
    state.close(clean=False)


def hear(line: Connection) -> Any:
    assert line.poll(PATIENCE_S), "a process said nothing"
    return line.recv()


def kill(process: SpawnProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(PATIENCE_S)


def said(line: Connection) -> int:
    """Return the sum of all that a dead process reported; its last word may be cut off."""
    total = 0
    try:
        while line.poll():
            total += line.recv()
    except (EOFError, OSError):
        pass
    return total


def stand(budgets: LmdbBudgets, account: Account) -> tuple[int, int, int]:
    statement = asyncio.run(budgets.statement(account))
    return statement.balances[0].used, statement.balances[0].reserved, statement.in_flight


def test_four_processes_let_in_exactly_what_the_budget_allows(start: Start) -> None:
    lines = [start(roles.hammer, f"{slot}:1")[1] for slot in range(4)]
    for line in lines:
        assert hear(line) == "ready"
    for line in lines:
        line.send("go")
    assert sum(hear(line) for line in lines) == 500


def test_kills_at_any_moment_pass_no_cap_lose_no_sum_and_hold_nothing_for_long(
    start: Start, ours: tuple[LmdbState, LmdbBudgets]
) -> None:
    state, budgets = ours
    amount, dice, reported, kills = roles.MONEY.budgets[0].amount, Random(4), 0, 0
    running = [start(roles.spend, f"{slot}:0") for slot in range(3)]
    for turn in range(1, 7):
        slot = turn % 3
        process, line = running[slot]
        reported += sum(hear(line) for _ in range(dice.randint(100, 300)))
        used, reserved, in_flight = stand(budgets, roles.MONEY)
        assert used + reserved <= amount
        assert in_flight <= roles.MONEY.concurrency
        kill(process)
        kills += 1
        reported += said(line)
        if turn % 2:
            asyncio.run(LmdbBudgets(state._desk, budgets._clock, f"{slot}:{turn}", budgets._append).release_slot(slot))
        running[slot] = start(roles.spend, f"{slot}:{turn}")
    for process, _ in running:
        kill(process)
    kills += len(running)
    reported += sum(said(line) for _, line in running)
    died = time.monotonic()
    while stand(budgets, roles.MONEY)[1]:
        assert time.monotonic() < died + LEASE_NS / 1e9 + 2, "still held"
        asyncio.run(budgets.renew())
        time.sleep(0.05)
    used, _, in_flight = stand(budgets, roles.MONEY)
    assert in_flight == 0
    assert reported <= used <= min(amount, reported + kills * roles.ESTIMATE), "a kill may come before the report"
    assert stand(budgets, roles.PLENTY)[:2] == (used, 0)
    alerts = state._desk.read(lambda txn: txn.get(b"z"))
    assert int.from_bytes(alerts or b"", "big") == (used >= amount // 5)
    assert isinstance(asyncio.run(budgets.reserve((roles.MONEY,), Amounts(1, 0, amount - used))), Reservation)
