"""Callers of one question who sent different things besides it: one's metadata must not fail another."""

import asyncio
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace
from tests.gate.gate_world import Sky, Vendor, World, codes, play, question, start

from askonce.cache.fingerprint import fingerprints
from askonce.domain.call import Aside, Ask, Candidate
from askonce.domain.errors import AskonceError, ContentRefused, Invalid, ProviderRejected
from askonce.gate.relay import MAX_REFUSED


def asked(aside: str = "", *, at: str = "metadata", stream: bool = False) -> Ask:
    ask = question(stream=stream)
    asides = (Aside((at,), Raw(f'"{aside}"'.encode())),) if aside else ()
    return replace(ask, call=replace(ask.call, asides=asides))


REFUSED = ProviderRejected("metadata is too long.")


@pytest.mark.parametrize("refusal", [REFUSED, Invalid("metadata cannot be said there.")])
@pytest.mark.parametrize("stream", [False, True])
def test_who_joined_asks_again_where_the_leaders_asides_may_be_to_blame(refusal: AskonceError, stream: bool) -> None:
    async def main() -> None:
        world = World()
        leader = start(world.ask(asked("bad")))
        line = await world.vendor.call()
        travel: Any = world.stream if stream else world.ask
        others = [start(travel(asked("good", stream=stream))) for _ in range(5)]
        await asyncio.sleep(0.1)
        line.fail(refusal)
        again = await world.vendor.call(1)
        assert again.call.asides == asked("good").call.asides
        again.finish("an answer")
        results = await asyncio.gather(leader, *others, return_exceptions=True)
        assert codes(results) == [refusal.code]
        assert len(world.vendor.lines) == 2  # they joined each other
        assert len(world.spared()) == 4
        await world.close()

    play(main())


def test_who_sent_the_same_is_told_the_refusal_at_once() -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(asked("bad"))) for _ in range(3)]
        (await world.vendor.call()).fail(REFUSED)
        assert codes(await asyncio.gather(*clients, return_exceptions=True)) == [REFUSED.code] * 3
        assert len(world.vendor.lines) == 1
        await world.close()

    play(main())


def test_several_callers_who_are_refused_for_their_own_fail_nobody_else() -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(asked(aside))) for aside in ("bad 1", "bad 2", "bad 3", "", "good", "good")]
        for number in range(3):
            (await world.vendor.call(number)).fail(REFUSED)
        (await world.vendor.call(3)).finish("an answer")
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert codes(results[:3]) == [REFUSED.code] * 3
        assert codes(results) == [REFUSED.code] * 3
        assert len(world.vendor.lines) == 4
        await world.close()

    play(main())


def test_a_bad_question_is_not_asked_for_ever() -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(asked(f"{number}"))) for number in range(30)]
        for number in range(MAX_REFUSED + 1):
            (await world.vendor.call(number)).fail(REFUSED)
        assert codes(await asyncio.gather(*clients, return_exceptions=True)) == [REFUSED.code] * 30
        assert len(world.vendor.lines) == MAX_REFUSED + 1
        await world.close()

    play(main())


def test_a_refusal_of_the_question_itself_is_for_all() -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(asked(f"{number}"))) for number in range(3)]
        (await world.vendor.call()).fail(ContentRefused("No."))
        assert codes(await asyncio.gather(*clients, return_exceptions=True)) == [ContentRefused.code] * 3
        assert len(world.vendor.lines) == 1
        await world.close()

    play(main())


def test_another_process_asks_once_more_for_its_own_callers() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        worlds = [World(sky, vendor, f"{number}:x") for number in range(3)]
        clients = [start(worlds[0].ask(asked("bad")))]
        line = await vendor.call()
        clients += [start(world.ask(asked("good"))) for world in worlds[1:]]
        await asyncio.sleep(0.1)
        line.fail(REFUSED)
        (await vendor.call(1)).finish("an answer")
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert codes(results) == [REFUSED.code]
        assert len(vendor.lines) == 2
        for world in worlds:
            await world.close()

    play(main())


def test_a_refusal_of_the_question_reaches_all_processes_in_the_end() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        worlds = [World(sky, vendor, f"{number}:x") for number in range(4)]
        clients = [start(world.ask(asked("bad"))) for world in worlds]
        done = asyncio.gather(*clients, return_exceptions=True)
        while not done.done():
            for line in [one for one in vendor.lines if not one.closed]:
                line.fail(REFUSED)
            await asyncio.sleep(0.05)
        assert codes(await done) == [REFUSED.code] * 4
        assert len(vendor.lines) <= len(worlds)
        for world in worlds:
            await world.close()

    play(main())


def test_flights_are_of_one_service_tier_and_stored_answers_of_all() -> None:
    who = [Candidate("a", "m")]
    plain, flex = (fingerprints(ask.call, who) for ask in (asked(), asked("flex", at="service_tier")))
    assert plain.entries == flex.entries
    assert plain.flight != flex.flight
    assert plain == fingerprints(asked("someone", at="metadata").call, who)
    assert plain == fingerprints(asked("auto", at="service_tier").call, who)
