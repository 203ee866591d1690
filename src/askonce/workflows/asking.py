"""One question of a node, on the same road as every request: budgets, cache, flights, routing, ledger.

Each question has a name (`retry_key`): the execution, the node, and a digest of what is asked. An answer that was
paid is kept under that name before anybody hears of it, so that whoever takes the work up after a death is told it
again; another question of the same node, such as a repair, is another request.

What passes is waited for (`waiting`). Cancelled: the seat is left at once; the call itself is hung up only where its
owner wished to cancel.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from askonce.cache.fingerprint import asked_digest
from askonce.domain.answer import Answer, CacheState, Delta, Entry
from askonce.domain.call import Ask
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError, ContentRefused, ProviderFailed
from askonce.domain.executions import Submission
from askonce.domain.ports import Shape
from askonce.gate.answering import Joined
from askonce.gate.pipeline import Admitted
from askonce.gate.plan import Visit
from askonce.gate.unbroken import unbroken
from askonce.routing.route import Route, Tried
from askonce.workflows.submitters import Submitters
from askonce.workflows.waiting import Patience

# Words go out when so much time has passed since the first of them, or so many characters are there: each bundle is a
# row of the database, and nobody reads faster.
BUNDLE_S = 0.2
BUNDLE_CHARS = 2048
DIGEST_LETTERS = 32

REFUSED = "The model ended its answer with a content filter. Ask for something else, or of another model."
SILENT = "The model answered nothing."


class Traveller(Protocol):
    """Take questions to their answers (`gate.pipeline.Road`)."""

    async def travel(self, ask: Ask, visit: Visit) -> Admitted:
        """Answer one question, or say who will."""
        ...


class Question(Struct, frozen=True):
    """Hold one question: who asks what, under which name, how often it is tried and until when (epoch milliseconds).

    `since_ms`: when its node began. An answer told again that is older was not paid for it. `span`: what traces show
    its calls as a part of.
    """

    ask: Ask
    shape: Shape
    submission: Submission
    name: str
    tries: int
    since_ms: int
    until_ms: int
    span: str = ""


class Answered(Struct, frozen=True):
    """Hold an answer and how it came about: what it cost, or what it spared.

    `told_again`: it is what this very question was answered before; if in this round, it cost what it then did.
    """

    entry: Entry
    answer: Answer
    state: CacheState
    cost_nano: int
    saved_nano: int
    route: Route
    attempts: tuple[Tried, ...] | None
    ask: Ask
    told_again: bool = False

    @property
    def cache(self) -> str:
        """Return how it came about, in the words of `NodeRun`."""
        return "resumed" if self.told_again else self.state


class Ears(Protocol):
    """Hear how a question fares."""

    async def words(self, at: int, text: str) -> None:
        """Hear the next words, behind `at` characters."""
        ...

    def last_words(self, at: int, text: str) -> None:
        """Hear the last words; the answer follows at once."""
        ...

    async def waits(self, reason: AskonceError, wait_s: float) -> None:
        """Hear that it is waited for something."""
        ...

    async def again(self) -> None:
        """Hear that another try begins."""
        ...

    def answered(self, answered: Answered) -> None:
        """Hear of an answer, also of one that is of no use."""
        ...

    async def is_unwanted(self) -> bool:
        """Say whether nobody wants the answer any more: its owner wished to cancel. Does not raise."""
        ...


class Asking:
    """Ask for nodes. `dice`: uniform from 0 to 1."""

    def __init__(self, road: Traveller, submitters: Submitters, clock: Clock, dice: Callable[[], float]) -> None:
        self._road = road
        self._submitters = submitters
        self._clock = clock
        self._dice = dice

    async def answer(self, question: Question, ears: Ears) -> Answered:
        """Return the answer. Raises what no patience and no retry has changed."""
        ask = question.ask
        digest = asked_digest(ask).hex()[:DIGEST_LETTERS]
        question = replace(question, ask=replace(ask, retry_key=f"{question.name}/{digest}"))
        patience = Patience(question.tries, question.until_ms, self._dice)
        while True:
            try:
                return await self._once(question, ears)
            except AskonceError as error:
                pause = patience.after(error, self._clock.wall_ms())
                reason = error
            if not pause.retries:
                await ears.waits(reason, pause.seconds)
            await asyncio.sleep(pause.seconds)
            if pause.retries:
                await ears.again()

    async def _once(self, question: Question, ears: Ears) -> Answered:
        """Ask once, in the submitter's name as it stands now."""
        from_whom = question.submission
        caller = await self._submitters.caller(from_whom.submitter)
        origin = from_whom.door, from_whom.request_id, from_whom.trace_id
        context = from_whom.traceparent, question.span
        visit = Visit(caller, None, question.shape, *origin, time.perf_counter_ns(), *context)
        admitted = await self._road.travel(question.ask, visit)
        outcome = admitted.outcome
        if isinstance(outcome, AskonceError):
            raise outcome
        if isinstance(outcome, Entry):
            answered = self._found(question, outcome, admitted)
            ears.last_words(0, answered.answer.text)
        else:
            answered = await self._joined(question, outcome, ears, admitted.route)
        ears.answered(answered)
        _require_useful(answered.answer)
        return answered

    def _found(self, question: Question, entry: Entry, admitted: Admitted) -> Answered:
        if admitted.replayed:
            return _told_again(question, entry, admitted.route)
        return Answered(entry, entry.open(), "hit", 0, entry.cost_nano, admitted.route, (), question.ask)

    async def _joined(self, question: Question, joined: Joined, ears: Ears, route: Route) -> Answered:
        try:
            told = await listen(joined, ears)
            arrival = await joined.arrival()
        except asyncio.CancelledError:
            # A process that stops lets the call land, for whoever takes the work up; a wish to cancel hangs it up.
            await unbroken(_give_up_unwanted(joined, ears))
            raise
        finally:
            joined.leave()
        entry = arrival.entry
        answer = entry.open()
        if len(answer.text) > told:
            ears.last_words(told, answer.text[told:])
        if joined.replayed:
            return _told_again(question, entry, route)
        spared = arrival.state in ("hit", "coalesced")
        cost, saved = (0, entry.cost_nano) if spared else (entry.cost_nano, 0)
        return Answered(entry, answer, arrival.state, cost, saved, route, joined.attempts, question.ask)


async def _give_up_unwanted(joined: Joined, ears: Ears) -> None:
    if await ears.is_unwanted():
        joined.give_up()


async def listen(joined: Joined, ears: Ears) -> int:
    """Pass words on in bundles; return how many characters those were."""
    loop = asyncio.get_running_loop()
    told = waiting = 0
    bundle: list[str] = []
    due: float | None = None
    ended = False
    while not ended:
        try:
            async with asyncio.timeout_at(due):
                pieces = await joined.more()
        except TimeoutError:
            pieces = ()
        ended = pieces is None
        texts = [piece.text for piece in pieces or () if isinstance(piece, Delta)]
        if texts and due is None:
            due = loop.time() + BUNDLE_S
        bundle += texts
        waiting += sum(map(len, texts))
        if bundle and ended:
            ears.last_words(told, "".join(bundle))
            told += waiting
        elif bundle and (waiting >= BUNDLE_CHARS or (due is not None and loop.time() >= due)):
            await ears.words(told, "".join(bundle))
            told, waiting, due = told + waiting, 0, None
            bundle.clear()
    return told


def _told_again(question: Question, entry: Entry, route: Route) -> Answered:
    """Hold an answer that this very question was given before: by its age tell whether it was paid in this round."""
    ours = entry.stored_ms >= question.since_ms
    cost, saved = (entry.cost_nano, 0) if ours else (0, entry.cost_nano)
    state: CacheState = "miss" if ours else "hit"
    return Answered(entry, entry.open(), state, cost, saved, route, (), question.ask, told_again=True)


def _require_useful(answer: Answer) -> None:
    """Raise `ContentRefused`, or `ProviderFailed` (another try may do better), for an answer that says nothing."""
    if answer.finish == "content_filter":
        raise ContentRefused(REFUSED)
    if not answer.text.strip() and not answer.parts:
        raise ProviderFailed(SILENT)
