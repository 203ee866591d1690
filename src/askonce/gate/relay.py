"""Feed a flight: from the provider if we lead, from the log of whoever leads otherwise.

Whoever boards first leads. The leader asks the provider, passes every piece to its own seats and to the log, settles,
and lands. A follower's process mirrors the log. When the leader's process dies, its lease runs out and one follower
boards again and leads. Store away: the call is made alone, unjoined by other processes.
"""

import asyncio
import time

from msgspec import Struct

from askonce.cache.flight import Flight
from askonce.domain.answer import Answer, Delta
from askonce.domain.errors import (
    AskonceError,
    FlightLost,
    InternalError,
    ModelLoading,
    ModelUnavailable,
    ProviderFailed,
    StoreUnavailable,
    error_from_code,
)
from askonce.domain.outcome import Ending
from askonce.domain.ports import Answers, Flights, Landing, LeaderLost, Lease, Meter
from askonce.domain.usage import Usage
from askonce.gate.dispatch import Dispatch
from askonce.gate.plan import Plan
from askonce.gate.settle import Settlement

# How many leaders of one question may die before its followers give up: more is not bad luck, but a poisonous call.
MAX_LEADERS = 3

ABANDONED = "Everyone who waited for this answer has left."
# Failures that never got as far as the provider, so that there is nothing to book.
_UNREACHED = (ModelLoading, ModelUnavailable)


class Aloft(Struct, eq=False):
    """Hold a flight of this process with what feeds it."""

    flight: Flight
    plan: Plan
    task: asyncio.Task[None] | None = None
    lease: Lease | None = None
    leads: bool = False
    stored: bool = False
    deserted_at: float | None = None  # time.monotonic() when the last seat was left


class Relay:
    """Carry answers from where they come from into flights."""

    def __init__(
        self, flights: Flights, answers: Answers, dispatch: Dispatch, settlement: Settlement, meter: Meter
    ) -> None:
        self._flights = flights
        self._answers = answers
        self._dispatch = dispatch
        self._settlement = settlement
        self._meter = meter

    async def fly(self, aloft: Aloft) -> None:
        """Bring one flight to its end. Never raises but for cancellation, which ends the flight as abandoned."""
        flight = aloft.flight
        try:
            if aloft.plan.mode == "off":
                await self._lead(aloft)
            else:
                await self._lead_or_mirror(aloft)
        except AskonceError as error:
            flight.fail(error)
        finally:
            # Reached without an ending only by cancellation or a defect; nobody may wait for ever because of it.
            flight.fail(ProviderFailed(ABANDONED))

    async def _lead_or_mirror(self, aloft: Aloft) -> None:
        for _ in range(MAX_LEADERS):
            aloft.lease = await self._board(aloft)
            if aloft.lease is None or aloft.lease.led:
                await self._lead_unless_stored(aloft)
                return
            try:
                await self._mirror(aloft)
                return
            except LeaderLost:
                aloft.flight.restart()
        raise FlightLost("The processes that asked this died one after the other. Ask again.")

    async def _board(self, aloft: Aloft) -> Lease | None:
        try:
            return await self._flights.board(aloft.flight.key)
        except StoreUnavailable:
            return None

    async def _lead_unless_stored(self, aloft: Aloft) -> None:
        """Look once more before paying: another flight may have landed between our look-up and our lease."""
        plan = aloft.plan
        if plan.mode == "default" and aloft.lease is not None:
            try:
                entry = await self._answers.find(plan.tenant, plan.keys.entries, plan.fresh_after_ms)
            except StoreUnavailable:
                entry = None
            if entry is not None:
                await self._land(aloft, Landing(entry))
                aloft.flight.land(entry, from_store=True)
                return
        await self._lead(aloft)

    async def _lead(self, aloft: Aloft) -> None:
        aloft.leads = True
        try:
            answer = await self._ask(aloft)
            entry, aloft.stored = await self._settlement.answered(aloft.plan, answer)
        except AskonceError as error:
            await self._land(aloft, Landing(None, error.code, error.message, error.retry_after_s))
            raise
        except asyncio.CancelledError:
            await self._land(aloft, Landing(None, FlightLost.code, ABANDONED))
            raise
        await self._land(aloft, Landing(entry))
        aloft.flight.land(entry)

    async def _ask(self, aloft: Aloft) -> Answer:
        """Ask the provider and pass on what comes; an ending that is not an answer is booked here."""
        plan = aloft.plan
        candidate = plan.candidates[0]
        started = time.monotonic()
        pieces = self._dispatch.ask(plan.ask.call, candidate)
        try:
            async for piece in pieces:
                if isinstance(piece, Answer):
                    return piece
                await self._pass_on(aloft, piece)
            raise ProviderFailed(f"{candidate} ended without an answer.")
        except _UNREACHED:
            raise
        except AskonceError as error:
            await self._book_broken(aloft, "failed", error, started)
            raise
        except asyncio.CancelledError:
            await self._book_broken(aloft, "abandoned", ProviderFailed(ABANDONED), started)
            raise
        except Exception as error:
            wrapped = InternalError("Something unexpected happened while asking the provider. It has been logged.")
            await self._book_broken(aloft, "failed", wrapped, started)
            raise wrapped from error
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]  # an async generator

    async def _pass_on(self, aloft: Aloft, piece: Delta) -> None:
        aloft.flight.append(piece.text)
        if aloft.lease is not None:
            try:
                await self._flights.append(aloft.flight.key, aloft.lease.generation, (piece.text,))
            except StoreUnavailable:
                aloft.lease = None  # followers elsewhere will see the lease run out, and ask for themselves

    async def _book_broken(self, aloft: Aloft, ending: Ending, error: AskonceError, started: float) -> None:
        """Book what an unfinished call cost: estimated from the text that came; nothing if the vendor refused."""
        plan, text = aloft.plan, aloft.flight.text
        candidate = plan.candidates[0]
        charged = bool(text) or ending == "abandoned"
        usage = await self._meter.usage(plan.ask.call, candidate.model, text) if charged else Usage(0, 0)
        partial = Answer(
            text="",
            finish="unknown",
            usage=usage,
            provider=candidate.provider,
            model=candidate.model,
            model_version="",
            took_ms=int(1000 * (time.monotonic() - started)),
        )
        await self._settlement.broken(plan, ending, self._dispatch.priced(partial), error)

    async def _mirror(self, aloft: Aloft) -> None:
        if aloft.lease is None:
            raise LeaderLost
        async for piece in self._flights.follow(aloft.flight.key, aloft.lease.generation):
            if isinstance(piece, Delta):
                aloft.flight.append(piece.text)
            elif piece.entry is not None:
                aloft.flight.land(piece.entry)
                return
            else:
                raise error_from_code(piece.error_code, piece.error_message, piece.retry_after_s)
        raise LeaderLost

    async def _land(self, aloft: Aloft, landing: Landing) -> None:
        if aloft.lease is not None and aloft.lease.led:
            try:
                await self._flights.land(aloft.flight.key, aloft.lease.generation, landing)
            except StoreUnavailable:
                return  # the lease runs out by itself; the answer still reaches our own seats
