"""After any history of calls, deaths, limits and clocks, all keepers of budgets say what the plain rule says."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.state.plainbudgets import Held, Plain, place
from tests.state.redisserver import RedisServer
from tests.state.statefakes import HandClock
from tests.state.valkeyaccounts import budgets_of, connected, run, told

from askonce.domain.budget import NOTHING, Account, Amounts, Refusal, Reservation
from askonce.domain.identity import Budget
from askonce.domain.ledger import AuditRow
from askonce.limits.calendar import period
from askonce.state import lmdb_state
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_state import LmdbState
from askonce.state.memory_budgets import MemoryBudgets, Vault
from askonce.state.valkey.budgets import ValkeyBudgets

OWNERS = 3
SHAPES: tuple[tuple[str, tuple[tuple[Any, Any, str], ...], int], ...] = (
    ("key:a", (("nano_dollars", "minute", "UTC"), ("requests", "day", "Europe/Zurich")), 4),
    ("user:u", (("nano_dollars", "hour", "UTC"),), 0),
    ("tenant:t", (("tokens", "minute", "UTC"), ("nano_dollars", "month", "Europe/Zurich")), 6),
)
# A minute and a half before a minute, an hour, a day and a month end in Zurich.
EVE = period("month", "Europe/Zurich", 1_774_900_000_000).end_ms - 90_000
BACK_MAX_MS = 50_000  # less than a minute: what ended before is swept

amount = st.integers(0, 40)
amounts = st.builds(Amounts, st.just(1), amount, amount)
Step = tuple[Any, ...]
STEPS: tuple[st.SearchStrategy[Step], ...] = (
    st.tuples(st.just("reserve"), st.integers(0, OWNERS - 1), st.sets(st.integers(0, 2), min_size=1), amounts),
    st.tuples(st.just("reserve"), st.just(0), st.just({0, 1, 2}), amounts),
    st.tuples(st.just("settle"), st.integers(0, 9), st.one_of(amounts, st.just(NOTHING)), st.integers(1, 2)),
    st.tuples(st.just("settle"), st.integers(0, 2), amounts, st.just(1)),
    st.tuples(st.just("pass_"), st.sampled_from([0.4, 2.0, 3.0, 20.0, 61.0])),
    st.tuples(st.just("renew"), st.integers(0, OWNERS - 1)),
    st.tuples(st.just("respawn"), st.integers(0, OWNERS - 1)),
    st.tuples(st.just("sweep")),
    st.tuples(st.just("set_limit"), st.sampled_from([30, 60, 100])),
)
BACK: st.SearchStrategy[Step] = st.tuples(st.just("back"), st.integers(1, 30))  # wall time; leases run on another clock

Owner = MemoryBudgets | LmdbBudgets | ValkeyBudgets


class Play:
    """Do each step in the reference, in another store and by the plain rule, and compare."""

    def __init__(
        self, clock: HandClock, other: Callable[[str], Owner], told_other: Callable[[], list[AuditRow]]
    ) -> None:
        self.clock, self.vault, self.other = clock, Vault(), other
        self.told, self.told_other = list[AuditRow](), told_other
        self.plain = Plain(clock)
        self.limit = 60
        self.latest_ms = clock.wall
        self.held: list[tuple[int, tuple[Reservation, Reservation]]] = []  # by number: owner, reservations
        self.births = 0
        self.owners = [self.born(slot) for slot in range(OWNERS)]

    def born(self, slot: int) -> tuple[Owner, Owner]:
        self.births += 1
        name = f"{slot}:{self.births}"
        return MemoryBudgets(self.vault, self.clock, name, self.told.append), self.other(name)

    def accounts(self, chosen: set[int]) -> tuple[Account, ...]:
        return tuple(
            Account(name, tuple(self.budget(*parts) for parts in budgets), concurrency, "team")
            for name, budgets, concurrency in (SHAPES[number] for number in sorted(chosen))
        )

    def budget(self, metric: Any, span: Any, zone: str) -> Budget:
        return Budget(metric, span, 10 if metric == "requests" else self.limit, zone, 0.5)

    # -- steps

    def reserve(self, slot: int, chosen: set[int], estimate: Amounts) -> None:
        held = Held(slot, self.accounts(chosen), self.clock.wall, estimate)
        expected = self.plain.has_room(held)
        answers = tuple(run(owner.reserve(held.accounts, estimate)) for owner in self.owners[slot])
        self.plain.sign(slot, due_only=True)
        if expected:
            assert all(isinstance(answer, Reservation) for answer in answers)
            self.plain.let_in(len(self.held), held)
            self.held.append((slot, answers))
        else:
            assert isinstance(answers[0], Refusal)
            assert answers[0] == answers[1]

    def settle(self, back: int, took: Amounts, times: int) -> None:
        if back >= len(self.held):
            return
        number = len(self.held) - 1 - back
        slot, reservations = self.held[number]
        if not reservations:
            return  # its process is dead
        held = self.plain.settle(number, took)
        for owner, reservation in zip(self.owners[slot], reservations, strict=True):
            for _ in range(times):
                run(owner.settle(reservation, took))
        if held is not None:
            self.check_alerts(held)

    def pass_(self, seconds: float) -> None:
        self.clock.pass_s(seconds)
        self.latest_ms = max(self.latest_ms, self.clock.wall)

    def back(self, seconds: int) -> None:
        self.clock.wall = max(self.clock.wall - 1000 * seconds, self.latest_ms - BACK_MAX_MS)

    def renew(self, slot: int) -> None:
        expected = self.plain.renew(slot)
        assert [run(owner.renew()) for owner in self.owners[slot]] == [expected, expected]

    def respawn(self, slot: int) -> None:
        expected = self.plain.respawn(slot)
        self.held = [(who, () if who == slot else both) for who, both in self.held]  # type: ignore[misc]
        self.owners[slot] = self.born(slot)
        assert [run(owner.release_slot(slot)) for owner in self.owners[slot]] == [expected, expected]

    def sweep(self) -> None:
        for owner in self.owners[0]:
            run(owner.sweep(1000))

    def set_limit(self, amount: int) -> None:
        self.limit = amount

    # -- what holds

    def check(self) -> None:
        for account in self.accounts({0, 1, 2}):
            memory, other = (run(owner.statement(account)) for owner in self.owners[0])
            assert memory == other
            for balance in memory.balances:
                where = place(account, balance.budget, self.clock.wall)
                assert (balance.used, balance.reserved) == (self.plain.used(where), self.plain.reserved(where))
                passed = self.plain.bound.get(where, 0) + self.plain.excess.get(where, 0)
                assert balance.used + balance.reserved <= passed
            assert memory.in_flight == (self.plain.in_flight(account) if account.concurrency else 0)
        assert self.told == self.told_other()

    def check_alerts(self, held: Held) -> None:
        """No budget alerted twice in a period, and none that passed its threshold did not."""
        alerts = [(row.subject, msgspec.json.decode(row.details)) for row in self.told]
        seen = [(subject, told["metric"], told["span"], told["startMs"], told["amount"]) for subject, told in alerts]
        assert len(seen) == len(set(seen))
        for budget, where in held.places():
            if self.plain.used(where) * 2 >= budget.amount:
                assert any(one[:4] == where and one[4] >= budget.amount for one in seen)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.one_of(*STEPS, BACK), min_size=5, max_size=60))
def test_all_say_the_same_after_any_history(history: list[Step]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lmdb_state, "BOOKS_BYTES", 1 << 20)
        clock = HandClock(wall=EVE)
        state = LmdbState(Path(folder), 1 << 20, clock, "0:a")
        state.open()
        try:
            rows: list[AuditRow] = []
            play(history, Play(clock, lambda name: LmdbBudgets(state._desk, clock, name, note(rows)), lambda: rows))
        finally:
            state.close()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(*STEPS), min_size=5, max_size=40))
def test_so_does_a_server_for_many_nodes(redis: RedisServer, history: list[Step]) -> None:
    redis.flush()
    clock = HandClock(wall=EVE)
    with connected(redis) as server:
        play(history, Play(clock, lambda name: budgets_of(server, clock, name), lambda: told(server)))


def play(history: list[Step], stage: Play) -> None:
    for name, *arguments in history:
        getattr(stage, name)(*arguments)
        stage.check()


def note(rows: list[AuditRow]) -> Callable[[object, AuditRow], None]:
    return lambda _, row: rows.append(row)
