"""Store away: open. Whatever part of shared state fails, the answer arrives."""

import asyncio

import pytest
from tests.gate.gate_world import Sky, Vendor, World, away, play, question, rounds, start

from askonce.domain.answer import Entry
from askonce.domain.errors import Draining, StoreUnavailable
from askonce.gate.answering import Arrival

METHODS = ("board", "append", "renew", "land", "followed", "find", "keep", "book")
AFTER = tuple(f"{name}.done" for name in METHODS)


@pytest.mark.parametrize("method", [*METHODS, *AFTER])
def test_the_answer_arrives_though_one_part_of_the_store_is_away(method: str) -> None:
    async def main() -> None:
        world = World(hook=away(method))
        await world.answering.start()
        streams = [start(world.stream(question(stream=True))) for _ in range(2)]
        plain = start(world.ask(question()))
        line = await world.vendor.call()
        line.say("one ", "two")
        await asyncio.sleep(2)
        line.finish()
        assert await streams[0] == await streams[1] == ["one ", "two"]
        assert (await plain).entry.open().text == "one two"
        assert (await plain).stored is (method not in ("keep", "keep.done"))
        assert len(world.vendor.lines) == 1
        assert world.notes.defects == []
        await world.close()

    play(main())


def test_what_could_not_be_booked_is_told_in_full() -> None:
    async def main() -> None:
        world = World(hook=away("book"))
        clients = [start(world.ask(question())) for _ in range(2)]
        (await world.vendor.call()).finish()
        await asyncio.gather(*clients)
        assert len(world.notes.lost) == 2
        assert len(world.notes.records) == 1
        await world.close()

    play(main())


@pytest.mark.parametrize("act", ["follow", "follow.piece"])
def test_a_follower_that_cannot_follow_asks_alone(act: str) -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b", away(act))
        leader = start(one.ask(question(stream=True)))
        line = await vendor.call()
        follower = start(two.ask(question()))
        line.say("one")
        (await vendor.call(1)).finish("asked alone")
        assert (await follower).entry.open().text == "asked alone"
        assert (await follower).state == "miss"
        line.finish()
        assert (await leader).entry.open().text == "one"
        await one.close()
        await two.close()

    play(main())


def test_followers_elsewhere_are_not_lost_with_the_leaders_store() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a", away("append", "renew", "land")), World(sky, vendor, "2:b")
        await one.answering.start()
        leader = start(one.ask(question(stream=True)))
        line = await vendor.call()
        follower = start(two.ask(question()))
        await rounds()
        line.say("text")
        await asyncio.sleep(5)
        (await vendor.call(1)).finish("by itself")
        assert (await follower).entry.open().text == "by itself"
        line.finish()
        assert (await leader).entry.open().text == "text"
        await one.close()
        await two.close()

    play(main())


def test_a_store_that_is_wholly_away_leaves_one_flight_per_process() -> None:
    async def main() -> None:
        world = World(hook=away(*METHODS))
        clients = [start(world.ask(question())) for _ in range(20)]
        (await world.vendor.call()).finish()
        states = [(arrival.state, arrival.stored) for arrival in await asyncio.gather(*clients)]
        assert sorted(states) == [("coalesced", False)] * 19 + [("miss", False)]
        await world.close()

    play(main())


def test_a_threshold_that_is_away_is_the_callers_error_and_nothing_is_asked() -> None:
    async def main() -> None:
        world = World(hook=away("enter"))  # in production `state.fallback` stands before it
        with pytest.raises(StoreUnavailable):
            await world.ask(question())
        assert world.vendor.lines == []
        await world.close()

    play(main())


def test_a_draining_process_still_answers_from_the_store() -> None:
    async def main() -> None:
        world = World()
        first = start(world.ask(question()))
        (await world.vendor.call()).finish()
        assert isinstance((await first).entry, Entry)
        await world.answering.stop(0)
        assert isinstance(await world.ask(question()), Arrival)
        with pytest.raises(Draining):
            await world.ask(question("new"))

    play(main())
