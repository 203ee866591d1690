"""The road from the door: what is decided before anything is paid, and in which order."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.gate.gate_world import World, play, question, start, visit

from askonce.domain.answer import Entry
from askonce.domain.call import Ask
from askonce.domain.errors import CacheMiss, MaxCostExceeded, UnknownModel
from askonce.domain.ports import Window
from askonce.gate.admission import OverLimit
from askonce.gate.answering import Joined
from askonce.routing.route import Route

WINDOW = Window("addr:127.0.0.1", 2, 60_000_000_000)


async def travel(world: World, ask: Ask, window: Window | None = WINDOW) -> Any:
    return await world.road.travel(ask, visit(window=window))


def test_hits_misses_and_followers_all_count_and_the_next_one_is_refused() -> None:
    async def main() -> None:
        world = World()
        first = await travel(world, question())
        second = await travel(world, question())
        assert isinstance(first.outcome, Joined)
        assert isinstance(second.outcome, Joined)
        assert (first.verdict.remaining, second.verdict.remaining) == (1, 0)
        with pytest.raises(OverLimit) as caught:
            await travel(world, question())
        assert caught.value.retry_after_s == 60
        assert caught.value.window == WINDOW
        first.outcome.leave()
        second.outcome.leave()
        await world.close()

    play(main())


def test_a_refused_question_neither_asks_nor_counts_as_a_hit() -> None:
    async def main() -> None:
        world = World()
        first = start(world.ask(question()))
        (await world.vendor.call()).finish()
        await first
        for _ in range(2):
            assert isinstance((await travel(world, question())).outcome, Entry)
        with pytest.raises(OverLimit):
            await travel(world, question())
        assert (await world.totals()).hits == 2
        await world.close()

    play(main())


def test_a_model_that_nobody_has_is_refused_before_it_counts() -> None:
    async def main() -> None:
        world = World()

        def nobody(ask: object) -> Route:
            raise UnknownModel("No such model.")

        world.road._router.route = nobody  # type: ignore[method-assign]
        for _ in range(5):
            with pytest.raises(UnknownModel):
                await travel(world, question())
        await world.close()

    play(main())


def test_what_fails_behind_the_door_is_an_outcome_with_its_verdict() -> None:
    async def main() -> None:
        world = World()
        admitted = await travel(world, question(mode="only"))
        assert isinstance(admitted.outcome, CacheMiss)
        assert admitted.verdict.remaining == 1
        await world.answering.stop(0)
        assert (await travel(world, question())).outcome.code == "draining"

    play(main())


def test_a_maximum_cost_forbids_paying_but_neither_hits_nor_joining() -> None:
    async def main() -> None:
        world = World()

        async def too_dear(ask: object, route: object) -> Route:
            raise MaxCostExceeded("It would cost more.")

        def at_most(ask: Ask) -> Ask:
            return replace(ask, routing=replace(ask.routing, max_cost_nano=1))

        first = start(world.ask(question()))
        line = await world.vendor.call()
        world.road._router.afford = too_dear  # type: ignore[method-assign]
        joined = await travel(world, at_most(question()), None)
        assert isinstance(joined.outcome, Joined)
        assert isinstance((await travel(world, at_most(question(mode="off")), None)).outcome, MaxCostExceeded)
        assert isinstance((await travel(world, at_most(question("other")), None)).outcome, MaxCostExceeded)
        line.finish()
        await first
        joined.outcome.leave()
        assert isinstance((await travel(world, at_most(question()), None)).outcome, Entry)
        assert len(world.vendor.lines) == 1
        await world.close()

    play(main())


def test_another_tenants_answer_is_never_found() -> None:
    async def main() -> None:
        world = World()
        first = start(world.ask(question()))
        (await world.vendor.call()).finish()
        await first
        entry = (await first).entry
        assert await world.sky.answers.find("somebody else", (entry.key,), 0) is None
        await world.close()

    play(main())
