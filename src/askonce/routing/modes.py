"""The routing modes, one small class each: a question and what there is to see become ordered candidates.

`single-model` and `manual` ask whom the caller named. The others choose among several: those whom the name stands for
(a group, a model that several providers have), else the owner's `[routing] models`, else the default model of each
configured provider. Their set is chosen by what does not change from minute to minute, their order by what does, so
that all processes look for stored answers at the same candidates.
"""

from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Struct

from askonce.domain.call import Ask, Candidate, Priority, RoutingMode, RoutingWish
from askonce.domain.errors import ContextExceeded, Detail, Invalid
from askonce.routing.capabilities import LONG_CONTEXT_TOKENS, PURPOSES, needed, purpose_of, understood
from askonce.routing.estimate import estimate_nano, likely_tokens
from askonce.routing.health import Health
from askonce.routing.resolve import Pool, at_member, by_default, by_name, by_names, defaults, named_provider
from askonce.routing.roster import Lore, Preference, Roster
from askonce.routing.route import MAX_CANDIDATES, Considered, Route
from askonce.routing.score import PLACES, Traits, scores
from askonce.routing.stickiness import beginning, by_rendezvous


class Sight(Struct, frozen=True):
    """Hold what a mode may look at."""

    roster: Roster
    lore: Lore
    health: Health


class Mode(Protocol):
    """Choose who may answer."""

    def choose(self, ask: Ask, sight: Sight) -> Route:
        """Return the route. Raises the routing errors of `domain.errors`."""
        ...


class Named:
    """Ask whom the caller named: modes `single-model` and `manual`."""

    def choose(self, ask: Ask, sight: Sight) -> Route:
        """Return the candidates in the order of the name's meaning; of a weighted group by the conversation."""
        return ordered(ask, resolve(ask.routing, sight.roster))


class Heuristic:
    """Ask the best by the formula of `score`, of those that can."""

    def choose(self, ask: Ask, sight: Sight) -> Route:
        """Return the best few."""
        return _by_score(ask, sight, _field(ask.routing, sight.roster), ask.routing.priority)


class CostAware:
    """Ask the cheapest that can."""

    def choose(self, ask: Ask, sight: Sight) -> Route:
        """Return the cheapest few by this call's estimated cost; those without a known price come last."""
        able, passed = _able(ask, sight, _field(ask.routing, sight.roster))
        estimated = {}
        for candidate in able:
            price = sight.lore.price(candidate.provider, candidate.model, "")
            estimated[candidate] = None if price is None else estimate_nano(ask.call, price)
        by_cost = sorted(able, key=lambda candidate: (estimated[candidate] is None, estimated[candidate] or 0))
        return _route(ask, [Considered(candidate) for candidate in by_cost], passed)


class Orchestrated:
    """Ask whom the kind of work is for: by the owner's table, else by ours (`capabilities.PURPOSES`)."""

    def choose(self, ask: Ask, sight: Sight) -> Route:
        """Return the candidates of the work's row."""
        purpose = purpose_of(understood(ask.routing.capabilities))
        row = sight.roster.orchestrated.get(purpose) or Preference(PURPOSES.get(purpose))
        if row.models and not ask.routing.model:
            able, passed = _able(ask, sight, by_names(row.models, sight.roster).candidates)
            return _route(ask, [Considered(candidate) for candidate in able], passed)
        priority = ask.routing.priority or row.priority
        return _by_score(ask, sight, _field(ask.routing, sight.roster), priority)


MODES: dict[RoutingMode, Mode] = {
    "single-model": Named(),
    "manual": Named(),
    "heuristic": Heuristic(),
    "cost-aware": CostAware(),
    "orchestrated": Orchestrated(),
}


def resolve(wish: RoutingWish, roster: Roster) -> Pool:
    """Find whom the caller named. Raises `Invalid`, `UnknownModel`, `ProviderNotConfigured`."""
    if wish.mode == "manual" and not wish.active_provider:
        message = "Routing mode 'manual' needs activeProvider, the name of the provider to ask."
        raise Invalid(message, details=[Detail("activeProvider", message)])
    if wish.active_provider:
        return _at_active(wish, wish.active_provider, roster)
    return by_name(wish.model, roster) if wish.model else by_default(roster)


def ordered(ask: Ask, pool: Pool) -> Route:
    """Put a pool in order: by the conversation where it has weights, else as it is."""
    candidates = list(pool.candidates)
    if pool.weights:
        shares = zip(candidates, pool.weights, strict=True)
        candidates = by_rendezvous(beginning(ask.call), [(str(one), weight, one) for one, weight in shares])
    return _route(ask, [Considered(candidate) for candidate in candidates], [])


def _at_active(wish: RoutingWish, active: str, roster: Roster) -> Pool:
    """Resolve the model at the active provider; a model that names another provider contradicts it."""
    member = named_provider(active, roster)
    name = roster.aliases.get(wish.model or "", wish.model or "")
    if name in roster.groups:
        return _part_at(member.name, name, roster)
    head, colon, rest = name.partition(":")
    if colon and head == member.name:
        name = rest
    elif colon and roster.member(head):
        message = f"The model {name!r} is {head}'s, but activeProvider is {member.name!r}: send one of the two."
        raise Invalid(message, details=[Detail("model", message)])
    return Pool((at_member(name, member, roster),))


def _part_at(provider: str, name: str, roster: Roster) -> Pool:
    pool = by_name(name, roster)
    at = [index for index, candidate in enumerate(pool.candidates) if candidate.provider == provider]
    if not at:
        message = f"The group {name!r} has no member at {provider!r}, the activeProvider: send one of the two."
        raise Invalid(message, details=[Detail("model", message)])
    weights = tuple(pool.weights[index] for index in at) if pool.weights else ()
    return Pool(tuple(pool.candidates[index] for index in at), weights)


def _field(wish: RoutingWish, roster: Roster) -> tuple[Candidate, ...]:
    """Return all whom a choosing mode may choose among."""
    if wish.model or wish.active_provider:
        return resolve(wish, roster).candidates
    if roster.pool:
        return by_names(roster.pool, roster).candidates
    return defaults(roster) or by_default(roster).candidates


def _able(ask: Ask, sight: Sight, field: Iterable[Candidate]) -> tuple[list[Candidate], list[Considered]]:
    """Tell those that can do what is asked from those that cannot, and why. Raises where nobody can."""
    needs = needed(ask.call, understood(ask.routing.capabilities))
    tokens = likely_tokens(ask.call) + (ask.call.params.max_tokens or 0)
    lacking, small, able = [], [], []
    for candidate in field:
        window = sight.lore.context_window(candidate.provider, candidate.model)
        lacks = needs - _abilities(candidate, window, sight)
        if lacks:
            lacking.append(Considered(candidate, skipped=f"lacks {', '.join(sorted(lacks))}"))
        elif window is not None and tokens > window:
            small.append(Considered(candidate, skipped=f"reads {window} tokens, this takes about {tokens}"))
        else:
            able.append(candidate)
    if able:
        return able, lacking + small
    if small:
        names = "; ".join(f"{one.candidate} {one.skipped}" for one in small)
        raise ContextExceeded(f"No model that may be asked can read the whole prompt: {names}. Shorten the prompt.")
    names = "; ".join(f"{one.candidate} {one.skipped}" for one in lacking)
    message = f"No model that may be asked can do what is asked: {names}. Ask for less, or name a model."
    raise Invalid(message, details=[Detail("capabilities", message)])


def _abilities(candidate: Candidate, window: int | None, sight: Sight) -> frozenset[str]:
    known = sight.lore.abilities(candidate.provider, candidate.model)
    return known | {"long-context"} if window is not None and window >= LONG_CONTEXT_TOKENS else known


def _by_score(ask: Ask, sight: Sight, field: Iterable[Candidate], priority: Priority | None) -> Route:
    """Choose the few best by what lasts (price), then order them by everything; who is broken down comes last."""
    able, passed = _able(ask, sight, field)
    lasting = [Traits(one, sight.lore.price(one.provider, one.model, "")) for one in able]
    few = [one for _, one in _best_first(lasting, priority)][:MAX_CANDIDATES]
    passed += [Considered(one.candidate, skipped="others fit better") for one in lasting if one not in few]
    now = [
        Traits(one.candidate, one.price, sight.health.pace(one.candidate), _load(one.candidate.provider, sight))
        for one in few
    ]
    best = sorted(_best_first(now, priority), key=lambda pair: sight.health.is_open(pair[1].candidate))
    return _route(ask, [Considered(one.candidate, score) for score, one in best], passed)


def _best_first(field: list[Traits], priority: Priority | None) -> list[tuple[float, Traits]]:
    # Stable: of equals the owner's order decides.
    by_score: Callable[[tuple[float, Traits]], float] = lambda pair: -pair[0]  # noqa: E731  # typed for mypy
    return sorted(zip(scores(field, priority), field, strict=True), key=by_score)


def _load(provider: str, sight: Sight) -> float:
    return sight.health.load(provider) / (sight.lore.room(provider) or PLACES)


def _route(ask: Ask, chosen: list[Considered], passed: list[Considered]) -> Route:
    """Keep as many as may be candidates; the others are told of."""
    wish = ask.routing
    most = MAX_CANDIDATES if wish.allow_failover else 1
    late = "failover is not allowed" if not wish.allow_failover else "others come first"
    left = [Considered(one.candidate, one.score, late) for one in chosen[most:]]
    kept = chosen[:most]
    candidates = tuple(one.candidate for one in kept)
    return Route(wish.mode, candidates, (*kept, *left, *passed), wish.allow_failover)
