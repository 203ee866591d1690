"""Who is asked after whom, until when, and what the books say of those who failed."""

import asyncio
from typing import Any

import pytest
from tests.gate.gate_world import (
    COST_NANO,
    TOTAL_S,
    Line,
    Sky,
    Vendor,
    World,
    codes,
    never_sent,
    play,
    question,
    rounds,
    start,
)

from askonce.domain.call import Ask, Candidate
from askonce.domain.errors import (
    AskonceError,
    ContentRefused,
    Invalid,
    MaxCostExceeded,
    ModelLoading,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderTimeout,
    ProviderUnavailable,
)
from askonce.domain.usage import Usage
from askonce.gate.dispatch import Outlets
from askonce.gate.rooms import PLACE_WAIT_S
from askonce.routing.attempts import MAX_ATTEMPTS, PAUSE_S
from askonce.routing.breaker import OPEN_S, TRIP_AFTER
from askonce.routing.route import Considered, Route

A, B = Candidate("a", "m"), Candidate("b", "m")


class Fixed:
    """Route everything to the same candidates; `barred` may not be asked."""

    def __init__(self, *candidates: Candidate, allow_failover: bool = True, barred: Candidate | None = None) -> None:
        self._route = Route("heuristic", candidates, tuple(map(Considered, candidates)), allow_failover)
        self._barred = barred

    def route(self, ask: Ask) -> Route:
        return self._route

    async def afford(self, ask: Ask, route: Route) -> Route:
        if self._barred is None:
            return route
        considered = tuple(Considered(c, None, "too dear" if c == self._barred else "") for c in route.candidates)
        return Route(route.mode, route.candidates, considered)


class Wide(World):
    """A process with provider `a` under two keys and provider `b` under one."""

    def __init__(self, sky: Sky | None = None, router: Any = None, most: dict[str, int] | None = None) -> None:
        self.a1, self.a2, self.b = Vendor("a"), Vendor("a"), Vendor("b")
        outlets = Outlets({"a": (self.a1, self.a2), "b": (self.b,)}, most or {})
        super().__init__(sky, outlets=outlets, router=router or Fixed(A, B))

    async def first(self) -> tuple[Vendor, Vendor]:
        """Return the vendor of the key that is asked first, and that of the other."""
        async with asyncio.timeout(20):
            while not (self.a1.lines or self.a2.lines):
                await asyncio.sleep(0.001)
        return (self.a1, self.a2) if self.a1.lines else (self.a2, self.a1)

    @property
    def calls(self) -> int:
        return sum(len(vendor.lines) for vendor in (self.a1, self.a2, self.b))


def endings(world: World) -> list[str]:
    return [f"{paid.provider} {paid.ending}" for paid in world.paid()]


def test_a_slowed_key_gives_way_to_the_next_and_both_to_the_next_candidate() -> None:
    async def main() -> None:
        world = Wide()
        client = start(world.ask(question()))
        one, two = await world.first()
        (await one.call()).fail(ProviderBusy("Slow down.", retry_after_s=9))
        (await two.call()).fail(ProviderDenied("Who are you?"))
        (await world.b.call()).finish("from b")
        arrival = await client
        assert (arrival.entry.open().text, arrival.entry.provider) == ("from b", "b")
        assert endings(world) == ["a failed", "a failed", "b answered"]
        totals = await world.totals()
        assert (totals.misses, totals.failed, totals.spent_nano) == (1, 2, COST_NANO)
        await world.close()

    play(main())


def test_an_answer_of_a_later_candidate_is_found_again() -> None:
    async def main() -> None:
        world = Wide()
        client = start(world.ask(question()))
        one, _ = await world.first()
        (await one.call()).fail(ProviderTimeout("Too slow."))
        (await world.b.call()).finish()
        await client
        assert (await world.ask(question())).state == "hit"
        assert world.calls == 2
        await world.close()

    play(main())


def test_a_broken_connection_is_tried_again_after_a_pause_with_the_same_endpoint() -> None:
    async def main() -> None:
        world = Wide()
        client = start(world.ask(question()))
        one, two = await world.first()
        (await one.call()).fail(ProviderFailed("Broke off."))
        began = asyncio.get_running_loop().time()
        (await one.call(1)).finish()
        assert asyncio.get_running_loop().time() - began >= PAUSE_S / 2
        assert (await client).entry.provider == "a"
        assert two.lines == world.b.lines == []
        await world.close()

    play(main())


@pytest.mark.parametrize("error", [ProviderFailed("Broke off."), ProviderBusy("Slow down."), ProviderTimeout("Slow.")])
def test_nobody_else_is_asked_once_a_piece_was_passed_on(error: AskonceError) -> None:
    async def main() -> None:
        world = Wide()
        heard: list[str] = []
        client = start(world.stream(question(stream=True), heard))
        one, _ = await world.first()
        line = await one.call()
        line.say("half")
        await rounds()
        line.fail(error)
        results = await asyncio.gather(client, return_exceptions=True)
        assert codes(results) == [error.code]
        assert heard == ["half"]
        assert world.calls == 1
        await world.close()

    play(main())


def test_a_stream_that_fails_before_its_first_piece_is_another_vendors_stream() -> None:
    async def main() -> None:
        world = Wide()
        client = start(world.stream(question(stream=True)))
        one, _ = await world.first()
        (await one.call()).fail(ProviderTimeout("Too slow."))
        line = await world.b.call()
        line.say("from ", "b")
        line.finish()
        assert await client == ["from ", "b"]
        await world.close()

    play(main())


def test_what_is_the_questions_fault_is_not_asked_elsewhere() -> None:
    async def main() -> None:
        world = Wide()
        client = start(world.ask(question()))
        one, _ = await world.first()
        (await one.call()).fail(ContentRefused("No."))
        with pytest.raises(ContentRefused):
            await client
        assert world.calls == 1
        await world.close()

    play(main())


@pytest.mark.parametrize("error", [ModelLoading("Loading."), Invalid("This shape has no such field.")])
def test_who_was_not_reached_is_not_booked_but_another_is_asked(error: AskonceError) -> None:
    async def main() -> None:
        world = Wide()
        client = start(world.ask(question()))
        one, _ = await world.first()
        (await one.call()).fail(never_sent(error))
        (await world.b.call()).finish()
        await client
        assert endings(world) == ["b answered"]
        await world.close()

    play(main())


def test_without_failover_one_key_of_one_candidate_is_asked() -> None:
    async def main() -> None:
        world = Wide(router=Fixed(A, allow_failover=False))
        client = start(world.ask(question()))
        one, two = await world.first()
        (await one.call()).fail(ProviderBusy("Slow down.", retry_after_s=9))
        with pytest.raises(ProviderBusy):
            await client
        assert two.lines == []
        await world.close()

    play(main())


def test_attempts_are_bounded_and_the_first_error_is_told() -> None:
    async def main() -> None:
        many = [Candidate(name, "m") for name in "cdef"]
        vendors = {one.provider: Vendor(one.provider) for one in many}
        outlets = Outlets({name: (vendor,) for name, vendor in vendors.items()})
        world = World(outlets=outlets, router=Fixed(*many))
        client = start(world.ask(question()))
        failed = 0
        while not client.done():
            for vendor in vendors.values():
                for line in vendor.lines[:]:
                    if not line.closed:
                        failed += 1
                        line.fail(ProviderFailed(f"Failure {failed}."))
                        await rounds()
            await asyncio.sleep(0.01)
        with pytest.raises(ProviderFailed, match="Failure 1"):
            await client
        assert len(endings(world)) == failed == MAX_ATTEMPTS
        await world.close()

    play(main())


def test_all_attempts_share_one_deadline() -> None:
    async def main() -> None:
        world = Wide()
        seen: list[float] = []

        class Noting(Vendor):
            def ask(self, call: Any, model: str, deadline_s: float) -> Any:
                seen.append(deadline_s)
                return super().ask(call, model, deadline_s)

        slow, next_one = Noting("c"), Noting("d")
        outlets = Outlets({"c": (slow,), "d": (next_one,)})
        world = World(outlets=outlets, router=Fixed(Candidate("c", "m"), Candidate("d", "m")))  # type: ignore[assignment]
        client = start(world.ask(question()))
        line = await slow.call()
        await asyncio.sleep(200)
        line.fail(ProviderTimeout("Too slow."))
        (await next_one.call()).finish()
        await client
        assert seen[0] == TOTAL_S
        assert seen[1] == pytest.approx(TOTAL_S - 200, abs=1)
        await world.close()

    play(main())


def test_no_pause_goes_beyond_the_deadline() -> None:
    async def main() -> None:
        vendor = Vendor("c")
        world = World(outlets=Outlets({"c": (vendor,)}), router=Fixed(Candidate("c", "m")))
        client = start(world.ask(question()))
        line = await vendor.call()
        await asyncio.sleep(TOTAL_S - PAUSE_S / 4)
        line.fail(ProviderFailed("Broke off."))
        with pytest.raises(ProviderFailed):
            await client
        assert len(vendor.lines) == 1
        await world.close()

    play(main())


def test_for_nobody_nothing_is_tried_again() -> None:
    async def main() -> None:
        world = Wide()
        for vendor in (world.a1, world.a2):
            vendor.drains_plain = True  # the abandoned call is read on
        client = start(world.ask(question()))
        one, _ = await world.first()
        line = await one.call()
        client.cancel()
        await rounds()
        line.fail(ProviderTimeout("Too slow."))
        await asyncio.sleep(1)
        assert world.calls == 1
        assert endings(world) == ["a failed"]
        await world.close()

    play(main())


def test_followers_in_another_process_are_served_by_whoever_answers() -> None:
    async def main() -> None:
        sky = Sky()
        one, two = Wide(sky), Wide(sky, Fixed(B, A))  # another process prefers another order
        leader = start(one.ask(question()))
        first, _ = await one.first()
        follower = start(two.ask(question()))
        await asyncio.sleep(0.1)
        (await first.call()).fail(ProviderTimeout("Too slow."))
        (await one.b.call()).finish()
        arrivals = await asyncio.gather(leader, follower)
        assert [arrival.state for arrival in arrivals] == ["miss", "coalesced"]
        assert two.calls == 0
        await one.close()
        await two.close()

    play(main())


def test_who_asked_for_a_rest_is_not_asked_until_it_is_over() -> None:
    async def main() -> None:
        world = Wide(router=Fixed(B))
        first = start(world.ask(question("one")))
        (await world.b.call()).fail(ProviderBusy("Slow down.", retry_after_s=9))
        with pytest.raises(ProviderBusy) as told:
            await first
        assert told.value.retry_after_s == 9
        await asyncio.sleep(4)
        with pytest.raises(ProviderBusy) as refused:
            await world.ask(question("two"))
        assert refused.value.retry_after_s == 5
        assert world.calls == 1
        await asyncio.sleep(5)
        third = start(world.ask(question("three")))
        (await world.b.call(1)).finish()
        assert (await third).state == "miss"
        await world.close()

    play(main())


def test_an_open_breaker_refuses_at_once_and_closes_after_a_trial() -> None:
    async def main() -> None:
        world = Wide(router=Fixed(B))
        for number in range(TRIP_AFTER):
            client = start(world.ask(question(f"{number}")))
            (await world.b.call(number)).fail(ProviderTimeout("Too slow."))
            with pytest.raises(ProviderTimeout):
                await client
        with pytest.raises(ProviderUnavailable, match="again and again"):
            await world.ask(question("x"))
        assert world.health.breaker_state("b") == "open"
        await asyncio.sleep(OPEN_S)
        trial = start(world.ask(question("y")))
        line = await world.b.call(TRIP_AFTER)
        with pytest.raises(ProviderUnavailable):
            await world.ask(question("z"))
        line.finish()
        await trial
        assert world.health.breaker_state("b") == "closed"
        assert endings(world) == ["b failed"] * TRIP_AFTER + ["b answered"]
        await world.close()

    play(main())


def test_a_full_provider_is_waited_for_then_another_is_asked_then_the_caller_told() -> None:
    async def main() -> None:
        world = Wide(most={"a": 1, "b": 1})
        clients = [start(world.ask(question(f"{number}"))) for number in range(3)]
        one, _ = await world.first()
        began = asyncio.get_running_loop().time()
        line = await world.b.call()
        assert asyncio.get_running_loop().time() - began == pytest.approx(PLACE_WAIT_S, abs=0.1)
        (refused,), others = await asyncio.wait(clients, return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(ProviderUnavailable, match="place") as told:
            await refused
        assert told.value.retry_after_s == 1
        line.finish()
        (await one.call()).finish()
        await asyncio.gather(*others)
        assert world.calls == 2
        await world.close()

    play(main())


def test_a_place_that_comes_free_goes_to_the_first_who_waits() -> None:
    async def main() -> None:
        world = Wide(router=Fixed(B), most={"b": 1})
        served: list[int] = []

        async def ask(number: int) -> None:
            await world.ask(question(f"{number}"))
            served.append(number)

        clients = [start(ask(number)) for number in range(4)]
        for number in range(4):
            line = await world.b.call(number)
            assert sum(not one.closed for one in world.b.lines) == 1
            line.finish()
        await asyncio.gather(*clients)
        assert served == [0, 1, 2, 3]
        await world.close()

    play(main())


def test_a_client_who_leaves_while_waiting_for_a_place_takes_none() -> None:
    async def main() -> None:
        world = Wide(router=Fixed(B), most={"b": 1})
        first = start(world.ask(question("one")))
        line = await world.b.call()
        waiting = start(world.ask(question("two")))
        await rounds()
        waiting.cancel()
        await asyncio.sleep(1.5)
        line.finish()
        await first
        third = start(world.ask(question("three")))
        (await world.b.call(1)).finish()
        await third
        assert endings(world) == ["b answered", "b answered"]
        await world.close()

    play(main())


def test_a_conversation_keeps_to_one_key() -> None:
    async def main() -> None:
        world = Wide(router=Fixed(A))
        by_prompt: dict[str, set[Vendor]] = {}
        for round_number in range(2):
            for number in range(12):
                client = start(world.ask(question(f"prompt {number}", mode="off")))
                before = {vendor: len(vendor.lines) for vendor in (world.a1, world.a2)}
                vendor = await _new_line(before)
                vendor.lines[-1].finish()
                await client
                by_prompt.setdefault(f"prompt {number}", set()).add(vendor)
            assert round_number in (0, 1)
        assert all(len(vendors) == 1 for vendors in by_prompt.values())
        assert len(set.union(*by_prompt.values())) == 2
        await world.close()

    play(main())


async def _new_line(before: dict[Vendor, int]) -> Vendor:
    async with asyncio.timeout(20):
        while True:
            await asyncio.sleep(0.001)
            for vendor, count in before.items():
                if len(vendor.lines) > count:
                    return vendor


def test_who_may_not_be_asked_is_not_but_a_stored_answer_of_theirs_will_do() -> None:
    async def main() -> None:
        sky = Sky()
        free, strict = Wide(sky), Wide(sky, Fixed(A, B, barred=A))
        first = start(free.ask(question("known")))
        one, _ = await free.first()
        (await one.call()).finish()
        await first
        assert (await strict.ask(question("known"))).state == "hit"
        second = start(strict.ask(question("new")))
        (await strict.b.call()).finish()
        assert (await second).entry.provider == "b"
        await free.close()
        await strict.close()

    play(main())


def test_what_nobody_may_be_asked_for_is_refused_before_anything_is_paid() -> None:
    class Dear(Fixed):
        async def afford(self, ask: Ask, route: Route) -> Route:
            raise MaxCostExceeded("Too dear.")

    async def main() -> None:
        world = Wide(router=Dear(A))
        with pytest.raises(MaxCostExceeded):
            await world.ask(question())
        assert world.calls == 0
        await world.close()

    play(main())


def test_what_the_vendors_own_cache_saved_is_booked_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        monkeypatch.setattr(Line, "usage", Usage(10, 5, cached_tokens=8))
        world = World()
        client = start(world.ask(question()))
        (await world.vendor.call()).finish()
        await client
        (paid,) = world.paid()
        # A tenth of a microdollar instead of a whole one for each of eight tokens.
        assert paid.saved_prompt_cache_nano == 8 * 900
        assert paid.cost_nano == COST_NANO - 8 * 900
        totals = await world.totals()
        assert (totals.saved_prompt_cache_nano, totals.saved_exact_nano) == (7200, 0)
        await world.ask(question())
        assert (await world.totals()).saved_prompt_cache_nano == 7200  # a hit saves what was paid, not this again
        await world.close()

    play(main())
