"""Budgets by the command line: how they stand in the shared state of this machine."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
from tests.cli.officeworld import Desk

from askonce.domain.budget import Account, Amounts, Reservation
from askonce.domain.clock import SystemClock
from askonce.domain.identity import Budget
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_state import LmdbState

DOLLAR = 10**9


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


def in_a_server(act: Callable[[], None]) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(act).result()


def use(folder: Path, accounts: tuple[Account, ...]) -> None:
    """Settle a call of two dollars, and leave one of one dollar in flight."""
    state = LmdbState(folder, 1 << 20, SystemClock(), "0:1")
    state.open()
    budgets = LmdbBudgets(state._desk, SystemClock(), "0:1", lambda *_: None)

    async def spend() -> None:
        held = await budgets.reserve(accounts, Amounts(1, 10, DOLLAR))
        assert isinstance(held, Reservation)
        await budgets.settle(held, Amounts(1, 10, 2 * DOLLAR))
        await budgets.reserve(accounts, Amounts(1, 10, DOLLAR))

    asyncio.run(spend())
    state.close()


def test_a_keys_budgets_are_shown_with_those_above_it(desk: Desk) -> None:
    desk.well("tenants", "create", "acme", "--budget", "$100/month@Europe/Berlin")
    key = desk.well(
        "keys", "create", "a", "--tenant", "acme", "--budget", "10$/day", "--concurrency", "4", "--json"
    ).json
    accounts = (
        Account(f"key:{key['id']}", (Budget("nano_dollars", "day", 10 * DOLLAR),), 4),
        Account("tenant:acme", (Budget("nano_dollars", "month", 100 * DOLLAR, "Europe/Berlin"),)),
    )
    in_a_server(partial(use, desk.data, accounts))
    own, tenant = desk.well("budgets", "show", key["prefix"], "--json").json
    assert (own["account"], own["inFlight"], own["concurrency"]) == (f"key:{key['id']}", 1, 4)
    assert (own["budgets"][0]["budget"], own["budgets"][0]["used"]) == ("$10/day", 2 * DOLLAR)
    assert tenant["budgets"][0]["reserved"] == DOLLAR
    lines = desk.well("budgets", "show", key["id"]).out.splitlines()
    assert lines[1].split()[:5] == [f"key:{key['id']}", "$10/day", "$2", "$1", "$7"]
    assert lines[2].split()[1:] == ["4", "at", "once", "1", "-", "3", "-"]
    assert lines[3].split()[:5] == ["tenant:acme", "$100/month@Europe/Berlin", "$2", "$1", "$97"]
    assert len(desk.well("budgets", "show", "tenant:acme", "--json").json) == 1


def test_what_nothing_bounds_is_said_to_be_so(desk: Desk) -> None:
    desk.well("tenants", "create", "acme")
    user = desk.well("users", "create", "ada@example.org", "--tenant", "acme", "--json").json
    assert desk.well("budgets", "show", f"user:{user['id']}").out == f"Nothing bounds user:{user['id']}.\n"
    assert desk.well("budgets", "show", "user:ada@example.org", "--json").json == []
    key = desk.well("keys", "create", "a", "--quiet").out.strip()
    assert desk.well("budgets", "show", key).out == f"Nothing bounds {key[4:14]}.\n"


def test_before_a_server_ran_nothing_is_counted(desk: Desk) -> None:
    desk.well("tenants", "create", "acme", "--budget", "$1/day")
    done = desk("budgets", "show", "tenant:acme")
    assert done.code == 1
    assert "before `askonce serve`" in done.err
