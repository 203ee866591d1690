"""The road: one function whose lines are the stages that a question passes, in order."""

import time
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from askonce.cache.fingerprint import Fingerprints
from askonce.cache.policy import Policy, fresh_after_ms
from askonce.cache.promise import own_flight, promise_of
from askonce.domain.answer import Entry
from askonce.domain.call import Ask, CacheMode, Candidate
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError, CacheMiss
from askonce.domain.ports import Entered, Knock, Promise, Threshold, Verdict, Window
from askonce.gate.admission import OverLimit
from askonce.gate.answering import Answering, Joined
from askonce.gate.plan import Plan, Visit
from askonce.gate.scopes import permitted
from askonce.routing.route import Route

NOTHING_STORED = (
    "Nothing fresh enough is stored for this question. Ask without cache mode 'only' (only-if-cached) to have it made."
)

NOT_ITS_TO_ASK = "this key may not ask it"


class Router(Protocol):
    """Choose who may answer."""

    def route(self, ask: Ask) -> Route:
        """Return candidates in order of preference. Raises the routing errors of `domain.errors`."""
        ...

    async def afford(self, ask: Ask, route: Route) -> Route:
        """Return the route without those that may not be asked; raises their error where nobody is left."""
        ...


class Admitted(Struct, frozen=True):
    """Prove that a question was let in: what its window said, and where its answer is or comes from.

    `outcome` is an entry (a hit), a seat in a flight, or what went wrong behind the door. `route` says whose answers
    would do, and why. `replayed`: the entry is what this very request, known by its name, was answered before.
    `entered_us`: how long window and look-up took (microseconds).
    """

    window: Window | None
    verdict: Verdict | None
    outcome: Entry | Joined | AskonceError
    route: Route
    replayed: bool = False
    entered_us: int = 0


class Road:
    """Take questions from the door to their answers."""

    def __init__(self, router: Router, policy: Policy, threshold: Threshold, answering: Answering, clock: Clock):
        self._router = router
        self._policy = policy
        self._threshold = threshold
        self._answering = answering
        self._clock = clock

    async def travel(self, ask: Ask, visit: Visit) -> Admitted:
        """Answer one question, or say who will.

        Suspends only where shared state does. Raises routing errors, `Forbidden` (models that the key may not ask),
        `KeyReused` (nothing counted) and `OverLimit`; what fails after the admission is an outcome, because the caller
        is told what its window said all the same.
        """
        caller, window = visit.caller, visit.window
        promise = promise_of(ask, caller.identity)
        verdict: Verdict | None = None
        if promise is not None and await self._answering.is_kept(promise):
            # Like any hit it counts, whoever could be asked by now; and it is read only for who is let in.
            verdict = self._admitted(window, await self._threshold.enter(_knock(visit, window)))
            if (kept := await self._answering.replay(promise, visit)) is not None:
                return Admitted(window, verdict, kept, _route_of(kept, ask), replayed=True)
        route = allowed(caller, self._router.route(ask))
        mode = self._policy.mode(ask.cache)
        keys = _named(self._policy.keys(ask.call, route.candidates), mode, promise)
        looks = keys.entries if mode in ("default", "only") else ()
        fresh = fresh_after_ms(ask.cache, mode, self._clock.wall_ms())
        knocks = window if verdict is None else None  # once; what was kept for it may just have gone
        before_ns = time.perf_counter_ns()
        entered = await self._threshold.enter(_knock(visit, knocks, looks, fresh))
        took_us = (time.perf_counter_ns() - before_ns) // 1000
        verdict = verdict or self._admitted(window, entered)
        if entered.entry is not None:
            await self._answering.found(visit, entered.entry)
            if promise is not None:
                await self._answering.promise(promise, entered.entry, mode)
            return Admitted(window, verdict, entered.entry, route, entered_us=took_us)
        if mode == "only":
            return Admitted(window, verdict, CacheMiss(NOTHING_STORED), route)
        try:
            plan = Plan(ask, mode, route, keys, fresh, visit, promise)
            if not self._answering.is_aloft(plan):
                route = await self._router.afford(ask, route)
                plan = replace(plan, route=route)
            joined = self._answering.seat(plan)
        except AskonceError as error:
            return Admitted(window, verdict, error, route, entered_us=took_us)
        return Admitted(window, verdict, joined, route, entered_us=took_us)

    def _admitted(self, window: Window | None, entered: Entered) -> Verdict | None:
        if window is not None and entered.verdict is not None and not entered.verdict.admitted:
            raise OverLimit("", window, entered.verdict)
        return entered.verdict


def _named(keys: Fingerprints, mode: CacheMode, promise: Promise | None) -> Fingerprints:
    """Return the keys of a request that may have a name: what is not to come from the store is its retries' alone."""
    if promise is not None and mode in ("off", "refresh"):
        return replace(keys, flight=own_flight(promise))
    return keys


def _knock(visit: Visit, window: Window | None, looks: tuple[bytes, ...] = (), fresh_after_ms: int = 0) -> Knock:
    return Knock(visit.caller.tenant, window, looks, fresh_after_ms, visit.caller.key_id, visit.door)


def allowed(caller: Caller, route: Route) -> Route:
    """Return the route without those that the caller's key may not ask. Raises `Forbidden` where nobody is left.

    This comes before the look-up: a stored answer of a model that a key may not ask is not its to have.
    """
    card = None if caller.standing is None else caller.standing.card
    if card is None or not (card.models or card.providers):
        return route
    kept = set(permitted(card, [(one.provider, one.model) for one in route.candidates]))
    if len(kept) == len(route.candidates):
        return route
    return replace(
        route,
        candidates=tuple(one for one in route.candidates if (one.provider, one.model) in kept),
        considered=tuple(
            one if (one.candidate.provider, one.candidate.model) in kept else replace(one, skipped=NOT_ITS_TO_ASK)
            for one in route.considered
        ),
    )


def _route_of(kept: Entry, ask: Ask) -> Route:
    """Return the route of an answer that is told again."""
    return Route(ask.routing.mode, (Candidate(kept.provider, kept.model),))
