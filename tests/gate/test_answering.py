"""One payment, many waiters: who pays, who joins, who may leave, and what the books say afterwards."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from tests.gate.gate_world import (
    COST_NANO,
    GUESS_NANO,
    START_MS,
    TENANT,
    Sky,
    Vendor,
    World,
    codes,
    dawdle,
    play,
    promptly,
    question,
    rounds,
    start,
)

from askonce.domain.answer import Entry
from askonce.domain.errors import (
    AskonceError,
    CacheMiss,
    Draining,
    FlightLost,
    InternalError,
    ModelLoading,
    ProviderFailed,
    ProviderTimeout,
)
from askonce.domain.outcome import Spared
from askonce.gate import answering as answering_module
from askonce.gate.answering import Arrival
from askonce.gate.relay import MAX_LEADERS

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


# Leaving


@HOOKS
def test_the_flight_goes_on_when_the_one_who_made_it_leave_leaves(hook: Any) -> None:
    async def main() -> None:
        world = World(hook=hook)
        leader = start(world.ask(question()))
        line = await world.vendor.call()
        follower = start(world.ask(question()))
        await rounds()
        leader.cancel()
        await rounds()
        assert not line.closed
        line.finish()
        assert (await follower).state == "coalesced"
        totals = await world.totals()
        assert (totals.misses, totals.coalesced, totals.abandoned) == (1, 1, 0)
        await world.close()

    play(main())


@HOOKS
@pytest.mark.parametrize("said", [(), ("half",)])
def test_when_all_have_left_the_upstream_is_closed_and_what_it_cost_is_booked(hook: Any, said: tuple[str, ...]) -> None:
    async def main() -> None:
        world = World(hook=hook)
        clients = [start(world.stream(question(stream=True))) for _ in range(3)]
        line = await world.vendor.call()
        line.say(*said)
        await rounds()
        for client in clients:
            client.cancel()
        await rounds(40)
        assert line.closed
        assert world.answering.in_flight == 0
        (paid,) = world.paid()
        assert (paid.ending, paid.counted, paid.cost_nano) == ("abandoned", False, GUESS_NANO)
        assert world.spared() == []
        again = start(world.ask(question()))
        (await world.vendor.call(1)).finish()
        assert (await again).state == "miss"
        await world.close()

    play(main())


def test_an_abandoned_call_that_is_charged_anyway_is_read_to_its_end_and_kept() -> None:
    async def main() -> None:
        world = World(vendor=Vendor(drains=True))
        await world.answering.start()
        client = start(world.ask(question()))
        line = await world.vendor.call()
        client.cancel()
        await asyncio.sleep(answering_module.DRAIN_ABANDONED_S - 5)
        assert not line.closed
        line.finish()
        await rounds()
        assert [p.ending for p in world.paid()] == ["answered"]
        assert (await world.ask(question())).state == "hit"
        await world.close()

    play(main())


def test_reading_an_abandoned_call_to_its_end_is_bounded() -> None:
    async def main() -> None:
        world = World(vendor=Vendor(drains=True))
        await world.answering.start()
        client = start(world.ask(question()))
        line = await world.vendor.call()
        client.cancel()
        await asyncio.sleep(answering_module.DRAIN_ABANDONED_S + 2)
        assert line.closed
        assert [p.ending for p in world.paid()] == ["abandoned"]
        await world.close()

    play(main())


def test_who_joins_an_abandoned_call_saves_it() -> None:
    async def main() -> None:
        world = World(vendor=Vendor(drains=True))
        await world.answering.start()
        client = start(world.ask(question()))
        line = await world.vendor.call()
        client.cancel()
        await asyncio.sleep(answering_module.DRAIN_ABANDONED_S - 5)
        second = start(world.ask(question()))
        await asyncio.sleep(answering_module.DRAIN_ABANDONED_S)
        assert not line.closed
        line.finish()
        assert (await second).state == "coalesced"
        assert len(world.vendor.lines) == 1
        await world.close()

    play(main())


def test_a_flight_goes_on_for_followers_in_another_process() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b")
        await one.answering.start()
        await two.answering.start()
        leader = start(one.ask(question()))
        line = await vendor.call()
        follower = start(two.ask(question()))
        await asyncio.sleep(0.1)
        leader.cancel()
        await asyncio.sleep(10)
        assert not line.closed
        line.finish()
        assert (await follower).state == "coalesced"
        assert len(vendor.lines) == 1
        await one.close()
        await two.close()

    play(main())


def test_a_flight_ends_once_the_followers_in_other_processes_have_left_too() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a"), World(sky, vendor, "2:b")
        await one.answering.start()
        await two.answering.start()
        clients = [start(one.ask(question()))]
        line = await vendor.call()
        clients.append(start(two.ask(question())))
        await asyncio.sleep(0.1)
        for client in clients:
            client.cancel()
        await asyncio.sleep(5)
        assert line.closed
        assert [p.ending for p in one.paid() + two.paid()] == ["abandoned"]
        await one.close()
        await two.close()

    play(main())


@HOOKS
def test_who_asks_while_an_abandoned_call_is_being_hung_up_gets_an_answer(hook: Any) -> None:
    async def at(step: int) -> bool:
        world = World(hook=hook)
        client = start(world.ask(question()))
        await world.vendor.call()
        client.cancel()
        await rounds(step)
        hung_up = world.answering.in_flight == 0
        second = start(world.ask(question()))
        await asyncio.sleep(0.5)
        for line in world.vendor.lines:
            if not line.closed:
                line.finish()
        assert (await second).entry.open().text == "an answer"
        assert len(world.paid()) == len(world.vendor.lines)
        await world.close()
        return hung_up

    hung_up = [play(at(step)) for step in range(30)]
    assert any(hung_up)
    assert not all(hung_up)


# Failing


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
        (await world.vendor.call()).fail(ModelLoading("Still loading.", retry_after_s=3))
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


# Modes


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
        assert world.spared() == [Spared(TENANT, "exact", COST_NANO, 15)] * 2
        await world.close()

    play(main())


# Leaders that die


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


# Stopping


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


def test_a_provider_that_was_routed_to_but_is_not_there_is_our_defect() -> None:
    async def main() -> None:
        world = World()
        world.answering._dispatch._providers = {}
        with pytest.raises(InternalError):
            await world.ask(question())
        assert len(world.notes.defects) == 1
        await world.close()

    play(main())
