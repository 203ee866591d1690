"""Leaders that die, and leaders that live on."""

import asyncio
from typing import Any

import pytest
from tests.gate.gate_world import (
    Sky,
    Vendor,
    World,
    codes,
    play,
    question,
    start,
)

from askonce.domain.errors import (
    FlightLost,
)
from askonce.gate.relay import MAX_LEADERS


def test_a_follower_leads_when_the_leaders_process_dies() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        dead, living = World(sky, vendor, "1:dead"), World(sky, vendor, "2:living")
        dying = start(dead.ask(question()))
        await vendor.call()
        followers = [start(living.ask(question())) for _ in range(3)]
        await asyncio.sleep(5)  # nobody renews the lease: `dead` was never started
        (await vendor.call(1)).finish("second try")
        arrivals = await asyncio.gather(*followers)
        assert sorted(a.state for a in arrivals) == ["coalesced", "coalesced", "miss"]
        assert len(vendor.lines) == 2
        vendor.lines[0].finish("late")
        await dying
        await dead.close()
        await living.close()

    play(main())


def test_who_passed_text_on_is_told_that_its_leader_was_lost_and_others_start_afresh() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        dead, living = World(sky, vendor, "1:dead"), World(sky, vendor, "2:living")
        dying = start(dead.ask(question(stream=True)))
        line = await vendor.call()
        heard: list[str] = []
        stream = start(living.stream(question(stream=True), heard))
        plain = start(living.ask(question()))
        line.say("half an ")
        await asyncio.sleep(0.5)
        assert heard == ["half an "]
        await asyncio.sleep(5)
        second = await vendor.call(1)
        second.say("another")
        second.finish()
        with pytest.raises(FlightLost):
            await stream
        assert heard == ["half an "]  # never a mixture
        assert (await plain).entry.open().text == "another"
        line.finish()
        await dying
        await dead.close()
        await living.close()

    play(main())


def test_nothing_is_paid_again_when_all_who_would_wait_have_passed_text_on() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        dead, living = World(sky, vendor, "1:dead"), World(sky, vendor, "2:living")
        dying = start(dead.ask(question(stream=True)))
        line = await vendor.call()
        streams = [start(living.stream(question(stream=True))) for _ in range(2)]
        line.say("half an ")
        await asyncio.sleep(6)
        assert codes(await asyncio.gather(*streams, return_exceptions=True)) == ["flight_lost"] * 2
        assert len(vendor.lines) == 1
        assert living.booked == []
        line.finish()
        await dying
        await dead.close()
        await living.close()

    play(main())


def test_a_question_that_kills_its_leaders_is_given_up() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        worlds = [World(sky, vendor, f"{n}:w") for n in range(MAX_LEADERS + 2)]
        clients = [start(world.ask(question())) for world in worlds]
        await asyncio.sleep(60)  # every leader loses its lease, as if it had died: none of them renews
        lost = [client for client in clients if client.done()]
        assert codes([client.exception() for client in lost]) == ["flight_lost"] * (len(clients) - len(vendor.lines))
        assert len(vendor.lines) <= MAX_LEADERS + 1
        for line in vendor.lines:
            line.finish()
        await asyncio.gather(*clients, return_exceptions=True)
        for world in worlds:
            await world.close()

    play(main())


def test_leases_are_renewed_for_as_long_as_the_call_takes_and_streams_are_nudged() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b")
        await one.answering.start()
        await two.answering.start()
        heard: list[str] = []
        clients: list[asyncio.Task[Any]] = [start(one.ask(question()))]
        line = await vendor.call()
        clients.append(start(two.stream(question(stream=True), heard)))
        await asyncio.sleep(100)
        assert heard == [""] * 6  # one each 15 seconds
        line.finish()
        await asyncio.gather(*clients)
        assert len(vendor.lines) == 1
        await one.close()
        await two.close()

    play(main())
