"""Who may leave, and what becomes of a call that nobody waits for."""

import asyncio
from typing import Any

import pytest
from tests.gate.gate_world import (
    GUESS_NANO,
    Sky,
    Vendor,
    World,
    dawdle,
    play,
    promptly,
    question,
    rounds,
    start,
)

from askonce.gate import answering as answering_module

HOOKS = pytest.mark.parametrize("hook", [promptly, dawdle])


@HOOKS
def test_the_flight_goes_on_when_the_one_who_made_it_leave_leaves(hook: Any) -> None:
    async def main() -> None:
        world = World(hook=hook)
        leader = start(world.ask(question()))
        line = await world.vendor.call()
        follower = start(world.ask(question()))
        await rounds()
        leader.cancel()
        await rounds()
        assert not line.closed
        line.finish()
        assert (await follower).state == "coalesced"
        totals = await world.totals()
        assert (totals.misses, totals.coalesced, totals.abandoned) == (1, 1, 0)
        await world.close()

    play(main())


@HOOKS
@pytest.mark.parametrize("said", [(), ("half",)])
def test_when_all_have_left_the_upstream_is_closed_and_what_it_cost_is_booked(hook: Any, said: tuple[str, ...]) -> None:
    async def main() -> None:
        world = World(hook=hook)
        clients = [start(world.stream(question(stream=True))) for _ in range(3)]
        line = await world.vendor.call()
        line.say(*said)
        await rounds()
        for client in clients:
            client.cancel()
        await rounds(40)
        assert line.closed
        assert world.answering.in_flight == 0
        (paid,) = world.paid()
        assert (paid.ending, paid.counted, paid.cost_nano) == ("abandoned", False, GUESS_NANO)
        assert world.spared() == []
        again = start(world.ask(question()))
        (await world.vendor.call(1)).finish()
        assert (await again).state == "miss"
        await world.close()

    play(main())


def test_an_abandoned_call_that_is_charged_anyway_is_read_to_its_end_and_kept() -> None:
    async def main() -> None:
        world = World(vendor=Vendor(drains=True))
        await world.answering.start()
        client = start(world.ask(question()))
        line = await world.vendor.call()
        client.cancel()
        await asyncio.sleep(answering_module.DRAIN_ABANDONED_S - 5)
        assert not line.closed
        line.finish()
        await rounds()
        assert [p.ending for p in world.paid()] == ["answered"]
        assert (await world.ask(question())).state == "hit"
        await world.close()

    play(main())


def test_reading_an_abandoned_call_to_its_end_is_bounded() -> None:
    async def main() -> None:
        world = World(vendor=Vendor(drains=True))
        await world.answering.start()
        client = start(world.ask(question()))
        line = await world.vendor.call()
        client.cancel()
        await asyncio.sleep(answering_module.DRAIN_ABANDONED_S + 2)
        assert line.closed
        assert [p.ending for p in world.paid()] == ["abandoned"]
        await world.close()

    play(main())


def test_who_joins_an_abandoned_call_saves_it() -> None:
    async def main() -> None:
        world = World(vendor=Vendor(drains=True))
        await world.answering.start()
        client = start(world.ask(question()))
        line = await world.vendor.call()
        client.cancel()
        await asyncio.sleep(answering_module.DRAIN_ABANDONED_S - 5)
        second = start(world.ask(question()))
        await asyncio.sleep(answering_module.DRAIN_ABANDONED_S)
        assert not line.closed
        line.finish()
        assert (await second).state == "coalesced"
        assert len(world.vendor.lines) == 1
        await world.close()

    play(main())


def test_a_flight_goes_on_for_followers_in_another_process() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b")
        await one.answering.start()
        await two.answering.start()
        leader = start(one.ask(question()))
        line = await vendor.call()
        follower = start(two.ask(question()))
        await asyncio.sleep(0.1)
        leader.cancel()
        await asyncio.sleep(10)
        assert not line.closed
        line.finish()
        assert (await follower).state == "coalesced"
        assert len(vendor.lines) == 1
        await one.close()
        await two.close()

    play(main())


def test_a_flight_ends_once_the_followers_in_other_processes_have_left_too() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b")
        await one.answering.start()
        await two.answering.start()
        clients = [start(one.ask(question()))]
        line = await vendor.call()
        clients.append(start(two.ask(question())))
        await asyncio.sleep(0.1)
        for client in clients:
            client.cancel()
        await asyncio.sleep(5)
        assert line.closed
        assert [p.ending for p in one.paid() + two.paid()] == ["abandoned"]
        await one.close()
        await two.close()

    play(main())


@HOOKS
def test_who_asks_while_an_abandoned_call_is_being_hung_up_gets_an_answer(hook: Any) -> None:
    async def at(step: int) -> bool:
        world = World(hook=hook)
        client = start(world.ask(question()))
        await world.vendor.call()
        client.cancel()
        await rounds(step)
        hung_up = world.answering.in_flight == 0
        second = start(world.ask(question()))
        await asyncio.sleep(0.5)
        for line in world.vendor.lines:
            if not line.closed:
                line.finish()
        assert (await second).entry.open().text == "an answer"
        assert len(world.paid()) == len(world.vendor.lines)
        await world.close()
        return hung_up

    hung_up = [play(at(step)) for step in range(30)]
    assert any(hung_up)
    assert not all(hung_up)
