"""Budgets on the road: reserved when a call is about to be paid, settled when its cost is known.

Only who pays reserves: answers from the store and joined calls cost nothing and pass though a budget is used up. One
reservation covers a flight with all its attempts. Store away: closed; what cannot be reserved is not asked.
"""

from collections.abc import Sequence
from datetime import UTC, datetime

from askonce.domain.answer import Answer
from askonce.domain.budget import NOTHING, Amounts, Budgets, Refusal, Reservation, Settled
from askonce.domain.budget_text import write_amount, write_budget
from askonce.domain.call import Call, Candidate
from askonce.domain.clock import Clock
from askonce.domain.errors import OverBudget, StoreUnavailable
from askonce.domain.identity import Budget
from askonce.domain.ledger import Counters, Tallied
from askonce.domain.ports import PriceSource
from askonce.gate.plan import Plan
from askonce.routing.estimate import estimate_nano, likely_usage

MINUTE_MS = 60_000
SOON_S = 1  # when room may come with any call's ending


class Hold:
    """Hold a flight's reservation, and what its attempts have taken so far."""

    def __init__(self, reservation: Reservation) -> None:
        self._reservation = reservation
        self._spent = NOTHING

    def add(self, answer: Answer) -> None:
        """Add what an attempt took; one that took nothing (the vendor refused) is no request."""
        took, cost = answer.usage.total_tokens, answer.cost_nano
        requests, tokens, nano = self._spent
        self._spent = Amounts(max(requests, int(took > 0 or cost > 0)), tokens + took, nano + cost)

    def settled(self) -> Settled:
        """Return what was taken of what was reserved."""
        return Settled(self._reservation, self._spent)


class Treasury:
    """Reserve for flights, and refuse what no budget has room for."""

    def __init__(self, budgets: Budgets, counters: Counters, prices: PriceSource, clock: Clock) -> None:
        self._budgets = budgets
        self._counters = counters
        self._prices = prices
        self._clock = clock

    async def reserve(self, plan: Plan) -> Hold | None:
        """Reserve what a call may take at the most; None where nothing bounds its caller.

        Raises `OverBudget` and `StoreUnavailable`. If cancelled before it returns, what was reserved lapses.
        """
        accounts = plan.accounts
        if not accounts:
            return None
        await self._prices.loaded()
        outcome = await self._budgets.reserve(accounts, self._estimate(plan.ask.call, plan.route.askable))
        if isinstance(outcome, Reservation):
            return Hold(outcome)
        await self._count(plan)
        raise self._refused(outcome)

    async def settle(self, hold: Hold) -> None:
        """Settle what no booking has settled: the call failed, or another process made it."""
        settled = hold.settled()
        await self._budgets.settle(settled.reservation, settled.actual)

    def _estimate(self, call: Call, candidates: Sequence[Candidate]) -> Amounts:
        """Estimate on the high side; of several who may answer, the dearest."""
        prices = (self._prices.price(one.provider, one.model, "") for one in candidates)
        nano = max((estimate_nano(call, price) for price in prices if price is not None), default=0)
        return Amounts(1, likely_usage(call).total_tokens, nano)

    async def _count(self, plan: Plan) -> None:
        origin, candidate = plan.origin, plan.route.askable[0]
        what = Tallied(origin.tenant, origin.key_id, origin.door, candidate.provider, candidate.model, "over_budget")
        try:
            await self._counters.count(self._clock.wall_ms() // MINUTE_MS, what)
        except StoreUnavailable:
            return  # a refusal is no less one for not being counted

    def _refused(self, refusal: Refusal) -> OverBudget:
        if refusal.budget is None:
            words = f"{refusal.account} has as many calls in flight as it may have. Ask again when one has ended."
            return OverBudget(words, retry_after_s=SOON_S)
        wait_s = max(SOON_S, -(-(refusal.resets_ms - self._clock.wall_ms()) // 1000))
        return OverBudget(_words(refusal, refusal.budget), retry_after_s=SOON_S if refusal.held else wait_s)


def _words(refusal: Refusal, budget: Budget) -> str:
    resets = datetime.fromtimestamp(refusal.resets_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
    held = " Calls in flight hold some of it; what they do not need comes back." if refusal.held else ""
    left, needed = (write_amount(budget.metric, amount) for amount in (refusal.left, refusal.needed))
    return (
        f"The budget of {refusal.account}, {write_budget(budget)}, has {left} left, and this call may need {needed}."
        f"{held} It begins anew at {resets}; ask for less, or have it raised."
    )
