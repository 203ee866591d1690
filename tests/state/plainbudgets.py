"""Budgets as sums over lists of calls: the rule, written so that it is plainly right, for tests to compare with."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.state.statefakes import SECOND, HandClock

from askonce.domain.budget import NOTHING, Account, Amounts
from askonce.domain.identity import Budget
from askonce.limits.calendar import period

Place = tuple[str, str, str, int]  # account, metric, span, start: one budget in one period


class Held(NamedTuple):
    """Hold one call that was let in."""

    owner: int
    accounts: tuple[Account, ...]
    at_ms: int
    estimate: Amounts

    def places(self) -> Iterator[tuple[Budget, Place]]:
        """Yield the budgets and periods that the call counts into."""
        for account in self.accounts:
            for budget in account.budgets:
                yield budget, place(account, budget, self.at_ms)


def place(account: Account, budget: Budget, at_ms: int) -> Place:
    return (account.name, budget.metric, budget.span, period(budget.span, budget.zone, at_ms).start_ms)


def of(amounts: Amounts, budget: Budget) -> int:
    """Return how much of it a budget is about."""
    amount: int = getattr(amounts, budget.metric)
    return amount


@dataclass
class Plain:
    """Remember all calls; count when asked."""

    clock: HandClock
    live: dict[int, Held] = field(default_factory=dict)
    lapsed: dict[int, Held] = field(default_factory=dict)
    settled: list[tuple[Held, Amounts]] = field(default_factory=list)
    signs: dict[int, int] = field(default_factory=dict)
    bound: dict[Place, int] = field(default_factory=dict)  # the amount when the last call was let in
    excess: dict[Place, int] = field(default_factory=dict)  # taken beyond estimates since then

    def used(self, where: Place) -> int:
        return sum(of(took, budget) for held, took in self.settled for budget, at in held.places() if at == where)

    def reserved(self, where: Place) -> int:
        return sum(
            of(held.estimate, budget) for held in self.live.values() for budget, at in held.places() if at == where
        )

    def in_flight(self, account: Account) -> int:
        return sum(account.name in [other.name for other in held.accounts] for held in self.live.values())

    def has_room(self, held: Held) -> bool:
        fits = all(
            of(held.estimate, budget) == 0
            or self.used(where) + self.reserved(where) + of(held.estimate, budget) <= budget.amount
            for budget, where in held.places()
        )
        return fits and all(
            self.in_flight(account) < account.concurrency for account in held.accounts if account.concurrency
        )

    def let_in(self, number: int, held: Held) -> None:
        self.live[number] = held
        for budget, where in held.places():
            if of(held.estimate, budget):
                self.bound[where], self.excess[where] = budget.amount, 0

    def settle(self, number: int, took: Amounts) -> Held | None:
        estimate = self.live[number].estimate if number in self.live else NOTHING
        held = self.live.pop(number, None) or self.lapsed.pop(number, None)
        if held is not None:
            self.settled.append((held, took))
            for budget, where in held.places():
                more = max(0, of(took, budget) - of(estimate, budget))
                self.excess[where] = self.excess.get(where, 0) + more
        return held

    def sign(self, owner: int, *, due_only: bool = False) -> None:
        """Note a sign of life of three seconds; with a reservation only where the last is a second old."""
        now = self.clock.steady
        if not due_only or now >= self.signs.get(owner, 0) - 2 * SECOND:
            self.signs[owner] = now + 3 * SECOND

    def renew(self, owner: int) -> int:
        """Let lapse what the dead hold; return how many calls."""
        self.sign(owner)
        gone = [n for n, held in self.live.items() if self.signs[held.owner] <= self.clock.steady]
        for number in gone:
            self.lapsed[number] = self.live.pop(number)
        return len(gone)

    def respawn(self, owner: int) -> int:
        """Forget what a process held; return how many calls were in flight."""
        gone = [n for n, held in self.live.items() if held.owner == owner]
        self.live = {n: held for n, held in self.live.items() if held.owner != owner}
        self.lapsed = {n: held for n, held in self.lapsed.items() if held.owner != owner}
        self.signs.pop(owner, None)
        return len(gone)
