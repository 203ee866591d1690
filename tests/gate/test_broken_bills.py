"""What a call is booked at that did not come to its end: what its vendor told, and the rest estimated."""

import asyncio
from typing import Any

import pytest
from tests.gate.gate_world import GUESS, PRICE, World, play, question, start

from askonce.domain.errors import AskonceError, ProviderFailed
from askonce.domain.usage import Usage

BEGUN = Usage(70_000, 1, cached_tokens=60_000, estimated=True)  # as Anthropic tells it with `message_start`


def cost(usage: Usage) -> int:
    return PRICE.cost_nano(usage)


async def hang_up(world: World) -> None:
    seat: Any = await world.set_out(question(stream=True))
    line = await world.vendor.call()
    line.send(BEGUN)
    line.say("some words")
    assert await seat.more()
    seat.leave()
    async with asyncio.timeout(20):
        while not line.closed:
            await asyncio.sleep(0.001)


async def break_off(world: World) -> None:
    client = start(world.stream(question(stream=True)))
    line = await world.vendor.call()
    line.send(BEGUN)
    line.say("some words")
    line.fail(ProviderFailed("It broke."))
    with pytest.raises(ProviderFailed):
        await client


@pytest.mark.parametrize(("ends", "ending"), [(hang_up, "abandoned"), (break_off, "failed")])
def test_a_stream_that_ends_early_is_booked_at_what_its_vendor_told(ends: Any, ending: str) -> None:
    async def main() -> None:
        world = World()
        await ends(world)
        await asyncio.sleep(1)
        (paid,) = world.paid()
        assert paid.ending == ending
        assert (paid.prompt_tokens, paid.completion_tokens) == (BEGUN.prompt_tokens, GUESS.completion_tokens)
        assert paid.cost_nano == cost(Usage(70_000, GUESS.completion_tokens, cached_tokens=60_000))
        assert (paid.priced, paid.estimated) == (True, True)
        (record,) = world.notes.records
        assert record.error_code == ("abandoned" if ending == "abandoned" else "provider_error")
        await world.close()

    play(main())


def test_the_vendors_last_word_is_taken_as_it_is() -> None:
    async def main() -> None:
        world = World()
        client = start(world.stream(question(stream=True)))
        line = await world.vendor.call()
        line.send(BEGUN)
        line.say("some words")
        line.send(last := Usage(70_000, 500, cached_tokens=60_000))
        line.fail(ProviderFailed("It broke."))
        with pytest.raises(AskonceError):
            await client
        assert [paid.cost_nano for paid in world.paid()] == [cost(last)]
        await world.close()

    play(main())


def test_what_one_attempt_told_is_not_booked_for_the_next() -> None:
    async def main() -> None:
        world = World()
        client = start(world.stream(question(stream=True)))
        first = await world.vendor.call()
        first.send(BEGUN)
        first.fail(ProviderFailed("It broke."))
        second = await world.vendor.call(1)
        second.fail(ProviderFailed("Again."))
        with pytest.raises(ProviderFailed):
            await client
        assert [paid.prompt_tokens for paid in world.paid()] == [BEGUN.prompt_tokens, 0]
        await world.close()

    play(main())


def test_usage_is_no_piece_of_the_answer() -> None:
    async def main() -> None:
        world = World()
        client = start(world.stream(question(stream=True)))
        line = await world.vendor.call()
        line.send(BEGUN)
        line.say("one", "two")
        line.finish()
        assert await client == ["one", "two"]
        await world.close()

    play(main())
