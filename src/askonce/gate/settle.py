"""Settlement: every ending is stored if it may be, booked exactly once, and then shown to those who watch.

The answer is stored before it is booked: a process killed between the two has kept what was paid for. Store away:
open. The answer still reaches its callers, though nobody is promised anything; what could not be booked is reported
to the observer.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

from askonce.cache.policy import Policy
from askonce.domain.answer import Answer, Entry, pack
from askonce.domain.call import CacheMode
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError, Detail, InternalError, KeyReused, StoreUnavailable
from askonce.domain.ledger import CallRow, Ending
from askonce.domain.outcome import Spared
from askonce.domain.ports import Answers, Books, Observer, Promise, Promises
from askonce.domain.stories import CONSIDERED_MAX, Stage, Story, Thought, write_story
from askonce.domain.watching import NO_COURSE, Course
from askonce.gate.keeping import Keeper
from askonce.gate.marks import Marks
from askonce.gate.plan import Plan, Visit
from askonce.gate.treasury import Hold
from askonce.routing.route import Considered

UNEXPECTED = "Something unexpected happened here. It has been logged; the operator finds it by the request id."

ABANDONED = "abandoned"  # the code under which observers hear of a call that was hung up because everybody left

REUSED = (
    "This Idempotency-Key was used for another question within the last day. Repeat that question to get its answer, "
    "or send a new key."
)


class Stores(Struct, frozen=True):
    """Hold where endings are kept."""

    answers: Answers
    promises: Promises
    books: Books
    keeper: Keeper


class Settlement:
    """Bring endings into the store and the books."""

    def __init__(self, stores: Stores, policy: Policy, clock: Clock, observer: Observer) -> None:
        self._answers = stores.answers
        self._promises = stores.promises
        self._books = stores.books
        self._keeper = stores.keeper
        self._policy = policy
        self._clock = clock
        self._observer = observer

    async def answered(
        self, plan: Plan, answer: Answer, hold: Hold | None = None, marks: Marks | None = None
    ) -> tuple[Entry, bool]:
        """Store and book an answer that was paid; returns the entry and whether it was stored.

        What was reserved for it is settled with the booking. A defect on the way is raised, but what was paid is
        booked all the same.
        """
        try:
            entry = self.entry(plan, answer)
            stored = plan.mode != "off" and self._policy.keeps(answer) and await self._keep(entry)
        except Exception:
            await self.broken(plan, "failed", answer, InternalError(UNEXPECTED), hold, marks)
            raise
        told = _story(plan, answer, marks)
        row = self._row(plan, answer, "answered", counted=plan.mode != "off", stored=stored, story=told)
        await self._book(row, hold)
        await self._keeper.answered(plan, answer)
        self._observer.paid(row, _course(plan, answer, marks))
        return entry, stored

    async def broken(
        self,
        plan: Plan,
        ending: Ending,
        partial: Answer,
        error: AskonceError,
        hold: Hold | None = None,
        marks: Marks | None = None,
    ) -> None:
        """Book a call that reached a provider and did not end well, with what it cost as far as is known.

        With a hold, that is settled as well.
        """
        # That everybody left is nobody's error, least of all the provider's.
        code = ABANDONED if ending == "abandoned" else error.code
        row = self._row(plan, partial, ending, stored=False, error_code=code, story=_story(plan, partial, marks))
        await self._book(row, hold)
        self._observer.paid(row, _course(plan, partial, marks))

    async def spared(self, visit: Visit, entry: Entry, *, coalesced: bool) -> None:
        """Book an answer that cost nothing because another call had paid for it."""
        kind: Literal["exact", "coalesced"] = "coalesced" if coalesced else "exact"
        spared = Spared(
            entry.tenant,
            kind,
            entry.cost_nano,
            entry.prompt_tokens + entry.completion_tokens,
            at_ms=self._clock.wall_ms(),
            key_id=visit.caller.key_id,
            door=visit.door,
            provider=entry.provider,
            model=entry.model,
        )
        await self._book(spared)
        await self.found(visit, entry, kind)

    async def found(self, visit: Visit, entry: Entry, kind: Literal["exact", "coalesced"] = "exact") -> None:
        """Note an answer that cost nothing and is booked already, for people to look at."""
        await self._keeper.spared(visit, entry, kind)

    async def is_kept(self, promise: Promise) -> bool:
        """Say whether this very request was answered before. Raises `KeyReused` where its name stood for another."""
        try:
            return _is_same(promise, await self._promises.question(promise.key))
        except StoreUnavailable:
            return False

    async def kept(self, promise: Promise) -> Entry | None:
        """Return what this very request was answered before. Raises `KeyReused` where its name stood for another."""
        try:
            kept = await self._promises.find(promise.key)
        except StoreUnavailable:
            return None
        return kept.entry if kept is not None and _is_same(promise, kept.promise.question) else None

    async def promise(self, entry: Entry, promises: Mapping[Promise, CacheMode]) -> None:
        """Keep an answer for the retries of requests in these modes, whatever becomes of the entry.

        One that is not fit to be told again is not promised: a retry asks anew.
        """
        if not self._policy.keeps(entry.open()):
            return
        now_ms = self._clock.wall_ms()
        until_ms = {promise: now_ms + 1000 * self._policy.promised_s(mode) for promise, mode in promises.items()}
        try:
            await self._promises.keep(entry, until_ms)
        except StoreUnavailable:
            return  # a retry asks anew, as if it had come without a name

    def entry(self, plan: Plan, answer: Answer) -> Entry:
        """Make the entry of an answer, rendered for the door that asked."""
        now_ms = self._clock.wall_ms()
        answered_by = [(c.provider, c.model) for c in plan.candidates].index((answer.provider, answer.model))
        return Entry(
            key=plan.keys.entries[answered_by],
            tenant=plan.tenant,
            provider=answer.provider,
            model=answer.model,
            stored_ms=now_ms,
            expires_ms=self._policy.expires_ms(plan.ask.cache, now_ms),
            cost_nano=answer.cost_nano,
            prompt_tokens=answer.usage.prompt_tokens,
            completion_tokens=answer.usage.completion_tokens,
            answer=pack(answer),
            shape=plan.visit.shape.name,
            rendition=plan.visit.shape.rendition(answer),
        )

    async def _keep(self, entry: Entry) -> bool:
        try:
            return await self._answers.keep(entry)
        except StoreUnavailable:
            return False

    def _row(self, plan: Plan, answer: Answer, ending: Ending, *, counted: bool = False, **more: Any) -> CallRow:
        usage = answer.usage
        return CallRow(
            at_ms=self._clock.wall_ms(),
            origin=plan.origin,
            provider=answer.provider,
            model=answer.model,
            model_version=answer.model_version,
            ending=ending,
            counted=counted,
            cost_nano=answer.cost_nano,
            saved_prompt_cache_nano=answer.saved_prompt_cache_nano,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            cached_tokens=usage.cached_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            cache_write_1h_tokens=usage.hour_tokens,
            estimated=usage.estimated,
            priced=answer.priced or not usage.total_tokens,  # nothing is charged for nothing
            took_ms=answer.took_ms,
            first_token_ms=answer.first_token_ms,
            **more,
        )

    async def _book(self, ending: CallRow | Spared, hold: Hold | None = None) -> None:
        try:
            await self._books.book(ending, None if hold is None else hold.settled())
        except StoreUnavailable as error:
            self._observer.unbooked(ending, error)


def _course(plan: Plan, answer: Answer, marks: Marks | None) -> Course:
    return NO_COURSE if marks is None else marks.course(plan.ask.call, answer)


def _story(plan: Plan, answer: Answer, marks: Marks | None) -> str:
    """Tell how a call went until now."""
    course = _course(plan, answer, marks)
    keys = dict(zip(((one.provider, one.model) for one in plan.candidates), plan.keys.entries, strict=True))
    considered = plan.route.considered
    return write_story(
        Story(
            plan.route.mode,
            keys.get((answer.provider, answer.model), b"").hex(),
            course.attempts,
            course.followers,
            tuple(Stage(name, us / 1000) for name, us in course.stages()),
            tuple(_thought(one) for one in considered[:CONSIDERED_MAX]) if len(considered) > 1 else (),
        )
    )


def _thought(one: Considered) -> Thought:
    score = None if one.score is None else round(one.score, 3)
    return Thought(one.candidate.provider, one.candidate.model, score, one.skipped)


def _is_same(promise: Promise, question: bytes | None) -> bool:
    if question not in (None, promise.question):
        raise KeyReused(REUSED, details=[Detail("Idempotency-Key", "was used for another question")])
    return question is not None
