"""Cancel at every point where the road can be cancelled: nothing hangs, nothing is left, every ending is booked once.

The stores of these tests suspend before and after each act. The hook counts those points and strikes at the n-th; a
test runs for every n until a run has fewer points than that.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from tests.gate.gate_world import World, play, question, rounds, start

from askonce.domain.errors import AskonceError, ProviderFailed

POINTS_CEILING = 200  # far above what any of these runs has; a run that never ends fails

Strike = Callable[[], None]


class Striker:
    """Suspend at every act of a store, and strike once."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.points = 0
        self.strike: Strike | None = None

    async def __call__(self, act: str) -> None:
        """Count, perhaps strike, and suspend."""
        self.points += 1
        if self.points == self.at and self.strike is not None:
            self.strike()
        await asyncio.sleep(0)


def every_point(run: Callable[[Striker], Coroutine[Any, Any, None]]) -> Iterator[int]:
    for at in range(1, POINTS_CEILING):
        striker = Striker(at)
        play(run(striker))
        yield at
        if striker.points < at:
            return
    raise AssertionError("there is no end of points")


async def perform(world: World, ending: str) -> None:
    """Play whatever the provider is asked."""
    played = 0
    while True:
        await asyncio.sleep(0)
        while played < len(world.vendor.lines):
            line = world.vendor.lines[played]
            line.say("one", "two")
            if ending == "finish":
                line.finish()
            elif ending == "fail":
                line.fail(ProviderFailed("It broke."))
            played += 1


def check_books(world: World) -> None:
    """Assert that each call that reached the provider is booked once."""
    assert len(world.paid()) == len(world.vendor.lines) == len(world.notes.records)
    assert world.notes.lost == []
    assert world.notes.defects == []
    assert all(line.closed for line in world.vendor.lines)


ENDINGS = pytest.mark.parametrize("ending", ["finish", "fail", "hang"])
WAYS = pytest.mark.parametrize("way", ["plain", "stream"])


def client_of(world: World, way: str) -> asyncio.Task[Any]:
    if way == "plain":
        return start(world.ask(question()))
    return start(world.stream(question(stream=True)))


async def settle_down(world: World, actor: asyncio.Task[None]) -> None:
    await rounds(60)
    actor.cancel()
    await asyncio.gather(actor, return_exceptions=True)


@ENDINGS
@WAYS
def test_a_client_that_leaves_alone_at_any_point_leaves_nothing_behind(ending: str, way: str) -> None:
    async def run(striker: Striker) -> None:
        world = World(hook=striker)
        client = client_of(world, way)
        striker.strike = client.cancel  # type: ignore[assignment]
        actor = start(perform(world, ending))
        await rounds(60)
        if striker.points < striker.at:
            client.cancel()
        await settle_down(world, actor)
        assert client.done()
        world.check_empty()
        check_books(world)
        await world.close()

    assert sum(1 for _ in every_point(run)) > 5


@pytest.mark.parametrize("ending", ["finish", "fail"])
@WAYS
def test_a_client_that_leaves_at_any_point_does_not_touch_the_one_who_stays(ending: str, way: str) -> None:
    async def run(striker: Striker) -> None:
        world = World(hook=striker)
        client, other = client_of(world, way), client_of(world, "plain")
        striker.strike = client.cancel  # type: ignore[assignment]
        actor = start(perform(world, ending))
        if ending == "finish":
            assert (await other).entry.open().text == "onetwo"
        else:
            with pytest.raises(ProviderFailed):
                await other
        await settle_down(world, actor)
        world.check_empty()
        check_books(world)
        await world.close()

    assert sum(1 for _ in every_point(run)) > 5


@ENDINGS
@WAYS
def test_a_process_that_stops_at_any_point_leaves_nobody_waiting(ending: str, way: str) -> None:
    async def run(striker: Striker) -> None:
        world = World(hook=striker)
        await world.answering.start()
        clients = [client_of(world, way), client_of(world, "plain")]
        stops: list[asyncio.Task[None]] = []
        striker.strike = lambda: stops.append(start(world.answering.stop(0)))
        actor = start(perform(world, ending))
        await rounds(60)
        if not stops:
            stops.append(start(world.answering.stop(0)))
        await asyncio.gather(*stops)
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert all(not isinstance(r, BaseException) or isinstance(r, AskonceError) for r in results)
        await settle_down(world, actor)
        world.check_empty()
        check_books(world)
        await world.close()

    assert sum(1 for _ in every_point(run)) > 5


@ENDINGS
def test_a_flight_cancelled_twice_at_any_two_points_is_booked_once(ending: str) -> None:
    async def run(striker: Striker) -> None:
        world = World(hook=striker)
        client = client_of(world, "plain")

        def again() -> None:
            for aloft in list(world.answering._tasks.values()):
                assert aloft.task is not None
                aloft.task.cancel()
                asyncio.get_running_loop().call_soon(aloft.task.cancel)

        striker.strike = again
        actor = start(perform(world, ending))
        await rounds(60)
        client.cancel()
        await settle_down(world, actor)
        world.check_empty()
        check_books(world)
        await world.close()

    assert sum(1 for _ in every_point(run)) > 5


def test_a_paid_answer_is_kept_even_if_everyone_leaves_while_it_is_settled() -> None:
    async def run(striker: Striker) -> None:
        world = World(hook=striker)
        client = client_of(world, "plain")
        kept_from: list[int] = []

        def strike() -> None:
            client.cancel()
            kept_from.append(any(line.closed for line in world.vendor.lines))

        striker.strike = strike
        actor = start(perform(world, "finish"))
        await rounds(60)
        await settle_down(world, actor)
        if kept_from and kept_from[0]:
            assert [p.ending for p in world.paid()] == ["answered"]
            assert (await world.ask(question())).state == "hit"
        await world.close()

    assert sum(1 for _ in every_point(run)) > 5
