"""Ask providers. The only place that names one of the candidates as the one that is paid."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from askonce.domain.answer import Answer, Piece
from askonce.domain.call import Call, Candidate
from askonce.domain.errors import AskonceError, ProviderFailed, ProviderUnavailable
from askonce.domain.ports import Meter, PriceSource, Provider
from askonce.domain.tracing import TraceOut, outgoing, untraced
from askonce.domain.usage import Usage
from askonce.gate.plan import Plan
from askonce.gate.rooms import Rooms
from askonce.routing.attempts import Attempts, is_last_word
from askonce.routing.health import Health, Target
from askonce.routing.stickiness import beginning, by_rendezvous

NOBODY = "There is nobody left who could be asked. Ask again in a moment."

# Takes a piece of an answer that is not whole yet. Does not raise.
PassOn = Callable[[Piece], Awaitable[None]]
# Takes what the vendor told of usage before the end.
Told = Callable[[Usage], None]


class Outlets(Struct, frozen=True):
    """Hold who can be asked: by a provider's name one port for each of its keys; and how many calls it may have in
    the air at once, where that is bounded; and what is sent of their traces."""

    providers: Mapping[str, Sequence[Provider]]
    most: Mapping[str, int] = {}
    trace: TraceOut = untraced


class Bills(Struct, frozen=True):
    """Hold what is needed to say what a call cost: prices, and a meter for where the vendor does not count."""

    prices: PriceSource
    meter: Meter


class Dispatch:
    """Make paid calls within a total deadline (seconds), and say what they cost. `dice`: uniform from 0 to 1."""

    def __init__(
        self, outlets: Outlets, bills: Bills, total_s: float, health: Health, dice: Callable[[], float]
    ) -> None:
        self._providers = outlets.providers
        self._rooms = Rooms(outlets.most)
        self._trace = outlets.trace
        self._prices = bills.prices
        self.meter = bills.meter
        self._total_s = total_s
        self._health = health
        self._dice = dice

    def trace(self, plan: Plan) -> str:
        """Begin to trace an attempt: return what is sent with it, "" where nothing is."""
        visit = plan.visit
        sent = self._trace(visit.request_id, visit.traceparent, visit.trace_id)
        outgoing.set(sent)
        return sent

    def drains(self, call: Call, candidate: Candidate) -> bool:
        """Say whether this call, when abandoned, is to be read to its end, because it is paid anyway."""
        provider = next(iter(self._providers.get(candidate.provider, ())), None)
        if provider is None:  # its last key was just retired
            return False
        return provider.drains if call.stream else provider.drains_plain

    def journey(self, plan: Plan) -> "Journey":
        """Begin to look for somebody who answers. The deadline runs from now."""
        end = asyncio.get_running_loop().time() + self._total_s
        return Journey(Attempts(self._targets(plan), self._health, self._dice), self._rooms, end)

    async def ask(self, call: Call, target: Target, deadline_s: float, pass_on: PassOn, told: Told) -> Answer:
        """Give each piece to `pass_on` as it comes (if the call streams); return the whole answer, not priced yet.

        `told` hears of usage meanwhile. Raises the provider errors of `domain.errors`. Health learns from every ending.
        Hangs up in any case, if cancelled too.
        """
        pieces = self._provider(target).ask(call, target.candidate.model, deadline_s)
        trial = self._health.begin(target)
        try:
            async for piece in pieces:
                if isinstance(piece, Answer):
                    self._health.succeed(target, piece)
                    return piece
                if isinstance(piece, Usage):
                    told(piece)
                else:
                    await pass_on(piece)
            raise ProviderFailed(f"{target.candidate} ended without an answer.")
        except AskonceError as error:
            self._health.fail(target, error)
            raise
        finally:
            self._health.end(target, trial)
            await pieces.aclose()  # type: ignore[attr-defined]  # providers are async generators

    async def priced(self, answer: Answer) -> Answer:
        """Return the answer with its cost. If cancelled, nothing has happened."""
        await self._prices.loaded()
        price = self._prices.price(answer.provider, answer.model, answer.model_version)
        if price is None or not price.covers(answer.usage):
            return replace(answer, cost_nano=0, priced=False)
        saved = price.saved_nano(answer.usage)
        return replace(answer, cost_nano=price.cost_nano(answer.usage), priced=True, saved_prompt_cache_nano=saved)

    def _targets(self, plan: Plan) -> list[Target]:
        """List whom to ask, by preference; of a provider's keys the one that this conversation had before comes first.

        Keys that were refused a short while ago come last.
        """
        targets: list[Target] = []
        for candidate in plan.route.askable:
            keys = list(range(len(self._providers.get(candidate.provider, ()))))
            if len(keys) > 1:
                keys = by_rendezvous(beginning(plan.ask.call), [(str(key), 1.0, key) for key in keys])
                keys.sort(key=lambda key, name=candidate.provider: self._health.is_denied(name, key))  # type: ignore[misc]
            targets += [Target(candidate, key) for key in keys or [0]]
        return targets if plan.route.allow_failover else targets[:1]

    def _provider(self, target: Target) -> Provider:
        keyed = self._providers.get(target.candidate.provider, ())
        if target.key >= len(keyed):
            # Its key was retired, or the last of its keys, after this call had chosen it.
            raise ProviderUnavailable(
                f"A key of {target.candidate.provider} was just retired. Ask again.", retry_after_s=1
            )
        return keyed[target.key]


class Journey:
    """Go from one who might answer to the next, within the request's deadline (the loop's time)."""

    def __init__(self, attempts: Attempts, rooms: Rooms, end: float) -> None:
        self._attempts = attempts
        self._rooms = rooms
        self._end = end
        self._pause_s = 0.0
        self._failures: list[tuple[Target, AskonceError]] = []

    @property
    def left_s(self) -> float:
        """Return the seconds until the deadline."""
        return self._end - asyncio.get_running_loop().time()

    async def next(self) -> Target:
        """Return whom to ask, with a place there that is to be left (`leave`).

        Waits for the pause after a failure, and for a place. Raises the verdict where there is nobody. If cancelled,
        no place is taken.
        """
        if self._pause_s:
            await asyncio.sleep(self._pause_s)
            self._pause_s = 0.0
        while (target := self._attempts.next()) is not None:
            if await self._rooms.enter(target.candidate.provider, self.left_s):
                if self._attempts.may_ask(target):
                    self._attempts.made(target)
                    return target
                self._rooms.leave(target.candidate.provider)  # while we waited, it became one to leave alone
            else:
                self._attempts.pass_over(target)
        raise self.verdict()

    def leave(self, target: Target) -> None:
        """Give the place back."""
        self._rooms.leave(target.candidate.provider)

    def goes_on(self, target: Target, error: AskonceError) -> bool:
        """Take a failed attempt in; say whether there is another one to make before the deadline."""
        self._failures.append((target, error))
        pause_s = self._attempts.after(target, error)
        if pause_s is None or pause_s >= self.left_s:
            return False
        self._pause_s = pause_s
        return True

    def verdict(self) -> AskonceError:
        """Return what to tell the caller when nobody answered.

        The first failure that passes; else why somebody was left alone, which will pass as well; else the first
        failure. What a stand-in cannot do, or was misconfigured for, must not make a passing trouble look like a
        lasting one. The last word about the question (a request that is rejected, a content that is refused) yields
        only to those who were to be asked before whoever said it.
        """
        if not self._failures:
            return self._attempts.refusal() or ProviderUnavailable(NOBODY, retry_after_s=1)
        target, last = self._failures[-1]
        final = is_last_word(last)
        passing = [
            failure
            for one, failure in self._failures
            if failure.retryable and not (final and one.candidate == target.candidate)
        ]
        if passing:
            return _soonest(passing)
        return self._attempts.refusal() or (last if final else self._failures[0][1])


def _soonest(passing: Sequence[AskonceError]) -> AskonceError:
    """Return the first, unless it names a time and another an earlier one."""
    first = passing[0]
    if first.retry_after_s is None:
        return first
    return min(passing, key=lambda failure: math.inf if failure.retry_after_s is None else failure.retry_after_s)
