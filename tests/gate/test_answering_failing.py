"""What fails reaches everyone alike, is booked once, and leaves nothing behind."""

import asyncio
import contextlib
from typing import Any

import pytest
from tests.gate.gate_world import (
    COST_NANO,
    GUESS_NANO,
    Sky,
    Vendor,
    World,
    codes,
    dawdle,
    never_sent,
    play,
    promptly,
    question,
    rounds,
    start,
)

from askonce.domain.errors import (
    AskonceError,
    ModelLoading,
    ProviderFailed,
    ProviderTimeout,
    unsent,
)

HOOKS = pytest.mark.parametrize("hook", [promptly, dawdle])


@HOOKS
@pytest.mark.parametrize("said", [(), ("half",)])
def test_a_failure_reaches_everyone_alike_and_nothing_is_kept(hook: Any, said: tuple[str, ...]) -> None:
    async def main() -> None:
        world = World(hook=hook)
        clients = [start(world.ask(question(stream=True))) for _ in range(3)]
        streams = [start(world.stream(question(stream=True))) for _ in range(2)]
        line = await world.vendor.call()
        line.say(*said)
        await rounds()
        line.fail(ProviderTimeout("Too slow."))
        results = await asyncio.gather(*clients, *streams, return_exceptions=True)
        assert codes(results) == ["provider_timeout"] * 5
        (paid,) = world.paid()
        assert (paid.ending, paid.cost_nano) == ("failed", GUESS_NANO if said else 0)
        assert world.spared() == []
        again = start(world.ask(question()))
        (await world.vendor.call(1)).finish()
        assert (await again).state == "miss"
        assert (await world.totals()).misses == 1
        assert world.notes.defects == []
        await world.close()

    play(main())


def test_a_failure_elsewhere_reaches_followers_with_its_code_and_retry_hint() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b")
        leader = start(one.ask(question()))
        line = await vendor.call()
        follower = start(two.ask(question()))
        await asyncio.sleep(0.1)
        error = ProviderFailed("Gone.", retry_after_s=9)
        line.fail(error)
        results = await asyncio.gather(leader, follower, return_exceptions=True)
        assert codes(results) == ["provider_error"] * 2
        assert [r.retry_after_s for r in results if isinstance(r, AskonceError)] == [9, 9]
        assert len(one.paid() + two.paid()) == 1
        await one.close()
        await two.close()

    play(main())


def test_an_end_without_an_answer_is_the_providers_failure() -> None:
    async def main() -> None:
        world = World()
        client = start(world.ask(question()))
        (await world.vendor.call()).end_early()
        (await world.vendor.call(1)).end_early()
        with pytest.raises(ProviderFailed, match="ended without an answer"):
            await client
        assert [p.ending for p in world.paid()] == ["failed", "failed"]
        await world.close()

    play(main())


def test_a_call_that_never_reached_the_provider_is_not_booked() -> None:
    async def main() -> None:
        world = World()
        client = start(world.ask(question()))
        (await world.vendor.call()).fail(never_sent(ModelLoading("Still loading.", retry_after_s=3)))
        with pytest.raises(ModelLoading):
            await client
        assert world.booked == []
        await world.close()

    play(main())


def test_a_defect_in_a_provider_is_an_internal_error_for_callers_and_told_to_the_observer() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b")
        clients = [start(one.ask(question())), start(one.ask(question()))]
        line = await vendor.call()
        clients.append(start(two.ask(question())))
        await asyncio.sleep(0.1)
        line.fail(ZeroDivisionError("secret detail"))
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert codes(results) == ["internal_error"] * 3
        assert "secret" not in "".join(map(str, results))
        assert [p.ending for p in one.paid() + two.paid()] == ["failed"]
        (defect,) = one.notes.defects
        assert isinstance(defect.__cause__, ZeroDivisionError)
        assert two.notes.defects == []
        assert len(vendor.lines) == 1
        await one.close()
        await two.close()

    play(main())


def test_a_defect_while_settling_books_what_was_paid_and_leaves_nobody_waiting() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b")
        clients = [start(one.ask(question()))]
        line = await vendor.call()
        clients.append(start(two.ask(question())))
        await asyncio.sleep(0.1)
        line.finish(provider="somebody else")  # no candidate of this question: settlement finds no key for it
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert codes(results) == ["internal_error"] * 2
        (paid,) = one.paid() + two.paid()
        assert (paid.ending, paid.cost_nano) == ("failed", COST_NANO)
        assert len(one.notes.defects) == 1
        assert len(vendor.lines) == 1
        await one.close()
        await two.close()

    play(main())


def test_an_error_that_many_raise_does_not_gather_their_traces() -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(question())) for _ in range(50)]
        (await world.vendor.call()).fail(ProviderTimeout("Too slow."))
        results = await asyncio.gather(*clients, return_exceptions=True)
        trace, depth = results[0].__traceback__, 0  # type: ignore[union-attr]
        while trace is not None:
            trace, depth = trace.tb_next, depth + 1
        assert depth < 20
        await world.close()

    play(main())


def test_a_caller_who_leaves_before_the_call_was_sent_costs_nothing() -> None:
    async def main() -> None:
        world = World()
        client = start(world.ask(question()))
        line = await world.vendor.call()
        left = asyncio.CancelledError()
        with contextlib.suppress(asyncio.CancelledError), unsent():
            raise left
        line.fail(left)
        with pytest.raises(AskonceError):
            await client
        assert world.booked == []
        await world.close()

    play(main())
