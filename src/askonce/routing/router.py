"""The road's first stage: who may answer, and can the caller afford it."""

from askonce.domain.call import Ask, Candidate, RoutingWish
from askonce.domain.errors import MaxCostExceeded
from askonce.domain.money import dollars
from askonce.domain.ports import PriceSource
from askonce.routing.estimate import estimate_nano
from askonce.routing.modes import resolve
from askonce.routing.roster import Roster

MAX_REMEMBERED = 1024  # names that callers use; one that makes up names all the time only loses the memory's help


class Router:
    """Resolve wishes against a roster that may be replaced. Answers repeat, so they are remembered; errors are not."""

    def __init__(self, roster: Roster, prices: PriceSource) -> None:
        self._roster = roster
        self._prices = prices
        self._remembered: dict[tuple[str, str | None, str | None], tuple[Candidate, ...]] = {}

    @property
    def roster(self) -> Roster:
        """Return the roster in force."""
        return self._roster

    def replace(self, roster: Roster) -> None:
        """Put another roster in force, at once and for all that follows."""
        if roster != self._roster:
            self._roster = roster
            self._remembered.clear()

    def candidates(self, wish: RoutingWish) -> tuple[Candidate, ...]:
        """Return candidates in order of preference. Raises the routing errors of `domain.errors`."""
        key = (wish.mode, wish.model, wish.active_provider)
        found = self._remembered.get(key)
        if found is None:
            found = resolve(wish, self._roster)
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = found
        return found

    async def afford(self, ask: Ask, candidates: tuple[Candidate, ...]) -> None:
        """Raise `MaxCostExceeded` where a candidate may cost more than the caller allows, or has no known price."""
        limit = ask.routing.max_cost_nano
        if limit is None:
            return
        await self._prices.loaded()
        for candidate in candidates:
            price = self._prices.price(candidate.provider, candidate.model, "")
            if price is None:
                raise MaxCostExceeded(
                    f"The price of {candidate} is not known, so maxCost cannot be kept; leave it out."
                )
            estimated = estimate_nano(ask.call, price)
            if estimated > limit:
                raise MaxCostExceeded(
                    f"{candidate} may cost up to about {dollars(estimated, 6)}, over maxCost {dollars(limit, 6)}: "
                    "raise it, lower maxTokens, shorten the prompt or choose a cheaper model."
                )
