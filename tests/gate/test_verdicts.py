"""What a caller is told when nobody answered: what a retry can change, if anything."""

import asyncio
from typing import Any

import pytest
from tests.gate.gate_world import Vendor, World, never_sent, play, question, start

from askonce.domain.call import Ask, Candidate
from askonce.domain.errors import (
    AskonceError,
    ContentRefused,
    Invalid,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    UnknownModel,
)
from askonce.gate.dispatch import Outlets
from askonce.routing.breaker import TRIP_AFTER
from askonce.routing.route import Considered, Route

A, B = Candidate("a", "m"), Candidate("b", "m")


class Both:
    """Route everything to the same two."""

    def route(self, ask: Ask) -> Route:
        return Route("heuristic", (A, B), (Considered(A), Considered(B)))

    async def afford(self, ask: Ask, route: Route) -> Route:
        return route


class Pair(World):
    def __init__(self) -> None:
        self.a, self.b = Vendor("a"), Vendor("b")
        super().__init__(outlets=Outlets({"a": (self.a,), "b": (self.b,)}), router=Both())


def busy(wait_s: int | None) -> ProviderBusy:
    return ProviderBusy("Slow down.", retry_after_s=wait_s)


@pytest.mark.parametrize(
    ("first", "second", "told", "wait_s"),
    [
        (busy(20), never_sent(Invalid("No words for it.")), ProviderBusy, 20),
        (busy(20), UnknownModel("Not here."), ProviderBusy, 20),
        (busy(20), ProviderDenied("Who are you?"), ProviderBusy, 20),
        (busy(20), ContentRefused("No."), ProviderBusy, 20),
        (busy(20), ProviderRejected("No such field."), ProviderBusy, 20),
        (busy(20), busy(5), ProviderBusy, 5),
        (busy(5), busy(20), ProviderBusy, 5),
        (busy(20), ProviderTimeout("Slow."), ProviderBusy, 20),
        (ProviderTimeout("Slow."), Invalid("No words for it."), ProviderTimeout, None),
        (ProviderTimeout("Slow."), busy(20), ProviderTimeout, None),
        (ProviderDenied("Who are you?"), busy(9), ProviderBusy, 9),
        (UnknownModel("Not here."), Invalid("No words for it."), UnknownModel, None),
        (never_sent(Invalid("No words for it.")), ProviderDenied("Who are you?"), Invalid, None),
    ],
)
def test_a_trouble_that_passes_is_told_rather_than_one_that_stays(
    first: AskonceError, second: AskonceError, told: type[AskonceError], wait_s: int | None
) -> None:
    async def main() -> None:
        world = Pair()
        client = start(world.ask(question()))
        (await world.a.call()).fail(first)
        (await world.b.call()).fail(second)
        with pytest.raises(AskonceError) as caught:
            await client
        assert (type(caught.value), caught.value.retry_after_s) == (told, wait_s)
        await world.close()

    play(main())


@pytest.mark.parametrize("stand_in", [Invalid("No words for it."), UnknownModel("Not here."), ContentRefused("No.")])
def test_what_a_stand_in_cannot_do_is_not_told_while_the_first_is_left_alone(stand_in: AskonceError) -> None:
    async def main() -> None:
        world = Pair()
        rested = start(world.ask(question("one")))
        (await world.a.call()).fail(busy(30))
        (await world.b.call()).finish()
        await rested
        client = start(world.ask(question("two")))
        (await world.b.call(1)).fail(stand_in)
        with pytest.raises(ProviderBusy, match="a:m") as told:
            await client
        assert told.value.retry_after_s == 30
        await world.close()

    play(main())


def test_what_a_stand_in_cannot_do_is_not_told_while_the_first_has_an_open_breaker() -> None:
    async def main() -> None:
        world = Pair()
        for number in range(TRIP_AFTER):
            client = start(world.ask(question(f"{number}")))
            (await world.a.call(number)).fail(ProviderTimeout("Slow."))
            (await world.b.call(number)).finish()
            await client
        client = start(world.ask(question("x")))
        (await world.b.call(TRIP_AFTER)).fail(UnknownModel("Not here."))
        with pytest.raises(ProviderUnavailable, match="a:m"):
            await client
        await world.close()

    play(main())


class TwoKeys(World):
    """Provider `a` under two keys, then `b`."""

    def __init__(self) -> None:
        self.a1, self.a2, self.b = Vendor("a"), Vendor("a"), Vendor("b")
        super().__init__(outlets=Outlets({"a": (self.a1, self.a2), "b": (self.b,)}), router=Both())

    async def asked(self) -> tuple[Vendor, Vendor]:
        """Return the vendor of the key that is asked first, and that of the other."""
        while not (self.a1.lines or self.a2.lines):
            await asyncio.sleep(0.001)
        return (self.a1, self.a2) if self.a1.lines else (self.a2, self.a1)


@pytest.mark.parametrize("error", [ProviderRejected("No such field."), ContentRefused("No.")])
def test_a_question_that_is_rejected_is_no_trouble_that_passes_though_another_key_rests(error: AskonceError) -> None:
    async def main() -> None:
        world = TwoKeys()
        first = start(world.ask(question(mode="refresh")))
        one, two = await world.asked()
        (await one.call()).fail(busy(30))
        (await two.call()).fail(error)
        with pytest.raises(type(error)):
            await first
        second = start(world.ask(question(mode="refresh")))  # the slowed key is left alone now
        (await two.call(1)).fail(error)
        with pytest.raises(type(error)):
            await second
        assert world.b.lines == []
        await world.close()

    play(main())


def test_the_last_word_of_the_preferred_one_is_told_though_a_stand_in_rests() -> None:
    async def main() -> None:
        world = Pair()
        rested = start(world.ask(question("one")))
        (await world.a.call()).fail(ProviderTimeout("Slow."))
        (await world.b.call()).fail(busy(60))
        with pytest.raises(ProviderTimeout):
            await rested
        client = start(world.ask(question("two")))
        (await world.a.call(1)).fail(ProviderRejected("No such field."))
        with pytest.raises(ProviderRejected):
            await client
        await world.close()

    play(main())


def test_who_could_not_be_asked_is_not_named() -> None:
    async def main() -> None:
        world = Pair()
        seat: Any = await world.set_out(question())
        (await world.a.call()).fail(busy(9))
        (await world.b.call()).fail(never_sent(Invalid("No words for it.")))
        with pytest.raises(ProviderBusy):
            await seat.arrival()
        assert (seat.candidate, seat.attempts_begun) == (A, 1)
        seat.leave()
        await world.close()

    play(main())


def test_who_could_not_even_be_asked_is_no_attempt() -> None:
    async def main() -> None:
        world = Pair()
        seat: Any = await world.set_out(question())
        (await world.a.call()).fail(never_sent(Invalid("No words for it.")))
        assert seat.attempts_begun == 1
        (await world.b.call()).finish()
        await seat.arrival()
        assert seat.attempts_begun == 1
        assert [(one.candidate, one.error, one.asked) for one in seat.attempts] == [
            (A, "invalid_request", False),
            (B, "", True),
        ]
        seat.leave()
        await world.close()

    play(main())


def test_what_was_sent_and_failed_is_an_attempt() -> None:
    async def main() -> None:
        world = Pair()
        seat: Any = await world.set_out(question())
        (await world.a.call()).fail(ProviderFailed("Down.", retry_after_s=9))
        (await world.b.call()).finish()
        await seat.arrival()
        assert seat.attempts_begun == 2
        seat.leave()
        await world.close()

    play(main())
