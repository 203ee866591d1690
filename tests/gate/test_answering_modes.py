"""What the cache modes promise, and what is kept."""

import asyncio
from typing import Any

import pytest
from tests.gate.gate_world import (
    COST_NANO,
    START_MS,
    TENANT,
    Sky,
    Vendor,
    World,
    bare,
    dawdle,
    play,
    promptly,
    question,
    rounds,
    start,
)

from askonce.domain.errors import (
    CacheMiss,
)
from askonce.domain.outcome import Spared
from askonce.gate.answering import Arrival

HOOKS = pytest.mark.parametrize("hook", [promptly, dawdle])


def test_off_neither_reads_nor_joins_nor_stores() -> None:
    async def main() -> None:
        world = World()
        normal = start(world.ask(question()))
        (await world.vendor.call()).finish("kept")
        assert (await normal).state == "miss"
        flying = start(world.ask(question("other")))
        await world.vendor.call(1)
        private = [start(world.ask(question(mode="off"))), start(world.ask(question("other", mode="off")))]
        for n in (2, 3):
            (await world.vendor.call(n)).finish("private")
        arrivals = await asyncio.gather(*private)
        assert [(a.state, a.stored, a.entry.open().text) for a in arrivals] == [("off", False, "private")] * 2
        (await world.vendor.call(1)).finish("second")
        assert (await flying).entry.open().text == "second"
        assert (await world.ask(question())).entry.open().text == "kept"
        totals = await world.totals()
        assert (totals.misses, totals.uncounted, totals.hits, totals.coalesced) == (2, 2, 1, 0)
        assert totals.spent_nano == 4 * COST_NANO
        await world.close()

    play(main())


def test_refresh_asks_again_and_stores() -> None:
    async def main() -> None:
        world = World()
        first = start(world.ask(question()))
        (await world.vendor.call()).finish("old")
        await first
        again = start(world.ask(question(mode="refresh")))
        (await world.vendor.call(1)).finish("new")
        assert (await again).state == "refresh"
        assert (await world.ask(question())).entry.open().text == "new"
        assert (await world.totals()).misses == 2
        await world.close()

    play(main())


@HOOKS
def test_refresh_never_lands_with_what_was_stored_before_it_was_asked(hook: Any) -> None:
    async def main() -> None:
        sky = Sky()
        world, other = World(sky, hook=hook), World(sky, Vendor(), "2:other", hook)
        first = start(other.ask(question()))
        (await other.vendor.call()).finish("old")
        await first
        await asyncio.sleep(1)
        # The store was away when the first of these looked; the second joins it, and must not be given the old answer.
        leader = start(world.seat(question()).arrival())
        refresh = start(world.seat(question(mode="refresh")).arrival())
        (await world.vendor.call()).finish("new")
        assert (await refresh).entry.open().text == "new"
        assert (await leader).entry.open().text == "new"
        await world.close()

    play(main())


def test_refresh_does_not_take_from_another_process_what_that_found_stored() -> None:
    async def slow_find(act: str) -> None:
        await asyncio.sleep(1 if act == "find" else 0)

    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a", slow_find), World(sky, vendor, "2:b")
        first = start(two.ask(question()))
        (await vendor.call()).finish("old")
        await first
        leader = start(one.seat(question()).arrival())
        await asyncio.sleep(0.5)
        refresh = start(two.ask(question(mode="refresh")))
        (await vendor.call(1)).finish("new")
        assert ((await leader).state, (await leader).entry.open().text) == ("hit", "old")
        assert ((await refresh).state, (await refresh).entry.open().text) == ("refresh", "new")
        await one.close()
        await two.close()

    play(main())


def test_a_flight_that_has_landed_is_not_joined_any_more() -> None:
    late: list[asyncio.Task[Arrival]] = []

    async def hook(act: str) -> None:
        if act == "land" and worlds and not late:
            late.append(start(worlds[0].ask(question(mode="refresh"))))
            await rounds()

    worlds: list[World] = []

    async def main() -> None:
        world = World(hook=hook)
        first = start(world.ask(question()))
        (await world.vendor.call()).finish("old")
        await first
        await asyncio.sleep(1)
        worlds.append(world)
        found = world.seat(question())
        assert (await found.arrival()).state == "hit"
        (await world.vendor.call(1)).finish("new")
        assert (await late[0]).entry.open().text == "new"
        await world.close()

    play(main())


def test_only_is_answered_from_the_store_or_not_at_all() -> None:
    async def main() -> None:
        world = World()
        with pytest.raises(CacheMiss):
            await world.ask(question(mode="only"))
        assert world.vendor.lines == []
        first = start(world.ask(question()))
        (await world.vendor.call()).finish()
        await first
        assert (await world.ask(question(mode="only"))).state == "hit"
        await world.close()

    play(main())


@pytest.mark.parametrize(
    ("finish", "kept"),
    [("stop", True), ("length", True), ("tool_calls", True), ("content_filter", False), ("unknown", False)],
)
def test_only_what_ended_well_is_kept_but_everything_is_answered(finish: Any, kept: bool) -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(question())) for _ in range(2)]
        (await world.vendor.call()).finish("text", finish)
        assert [a.stored for a in await asyncio.gather(*clients)] == [kept, kept]
        assert (await world.totals()).entries == kept
        await world.close()

    play(main())


def test_max_age_refuses_what_is_older_and_takes_what_is_not() -> None:
    async def main() -> None:
        world = World()
        first = start(world.ask(question()))
        (await world.vendor.call()).finish("old")
        await first
        await asyncio.sleep(10)
        assert (await world.ask(question(max_age_s=11))).state == "hit"
        again = start(world.ask(question(max_age_s=9)))
        (await world.vendor.call(1)).finish("new")
        assert (await again).state == "miss"
        assert (await world.ask(question())).entry.open().text == "new"
        await world.close()

    play(main())


def test_max_age_0_accepts_nothing_stored_not_even_just_now() -> None:
    async def main() -> None:
        world = World()
        first = start(world.ask(question()))
        (await world.vendor.call()).finish("old")
        await first
        again = start(world.ask(question(max_age_s=0)))
        (await world.vendor.call(1)).finish("new")
        assert (await again).state == "miss"
        await world.close()

    play(main())


def test_a_ttl_of_the_request_is_the_life_of_its_entry() -> None:
    async def main() -> None:
        world = World()
        first = start(world.ask(question(ttl_s=5)))
        (await world.vendor.call()).finish()
        entry = (await first).entry
        assert entry.expires_ms == entry.stored_ms + 5000 > START_MS
        await asyncio.sleep(5)
        with pytest.raises(CacheMiss):
            await world.ask(question(mode="only"))
        await world.close()

    play(main())


def test_an_answer_stored_between_look_up_and_lease_is_a_hit_and_is_booked_as_one() -> None:
    async def main() -> None:
        world = World()
        first = start(world.ask(question()))
        (await world.vendor.call()).finish()
        await first
        late = [world.seat(question()), world.seat(question())]  # past the threshold before the first had landed
        arrivals = [await joined.arrival() for joined in late]
        for joined in late:
            joined.leave()
        assert [(a.state, a.stored) for a in arrivals] == [("hit", True)] * 2
        assert len(world.vendor.lines) == 1
        assert [bare(one) for one in world.spared()] == [Spared(TENANT, "exact", COST_NANO, 15)] * 2
        await world.close()

    play(main())
