"""Stored? In flight? Otherwise lead: who already has the answer, and who will get it.

All identical questions of this process sit in one flight; flights of several processes find each other through their
leases (see `relay`). A flight belongs to the house: it goes on while anybody waits, here or in another process. When
nobody does, the upstream call is hung up, or read to its end within a bound where the vendor charges for it anyway.
Where a request was named (`Idempotency-Key`), its flight goes on to its end all the same: its retry is expected.
"""

import asyncio
import itertools
from collections.abc import Coroutine, Sequence

from msgspec import Struct

from askonce.cache.flight import Flight, Seat
from askonce.domain.answer import CacheState, Entry, Piece
from askonce.domain.call import CacheMode, Candidate
from askonce.domain.errors import AskonceError, Draining, OverBudget, StoreUnavailable
from askonce.domain.ports import Flights, Observer, Promise
from askonce.domain.usage import Usage
from askonce.gate.dispatch import Dispatch
from askonce.gate.marks import Marks
from askonce.gate.plan import Plan, Visit
from askonce.gate.relay import MAX_REFUSED, REFUSALS, STOPPING, Aloft, Relay
from askonce.gate.settle import Settlement
from askonce.routing.route import Tried

# Leases live three seconds (state): renewing each second survives two missed beats.
RENEW_S = 1.0
# Every so many beats those who wait for a stream are told that it is still in the air, so that no proxy between them
# and us takes the silence for a death. Proxies usually wait 60 seconds.
NUDGE_BEATS = 15
# How long an abandoned call may be read to its end, so that its usage is known and its answer kept.
DRAIN_ABANDONED_S = 60.0


class Arrival(Struct, frozen=True):
    """Hold the end of a request that was answered: the entry, how it came about, and whether it is stored now."""

    entry: Entry
    state: CacheState
    stored: bool


class Joined:
    """Hold a request's part in a flight. Leave it, whatever happens.

    Where the vendor refused the question of whoever made the flight leave, and that one had sent other asides, the
    request asks again, with whoever else is left: another caller's metadata must not fail it. Likewise where whoever
    was to pay has no budget left.
    """

    def __init__(self, aloft: Aloft, seat: Seat, plan: Plan, answering: "Answering") -> None:
        self._aloft = aloft
        self._seat = seat
        self._plan = plan
        self._answering = answering
        self._asked_again = 0

    @property
    def plan(self) -> Plan:
        """Return the plan of the request that made the flight leave; its question is the same as ours."""
        return self._aloft.plan

    @property
    def state(self) -> CacheState:
        """Say how the answer comes about; settled once the first piece or the end is there."""
        if self._aloft.flight.from_store:
            return "hit"
        if not self._seat.pays or not self._aloft.leads:
            return "coalesced"
        mode = self._aloft.plan.mode
        return mode if mode in ("refresh", "off") else "miss"

    @property
    def replayed(self) -> bool:
        """Say whether the answer is one that this very request was given before."""
        return self._plan.promise is not None and self._plan.promise == self._aloft.replayed

    @property
    def candidate(self) -> Candidate:
        """Say who answers, as far as is known."""
        return self._aloft.candidate

    @property
    def attempts(self) -> tuple[Tried, ...] | None:
        """Return the attempts so far: none where the answer was stored, None where another process makes them."""
        if self._aloft.flight.from_store:
            return ()
        return self._aloft.tried if self._aloft.leads else None

    @property
    def attempts_begun(self) -> int | None:
        """Return how many attempts were made, the one that is under way included; None where not known."""
        if self.attempts is None:
            return None
        return sum(one.asked for one in self.attempts) + (not self._aloft.flight.over)

    @property
    def told(self) -> Usage | None:
        """Return what the vendor told of usage so far; None where it did not, or another process asks."""
        return self._aloft.told

    async def more(self) -> Sequence[Piece] | None:
        """Wait for the next pieces (none where only time passed); None at the end. Raises what the flight failed with.

        If cancelled, nothing was taken.
        """
        while True:
            try:
                return await self._seat.more()
            except REFUSALS as refusal:
                self._ask_for_oneself(refusal)

    async def arrival(self) -> Arrival:
        """Wait for the whole answer and book what it spared. Call it once. Raises what the flight failed with."""
        entry = await self._landed()
        state = self.state
        if state in ("hit", "coalesced"):
            await self._answering.settlement.spared(self._plan.visit, entry, coalesced=state == "coalesced")
        return Arrival(entry, state, self._aloft.stored or state == "hit")

    def leave(self) -> None:
        """Give the seat back; harmless when repeated."""
        self._seat.leave()

    def give_up(self) -> None:
        """Leave for good: this request will not be repeated, so that its flight need not go on for its name's sake."""
        promise = self._plan.promise
        if promise is not None:
            self._aloft.promises.pop(promise, None)
        self._seat.leave()

    async def _landed(self) -> Entry:
        while True:
            try:
                return await self._seat.landed()
            except REFUSALS as refusal:
                self._ask_for_oneself(refusal)

    def _ask_for_oneself(self, refusal: AskonceError) -> None:
        """Take another seat, in a flight with the own asides; raise the refusal where it was of these."""
        if isinstance(refusal, OverBudget):
            # Whoever was to pay could not: somebody else may. Each time one fewer is left to be refused.
            mine = self._aloft.plan.accounts == self._plan.accounts
        else:
            mine = self._aloft.plan.ask.call.asides == self._plan.ask.call.asides or self._asked_again >= MAX_REFUSED
            self._asked_again += 1
        if mine:
            raise refusal
        self._seat.leave()
        self._aloft, self._seat = self._answering.take_seat(self._plan)


class Answering:
    """Own the flights of this process. A service: `start` and `stop` it."""

    def __init__(
        self, relay: Relay, flights: Flights, dispatch: Dispatch, settlement: Settlement, observer: Observer
    ) -> None:
        self._observer = observer
        self._relay = relay
        self._flights = flights
        self._dispatch = dispatch
        self.settlement = settlement
        self._aloft: dict[bytes, Aloft] = {}  # joinable, by flight key
        self._named: dict[Promise, Aloft] = {}  # the same, by those who joined by name
        self._tasks: dict[Flight, Aloft] = {}  # all, the private and the abandoned included
        self._house: set[asyncio.Task[None]] = set()
        self._draining = False

    @property
    def in_flight(self) -> int:
        """Return how many calls are in the air."""
        return len(self._tasks)

    async def start(self) -> None:
        """Begin to renew leases and to look after deserted flights."""
        self._spawn(self._look_after())

    async def stop(self, drain_s: float) -> None:
        """Refuse new questions, let those in the air land for at most `drain_s`, then abandon them."""
        self._draining = True
        if self._tasks:
            await asyncio.wait([a.task for a in self._tasks.values() if a.task], timeout=drain_s)
        rest = [task for task in self._house if not task.done()]
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    async def is_kept(self, promise: Promise) -> bool:
        """Say whether this very request was answered before. Raises `KeyReused`."""
        return await self.settlement.is_kept(promise)

    async def replay(self, promise: Promise, visit: Visit) -> Entry | None:
        """Return what this very request was answered before, and book that it is told again. Raises `KeyReused`."""
        entry = await self.settlement.kept(promise)
        if entry is not None:
            await self.settlement.spared(visit, entry, coalesced=False)
        return entry

    async def found(self, visit: Visit, entry: Entry) -> None:
        """Note an answer from the store, which the threshold has booked."""
        await self.settlement.found(visit, entry)

    async def promise(self, promise: Promise, entry: Entry, mode: CacheMode) -> None:
        """Keep an answer from the store for the retries of the request that found it."""
        await self.settlement.promise(entry, {promise: mode})

    def is_aloft(self, plan: Plan) -> bool:
        """Say whether the question is being answered in this process, so that joining costs nothing."""
        return self._joinable(plan) is not None

    def seat(self, plan: Plan) -> Joined:
        """Join the flight of this question, or make one leave. Raises `Draining`. Never suspends."""
        return Joined(*self.take_seat(plan), plan, self)

    def take_seat(self, plan: Plan) -> tuple[Aloft, Seat]:
        """Do the same, and return the bare seat in its flight."""
        aloft = self._joinable(plan)
        if aloft is not None:
            aloft.deserted_at = None
            self._name(aloft, plan)
            aloft.fresh_after_ms = max(aloft.fresh_after_ms, plan.fresh_after_ms)
            return aloft, aloft.flight.take_seat(pays=False)
        if self._draining:
            raise Draining(STOPPING, retry_after_s=1)
        return self._depart(plan)

    def _joinable(self, plan: Plan) -> Aloft | None:
        """Return the flight that the request may join: of this very request first, in whichever cache mode it left.

        None where that has ended and only its landing is still being made known.
        """
        if plan.is_alone:
            return None
        aloft = None if plan.promise is None else self._named.get(plan.promise)
        aloft = aloft or self._aloft.get(plan.keys.flight)
        return None if aloft is None or aloft.flight.over else aloft

    def _name(self, aloft: Aloft, plan: Plan) -> None:
        """Promise the answer to the retries of the request, and let them find its flight."""
        if aloft.promise(plan) and plan.promise is not None:
            self._named[plan.promise] = aloft

    def _depart(self, plan: Plan) -> tuple[Aloft, Seat]:
        flight = Flight(plan.keys.flight, self._deserted)
        aloft = Aloft(
            flight, plan, plan.fresh_after_ms, Marks(plan.visit.began_ns, plan.visit.traceparent, plan.visit.span)
        )
        self._name(aloft, plan)
        seat = flight.take_seat(pays=True)
        if not plan.is_alone:
            self._aloft[flight.key] = aloft
        self._tasks[flight] = aloft
        aloft.task = self._spawn(self._fly(aloft))
        return aloft, seat

    async def _fly(self, aloft: Aloft) -> None:
        try:
            await self._relay.fly(aloft)
        finally:
            self._forget(aloft)
            self._tasks.pop(aloft.flight, None)

    def _forget(self, aloft: Aloft) -> None:
        if self._aloft.get(aloft.flight.key) is aloft:
            del self._aloft[aloft.flight.key]
        for promise in aloft.named:
            if self._named.get(promise) is aloft:
                del self._named[promise]

    def _deserted(self, flight: Flight) -> None:
        aloft = self._tasks.get(flight)
        if aloft is not None:
            aloft.deserted_at = asyncio.get_running_loop().time()
            self._spawn(self._consider(aloft))

    async def _consider(self, aloft: Aloft) -> None:
        """Abandon a flight that nobody waits for, and nobody will come back for."""
        if aloft.promises or self._occupied(aloft) or await self._followed(aloft) or self._occupied(aloft):
            return
        plan = aloft.plan
        drains = aloft.leads and self._dispatch.drains(plan.ask.call, aloft.candidate)
        patience_s = DRAIN_ABANDONED_S if drains else 0.0
        now = asyncio.get_running_loop().time()
        if aloft.deserted_at is not None and now - aloft.deserted_at >= patience_s and aloft.task:
            self._forget(aloft)  # nobody may join what is about to be hung up
            aloft.task.cancel()

    def _occupied(self, aloft: Aloft) -> bool:
        return aloft.flight.waiters > 0 or aloft.flight.over

    async def _followed(self, aloft: Aloft) -> bool:
        if aloft.lease is None or not aloft.lease.led:
            return False
        try:
            return await self._flights.followed(aloft.flight.key, aloft.lease.generation)
        except StoreUnavailable:
            return False

    async def _look_after(self) -> None:
        for beat in itertools.count(1):
            await asyncio.sleep(RENEW_S)
            for aloft in list(self._tasks.values()):
                try:
                    await self._tend(aloft, nudge=beat % NUDGE_BEATS == 0)
                except Exception as error:
                    # One flight's defect must not stop the renewal of all other leases.
                    self._observer.defect(error)

    async def _tend(self, aloft: Aloft, nudge: bool) -> None:
        await self._renew(aloft)
        if nudge:
            aloft.flight.nudge()
        if aloft.flight.waiters == 0:
            await self._consider(aloft)

    async def _renew(self, aloft: Aloft) -> None:
        if aloft.lease is not None and aloft.lease.led and not aloft.flight.over:
            try:
                await self._flights.renew(aloft.flight.key, aloft.lease.generation)
            except StoreUnavailable:
                return  # the next beat tries again; until the lease runs out nothing is lost

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._house.add(task)
        task.add_done_callback(self._retire)
        return task

    def _retire(self, task: asyncio.Task[None]) -> None:
        self._house.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._observer.defect(error)
