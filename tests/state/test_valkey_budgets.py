"""Budgets on a real Redis: large amounts, lost answers, servers that freeze or are full, clocks that differ."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.state.redisserver import RedisServer, running
from tests.state.statefakes import HandClock
from tests.state.test_budgets_conformance import BOTH, HALF, KEY, LEASE_S, TENANT, stand
from tests.state.valkeyaccounts import budgets_of, connected, keys_of, run, told

from askonce.domain.budget import Account, Alert, Amounts, Reservation
from askonce.domain.clock import Clock, SystemClock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Budget
from askonce.domain.ledger import pack_record
from askonce.limits import budget as rule
from askonce.limits.calendar import period
from askonce.limits.meters import MOST
from askonce.state.valkey import budgets
from askonce.state.valkey.budgets import ValkeyBudgets
from askonce.state.valkey.server import BOOKS, Hour
from askonce.state.valkey.single import SingleServer

BIG = 1 << 61
DEADLINE_S = 0.2
WHOLE_S = 10.0  # until a server that was thawed is spoken with again


@pytest.fixture
def server(redis: RedisServer) -> Iterator[SingleServer]:
    redis.flush()
    with connected(redis) as server:
        yield server


def of(amount: int, *, soft: float = 0.0) -> Account:
    return Account("key:big", (Budget("nano_dollars", "month", amount, soft=soft),))


def used(owner: ValkeyBudgets, account: Account) -> int:
    balance: int = stand(owner, account)[0][0][0]
    return balance


# -- amounts of more than 53 bits -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spent", "amount", "need", "fits"),
    [
        (BIG + 1, BIG + 2, 1, True),
        (BIG + 2, BIG + 2, 1, False),
        (BIG + 1, BIG + 2, 2, False),
        ((1 << 53) + 1, (1 << 53) + 2, 1, True),
        ((1 << 53) + 1, (1 << 53) + 2, 2, False),
        (999_999_999, 1_000_000_000, 1, True),
        (999_999_999, 1_000_000_000, 2, False),
        (MOST, MOST, 0, True),
        (MOST, MOST, 1, False),
        (5, 10**25, 1 << 70, True),
    ],
)
def test_there_is_room_to_the_last_nano_dollar(
    server: SingleServer, spent: int, amount: int, need: int, fits: bool
) -> None:
    owner = budgets_of(server, HandClock(), "n/0:1")
    run(owner.settle(run(owner.reserve((of(MOST),), Amounts(1))), Amounts(1, 0, spent)))
    answer = run(owner.reserve((of(amount),), Amounts(1, 0, need)))
    assert isinstance(answer, Reservation) == fits
    if not fits:
        assert answer.left == amount - spent


def test_sums_are_exact_and_stay_at_the_greatest_number(server: SingleServer) -> None:
    owner, account, took = budgets_of(server, HandClock(), "n/0:1"), of(MOST), (1 << 60) + 1
    for turn in range(1, 10):
        run(owner.settle(run(owner.reserve((account,), Amounts(1))), Amounts(1, 0, took)))
        assert used(owner, account) == min(turn * took, MOST)
    run(owner.settle(run(owner.reserve((of(10**30),), Amounts(1))), Amounts(1, 0, 1 << 80)))
    assert used(owner, account) == MOST


@pytest.mark.parametrize(("first", "then"), [((1 << 60) - 1, 1), ((1 << 60) - 2, 2), (0, 1 << 62)])
def test_alerts_of_large_budgets_come_at_their_very_nano_dollar(server: SingleServer, first: int, then: int) -> None:
    owner, account = budgets_of(server, HandClock(), "n/0:1"), of(1 << 61, soft=0.5)
    for took, alerts in ((first, 0), (then, 1), (1, 1)):
        run(owner.settle(run(owner.reserve((account,), Amounts(1))), Amounts(1, 0, took)))
        assert len(told(server)) == alerts
    assert msgspec.json.decode(told(server)[0].details)["used"] == first + then


@pytest.mark.parametrize("letters", [1, 90, 150, 400])
def test_an_alert_is_written_as_it_would_be_here(server: SingleServer, letters: int) -> None:
    clock = HandClock()
    owner = budgets_of(server, clock, "n/0:1")
    budget = Budget("nano_dollars", "day", 100, "America/Argentina/ComodRivadavia", soft=0.123456789)
    account = Account("key:" + "ü" * letters, (budget,), tenant="t" * letters)
    run(owner.settle(run(owner.reserve((account,), Amounts(1))), Amounts(1, 0, 77)))
    when = period("day", budget.zone, clock.wall_ms())
    expected = rule.as_audit(Alert(account, budget, 77, *when), clock.wall_ms())
    assert run(server.call("LRANGE", BOOKS + b"ol", 0, -1)) == [pack_record(expected)]


# -- a server that is away, or full -----------------------------------------------------------------------------------


@contextmanager
def frozen(redis: RedisServer) -> Iterator[None]:
    redis.freeze()
    try:
        yield
    finally:
        redis.thaw()


async def back(server: SingleServer) -> None:
    """Wait until it is spoken with again."""
    async with asyncio.timeout(WHOLE_S):
        while True:
            try:
                await server.call("PING")
            except StoreUnavailable:
                await asyncio.sleep(0.01)
            else:
                return


def test_what_a_frozen_server_did_after_all_is_done_once(redis: RedisServer) -> None:
    redis.flush()
    with connected(redis, DEADLINE_S) as server:
        clock = HandClock()
        owner = budgets_of(server, clock, "n/0:1")
        held = [run(owner.reserve(BOTH, Amounts(1, 5, 20))) for _ in range(2)]

        async def both() -> tuple[Any, Any]:
            settling, reserving = owner.settle(held[0], Amounts(1, 5, 30)), owner.reserve(BOTH, Amounts(1, 5, 20))
            return await asyncio.gather(settling, reserving, return_exceptions=True)

        with frozen(redis):
            settled, refused = run(both())
            assert settled is None
            assert isinstance(refused, StoreUnavailable), "its answer is lost: nobody has that reservation"
            run(owner.settle(held[1], Amounts(1, 5, 25)))
            for attempt in (owner.reserve(BOTH, HALF), owner.renew(), owner.statement(KEY), owner.sweep(9)):
                with pytest.raises(StoreUnavailable):
                    run(attempt)
        run(back(server))
        assert run(owner.renew()) == 0
        assert stand(owner) == ([(55, 0)], 0)
        assert owner._owed == {}
        for reservation in held:
            run(owner.settle(reservation, Amounts(1, 5, 99)))
        assert stand(owner) == ([(55, 0)], 0)
        assert stand(owner, TENANT) == ([(10, 0)], 0)


def test_a_caller_that_leaves_while_it_reserves_holds_nothing(server: SingleServer) -> None:
    owner = budgets_of(server, HandClock(), "n/0:1")

    async def leave() -> None:
        task = asyncio.create_task(owner.reserve(BOTH, HALF))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await owner.renew()

    run(leave())
    assert stand(owner) == ([(0, 0)], 0)


def test_who_had_no_answer_lets_others_time_to_sign_again(
    server: SingleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = HandClock()
    owner, other = (budgets_of(server, clock, f"n/{slot}:1") for slot in range(2))
    run(other.reserve((TENANT,), HALF))
    with monkeypatch.context() as away:
        away.setattr(server, "_line", None)
        away.setattr(server, "_closed", True)
        with pytest.raises(StoreUnavailable):
            run(owner.renew())
    clock.pass_s(LEASE_S)
    assert run(owner.renew()) == 0, "everybody's sign is that old"
    clock.pass_s(LEASE_S)
    assert run(owner.renew()) == 1, "by now it would have signed"


def test_a_server_without_memory_reserves_nothing_and_settles_all_the_same(tmp_path: Path) -> None:
    with running(tmp_path / "redis", "--maxmemory-policy", "noeviction") as redis, connected(redis) as server:
        owner = budgets_of(server, HandClock(), "n/0:1")
        held = [run(owner.reserve(BOTH, Amounts(1, 5, 20))) for _ in range(3)]
        redis.ask("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(StoreUnavailable, match="no memory left"):
            run(owner.reserve((TENANT,), Amounts(1, 5, 20)))
        run(owner.settle(held[0], Amounts(1, 5, 90)))
        run(owner.release(held[1]))
        assert stand(owner) == ([(90, 20)], 1)
        assert len(told(server)) == 1
        assert run(budgets_of(server, HandClock(), "n/0:2").release_slot(0)) == 1
        assert stand(owner) == ([(90, 0)], 0)
        assert owner._owed == {}


def test_a_server_that_lost_everything_begins_anew(redis: RedisServer, server: SingleServer) -> None:
    owner = budgets_of(server, HandClock(), "n/0:1")
    held = run(owner.reserve(BOTH, HALF))
    redis.flush()
    run(owner.settle(held, HALF))
    assert keys_of(server) == 0
    assert isinstance(run(owner.reserve(BOTH, Amounts(1, 5, 100))), Reservation)
    assert run(server.call("ZCARD", BOOKS + b"qo")) == 1, "it signs with the first reservation"


# -- many, and many places --------------------------------------------------------------------------------------------


def test_many_reservations_of_a_dead_process_end_in_slices(
    server: SingleServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "SLICE", 4)
    clock = HandClock()
    other = budgets_of(server, clock, "m/0:1")
    for turn, count in enumerate((1, 4, 300)):
        dead = budgets_of(server, clock, f"n/0:{turn}")
        for _ in range(count):
            assert run(dead.reserve((TENANT,), Amounts(1))).id
        if turn % 2:
            assert run(budgets_of(server, clock, "n/0:9").release_slot(0)) == count
        else:
            clock.pass_s(LEASE_S)
            assert run(other.renew()) == count
        assert stand(other, TENANT) == ([(0, 0)], 0)


def test_a_slot_is_of_its_node(server: SingleServer) -> None:
    clock = HandClock()
    for name in ("a/0:1", "b/0:1", "a/b/0:1", "0:1"):
        run(budgets_of(server, clock, name).reserve((TENANT,), Amounts(1)))
    for name in ("a/0:2", "b/0:2", "a/b/0:2", "0:2"):
        owner = budgets_of(server, clock, name)
        assert run(owner.release_slot(0)) == 1
        assert run(owner.release_slot(0)) == 0


class Skewed:
    """Tell another time than the server does."""

    def __init__(self, by_ms: int) -> None:
        self.by_ms = by_ms

    def steady_ns(self) -> int:
        return SystemClock().steady_ns()

    def wall_ms(self) -> int:
        return SystemClock().wall_ms() + self.by_ms


def test_periods_are_those_of_the_servers_clock(server: SingleServer) -> None:
    account = Account("key:k", (Budget("requests", "month", 9, "Europe/Zurich"), Budget("tokens", "hour", 99)))
    clocks: list[Clock] = [Skewed(ms) for ms in (0, 40 * 86_400_000, -40 * 86_400_000, 5_400_000)]
    owners = [ValkeyBudgets(server, Hour(), clock, f"{node}/0:1") for node, clock in enumerate(clocks)]
    held = [run(owner.reserve((account,), Amounts(1, 3, 0))) for owner in owners]
    for owner, reservation in zip(owners, held, strict=True):
        run(owner.settle(reservation, Amounts(1, 3, 0)))
    standings = [run(owner.statement(account)) for owner in owners]
    assert standings == [standings[0]] * 4
    assert [balance.used for balance in standings[0].balances] == [4, 12]
