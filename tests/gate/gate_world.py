"""A little world for the road: time that jumps, a provider that is played by hand, stores that dawdle or are away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from askonce.cache.fingerprint import fingerprints
from askonce.cache.policy import Policy, fresh_after_ms
from askonce.domain.answer import Answer, Delta, Entry, FinishReason, Piece
from askonce.domain.budget import Settled
from askonce.domain.call import Ask, CacheMode, CacheWish, Call, Candidate, Message, Params, RoutingWish
from askonce.domain.caller import Caller
from askonce.domain.content import Part
from askonce.domain.errors import AskonceError, StoreUnavailable, unsent
from askonce.domain.ledger import CallRow
from askonce.domain.money import Price, Rate
from askonce.domain.outcome import Spared, Totals
from askonce.domain.ports import Window
from askonce.domain.usage import Usage
from askonce.domain.watching import Course, Served, Worked
from askonce.gate.answering import Answering, Arrival, Joined
from askonce.gate.dispatch import Bills, Dispatch, Outlets
from askonce.gate.keeping import Keeper, Keeping
from askonce.gate.pipeline import Road, Router
from askonce.gate.plan import Plan, Visit
from askonce.gate.relay import Relay
from askonce.gate.settle import Settlement, Stores
from askonce.gate.treasury import Treasury
from askonce.routing.health import Health
from askonce.routing.route import Route
from askonce.state.memory import MemoryAnswers, MemoryBooks, MemoryPromises, MemoryThreshold, MemoryWindows
from askonce.state.memory_budgets import MemoryBudgets, Vault
from askonce.state.memory_outbox import MemoryOutbox
from askonce.state.solo import Hangar, SoloFlights

T = TypeVar("T")
Hook = Callable[[str], Awaitable[None]]  # called before each act of a store, with its name

TENANT = "acme"
START_MS = 1_700_000_000_000
WHO = Candidate("vendor", "m-1")
CALLER = Caller("addr:127.0.0.1", TENANT)
TOTAL_S = 600.0
# One prompt token for a microdollar, one of completion for two, one from the cache for a tenth.
PRICE = Price(input=Rate(1_000_000_000), output=Rate(2_000_000_000), cache_read=Rate(100_000_000))
USAGE = Usage(10, 5)
COST_NANO = 20_000  # of USAGE at PRICE
GUESS = Usage(10, 1, estimated=True)  # what the meter says of anything
GUESS_NANO = 12_000


class Stuck(AssertionError):
    """Everybody waits and nothing will ever happen."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """Run a loop whose clock jumps to the next timer when there is nothing else to do; no timer left is a hang."""

    now_s = 1.0

    def time(self) -> float:
        """Return the seconds that have been jumped over."""
        return self.now_s

    def _run_once(self) -> None:
        waiting = [handle.when() for handle in self._scheduled if not handle.cancelled()]  # type: ignore[attr-defined]
        if not self._ready:  # type: ignore[attr-defined]
            if not waiting:
                raise Stuck
            self.now_s = max(self.now_s, min(waiting))
        super()._run_once()  # type: ignore[misc]


def play(main: Coroutine[Any, Any, T]) -> T:
    """Run a test to its end in jumping time."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main)


async def rounds(count: int = 12) -> None:
    """Let everyone who can move do so."""
    for _ in range(count):
        await asyncio.sleep(0)


class LoopClock:
    """Tell the loop's time."""

    def steady_ns(self) -> int:
        """Return nanoseconds."""
        return int(asyncio.get_running_loop().time() * 1e9)

    def wall_ms(self) -> int:
        """Return milliseconds since START_MS."""
        return START_MS + int(asyncio.get_running_loop().time() * 1e3)


class Line:
    """Play one call that reached the provider."""

    usage = USAGE

    def __init__(self, call: Call, model: str, provider: str) -> None:
        self.call = call
        self.model = model
        self.provider = provider
        self.closed = False
        self._said = ""
        self._moves: asyncio.Queue[Piece | Usage | Answer | BaseException | None] = asyncio.Queue()

    def say(self, *texts: str) -> None:
        """Send pieces."""
        for text in texts:
            self._said += text
            self._moves.put_nowait(Delta(text))

    def send(self, *pieces: Piece | Usage) -> None:
        """Send pieces of any kind, or what is known of usage."""
        for piece in pieces:
            self._moves.put_nowait(piece)

    def finish(self, text: str = "", finish: FinishReason = "stop", provider: str = "", *parts: Part) -> None:
        """Send the whole answer, which is what was said before if that was anything."""
        whole = self._said or text or "an answer"
        who = provider or self.provider
        told = Answer(whole, finish, self.usage, who, self.model, "m-1-2024", took_ms=7, parts=parts)
        self._moves.put_nowait(told)

    def fail(self, error: BaseException) -> None:
        """Break off."""
        self._moves.put_nowait(error)

    def end_early(self) -> None:
        """End without an answer."""
        self._moves.put_nowait(None)

    async def moves(self) -> AsyncIterator[Piece | Usage | Answer]:
        """Yield what is played."""
        try:
            while (move := await self._moves.get()) is not None:
                if isinstance(move, BaseException):
                    raise move
                yield move
        finally:
            self.closed = True


class Vendor:
    """Stand in for a provider; a line is opened when a call arrives."""

    def __init__(self, name: str = "vendor", *, drains: bool = False) -> None:
        self.name = name
        self.drains = self.drains_plain = drains
        self.lines: list[Line] = []

    async def ask(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Piece | Usage | Answer]:
        """Open a line."""
        assert 0 < deadline_s <= TOTAL_S
        line = Line(call, model, self.name)
        self.lines.append(line)
        self.opened(line)
        moves = line.moves()
        try:
            async for move in moves:
                yield move
        finally:
            await moves.aclose()  # type: ignore[attr-defined]

    def opened(self, line: Line) -> None:
        """Do nothing about a new line: tests play by hand, unless they say otherwise."""

    async def probe(self) -> str:
        """Say that all is well."""
        return ""

    async def models(self) -> tuple[str, ...]:
        """List nothing."""
        return ()

    async def call(self, number: int = 0) -> Line:
        """Wait until that call has arrived."""
        async with asyncio.timeout(20):
            while len(self.lines) <= number:
                await asyncio.sleep(0.001)
        return self.lines[number]


class OnePrice:
    """Know one price."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    async def loaded(self) -> None:
        """Be ready, after a while."""
        await self._hook("loaded")

    def price(self, provider: str, model: str, version: str) -> Price | None:
        """Return it."""
        return PRICE


class Guess:
    """Count every call alike."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook

    async def usage(self, call: Call, model: str, text: str) -> Usage:
        """Return the guess, after a while."""
        await self._hook("usage")
        return GUESS


class Plain:
    """Render nothing but the text."""

    name = "plain"

    def rendition(self, answer: Answer) -> bytes:
        """Return the text."""
        return answer.text.encode()


class OneRouter:
    """Route everything to one candidate, named by the wish or not."""

    def route(self, ask: Ask) -> Route:
        """Return it."""
        wish = ask.routing
        return Route(wish.mode, (Candidate("vendor", wish.model or "m-1"),), (), wish.allow_failover)

    async def afford(self, ask: Ask, route: Route) -> Route:
        """Allow everything."""
        return route


class Notes:
    """Observe."""

    def __init__(self) -> None:
        self.records: list[CallRow] = []
        self.lost: list[CallRow | Spared] = []
        self.defects: list[BaseException] = []
        self.courses: list[Course] = []
        self.works: list[Worked] = []

    def served(self, served: Served) -> None:
        """Ignore it: there are no doors here."""

    def paid(self, row: CallRow, course: Course) -> None:
        """Note it."""
        self.records.append(row)
        self.courses.append(course)

    def worked(self, worked: Worked) -> None:
        """Note it."""
        self.works.append(worked)

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Note it."""
        self.lost.append(ending)

    def failed(self, error: AskonceError) -> None:
        """Ignore it: the tests of the doors look at this."""

    def defect(self, error: BaseException) -> None:
        """Note it."""
        self.defects.append(error)


class Gate:
    """Stand before a port's methods: before each call a hook may wait, or raise."""

    def __init__(self, inner: Any, hook: Hook) -> None:
        self._inner = inner
        self._hook = hook

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if name == "follow":
            return self._following(method)

        async def guarded(*args: Any) -> Any:
            await self._hook(name)
            result = await method(*args)
            await self._hook(f"{name}.done")
            return result

        return guarded

    def _following(self, method: Any) -> Any:
        async def guarded(*args: Any) -> AsyncIterator[Any]:
            await self._hook("follow")
            pieces = method(*args)
            try:
                async for piece in pieces:
                    await self._hook("follow.piece")
                    yield piece
            finally:
                await pieces.aclose()

        return guarded


async def promptly(act: str) -> None:
    """Neither wait nor fail: a store that never suspends."""


async def dawdle(act: str) -> None:
    """Suspend at every call, as a store over a network does."""
    await asyncio.sleep(0)


def away(*methods: str) -> Hook:
    """Make those methods raise `StoreUnavailable`."""

    async def hook(act: str) -> None:
        if act in methods:
            raise StoreUnavailable("The store is away.")

    return hook


class Sky:
    """What all processes share."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.hangar = Hangar(self.clock)
        self.answers = MemoryAnswers(self.clock, 64 << 20)
        self.promises = MemoryPromises(self.clock, 8 << 20)
        self.outbox = MemoryOutbox()
        self.vault = Vault()
        self.books = MemoryBooks(self.clock, self.answers, self.outbox, self.budgets("0:books"))
        self.windows = MemoryWindows(self.clock)

    def budgets(self, owner: str) -> MemoryBudgets:
        """Return the budgets as one process sees them."""
        return MemoryBudgets(self.vault, self.clock, owner, self.outbox.put)


class World:
    """One process: a road and everything under it."""

    def __init__(
        self,
        sky: Sky | None = None,
        vendor: Vendor | None = None,
        owner: str = "1:one",
        hook: Hook = promptly,
        *,
        outlets: Outlets | None = None,
        router: Router | None = None,
        keeping: Keeping = Keeping(),  # noqa: B008 - frozen
    ) -> None:
        self.sky = sky or Sky()
        self.vendor = vendor or Vendor()
        self.notes = Notes()
        self.booked: list[CallRow | Spared] = []
        clock = self.sky.clock
        policy = Policy(True, 3600)
        answers: Any = Gate(self.sky.answers, hook)
        flights: Any = Gate(SoloFlights(self.sky.hangar, owner), hook)
        books: Any = Gate(self, hook)
        inner = MemoryThreshold(self.sky.windows, self.sky.answers, self, clock)  # type: ignore[arg-type]
        threshold: Any = Gate(inner, hook)
        self.health = Health(clock)
        self.router = router or OneRouter()
        outlets = outlets or Outlets({"vendor": (self.vendor,)})
        dispatch = Dispatch(outlets, Bills(OnePrice(hook), Guess(hook)), TOTAL_S, self.health, lambda: 0.5)
        promises: Any = Gate(self.sky.promises, hook)
        keeper = Keeper(self.sky.outbox, keeping, clock, lambda: 0.5)
        self.settlement = Settlement(Stores(answers, promises, books, keeper), policy, clock, self.notes)
        budgets: Any = Gate(self.sky.budgets(owner), hook)
        treasury = Treasury(budgets, self.sky.outbox, OnePrice(hook), clock)
        relay = Relay(flights, answers, dispatch, self.settlement, treasury)
        self.answering = Answering(relay, flights, dispatch, self.settlement, self.notes)
        self.road = Road(self.router, policy, threshold, self.answering, clock)

    async def book(self, ending: CallRow | Spared, settled: Settled | None = None) -> None:
        """Book, and keep what was booked."""
        self.booked.append(ending)
        await self.sky.books.book(ending, settled)

    async def totals(self) -> Totals:
        """Return the sums over all processes."""
        return await self.sky.books.totals(TENANT)

    def seat(self, ask: Ask) -> Joined:
        """Join without passing the threshold."""
        route = self.router.route(ask)
        fresh = fresh_after_ms(ask.cache, ask.cache.mode, self.sky.clock.wall_ms())
        keys = fingerprints(ask.call, route.candidates)
        return self.answering.seat(Plan(ask, ask.cache.mode, route, keys, fresh, visit()))

    async def ask(self, ask: Ask, caller: Caller = CALLER) -> Arrival:
        """Travel the road as the door does for a plain request."""
        outcome = await self.set_out(ask, caller)
        if isinstance(outcome, Entry):
            return Arrival(outcome, "hit", True)
        try:
            return await outcome.arrival()
        finally:
            outcome.leave()

    async def stream(self, ask: Ask, heard: list[str] | None = None) -> list[str]:
        """Travel the road as the door does for a streamed request; returns the pieces."""
        heard = [] if heard is None else heard
        outcome = await self.set_out(ask)
        if isinstance(outcome, Entry):
            return [outcome.open().text]
        try:
            while (pieces := await outcome.more()) is not None:
                heard.extend([piece.text if isinstance(piece, Delta) else "" for piece in pieces] or [""])
            arrival = await outcome.arrival()
            return heard or [arrival.entry.open().text]
        finally:
            outcome.leave()

    async def stream_as(self, ask: Ask, caller: Caller) -> Arrival:
        """Travel the road as somebody's streamed request, and return the end."""
        outcome = await self.set_out(ask, caller)
        assert isinstance(outcome, Joined)
        try:
            while await outcome.more() is not None:
                continue
            return await outcome.arrival()
        finally:
            outcome.leave()

    async def set_out(self, ask: Ask, caller: Caller = CALLER) -> Entry | Joined:
        """Pass the threshold; raises what went wrong behind it."""
        outcome = (await self.road.travel(ask, visit(caller))).outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def paid(self) -> list[CallRow]:
        """Return what was booked as paid."""
        return [ending for ending in self.booked if isinstance(ending, CallRow)]

    def spared(self) -> list[Spared]:
        """Return what was booked as spared."""
        return [ending for ending in self.booked if isinstance(ending, Spared)]

    def check_empty(self) -> None:
        """Assert that nothing is left behind."""
        answering = self.answering
        assert answering._aloft == {}
        assert answering._named == {}
        assert answering._tasks == {}
        assert answering.in_flight == 0
        assert [task for task in answering._house if not task.done()] == []

    async def close(self) -> None:
        """Stop, and assert that nothing is left and nobody had reason to complain."""
        await self.answering.stop(0)
        await rounds()
        self.check_empty()


def visit(caller: Caller = CALLER, window: Window | None = None, request_id: str = "req-1") -> Visit:
    """Come through a door."""
    return Visit(caller, window, Plain(), "door", request_id)


def question(
    prompt: str = "hello", *, stream: bool = False, mode: CacheMode = "default", model: str | None = None, **cache: Any
) -> Ask:
    """Make a question."""
    call = Call(TENANT, (Message("user", prompt),), Params(), stream)
    return Ask(call, RoutingWish(model=model), CacheWish(mode=mode, **cache))


def bare(spared: Spared) -> Spared:
    """Leave out whose request it was, when, and who had answered."""
    return Spared(spared.tenant, spared.kind, spared.saved_nano, spared.saved_tokens)


def start(work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Begin a client."""
    return asyncio.get_running_loop().create_task(work)


def codes(results: Iterable[object]) -> list[str]:
    """Return the error codes of those that failed."""
    return [getattr(result, "code", repr(result)) for result in results if isinstance(result, BaseException)]


def never_sent(error: AskonceError) -> AskonceError:
    """Mark an error as one that came before the provider was asked."""
    with contextlib.suppress(AskonceError), unsent():
        raise error
    return error
