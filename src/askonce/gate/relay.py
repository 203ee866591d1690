"""Feed a flight: from the provider if we lead, from the log of whoever leads otherwise.

Whoever boards first leads. The leader asks providers until one answers (`dispatch.Journey`), passes every piece to its
own seats and to the log, settles, and lands. A follower's process mirrors the log. When the leader's process dies, its
lease runs out and one follower boards again and leads; likewise when the leader gives up because it is shutting down.
Store away: the call is made alone, unjoined by other processes.

Cancellation ends a flight. It comes when nobody waits any more, or when the process stops. Once a provider has been
asked, the ending is settled and landed all the same (`unbroken`), exactly once.
"""

import asyncio
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from askonce.cache.flight import Flight
from askonce.domain.answer import Answer, Entry, Piece
from askonce.domain.call import CacheMode, Candidate
from askonce.domain.errors import (
    AskonceError,
    Draining,
    FlightLost,
    InternalError,
    Invalid,
    KeyReused,
    OverBudget,
    ProviderFailed,
    ProviderRejected,
    StoreUnavailable,
    error_from_code,
    was_unsent,
)
from askonce.domain.ledger import Ending
from askonce.domain.ports import Answers, Flights, Landing, LeaderLost, Lease, Promise
from askonce.domain.usage import Usage
from askonce.gate.dispatch import Dispatch
from askonce.gate.marks import Marks
from askonce.gate.plan import Plan
from askonce.gate.settle import UNEXPECTED, Settlement
from askonce.gate.treasury import Hold, Treasury
from askonce.gate.unbroken import unbroken
from askonce.routing.health import Target
from askonce.routing.route import Tried

# How many leaders of one question may die before its followers give up: more is not bad luck, but a poisonous call.
MAX_LEADERS = 3

# How many requests of one flight are promised its answer; each is one more record. Only a flood of callers who come
# and go with ever new names has more.
MAX_PROMISES = 1024

# Endings that may come of what a caller sent besides the question (its metadata, its marks for the prompt cache), or of
# its budget.
REFUSALS = (Invalid, ProviderRejected, OverBudget)
# How often a request asks again because others' asides may be to blame. Each time one caller fewer is left who is
# refused for its own. A question that is bad itself, asked with as many different asides, is refused so often, unpaid.
MAX_REFUSED = 8

ABANDONED = "Everyone who waited for this answer has left."
STOPPING = "This process is shutting down. Ask again."


class Aloft(Struct, eq=False):
    """Hold a flight of this process with what feeds it.

    `fresh_after_ms` is the strictest of all who joined: a stored answer older than that will not do. `promises`, with
    the cache modes of their requests, are those that are still to be kept; while there are any, the flight goes on
    though nobody waits. `named` are all that it was promised to.
    """

    flight: Flight
    plan: Plan
    fresh_after_ms: int
    marks: Marks
    task: asyncio.Task[None] | None = None
    lease: Lease | None = None
    leads: bool = False
    asked: Candidate | None = None  # who is being asked, once somebody is
    told: Usage | None = None  # what whoever is being asked has said of usage so far
    tried: tuple[Tried, ...] = ()  # the attempts that are over, the one that answered included
    stored: bool = False
    cut: bool = False  # a piece could not be logged, so that no later one is
    deserted_at: float | None = None  # the loop's time when the last seat was left
    promises: dict[Promise, CacheMode] = {}
    named: set[Promise] = set()
    replayed: Promise | None = None  # whose answer it landed with, where that was told before
    hold: Hold | None = None  # what is reserved for it
    refused: int = 0  # how often another process was, perhaps for what its caller had sent besides the question

    def promise(self, plan: Plan) -> bool:
        """Promise the answer to the retries of one more request; False where too many were promised it.

        In mode `off` where any of its tries is: that it is not to stay counts more than that it may.
        """
        promise = plan.promise
        if promise is None or (promise not in self.promises and len(self.named) >= MAX_PROMISES):
            return False
        if self.promises.get(promise) != "off":
            self.promises[promise] = plan.mode
        self.named.add(promise)
        return True

    @property
    def candidate(self) -> Candidate:
        """Return who answers, as far as is known: the preferred one, until another had to be asked."""
        return self.asked or self.plan.route.askable[0]

    def hear(self, usage: Usage) -> None:
        """Take note of what the vendor told of usage so far."""
        self.told = usage


class Relay:
    """Carry answers from where they come from into flights."""

    def __init__(
        self, flights: Flights, answers: Answers, dispatch: Dispatch, settlement: Settlement, treasury: Treasury
    ) -> None:
        self._flights = flights
        self._answers = answers
        self._dispatch = dispatch
        self._settlement = settlement
        self._treasury = treasury

    async def fly(self, aloft: Aloft) -> None:
        """Bring one flight to its end. Raises defects and cancellation, when the flight has ended."""
        flight = aloft.flight
        try:
            if aloft.plan.is_alone:
                await self._lead(aloft)
            else:
                await self._lead_or_mirror(aloft)
        except AskonceError as error:
            flight.fail(error)
            if isinstance(error, InternalError) and aloft.leads:
                raise
        except Exception:
            flight.fail(InternalError(UNEXPECTED))
            raise
        finally:
            # Without an ending until here only if cancelled: who still waits, waits for a process that stops.
            flight.fail(Draining(STOPPING, retry_after_s=1))

    async def _lead_or_mirror(self, aloft: Aloft) -> None:
        lost = 0
        while lost < MAX_LEADERS:
            aloft.lease = await self._board(aloft)
            aloft.marks.board()
            if aloft.lease is None or aloft.lease.led:
                await self._lead(aloft)
                return
            try:
                await self._mirror(aloft)
                return
            except LeaderLost:
                aloft.flight.restart()
                lost += 1
            except REFUSALS as refusal:
                # The caller elsewhere is to blame, perhaps, and not ours: what it sent besides the question, or its
                # budget. Each time there is one caller fewer who is refused for its own.
                if aloft.refused >= MAX_REFUSED or aloft.flight.begun:
                    raise
                aloft.refused += not isinstance(refusal, OverBudget)
            except StoreUnavailable:
                aloft.flight.restart()
                aloft.lease = None
                if not aloft.flight.over:
                    await self._lead(aloft)
                return
            if aloft.flight.over:
                return
        raise FlightLost("The processes that asked this died one after the other. Ask again.")

    async def _board(self, aloft: Aloft) -> Lease | None:
        try:
            return await self._flights.board(aloft.flight.key)
        except StoreUnavailable:
            return None

    async def _lead(self, aloft: Aloft) -> None:
        """Find the answer or pay for it, and land however that ends."""
        try:
            entry = await self._stored_meanwhile(aloft)
            answer = await self._pay(aloft) if entry is None else None
        except AskonceError as error:
            await unbroken(self._fail(aloft, Landing(None, error.code, error.message, error.retry_after_s)))
            raise
        except asyncio.CancelledError:
            # Who followed from elsewhere takes this as a lost leader, and leads (see `_mirror`).
            await unbroken(self._fail(aloft, Landing(None, FlightLost.code, ABANDONED)))
            raise
        except Exception:
            await unbroken(self._fail(aloft, Landing(None, InternalError.code, UNEXPECTED)))
            raise
        if answer is not None:
            await unbroken(self._bring_home(aloft, answer))
        elif entry is not None:
            await unbroken(self._bring_in(aloft, entry, from_store=True))

    async def _stored_meanwhile(self, aloft: Aloft) -> Entry | None:
        """Look once more before paying: another flight may have landed between our look-up and our lease."""
        plan = aloft.plan
        if aloft.lease is None:
            return None
        entry = None if plan.promise is None else await self._told_before(plan.promise)
        # Others may be here by the question alone, unless the cache is not to be looked at.
        if entry is not None and (plan.mode != "default" or entry.stored_ms >= aloft.fresh_after_ms):
            aloft.replayed = plan.promise
            return entry
        if plan.mode != "default":
            return None
        try:
            entry = await self._answers.find(plan.tenant, plan.keys.entries, aloft.fresh_after_ms)
        except StoreUnavailable:
            return None
        return None if entry is None or entry.stored_ms < aloft.fresh_after_ms else entry

    async def _told_before(self, promise: Promise) -> Entry | None:
        try:
            return await self._settlement.kept(promise)
        except KeyReused:
            return None  # another question took the name meanwhile: ours is answered, and not promised

    async def _keep_promises(self, aloft: Aloft, entry: Entry) -> None:
        """Keep what was promised, before anybody hears the answer; also to those who join while that goes on."""
        while aloft.promises:
            promises, aloft.promises = aloft.promises, {}
            await self._settlement.promise(entry, promises)

    async def _bring_home(self, aloft: Aloft, answer: Answer) -> None:
        """Price and settle a paid answer, and land with it."""
        try:
            priced = await self._dispatch.priced(answer)
            if aloft.hold is not None:
                aloft.hold.add(priced)
            entry, aloft.stored = await self._settlement.answered(aloft.plan, priced, aloft.hold, aloft.marks)
        except Exception:
            await self._fail(aloft, Landing(None, InternalError.code, UNEXPECTED))
            raise
        await self._bring_in(aloft, entry, from_store=False)

    async def _bring_in(self, aloft: Aloft, entry: Entry, *, from_store: bool) -> None:
        """Land with an answer that is settled."""
        try:
            await self._keep_promises(aloft, entry)
        except Exception:
            await self._land(aloft, Landing(None, InternalError.code, UNEXPECTED))
            raise
        aloft.flight.land(entry, from_store=from_store)
        await self._land(aloft, Landing(entry))

    async def _fail(self, aloft: Aloft, landing: Landing) -> None:
        """Settle what was reserved, then land badly."""
        if aloft.hold is not None:
            await self._treasury.settle(aloft.hold)
        await self._land(aloft, landing)

    async def _pay(self, aloft: Aloft) -> Answer:
        """Ask, once there is room for it in the budgets of whoever pays."""
        aloft.hold = await self._treasury.reserve(aloft.plan)
        return await self._ask(aloft)

    async def _ask(self, aloft: Aloft) -> Answer:
        """Ask one after the other until somebody answers. Nobody else is asked once a piece was passed on."""
        aloft.leads = True
        journey = self._dispatch.journey(aloft.plan)
        while True:
            target = await journey.next()
            try:
                return await self._attempt(aloft, target, journey.left_s)
            except AskonceError as error:
                if aloft.flight.begun or isinstance(error, InternalError):
                    raise
                if not journey.goes_on(target, error) or not await self._awaited(aloft):
                    verdict = journey.verdict()
                    if verdict is error:
                        raise
                    raise verdict from error
            finally:
                journey.leave(target)

    async def _awaited(self, aloft: Aloft) -> bool:
        """Say whether anybody still waits or will come back: for nobody, nothing is tried again."""
        if aloft.flight.waiters or aloft.promises or aloft.lease is None:
            return aloft.flight.waiters > 0 or bool(aloft.promises)
        try:
            return await self._flights.followed(aloft.flight.key, aloft.lease.generation)
        except StoreUnavailable:
            return False

    async def _attempt(self, aloft: Aloft, target: Target, deadline_s: float) -> Answer:
        """Ask one provider; an ending that is not an answer is booked here."""
        before, aloft.asked, aloft.told = aloft.asked, target.candidate, None
        watch = _Watch()
        aloft.marks.ask()
        aloft.marks.sent = self._dispatch.trace(aloft.plan)
        code, asked = FlightLost.code, True  # of a call that was hung up
        try:
            call, pass_on = aloft.plan.ask.call, partial(self._pass_on, aloft)
            answer = await self._dispatch.ask(call, target, deadline_s, pass_on, aloft.hear)
            code = ""
            return answer
        except AskonceError as error:
            code = error.code
            asked = not (isinstance(error, Invalid) and was_unsent(error))
            if not asked:
                aloft.asked = before
            if not was_unsent(error):
                await unbroken(self._book_broken(aloft, "failed", error, watch.ms()))
            raise
        except asyncio.CancelledError as error:
            if not was_unsent(error):
                await unbroken(self._book_broken(aloft, "abandoned", ProviderFailed(ABANDONED), watch.ms()))
            raise
        except Exception as error:
            code = InternalError.code
            wrapped = InternalError(UNEXPECTED)
            if not was_unsent(error):
                await unbroken(self._book_broken(aloft, "failed", wrapped, watch.ms()))
            raise wrapped from error
        finally:
            aloft.marks.answer(aloft.flight.joined - 1)
            aloft.tried = (*aloft.tried, Tried(target.candidate, target.key + 1, watch.ms(), code, asked))

    async def _pass_on(self, aloft: Aloft, piece: Piece) -> None:
        aloft.flight.append(piece)
        if aloft.lease is not None and not aloft.cut:
            try:
                await self._flights.append(aloft.flight.key, aloft.lease.generation, (piece,))
            except StoreUnavailable:
                aloft.cut = True  # the lease goes on being renewed; followers elsewhere get the rest at the landing

    async def _usage_so_far(self, aloft: Aloft, charged: bool) -> Usage:
        """Return what an unfinished call has used: as the vendor told it, the rest estimated from what came.

        Nothing where nothing came, unless `charged` all the same.
        """
        text, told = aloft.flight.text, aloft.told
        if told is not None and not told.estimated:
            return told
        if not (text or told or charged):
            return Usage(0, 0)
        guess = await self._dispatch.meter.usage(aloft.plan.ask.call, aloft.candidate.model, text)
        if told is None:
            return guess
        return replace(told, completion_tokens=max(told.completion_tokens, guess.completion_tokens))

    async def _book_broken(self, aloft: Aloft, ending: Ending, error: AskonceError, took_ms: int) -> None:
        """Book what an unfinished call cost."""
        plan, candidate = aloft.plan, aloft.candidate
        partial = Answer(
            text="",
            finish="unknown",
            usage=await self._usage_so_far(aloft, charged=ending == "abandoned"),
            provider=candidate.provider,
            model=candidate.model,
            model_version="",
            took_ms=took_ms,
        )
        priced = await self._dispatch.priced(partial)
        if aloft.hold is not None:
            aloft.hold.add(priced)
        await self._settlement.broken(plan, ending, priced, error, marks=aloft.marks)

    async def _mirror(self, aloft: Aloft) -> None:
        """Repeat another process's flight here. Raises `LeaderLost`, and what that flight failed with."""
        if aloft.lease is None:
            raise LeaderLost
        pieces = self._flights.follow(aloft.flight.key, aloft.lease.generation)
        try:
            async for piece in pieces:
                if isinstance(piece, Landing):
                    await unbroken(self._land_mirrored(aloft, piece))
                    return
                aloft.flight.append(piece)
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # an async generator
        raise LeaderLost

    async def _land_mirrored(self, aloft: Aloft, landing: Landing) -> None:
        if landing.entry is None:
            if landing.error_code == FlightLost.code:
                raise LeaderLost
            raise error_from_code(landing.error_code, landing.error_message, landing.retry_after_s)
        if landing.entry.stored_ms < aloft.fresh_after_ms:
            raise LeaderLost  # its leader found it stored, which is not what was asked for here
        await self._keep_promises(aloft, landing.entry)
        aloft.flight.land(landing.entry)

    async def _land(self, aloft: Aloft, landing: Landing) -> None:
        if aloft.lease is not None and aloft.lease.led:
            landing = replace(landing, cut=True) if aloft.cut else landing
            try:
                await self._flights.land(aloft.flight.key, aloft.lease.generation, landing)
            except StoreUnavailable:
                return  # the lease runs out by itself; the answer still reaches our own seats


class _Watch:
    """Measure an attempt, by the loop's time."""

    def __init__(self) -> None:
        self._started = asyncio.get_running_loop().time()

    def ms(self) -> int:
        return int(1000 * (asyncio.get_running_loop().time() - self._started))
