"""Cancel named requests wherever they can be: what was paid is told to their retries, and nothing is left behind."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from tests.gate.gate_world import TENANT, Sky, World, question, rounds, start
from tests.gate.test_interruption import Striker, check_books, every_point, perform, settle_down
from tests.gate.test_interruption_journeys import (
    PARTS,
    PIECES,
    STRIKES,
    Play,
    StrikingLoop,
    Wide,
    answers,
    cancels_flights,
    check_landed,
    every_turn,
    hear,
    slow,
)

from askonce.domain.call import Ask, CacheMode
from askonce.domain.ports import Filters

MODES = pytest.mark.parametrize("mode", ["default", "refresh", "off"])
ENDINGS = pytest.mark.parametrize("ending", ["finish", "fail"])


def named(mode: CacheMode = "default", **more: Any) -> Ask:
    return replace(question(mode=mode, **more), retry_key="k-1")


def answered(*worlds: World) -> bool:
    """Say whether a call was booked that gave an answer."""
    return any(paid.ending == "answered" for world in worlds for paid in world.paid())


async def ask_again(sky: Sky, mode: CacheMode, *, pays: bool) -> None:
    """Retry in another process, and see whether a call is made."""
    await asyncio.sleep(5)  # until a lease that was struck while it was being given has run out
    world = World(sky, owner="3:three")
    actor = start(perform(world, "finish"))
    assert (await world.ask(named(mode))).entry.open().text == "onetwo"
    assert len(world.vendor.lines) == pays
    await settle_down(world, actor)
    await world.close()


@MODES
@ENDINGS
def test_a_named_flight_that_is_cancelled_twice_keeps_what_was_paid(mode: CacheMode, ending: str) -> None:
    kept = set()

    async def run(striker: Striker) -> None:
        world = World(hook=striker)
        client = start(world.ask(named(mode)))

        def strike() -> None:
            for aloft in list(world.answering._tasks.values()):
                assert aloft.task is not None
                aloft.task.cancel()
                asyncio.get_running_loop().call_soon(aloft.task.cancel)

        striker.strike = strike
        actor = start(perform(world, ending))
        await rounds(80)
        client.cancel()
        await settle_down(world, actor)
        world.check_empty()
        check_books(world)
        kept.add(answered(world))
        await ask_again(world.sky, mode, pays=not answered(world))
        await world.close()

    assert sum(1 for _ in every_point(run)) > 5
    assert kept == ({True, False} if ending == "finish" else {False})


@MODES
def test_a_process_that_stops_at_any_point_of_a_named_call_keeps_what_was_paid(mode: CacheMode) -> None:
    async def run(striker: Striker) -> None:
        world = World(hook=striker)
        await world.answering.start()
        clients = [start(world.ask(named(mode))) for _ in range(2)]
        stops: list[asyncio.Task[None]] = []
        striker.strike = lambda: stops.append(start(world.answering.stop(0)))
        actor = start(perform(world, "finish"))
        await rounds(80)
        stops = stops or [start(world.answering.stop(0))]
        await asyncio.gather(*stops)
        await asyncio.gather(*clients, return_exceptions=True)
        await settle_down(world, actor)
        world.check_empty()
        check_books(world)
        await ask_again(world.sky, mode, pays=not answered(world))

    assert sum(1 for _ in every_point(run)) > 5


@MODES
def test_a_repetition_that_is_interrupted_is_told_the_next_time(mode: CacheMode) -> None:
    async def run(striker: Striker) -> None:
        sky = Sky()
        first, world = World(sky), World(sky, owner="2:two", hook=striker)
        actor = start(perform(first, "finish"))
        await first.ask(named(mode))
        client = start(world.ask(named(mode)))
        striker.strike = client.cancel  # type: ignore[assignment]
        await asyncio.wait((client,))
        await settle_down(first, actor)
        assert world.vendor.lines == []
        assert len(world.spared()) <= 1
        await ask_again(sky, mode, pays=False)
        await world.close()
        await first.close()

    assert sum(1 for _ in every_point(run)) > 4


def test_a_hit_that_is_interrupted_was_promised_or_is_found_again() -> None:
    async def run(striker: Striker) -> None:
        sky = Sky()
        first, world = World(sky), World(sky, owner="2:two", hook=striker)
        actor = start(perform(first, "finish"))
        await first.ask(question())
        client = start(world.ask(named()))
        striker.strike = client.cancel  # type: ignore[assignment]
        await asyncio.wait((client,))
        await settle_down(first, actor)
        if not client.cancelled():
            await sky.answers.purge(TENANT, Filters())
        await ask_again(sky, "default", pays=False)
        await world.close()
        await first.close()

    assert sum(1 for _ in every_point(run)) > 4


class Late(Striker):
    """Let another process answer between the look-up and the boarding, and strike only after that."""

    def __init__(self, at: int, sky: Sky, ask: Ask) -> None:
        super().__init__(at)
        self.first = World(sky)
        self.acts: list[str] = []
        self._ask = ask

    async def __call__(self, act: str) -> None:
        if act == "board":
            actor = start(perform(self.first, "finish"))
            await self.first.ask(self._ask)
            await settle_down(self.first, actor)
        self.acts.append(act)
        if "board.done" in self.acts:
            await super().__call__(act)


@MODES
def test_a_flight_that_finds_its_answer_told_before_lands_even_if_it_is_interrupted(mode: CacheMode) -> None:
    landed = set()

    async def run(striker: Striker) -> None:
        sky = Sky()
        late = Late(striker.at, sky, named(mode))
        world = World(sky, owner="2:two", hook=late)
        late.strike = cancels_flights(world)  # type: ignore[assignment]
        client = start(world.ask(named(mode)))
        await asyncio.wait((client,))
        await settle_down(world, start(rounds()))
        striker.points = late.points
        assert world.vendor.lines == []
        if "keep" in late.acts:  # it was found
            landed.add(late.points)
            assert all(one.landing is not None for one in sky.hangar._aloft.values())
        await ask_again(sky, mode, pays=False)
        await world.close()

    assert sum(1 for _ in every_point(run)) > 4
    assert landed


@pytest.mark.parametrize("struck", STRIKES)
@pytest.mark.parametrize("plays", [(answers,), (slow, answers)], ids=["answered", "answered elsewhere"])
@pytest.mark.parametrize("mode", ["default", "off"])
def test_named_flights_of_two_processes_interrupted_anywhere_are_answered_and_paid_once(
    mode: CacheMode, plays: tuple[Play, ...], struck: str
) -> None:
    async def story(loop: StrikingLoop) -> None:
        sky = Sky()
        one, two = Wide(*plays, sky=sky), Wide(sky=sky, owner="2:two")
        for world in (one, two):
            await world.answering.start()
        clients = [start(hear(one, named(mode, stream=True)))]
        while not sky.hangar._aloft:
            await asyncio.sleep(0)
        clients += [start(hear(two, named(mode, stream=True)))]
        loop.strike = STRIKES[struck](one, two, clients)
        async with asyncio.timeout(60):
            results = await asyncio.gather(*clients, return_exceptions=True)
        loop.strike = None
        assert all(isinstance(told, BaseException) or told in ([], list(PIECES)) for told in results)
        await asyncio.sleep(30)  # a call that nobody waits for goes on
        if struck in ("leader", "follower"):
            assert len(one.lines) + len(two.lines) == len(plays)
        assert (await two.ask(named(mode))).entry.open().parts == PARTS
        assert [paid.ending for paid in one.paid() + two.paid()].count("answered") == 1
        for world in (one, two):
            await world.answering.stop(0)
            await world.settle()
            world.check()
        check_landed(sky)

    assert every_turn(story) > 20
