"""The road's first stage: who may answer; and, before anything is paid: can they read it, can the caller afford it."""

from msgspec.structs import replace

from askonce.domain.call import Ask, Candidate
from askonce.domain.errors import AskonceError, ContextExceeded, MaxCostExceeded, ProviderUnavailable, UnknownModel
from askonce.domain.money import dollars
from askonce.routing.capabilities import understood
from askonce.routing.estimate import estimate_nano, exceeds
from askonce.routing.health import Health
from askonce.routing.modes import MODES, Sight, ordered, resolve
from askonce.routing.roster import Lore, Roster
from askonce.routing.route import Route

MAX_REMEMBERED = 1024  # names that callers use; one that makes up names all the time only loses the memory's help
NAMES_AWAITED = "The names of models are still being read, as at every first start. Ask again in a moment."
NAMES_WAIT_S = 2  # compiling them takes about two seconds
_NAMED = ("single-model", "manual")


class Router:
    """Route questions by a roster that may be replaced. What names mean is remembered; errors are not."""

    def __init__(self, roster: Roster, lore: Lore, health: Health) -> None:
        self._roster = roster
        self._lore = lore
        self._health = health
        self._remembered: dict[tuple[object, ...], Route] = {}

    @property
    def roster(self) -> Roster:
        """Return the roster in force."""
        return self._roster

    def replace(self, roster: Roster) -> None:
        """Put another roster in force, at once and for all that follows."""
        if roster is not self._roster and roster != self._roster:
            self._roster = roster
            self._remembered.clear()

    def route(self, ask: Ask) -> Route:
        """Return who may answer, in order of preference. Raises the routing errors of `domain.errors`.

        While names of models are still to come, what looks unknown is not refused for good: `ProviderUnavailable`.
        """
        try:
            return self._route(ask)
        except UnknownModel:
            if not self._lore.names_awaited:
                raise
            raise ProviderUnavailable(NAMES_AWAITED, retry_after_s=NAMES_WAIT_S) from None

    def _route(self, ask: Ask) -> Route:
        wish, roster = ask.routing, self._roster.of(ask.call.kind)
        if wish.capabilities:
            understood(wish.capabilities)  # a word that is not known is refused in every mode
        if wish.mode not in _NAMED:
            return MODES[wish.mode].choose(ask, Sight(roster, self._lore, self._health))
        key = (ask.call.kind, wish.mode, wish.model, wish.active_provider, wish.allow_failover)
        found = self._remembered.get(key)
        if found is None:
            pool = resolve(wish, roster)
            found = ordered(ask, pool)
            if not pool.weights:
                self._remember(key, found)
        return found

    async def afford(self, ask: Ask, route: Route) -> Route:
        """Return the route without those that cannot read the question or may cost more than the caller allows.

        Waits for prices only where a limit is set. Raises `ContextExceeded` and `MaxCostExceeded` where nobody is left.
        """
        if ask.routing.max_cost_nano is not None:
            await self._lore.loaded()
        refused: dict[Candidate, AskonceError] = {}
        for candidate in route.candidates:
            problem = self._problem(ask, candidate)
            if problem is not None:
                refused[candidate] = problem
        if not refused:
            return route
        if len(refused) == len(route.candidates):
            raise refused[route.candidates[0]]
        return replace(
            route,
            considered=tuple(
                replace(one, skipped=refused[one.candidate].message) if one.candidate in refused else one
                for one in route.considered
            ),
        )

    def _problem(self, ask: Ask, candidate: Candidate) -> AskonceError | None:
        window = self._lore.context_window(candidate.provider, candidate.model, ask.call.features)
        if window is not None and (tokens := exceeds(ask.call, window)):
            return ContextExceeded(
                f"The prompt has at least {tokens} tokens, and {candidate} reads {window}. Shorten the prompt."
            )
        limit = ask.routing.max_cost_nano
        return None if limit is None else self._too_dear(ask, candidate, limit)

    def _too_dear(self, ask: Ask, candidate: Candidate, limit: int) -> AskonceError | None:
        price = self._lore.price(candidate.provider, candidate.model, "")
        if price is None:
            return MaxCostExceeded(f"The price of {candidate} is not known, so maxCost cannot be kept; leave it out.")
        estimated = estimate_nano(ask.call, price)
        if estimated <= limit:
            return None
        return MaxCostExceeded(
            f"{candidate} may cost up to about {dollars(estimated, 6)}, over maxCost {dollars(limit, 6)}: "
            "raise it, lower maxTokens, shorten the prompt or choose a cheaper model."
        )

    def _remember(self, key: tuple[object, ...], route: Route) -> None:
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = route
