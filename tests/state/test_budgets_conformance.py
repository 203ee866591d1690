"""What every keeper of budgets promises, and that two of them agree with the plain rule on any history."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import lmdb
import msgspec
import pytest
from tests.state.statefakes import HandClock
from tests.state.valkeyaccounts import budgets_of, keys_of, over_server, run, told

from askonce.domain.budget import Account, Amounts, Refusal
from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Budget
from askonce.domain.ledger import AuditRow
from askonce.limits.budget import LEASE_NS, MARK_NS
from askonce.limits.calendar import UnknownZone, period
from askonce.state import lmdb_budgets, lmdb_state
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_files import Txn
from askonce.state.lmdb_state import LmdbState
from askonce.state.memory_budgets import MemoryBudgets, Vault
from askonce.state.valkey.budgets import ValkeyBudgets
from askonce.state.valkey.server import Server

LEASE_S = LEASE_NS / 1e9
HALF = Amounts(1, 5, 50)
DAY = Budget("nano_dollars", "day", 100, "Europe/Zurich", soft=0.8)
KEY, TENANT = (
    Account("key:a", (DAY,), 3, "team"),
    Account("tenant:team", (Budget("tokens", "minute", 1000),), 0, "team"),
)
BOTH = (KEY, TENANT)

Owner = MemoryBudgets | LmdbBudgets | ValkeyBudgets


class World(NamedTuple):
    """Make owners that share one store; `told` is what they alerted."""

    clock: HandClock
    told: Callable[[], list[AuditRow]]
    owner: Callable[[str], Owner]
    records: Callable[[], int]


def memory_world(_: Path) -> Iterator[World]:
    vault, clock, rows = Vault(), HandClock(), list[AuditRow]()
    yield World(clock, lambda: rows, lambda name: MemoryBudgets(vault, clock, name, rows.append), lambda: len(vault))


def lmdb_world(folder: Path) -> Iterator[World]:
    clock, rows = HandClock(), list[AuditRow]()
    state = LmdbState(folder, 1 << 20, clock, "0:a")
    state.open()
    outside = state._rooms[0].env.stat()["entries"]
    yield World(
        clock,
        lambda: rows,
        lambda name: LmdbBudgets(state._desk, clock, name, lambda _, row: rows.append(row)),
        lambda: state._rooms[0].env.stat()["entries"] - outside,
    )
    state.close()


def valkey_world(server: Server) -> Iterator[World]:
    clock = HandClock()
    yield World(clock, lambda: told(server), lambda name: budgets_of(server, clock, name), lambda: keys_of(server))


WORLDS = {"memory": memory_world, "lmdb": lmdb_world}


@pytest.fixture(params=[*WORLDS, "valkey", pytest.param("cluster", marks=pytest.mark.soak)])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 8 << 20)
    if request.param in WORLDS:
        yield from WORLDS[request.param](tmp_path)
        return
    with over_server(request) as server:
        yield from valkey_world(server)


def stand(owner: Owner, account: Account = KEY) -> tuple[list[tuple[int, int]], int]:
    statement = run(owner.statement(account))
    assert statement.account == account.name
    return [(balance.used, balance.reserved) for balance in statement.balances], statement.in_flight


def test_what_is_reserved_is_settled_or_released(world: World) -> None:
    owner = world.owner("0:1")
    first, second = (run(owner.reserve(BOTH, HALF)) for _ in range(2))
    assert stand(owner) == ([(0, 100)], 2)
    assert stand(owner, TENANT) == ([(0, 10)], 0)
    assert run(owner.reserve(BOTH, HALF)) == Refusal(
        "key:a", DAY, 50, 0, period("day", DAY.zone, world.clock.wall_ms()).end_ms, held=True
    )
    run(owner.settle(first, Amounts(1, 7, 30)))
    run(owner.release(second))
    run(owner.settle(second, HALF))
    assert stand(owner) == ([(30, 0)], 0)
    assert stand(owner, TENANT) == ([(7, 0)], 0)
    assert run(owner.statement(KEY)).balances[0].resets_ms > world.clock.wall_ms()


def test_where_nothing_is_limited_nothing_is_stored(world: World) -> None:
    owner = world.owner("0:1")
    for accounts in ((), (Account("key:a"),)):
        reservation = run(owner.reserve(accounts, HALF))
        assert reservation.id == b""
        run(owner.settle(reservation, HALF))
    assert world.records() == 0


def test_an_alert_comes_once(world: World) -> None:
    owner = world.owner("0:1")
    for used in (79, 1, 1):
        run(owner.settle(run(owner.reserve(BOTH, Amounts(1))), Amounts(1, 0, used)))
    (row,) = world.told()
    assert (row.subject, row.at_ms, row.tenant) == ("key:a", world.clock.wall_ms(), "team")
    assert msgspec.json.decode(row.details)["used"] == 80


def test_what_a_dead_process_reserved_lapses_with_the_next_renewal_of_another(world: World) -> None:
    dead, other = world.owner("0:1"), world.owner("1:1")
    reservation = run(dead.reserve(BOTH, HALF))
    world.clock.pass_s(LEASE_S - 0.001)
    assert run(other.renew()) == 0
    assert run(dead.renew()) == 0
    world.clock.pass_s(LEASE_S)
    assert run(other.renew()) == 1
    assert stand(other) == ([(0, 0)], 0)
    assert run(other.renew()) == 0
    run(dead.settle(reservation, Amounts(1, 1, 60)))
    run(dead.settle(reservation, Amounts(1, 1, 60)))
    assert stand(other) == ([(60, 0)], 0), "it was frozen, and goes on: what was paid counts"
    assert run(dead.reserve(BOTH, Amounts(1, 1, 40))).id
    assert run(other.renew()) == 0, "and what it reserves now is its own again"
    assert stand(other) == ([(60, 40)], 1)


def test_the_next_process_of_a_slot_frees_at_once_what_its_predecessors_reserved(world: World) -> None:
    others = [world.owner(name) for name in ("0:1", "0:2", "1:1", "00:1", "01:1")]
    for other in others[:3]:
        run(other.reserve((TENANT,), HALF))
    successor = world.owner("0:1")
    assert run(successor.release_slot(0)) == 2
    assert run(successor.release_slot(0)) == 0
    assert stand(successor, TENANT) == ([(0, 5)], 0)
    assert run(others[2].release_slot(1)) == 1
    assert stand(successor, TENANT) == ([(0, 0)], 0)
    run(successor.release_slot(0))


def test_a_reservation_that_its_living_process_forgot_lapses_with_its_lease(world: World) -> None:
    owner = world.owner("0:1")
    forgotten = run(owner.reserve(BOTH, HALF, lease_ms=10_000))
    kept = run(owner.reserve(BOTH, HALF))
    for _ in range(10):
        assert run(owner.sweep(100)) == 0
        world.clock.pass_s(1)
        run(owner.renew())
    assert run(owner.sweep(100)) == 1
    assert stand(owner) == ([(0, 50)], 1)
    run(owner.settle(forgotten, HALF))
    run(owner.release(kept))
    assert stand(owner) == ([(50, 0)], 0)


def test_of_old_periods_and_lapsed_reservations_nothing_is_left(world: World) -> None:
    dead, owner = world.owner("0:1"), world.owner("1:1")
    for _ in range(2):
        run(dead.reserve(BOTH, HALF))
    world.clock.pass_s(LEASE_S)
    assert run(owner.renew()) == 2
    run(owner.settle(run(owner.reserve(BOTH, HALF)), HALF))
    for _ in range(3):
        world.clock.pass_s(86_400)
        run(owner.renew())
        while run(owner.sweep(2)):
            pass
        run(owner.sweep(100))
    assert MARK_NS <= 86_400 * 10**9
    assert world.records() == 1, "its own sign of life"


def test_books_that_are_swept_in_small_steps_are_swept_whole(world: World) -> None:
    owner = world.owner("0:1")
    for number in range(7):
        run(owner.settle(run(owner.reserve((Account(f"key:{number}", (DAY,)),), HALF)), HALF))
    world.clock.pass_s(3 * 86_400)
    assert sum(run(owner.sweep(2)) for _ in range(5)) == 7


def test_a_zone_that_is_not_known_is_an_error_and_reserves_nothing(world: World) -> None:
    owner = world.owner("0:1")
    with pytest.raises(UnknownZone):
        run(owner.reserve((KEY, Account("user:u", (Budget("tokens", "day", 1, "Mars/Olympus"),))), HALF))
    assert world.records() == 0


# -- over LMDB only ------------------------------------------------------------------------------------------------


class Gone:
    """Stand in for an environment whose disk fails."""

    def begin(self, write: bool = False) -> None:
        raise lmdb.DiskError("gone")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LmdbState]:
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 8 << 20)
    state = LmdbState(tmp_path, 1 << 20, HandClock(), "0:a")
    state.open()
    yield state
    state.close()


def budgets_over(state: LmdbState, clock: HandClock | None = None, told: list[AuditRow] | None = None) -> LmdbBudgets:
    rows = [] if told is None else told
    return LmdbBudgets(state._desk, clock or HandClock(), "0:a", lambda _, row: rows.append(row))


def test_with_the_books_away_nothing_is_let_in_and_what_ends_is_settled_later(state: LmdbState) -> None:
    owner = budgets_over(state)
    held = [run(owner.reserve(BOTH, Amounts(1, 5, 20))) for _ in range(3)]
    room = state._rooms[0]
    books, room.env = room.env, Gone()  # type: ignore[assignment]
    for attempt in (owner.reserve(BOTH, HALF), owner.renew(), owner.statement(KEY), owner.sweep(9)):
        with pytest.raises(StoreUnavailable):
            run(attempt)
    run(owner.settle(held[0], Amounts(1, 5, 30)))
    run(owner.release(held[1]))
    room.env = books
    run(owner.settle(held[0], Amounts(1, 5, 99)))
    assert stand(owner) == ([(0, 60)], 3), "until then everything stays reserved"
    run(owner.renew())
    assert stand(owner) == ([(30, 20)], 1)
    assert owner._owed == {}
    run(owner.settle(held[0], Amounts(1, 5, 99)))
    assert stand(owner) == ([(30, 20)], 1)


def test_books_that_are_nearly_full_let_nothing_in(state: LmdbState) -> None:
    owner = budgets_over(state)
    held = run(owner.reserve(BOTH, HALF))
    state._desk.tight = True
    with pytest.raises(StoreUnavailable):
        run(owner.reserve(BOTH, HALF))
    run(owner.settle(held, HALF))
    assert stand(owner) == ([(50, 0)], 0)


def test_an_alert_and_what_caused_it_are_written_together_or_not_at_all(state: LmdbState) -> None:
    def refuse(*_: object) -> None:
        raise lmdb.MapFullError("no room for alerts")

    owner = LmdbBudgets(state._desk, HandClock(), "0:a", refuse)
    held = run(owner.reserve((KEY,), HALF))
    run(owner.settle(held, Amounts(1, 0, 90)))
    assert stand(owner) == ([(0, 50)], 1)
    told: list[AuditRow] = []
    owner._append = lambda _, row: told.append(row)
    run(owner.renew())
    assert stand(owner) == ([(90, 0)], 0)
    assert len(told) == 1


def test_settling_can_be_a_part_of_another_act(state: LmdbState) -> None:
    owner = budgets_over(state)
    held = run(owner.reserve((KEY,), HALF))

    def fail(txn: Txn) -> None:
        owner.settle_in(txn, held, HALF)
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        state._desk.write(fail)
    assert stand(owner) == ([(0, 50)], 1)
    state._desk.write(lambda txn: owner.settle_in(txn, held, HALF))
    assert stand(owner) == ([(50, 0)], 0)


def test_many_reservations_of_a_dead_process_lapse_in_slices(state: LmdbState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_budgets, "SLICE", 4)
    clock = HandClock()
    dead, other = (LmdbBudgets(state._desk, clock, name, lambda *_: None) for name in ("0:1", "1:1"))
    for count in (1, 4, 9, 12):
        for _ in range(count):
            assert run(dead.reserve((TENANT,), Amounts(1))).id
        clock.pass_s(LEASE_S)
        assert run(other.renew()) == count
        assert stand(other, TENANT) == ([(0, 0)], 0)


def test_a_process_that_was_only_frozen_keeps_what_has_not_lapsed_yet(
    state: LmdbState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lmdb_budgets, "SLICE", 4)
    clock = HandClock()
    frozen, other = (LmdbBudgets(state._desk, clock, name, lambda *_: None) for name in ("0:1", "1:1"))
    for _ in range(12):
        run(frozen.reserve((TENANT,), Amounts(1, 1)))
    clock.pass_s(LEASE_S)

    async def both() -> tuple[int, int]:
        return await asyncio.gather(other.renew(), frozen.renew())

    assert list(run(both())) == [4, 0]
    assert stand(other, TENANT) == ([(0, 8)], 0)


def test_what_was_used_outlives_the_books_and_what_was_in_flight_does_not(state: LmdbState) -> None:
    told: list[AuditRow] = []
    owner = budgets_over(state, told=told)
    run(owner.settle(run(owner.reserve(BOTH, HALF)), Amounts(1, 7, 85)))
    run(owner.reserve(BOTH, Amounts(1, 1, 15)))
    drawn = msgspec.json.decode(
        msgspec.json.encode(state._desk.read(lmdb_budgets.draw)), type=dict[str, tuple[int, ...]]
    )
    state._desk.write(lambda txn: txn.drop(state._rooms[0].db, delete=False))
    state._desk.write(lambda txn: lmdb_budgets.restore(txn, drawn))
    again = budgets_over(state, told=told)
    assert stand(again) == ([(85, 0)], 0)
    assert stand(again, TENANT) == ([(7, 0)], 0)
    run(again.settle(run(again.reserve(BOTH, Amounts(1, 1, 1))), Amounts(1, 1, 5)))
    assert len(told) == 1, "the alert too was not forgotten"
