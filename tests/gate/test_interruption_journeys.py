"""Interrupt journeys over several providers and processes at every turn of the loop, and so at every await.

Whatever was struck when: no place, seat, lease, trial or task is left behind, every call that reached a provider is
booked once, those who stayed are answered or told why not, and the next question is answered as if nothing had been.
"""

import asyncio
import inspect
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pytest
from tests.gate.gate_world import (
    JumpingLoop,
    Line,
    Sky,
    Vendor,
    World,
    dawdle,
    question,
    start,
)

from askonce.domain.answer import Delta, Entry, Piece, ThinkingDelta, ToolDelta
from askonce.domain.call import Ask, Candidate
from askonce.domain.content import Text, Thinking, ToolCall
from askonce.domain.errors import (
    AskonceError,
    FlightLost,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderTimeout,
)
from askonce.gate.dispatch import Outlets
from askonce.routing.breaker import OPEN_S, TRIP_AFTER
from askonce.routing.health import MAX_REST_S, Target
from askonce.routing.route import Considered, Route
from askonce.state.solo import LEASE_NS

A, B = Candidate("a", "m"), Candidate("b", "m")
TURNS_CEILING = 2000  # far above what any of these stories takes; one that never ends fails
PIECES: tuple[Piece, ...] = (
    ThinkingDelta("hm"),
    ThinkingDelta("", "sealed"),
    Delta("one"),
    Delta("two"),
    ToolDelta(0, "call_1", "look", '{"a"'),
    ToolDelta(0, arguments=":1}"),
)
PARTS = (Thinking("hm", "sealed"), Text("onetwo"), ToolCall("call_1", "look", '{"a":1}'))

Play = Callable[[], Sequence[Piece | AskonceError | str]]


class StrikingLoop(JumpingLoop):
    """Strike once, at the beginning of the turn number `at` after the story has begun."""

    at = 0
    turns = 0
    strike: Callable[[], object] | None = None

    def _run_once(self) -> None:
        if self.strike is not None:
            self.turns += 1
            if self.turns == self.at:
                self.strike()
        super()._run_once()


def every_turn(story: Callable[[StrikingLoop], Coroutine[Any, Any, None]]) -> int:
    """Tell a story again and again, struck ever later, until it ends before the strike; return how often."""
    for at in range(1, TURNS_CEILING):
        loop = StrikingLoop()
        loop.at = at
        with asyncio.Runner(loop_factory=lambda loop=loop: loop) as runner:  # type: ignore[misc]
            runner.run(story(loop))
        if loop.turns < at:
            return at
    raise AssertionError("there is no end of turns")


def answers() -> Sequence[Piece | str]:
    return (*PIECES, "finish")


def breaks() -> Sequence[Piece | AskonceError]:
    return (*PIECES[:3], ProviderFailed("It broke."))


def hangs() -> Sequence[Piece]:
    return PIECES[:3]


def busy() -> Sequence[AskonceError]:
    return (ProviderBusy("Slow down.", retry_after_s=9),)


def denied() -> Sequence[AskonceError]:
    return (ProviderDenied("Who are you?"),)


def broken() -> Sequence[AskonceError]:
    return (ProviderFailed("It broke."),)


def slow() -> Sequence[AskonceError]:
    return (ProviderTimeout("Too slow."),)


class Both:
    """Route everything to `a`, then `b`."""

    def route(self, ask: Ask) -> Route:
        return Route("heuristic", (A, B), (Considered(A), Considered(B)))

    async def afford(self, ask: Ask, route: Route) -> Route:
        return route


def only_a(ask: Ask) -> Route:
    return Route("manual", (A,), (Considered(A),))


class Playing(Vendor):
    """Play each line by itself, one move a turn."""

    def __init__(self, name: str, next_play: Callable[[], Play]) -> None:
        super().__init__(name)
        self._next_play = next_play
        self.playing: set[asyncio.Task[None]] = set()

    def opened(self, line: Line) -> None:
        """Begin to play."""
        task = start(self._perform(line, self._next_play()))
        self.playing.add(task)
        task.add_done_callback(self.playing.discard)

    async def _perform(self, line: Line, play: Play) -> None:
        for move in play():
            await asyncio.sleep(0)
            if isinstance(move, AskonceError):
                line.fail(move)
            elif isinstance(move, str):
                line.finish("onetwo", "tool_calls", "", *PARTS)
            else:
                line.send(move)


class Wide(World):
    """A process with provider `a` under two keys and one place, and provider `b` under one key; stores dawdle.

    The calls are played in their order; those beyond are answered.
    """

    def __init__(self, *plays: Play, sky: Sky | None = None, owner: str = "1:one") -> None:
        self.plays = list(plays)
        self.vendors = [Playing(name, lambda: self.plays.pop(0) if self.plays else answers) for name in "aab"]
        a1, a2, b = self.vendors
        outlets = Outlets({"a": (a1, a2), "b": (b,)}, {"a": 1, "b": 1})
        super().__init__(sky, owner=owner, hook=dawdle, outlets=outlets, router=Both())

    @property
    def lines(self) -> list[Line]:
        return [line for vendor in self.vendors for line in vendor.lines]

    async def settle(self) -> None:
        """Wait until no flight is in the air and nobody plays (not while leases are being renewed)."""
        async with asyncio.timeout(60):
            while busy := [*self.answering._house, *(task for vendor in self.vendors for task in vendor.playing)]:
                await asyncio.wait(busy)

    def check(self) -> None:
        """Assert that nothing is left and that every call is booked once."""
        self.check_empty()
        rooms = self.answering._dispatch._rooms
        assert all(not places.locked() for places in rooms._places.values())
        assert set(rooms._waiting.values()) == {0}
        assert all(self.health.load(name) == 0 for name in "ab")
        assert all(line.closed for line in self.lines)
        assert len(self.paid()) == len(self.lines) == len(self.notes.records)
        assert (self.notes.lost, self.notes.defects) == ([], [])


async def hear(world: World, ask: Ask) -> list[Piece]:
    """Take part as a door does for a stream; return the pieces, of a stored answer none."""
    outcome = await world.set_out(ask)
    if isinstance(outcome, Entry):
        return []
    try:
        heard = [piece async for piece in listen(outcome)]
        await outcome.arrival()
        return heard
    finally:
        outcome.leave()


async def listen(joined: Any) -> Any:
    """Yield the pieces of a part in a flight."""
    while (some := await joined.more()) is not None:
        for piece in some:
            yield piece


def cancels(task: asyncio.Task[Any]) -> Callable[[], object]:
    return task.cancel


def cancels_flights(world: World) -> Callable[[], object]:
    """Cancel what flies, twice: while it settles as well. Nobody cancels before the first turn of a flight's task."""

    def strike() -> None:
        for task in [aloft.task for aloft in world.answering._tasks.values()]:
            assert task is not None
            if inspect.getcoroutinestate(task.get_coro()) != inspect.CORO_CREATED:  # type: ignore[arg-type]
                task.cancel()
                loop.call_soon(task.cancel)

    loop = asyncio.get_running_loop()

    return strike


async def end(world: Wide, *clients: asyncio.Task[Any]) -> None:
    """See every client to its end, check what is left, and ask once more."""
    async with asyncio.timeout(60):
        for told in await asyncio.gather(*clients, return_exceptions=True):
            assert not isinstance(told, BaseException) or isinstance(told, AskonceError | asyncio.CancelledError)
    await world.settle()
    world.check()
    check_landed(world.sky)
    world.plays.clear()
    await asyncio.sleep(OPEN_S + MAX_REST_S)  # until nobody rests any more
    check_leases(world.sky)
    assert (await world.ask(question("next"))).entry.open().parts == PARTS
    await world.settle()
    world.check()


def check_landed(sky: Sky) -> None:
    """Assert that whoever follows a call that was under way need not wait for its lease to run out."""
    assert all(one.landing is not None for one in sky.hangar._aloft.values() if one.pieces)


def check_leases(sky: Sky) -> None:
    """Assert that nobody holds one: landed, or run out where it was struck while it was being given."""
    now_ns = sky.clock.steady_ns()
    assert not [one for one in sky.hangar._aloft.values() if one.landing is None and one.expires_ns > now_ns]


JOURNEYS = pytest.mark.parametrize(
    "plays",
    [
        pytest.param((busy, denied, answers), id="two keys, then the next provider"),
        pytest.param((broken, answers), id="a pause, then the same again"),
        pytest.param((slow, broken, broken), id="everybody fails"),
        pytest.param((slow, breaks), id="elsewhere, broken in the middle"),
        pytest.param((slow, hangs), id="elsewhere, left in the middle"),
    ],
)


@JOURNEYS
@pytest.mark.parametrize("struck", ["client", "flight"])
def test_a_journey_interrupted_anywhere_leaves_nothing_behind(plays: tuple[Play, ...], struck: str) -> None:
    async def story(loop: StrikingLoop) -> None:
        world = Wide(*plays)
        client = start(hear(world, question(stream=True)))
        loop.strike = cancels(client) if struck == "client" else cancels_flights(world)
        await asyncio.wait((client,), timeout=5)
        loop.strike = None
        client.cancel()
        await end(world, client)

    assert every_turn(story) > 20


@pytest.mark.parametrize("leaves", [0, 1])
def test_who_waits_for_a_place_and_leaves_takes_none(leaves: int) -> None:
    async def story(loop: StrikingLoop) -> None:
        world = Wide()
        world.router.route = only_a  # type: ignore[method-assign]
        clients = [start(hear(world, question(f"question {n}", stream=True))) for n in range(3)]
        loop.strike = cancels(clients[leaves])
        for client in (clients[1 - leaves], clients[2]):
            assert await client == list(PIECES)
        loop.strike = None
        await end(world, *clients)

    assert every_turn(story) > 20


def test_a_trial_that_is_interrupted_leaves_the_breaker_to_the_next() -> None:
    async def story(loop: StrikingLoop) -> None:
        world = Wide(hangs)
        world.router.route = only_a  # type: ignore[method-assign]
        for _ in range(TRIP_AFTER):
            world.health.fail(Target(A, 0), ProviderTimeout("Too slow."))
        await asyncio.sleep(OPEN_S + 1)
        client = start(hear(world, question(stream=True)))
        loop.strike = cancels(client)
        await asyncio.wait((client,), timeout=5)
        loop.strike = None
        client.cancel()
        await asyncio.gather(client, return_exceptions=True)
        await world.settle()
        world.plays.clear()
        assert await hear(world, question("at once", stream=True)) == list(PIECES)
        await end(world)

    assert every_turn(story) > 10


STRIKES: dict[str, Callable[["Wide", "Wide", Sequence[asyncio.Task[Any]]], Callable[[], object]]] = {
    "leader": lambda one, two, clients: cancels(clients[0]),
    "follower": lambda one, two, clients: cancels(clients[1]),
    "leader's flight": lambda one, two, clients: cancels_flights(one),
    "follower's flight": lambda one, two, clients: cancels_flights(two),
}


@pytest.mark.parametrize("struck", STRIKES)
@pytest.mark.parametrize(
    "plays",
    [
        pytest.param((answers,), id="answered"),
        pytest.param((slow, answers), id="answered elsewhere"),
        pytest.param((broken, broken, answers), id="answered at the third try"),
    ],
)
def test_flights_of_two_processes_interrupted_anywhere_serve_whoever_stays(
    plays: tuple[Play, ...], struck: str
) -> None:
    async def story(loop: StrikingLoop) -> None:
        sky = Sky()
        one, two = Wide(*plays, sky=sky, owner="1:one"), Wide(sky=sky, owner="2:two")
        for world in (one, two):
            await world.answering.start()
        clients = [start(hear(one, question(stream=True)))]
        while not sky.hangar._aloft:
            await asyncio.sleep(0)
        clients += [start(hear(two, question(stream=True))), start(hear(two, question()))]
        loop.strike = STRIKES[struck](one, two, clients)
        async with asyncio.timeout(60):
            results = await asyncio.gather(*clients, return_exceptions=True)
        loop.strike = None
        check_heard(results, struck)
        for world in (one, two):
            await world.answering.stop(0)
            await world.settle()
            world.check()
        check_landed(sky)
        await asyncio.sleep(LEASE_NS / 1e9)
        check_leases(sky)

    assert every_turn(story) > 20


def check_heard(results: list[Any], struck: str) -> None:
    """Assert that each has the whole answer, or was struck, or was told that its stream was lost under it."""
    leader, *followers = results
    for told in results:
        if isinstance(told, BaseException):
            assert isinstance(told, asyncio.CancelledError | AskonceError), told
        else:
            assert told in ([], list(PIECES))
    if struck == "leader":
        assert not any(isinstance(told, BaseException) for told in followers)
    if struck in ("follower", "follower's flight"):
        assert leader == list(PIECES)
    if struck == "leader's flight":
        assert all(not isinstance(told, BaseException) or isinstance(told, FlightLost) for told in followers)
