"""One payment, many waiters: who pays, who joins, and what the books say afterwards."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.gate.gate_world import (
    COST_NANO,
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

from askonce.gate.answering import Arrival

HOOKS = pytest.mark.parametrize("hook", [promptly, dawdle])


@HOOKS
def test_400_identical_questions_make_one_call_and_the_money_adds_up(hook: Any) -> None:
    async def main() -> None:
        world = World(hook=hook)
        asks = [question(stream=n % 2 == 0) for n in range(400)]
        clients = [start(world.ask(ask)) for ask in asks]
        line = await world.vendor.call()
        await rounds()
        line.say("a", "b")
        line.finish()
        arrivals = await asyncio.gather(*clients)
        assert len(world.vendor.lines) == 1
        assert sorted(a.state for a in arrivals) == ["coalesced"] * 399 + ["miss"]
        assert {a.entry.open().text for a in arrivals} == {"ab"}
        assert all(a.stored for a in arrivals)
        totals = await world.totals()
        assert (totals.misses, totals.coalesced, totals.hits) == (1, 399, 0)
        assert (totals.spent_nano, totals.saved_coalesced_nano) == (COST_NANO, 399 * COST_NANO)
        assert totals.saved_tokens == 399 * 15
        assert (await world.ask(question())).state == "hit"
        await world.close()

    play(main())


@HOOKS
def test_400_identical_questions_over_four_processes_make_one_call(hook: Any) -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        worlds = [World(sky, vendor, f"{n}:w", hook) for n in range(4)]
        for world in worlds:
            await world.answering.start()
        asks: list[Callable[[int], Any]] = [
            lambda n: worlds[n % 4].ask(question()),
            lambda n: worlds[n % 4].stream(question(stream=True)),
        ]
        clients = [start(asks[n // 4 % 2](n)) for n in range(400)]
        line = await vendor.call()
        for piece in "abc":
            line.say(piece)
            await asyncio.sleep(0.5)
        line.finish()
        results = await asyncio.gather(*clients)
        texts = {r.entry.open().text if isinstance(r, Arrival) else "".join(r) for r in results}
        assert texts == {"abc"}
        assert len(vendor.lines) == 1
        totals = await worlds[0].totals()
        assert (totals.misses, totals.coalesced) == (1, 399)
        assert totals.saved_coalesced_nano == 399 * COST_NANO
        for world in worlds:
            await world.close()

    play(main())


def test_a_stream_that_joins_late_gets_every_piece_from_the_first_on() -> None:
    async def main() -> None:
        world = World()
        early: list[str] = []
        first = start(world.stream(question(stream=True), early))
        line = await world.vendor.call()
        line.say("one ", "two ")
        await rounds()
        assert early == ["one ", "two "]  # passed on as it came, not at the end
        late: list[str] = []
        second = start(world.stream(question(stream=True), late))
        await rounds()
        assert late == ["one ", "two "]
        line.say("three")
        line.finish()
        assert await first == await second == ["one ", "two ", "three"]
        await world.close()

    play(main())


def test_a_plain_request_joins_a_stream_and_gets_the_whole() -> None:
    async def main() -> None:
        world = World()
        stream = start(world.stream(question(stream=True)))
        line = await world.vendor.call()
        plain = start(world.ask(question()))
        line.say("x", "y")
        line.finish()
        assert (await plain).entry.open().text == "xy"
        assert (await plain).state == "coalesced"
        assert await stream == ["x", "y"]
        await world.close()

    play(main())


def test_a_stream_that_joins_a_plain_call_gets_the_answer_at_its_end() -> None:
    async def main() -> None:
        world = World()
        plain = start(world.ask(question()))
        line = await world.vendor.call()
        stream = start(world.stream(question(stream=True)))
        line.finish("whole")
        assert await stream == ["whole"]
        assert (await plain).state == "miss"
        assert not line.call.stream
        await world.close()

    play(main())


def test_different_questions_do_not_join() -> None:
    async def main() -> None:
        world = World()
        asks = [question("a"), question("b"), question("a", model="m-2")]
        clients = [start(world.ask(ask)) for ask in asks]
        for n in range(3):
            (await world.vendor.call(n)).finish(str(n))
        arrivals = await asyncio.gather(*clients)
        assert [a.state for a in arrivals] == ["miss"] * 3
        assert len({a.entry.key for a in arrivals}) == 3
        await world.close()

    play(main())
