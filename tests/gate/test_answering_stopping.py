"""A process that stops, and what goes on in spite of a defect."""

import asyncio
from typing import Any

import pytest
from tests.gate.gate_world import (
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

from askonce.domain.answer import Entry
from askonce.domain.errors import (
    Draining,
    ProviderUnavailable,
)

HOOKS = pytest.mark.parametrize("hook", [promptly, dawdle])


def test_a_stopping_process_lands_what_is_in_the_air_and_refuses_what_is_new() -> None:
    async def main() -> None:
        world = World()
        await world.answering.start()
        client = start(world.ask(question()))
        line = await world.vendor.call()
        stopping = start(world.answering.stop(30))
        await asyncio.sleep(1)
        with pytest.raises(Draining):
            await world.ask(question("new"))
        joins = start(world.ask(question()))
        await asyncio.sleep(1)
        line.finish()
        await stopping
        assert ((await client).state, (await joins).state) == ("miss", "coalesced")
        world.check_empty()

    play(main())


@HOOKS
def test_a_process_that_may_wait_no_longer_hangs_up_and_says_so(hook: Any) -> None:
    async def main() -> None:
        world = World(hook=hook)
        await world.answering.start()
        client = start(world.ask(question()))
        line = await world.vendor.call()
        await world.answering.stop(2)
        assert line.closed
        with pytest.raises(Draining):
            await client
        assert [p.ending for p in world.paid()] == ["abandoned"]
        world.check_empty()

    play(main())


def test_followers_elsewhere_take_over_from_a_leader_that_shuts_down() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b")
        await one.answering.start()
        await two.answering.start()
        leader = start(one.ask(question()))
        await vendor.call()
        follower = start(two.ask(question()))
        await asyncio.sleep(0.1)
        await one.answering.stop(0)
        (await vendor.call(1)).finish("taken over")
        assert (await follower).entry.open().text == "taken over"
        with pytest.raises(Draining):
            await leader
        await two.close()

    play(main())


def test_a_defect_in_looking_after_one_flight_does_not_end_the_renewal_of_others() -> None:
    broken = False

    async def hook(act: str) -> None:
        nonlocal broken
        if act == "renew" and not broken:
            broken = True
            raise ZeroDivisionError

    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a", hook), World(sky, vendor, "2:b")
        await one.answering.start()
        await two.answering.start()
        clients = [start(one.ask(question()))]
        line = await vendor.call()
        clients.append(start(two.ask(question())))
        await asyncio.sleep(20)
        line.finish()
        await asyncio.gather(*clients)
        assert len(vendor.lines) == 1
        assert [type(error) for error in one.notes.defects] == [ZeroDivisionError]
        await one.close()
        await two.close()

    play(main())


def test_leaving_twice_is_harmless() -> None:
    async def main() -> None:
        world = World()
        joined = world.seat(question())
        other = world.seat(question())
        line = await world.vendor.call()
        joined.leave()
        joined.leave()
        await rounds()
        assert not line.closed
        line.finish()
        assert isinstance((await other.arrival()).entry, Entry)
        other.leave()
        await world.close()

    play(main())


def test_a_provider_whose_last_key_was_retired_meanwhile_can_be_asked_again() -> None:
    async def main() -> None:
        world = World()
        world.answering._dispatch._providers = {}
        with pytest.raises(ProviderUnavailable, match="just retired"):
            await world.ask(question())
        await rounds()
        assert world.notes.defects == []
        await world.close()

    play(main())
