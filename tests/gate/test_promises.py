"""A request that its caller named is paid for once, whatever its retries find: an answer, or a call in the air."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace
from tests.gate.gate_world import (
    CALLER,
    COST_NANO,
    START_MS,
    TENANT,
    Sky,
    World,
    away,
    bare,
    codes,
    dawdle,
    play,
    promptly,
    question,
    rounds,
    start,
    visit,
)
from tests.gate.test_interruption import Striker, check_books, every_point, perform

from askonce.cache.policy import Policy
from askonce.cache.promise import PROMISED_OFF_S, PROMISED_S, promise_of
from askonce.domain.answer import Entry
from askonce.domain.call import Ask, CacheMode
from askonce.domain.caller import Caller
from askonce.domain.errors import KeyReused, ProviderFailed, ProviderRejected
from askonce.domain.outcome import Spared
from askonce.domain.ports import Filters, Window
from askonce.gate import relay
from askonce.gate.admission import OverLimit
from askonce.gate.answering import Joined
from askonce.gate.pipeline import Admitted

HOOKS = pytest.mark.parametrize("hook", [promptly, dawdle])
MODES = pytest.mark.parametrize("mode", ["default", "refresh", "off"])
ALL: tuple[CacheMode, ...] = ("default", "refresh", "off")
WAYS = pytest.mark.parametrize("stream", [False, True])


def named(prompt: str = "hello", key: str = "k-1", **more: Any) -> Ask:
    return replace(question(prompt, **more), retry_key=key)


def promise_key(ask: Ask) -> bytes:
    promise = promise_of(ask, CALLER.identity)
    assert promise is not None
    return promise.key


async def travel(world: World, ask: Ask, caller: Caller = CALLER, window: Window | None = None) -> Admitted:
    return await world.road.travel(ask, visit(caller, window, "req-2"))


async def answered(world: World, ask: Ask, text: str = "an answer") -> None:
    """Ask and let the provider answer."""
    number = len(world.vendor.lines)
    client = start(world.ask(ask))
    (await world.vendor.call(number)).finish(text)
    await client


async def retold(world: World, ask: Ask) -> str:
    """Ask again; the answer comes without a call and is known to be a repetition."""
    before = len(world.vendor.lines)
    admitted = await travel(world, ask)
    assert isinstance(admitted.outcome, Entry)
    assert admitted.replayed
    assert len(world.vendor.lines) == before
    return admitted.outcome.open().text


@HOOKS
@MODES
@WAYS
def test_a_finished_request_is_told_the_same_again_and_nothing_is_paid(
    hook: Any, mode: CacheMode, stream: bool
) -> None:
    async def main() -> None:
        world = World(hook=hook)
        await answered(world, named(mode=mode))
        assert await retold(world, named(mode=mode, stream=stream)) == "an answer"
        assert [bare(one) for one in world.spared()] == [Spared(TENANT, "exact", COST_NANO, 15)]
        totals = await world.totals()
        assert (totals.hits, totals.misses + totals.uncounted) == (1, 1)
        await world.close()

    play(main())


@HOOKS
@MODES
@WAYS
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_retry_joins_the_call_that_its_first_try_left_in_the_air(
    hook: Any, mode: CacheMode, stream: bool, elsewhere: bool
) -> None:
    async def main() -> None:
        sky = Sky()
        one = World(sky, hook=hook)
        two = World(sky, owner="2:two", hook=hook) if elsewhere else one
        for world in {one, two}:
            await world.answering.start()
        first = start(one.stream(named(mode=mode, stream=stream)))
        line = await one.vendor.call()
        line.say("half ")
        await rounds()
        first.cancel()
        await asyncio.sleep(10)  # its caller was cut off, and comes back after a while
        assert not line.closed
        again = start(two.stream(named(mode=mode, stream=stream)))
        await rounds(30)
        line.say("and half")
        line.finish()
        assert "".join(await again) == "half and half"
        assert await retold(two, named(mode=mode)) == await retold(one, named(mode=mode)) == "half and half"
        assert len(one.vendor.lines) == 1
        assert not elsewhere or not two.vendor.lines
        totals = await one.totals()
        assert (totals.misses + totals.uncounted, totals.coalesced, totals.abandoned) == (1, 1, 0)
        for world in {one, two}:
            await world.close()

    play(main())


@MODES
def test_a_named_call_flies_to_its_end_though_nobody_waits(mode: CacheMode) -> None:
    async def main() -> None:
        world = World()
        await world.answering.start()
        client = start(world.ask(named(mode=mode)))
        line = await world.vendor.call()
        client.cancel()
        await asyncio.sleep(300)
        line.finish("late")
        await rounds(20)
        assert world.answering.in_flight == 0
        assert await retold(world, named(mode=mode)) == "late"
        assert (await world.totals()).abandoned == 0
        await world.close()

    play(main())


def test_a_named_follower_keeps_a_call_up_that_everybody_else_has_left() -> None:
    async def main() -> None:
        sky = Sky()
        one, two = World(sky), World(sky, owner="2:two")
        for world in (one, two):
            await world.answering.start()
        leader = start(one.ask(question()))
        line = await one.vendor.call()
        follower = start(two.ask(named()))
        await asyncio.sleep(1)
        follower.cancel()
        leader.cancel()
        await asyncio.sleep(30)
        assert not line.closed
        line.finish("for two")
        await asyncio.sleep(1)
        assert await retold(two, named()) == "for two"
        for world in (one, two):
            await world.close()

    play(main())


def test_everyone_who_joined_a_call_by_a_name_of_their_own_is_told_it_again() -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(named(key=f"k-{number}"))) for number in range(5)]
        (await world.vendor.call()).finish("shared")
        await asyncio.gather(*clients)
        await world.sky.answers.purge(TENANT, Filters())
        assert {await retold(world, named(key=f"k-{number}")) for number in range(5)} == {"shared"}
        await world.close()

    play(main())


def test_an_answer_from_the_store_is_promised_too_and_outlives_purge_and_refresh() -> None:
    async def main() -> None:
        world = World()
        await answered(world, question(), "the first")
        hit = await travel(world, named())
        assert isinstance(hit.outcome, Entry)
        assert not hit.replayed
        await answered(world, question(mode="refresh"), "the second")
        assert await retold(world, named()) == "the first"
        await world.sky.answers.purge(TENANT, Filters())
        assert await retold(world, named(mode="only")) == "the first"
        await world.close()

    play(main())


@MODES
@pytest.mark.parametrize(("text", "finish"), [("no", "content_filter"), ("half", "unknown"), (" ", "stop")])
def test_an_answer_that_is_not_fit_to_be_told_again_is_not_promised(mode: CacheMode, text: str, finish: Any) -> None:
    async def main() -> None:
        world = World()
        client = start(world.ask(named(mode=mode)))
        (await world.vendor.call()).finish(text, finish)
        assert not (await client).stored
        await answered(world, named(mode=mode), "better")
        assert await retold(world, named(mode=mode)) == "better"
        await world.close()

    play(main())


@pytest.mark.parametrize(
    "other",
    [named("another"), named(model="m-2"), replace(named(), call=replace(named().call, tools=()), echo=b"x")],
    ids=["prompt", "model", "same"],
)
def test_a_name_stands_for_one_question(other: Ask) -> None:
    async def main() -> None:
        world = World()
        await answered(world, named())
        if other.echo:  # what only the reply repeats makes no other question
            assert await retold(world, other) == "an answer"
        else:
            with pytest.raises(KeyReused, match="another question"):
                await travel(world, other)
        await world.close()

    play(main())


def test_another_question_under_a_name_in_the_air_gets_its_own_answer_and_no_promise() -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(named(prompt, mode="off"))) for prompt in ("one", "two")]
        (await world.vendor.call(0)).finish("to one")
        (await world.vendor.call(1)).finish("to two")
        assert [(await client).entry.open().text for client in clients] == ["to one", "to two"]
        assert await retold(world, named("one")) == "to one"
        with pytest.raises(KeyReused):
            await travel(world, named("two"))
        await world.close()

    play(main())


@pytest.mark.parametrize("other", [Caller("key:b", TENANT, "b"), Caller("addr:10.0.0.1", TENANT)])
def test_a_name_counts_for_one_caller_only(other: Caller) -> None:
    async def main() -> None:
        world = World()
        await answered(world, named(mode="off"))
        admitted = await travel(world, named("another", mode="off"), other)
        assert not isinstance(admitted.outcome, Entry | Exception)
        admitted.outcome.leave()
        await world.close()

    play(main())


@MODES
def test_a_failure_is_not_promised_and_the_retry_asks_anew(mode: CacheMode) -> None:
    async def main() -> None:
        world = World()
        client = start(world.ask(named(mode=mode)))
        (await world.vendor.call()).fail(ProviderRejected("no"))
        assert codes(await asyncio.gather(client, return_exceptions=True)) == ["provider_rejected_request"]
        await answered(world, named(mode=mode), "now")
        assert await retold(world, named(mode=mode)) == "now"
        await world.close()

    play(main())


@MODES
def test_a_retry_leads_anew_when_the_process_that_asked_died(mode: CacheMode) -> None:
    async def main() -> None:
        sky = Sky()
        dead, alive = World(sky), World(sky, owner="2:two")
        first = start(dead.ask(named(mode=mode)))  # its leases are never renewed: nobody started it
        await dead.vendor.call()
        again = start(alive.ask(named(mode=mode)))
        (await alive.vendor.call()).finish("after all")
        assert (await again).entry.open().text == "after all"
        assert await retold(alive, named(mode=mode)) == "after all"
        first.cancel()
        await alive.close()

    play(main())


class Late:
    """Be a second process that does not board before it is let."""

    def __init__(self, sky: Sky) -> None:
        self.let = asyncio.Event()
        self.world = World(sky, owner="2:two", hook=self._wait)

    async def _wait(self, act: str) -> None:
        if act == "board":
            await self.let.wait()


@MODES
def test_what_landed_between_looking_and_boarding_is_found(mode: CacheMode) -> None:
    async def main() -> None:
        sky = Sky()
        one, late = World(sky), Late(sky)
        again = start(late.world.ask(named(mode=mode)))
        await rounds()
        await answered(one, named(mode=mode), "the first")
        late.let.set()
        arrival = await again
        assert (arrival.state, arrival.entry.open().text) == ("hit", "the first")
        assert late.world.vendor.lines == []
        await one.close()
        await late.world.close()

    play(main())


def test_what_was_stored_between_looking_and_boarding_is_promised_too() -> None:
    async def main() -> None:
        sky = Sky()
        one, late = World(sky), Late(sky)
        asked = start(late.world.ask(named()))
        await rounds()
        await answered(one, question(), "by another")
        late.let.set()
        assert (await asked).state == "hit"
        await sky.answers.purge(TENANT, Filters())
        assert await retold(late.world, named()) == "by another"
        await one.close()
        await late.world.close()

    play(main())


def test_what_a_request_was_told_is_not_passed_to_others_for_whom_it_is_too_old() -> None:
    async def main() -> None:
        sky = Sky()
        one, late = World(sky), Late(sky)
        again = start(late.world.ask(named()))
        await rounds()
        await answered(one, named(), "the first")
        await asyncio.sleep(5)
        strict = start(late.world.ask(question(max_age_s=1)))
        await rounds()
        late.let.set()
        (await late.world.vendor.call()).finish("a new one")
        assert [(await client).entry.open().text for client in (again, strict)] == ["a new one"] * 2
        await one.close()
        await late.world.close()

    play(main())


def test_a_name_that_another_question_took_meanwhile_costs_the_promise_and_not_the_answer() -> None:
    async def main() -> None:
        sky = Sky()
        one, late = World(sky), Late(sky)
        slow = start(late.world.ask(named("two", mode="off")))
        await rounds()
        await answered(one, named("one", mode="off"), "to one")
        late.let.set()
        (await late.world.vendor.call()).finish("to two")
        assert (await slow).entry.open().text == "to two"
        assert await retold(one, named("one", mode="off")) == "to one"
        await one.close()
        await late.world.close()

    play(main())


@pytest.mark.parametrize("mode", ["off", "refresh"])
def test_who_wants_an_answer_of_its_own_shares_it_with_its_retries_only(mode: CacheMode) -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(named(key=key, mode=mode))) for key in ("k-1", "k-2", "k-1")]
        clients.append(start(world.ask(question())))
        for number in range(3):
            (await world.vendor.call(number)).finish(str(number))
        texts = [(await client).entry.open().text for client in clients]
        assert texts == ["0", "1", "0", "2"]
        await world.close()

    play(main())


def test_a_call_that_fails_is_tried_again_for_a_retry_that_is_to_come() -> None:
    async def main() -> None:
        world = World()
        await world.answering.start()
        client = start(world.ask(named()))
        line = await world.vendor.call()
        client.cancel()
        await rounds()
        line.fail(ProviderFailed("It broke."))
        (await world.vendor.call(1)).finish("the second attempt")
        await rounds(20)
        assert await retold(world, named()) == "the second attempt"
        await world.close()

    play(main())


def test_a_flight_makes_no_more_promises_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "MAX_PROMISES", 2)

    async def main() -> None:
        world = World()
        clients = [start(world.ask(named(key=f"k-{number}"))) for number in range(3)]
        (await world.vendor.call()).finish("shared")
        await asyncio.gather(*clients)
        await world.sky.answers.purge(TENANT, Filters())
        assert await retold(world, named(key="k-1")) == "shared"
        await answered(world, named(key="k-2"), "anew")
        await world.close()

    play(main())


@pytest.mark.parametrize("mode", ["default", "off"])
@WAYS
def test_whenever_its_caller_leaves_a_call_that_was_made_is_kept_for_the_retry(mode: CacheMode, stream: bool) -> None:
    async def run(striker: Striker) -> None:
        world = World(hook=striker)
        ask = named(mode=mode, stream=stream)
        client = start(world.stream(ask) if stream else world.ask(ask))
        striker.strike = client.cancel  # type: ignore[assignment]
        actor = start(perform(world, "finish"))
        await rounds(80)
        assert client.done()
        again = await world.stream(ask)
        assert "".join(again) == "onetwo"
        assert len(world.vendor.lines) == 1
        actor.cancel()
        await rounds()
        world.check_empty()
        check_books(world)
        await world.close()

    assert sum(1 for _ in every_point(run)) > 5


@pytest.mark.parametrize(("mode", "life_s"), [("refresh", PROMISED_S), ("off", PROMISED_OFF_S)])
def test_a_promise_is_kept_for_a_day_and_for_minutes_where_the_cache_is_left_alone(mode: Any, life_s: int) -> None:
    async def main() -> None:
        world = World()
        await answered(world, named(mode=mode))
        await asyncio.sleep(life_s - 10)
        assert await retold(world, named(mode=mode)) == "an answer"
        await asyncio.sleep(10)
        await answered(world, named(mode=mode), "a new one")
        assert await retold(world, named(mode=mode)) == "a new one"
        assert world.sky.clock.wall_ms() > START_MS
        await world.close()

    play(main())


@pytest.mark.parametrize("modes", [("off", "default"), ("default", "off")])
def test_a_promise_that_any_try_wanted_without_the_cache_is_kept_for_minutes(
    modes: tuple[CacheMode, CacheMode],
) -> None:
    async def main() -> None:
        world = World()
        clients = [start(world.ask(named(mode=mode))) for mode in modes]
        (await world.vendor.call()).finish("short")
        await asyncio.gather(*clients)
        await asyncio.sleep(PROMISED_OFF_S)
        assert await world.sky.promises.find(promise_key(named())) is None
        await world.close()

    play(main())


def test_with_the_cache_switched_off_nothing_is_promised_for_longer_than_minutes() -> None:
    policy = Policy(False, 3600)
    assert {policy.promised_s(mode) for mode in ("default", "only", "refresh", "off")} == {PROMISED_OFF_S}


@WAYS
@pytest.mark.parametrize("modes", [(one, two) for one in ALL for two in ALL if one != two])
def test_a_retry_in_another_mode_joins_the_call_of_its_first_try(
    modes: tuple[CacheMode, CacheMode], stream: bool
) -> None:
    async def main() -> None:
        world = World()
        first = start(world.stream(named(mode=modes[0], stream=stream)))
        line = await world.vendor.call()
        first.cancel()
        await rounds()
        again = start(world.stream(named(mode=modes[1], stream=stream)))
        other = start(world.stream(question(stream=stream, mode="refresh")))
        await rounds(30)
        line.finish("once")
        assert "".join(await again) == "once"
        if "default" not in modes[:1]:  # who has no name joins those only whose mode lets everybody join
            (await world.vendor.call(1)).finish("another")
        await other
        assert len(world.vendor.lines) == (1 if modes[0] == "default" else 2)
        assert world.answering._named == {}
        await world.close()

    play(main())


def test_an_unnamed_joiner_and_another_name_are_not_told_that_their_answer_is_a_repetition() -> None:
    async def main() -> None:
        sky = Sky()
        one, late = World(sky), Late(sky)
        asks = [named(), question(), named(key="k-2"), named(model="m-1")]
        joined = [await late.world.set_out(ask) for ask in asks]
        await rounds()
        await answered(one, named(), "the first")
        late.let.set()
        told = []
        for seat in joined:
            assert isinstance(seat, Joined)
            assert (await seat.arrival()).entry.open().text == "the first"
            told.append(seat.replayed)
            seat.leave()
        assert told == [True, False, False, False]
        await one.close()
        await late.world.close()

    play(main())


def test_a_promised_call_whose_leader_died_under_a_follower_that_left_is_led_on() -> None:
    async def main() -> None:
        sky = Sky()
        dead, alive = World(sky), World(sky, owner="2:two")
        await alive.answering.start()
        leader = start(dead.stream(question(stream=True)))  # its leases are never renewed
        line = await dead.vendor.call()
        follower = start(alive.stream(named(stream=True)))
        await rounds(30)
        line.say("a piece")
        await rounds(30)
        follower.cancel()
        (await alive.vendor.call()).finish("after all")
        await rounds(30)
        assert await retold(alive, named()) == "after all"
        leader.cancel()
        await alive.close()

    play(main())


class Unread:
    """Lose what is promised between the two looks at it."""

    def __init__(self) -> None:
        self.acts: list[str] = []
        self.world = World(hook=self._note)

    async def _note(self, act: str) -> None:
        self.acts.append(act)
        if act == "enter" and "question.done" in self.acts:
            self.world.sky.promises._records.clear()


def test_what_is_promised_is_read_only_for_a_caller_that_is_let_in() -> None:
    async def main() -> None:
        acts: list[str] = []

        async def note(act: str) -> None:
            acts.append(act)

        world = World(hook=note)
        window = Window("llm|addr:127.0.0.1", 1, 60_000_000_000)
        await answered(world, named(mode="off"))
        await travel(world, named(mode="off"), window=window)
        acts.clear()
        with pytest.raises(OverLimit):
            await travel(world, named(mode="off"), window=window)
        assert acts == ["question", "question.done", "enter", "enter.done"]
        await world.close()

    play(main())


def test_what_is_gone_once_its_caller_is_let_in_is_asked_anew_and_counted_once() -> None:
    async def main() -> None:
        unread = Unread()
        world, window = unread.world, Window("llm|addr:127.0.0.1", 3, 60_000_000_000)
        await answered(world, named(mode="off"))
        unread.acts.clear()
        admitted = await travel(world, named(mode="off"), window=window)
        assert isinstance(admitted.outcome, Joined)
        assert admitted.verdict is not None
        assert admitted.verdict.remaining == (await world.sky.windows.peek(window)).remaining == 2
        (await world.vendor.call(1)).finish("anew")
        assert (await admitted.outcome.arrival()).entry.open().text == "anew"
        admitted.outcome.leave()
        await rounds()
        await world.close()

    play(main())


def test_a_repetition_counts_in_its_window_and_a_reused_name_does_not() -> None:
    async def main() -> None:
        world = World()
        window = Window("llm|addr:127.0.0.1", 2, 60_000_000_000)
        await answered(world, named())
        with pytest.raises(KeyReused):
            await travel(world, named("another"), window=window)
        told = await travel(world, named(), window=window)
        assert told.verdict is not None
        assert told.verdict.remaining == 1
        await world.close()

    play(main())


@pytest.mark.parametrize("act", ["question", "find", "keep"])
@MODES
def test_with_the_store_away_named_requests_are_answered_without_a_promise(act: str, mode: CacheMode) -> None:
    async def main() -> None:
        world = World(hook=away(act))
        await answered(world, named(mode=mode))
        await world.close()
        assert world.notes.defects == []

    play(main())


@pytest.mark.parametrize("found", [False, True])
def test_a_defect_in_keeping_a_promise_is_told_to_all_and_holds_nobody_up(found: bool) -> None:
    async def main() -> None:
        async def breaks(act: str) -> None:
            if act == "keep" and broken:
                raise RuntimeError("A defect.")
            if act == "board":
                await boarding()

        async def boarding() -> None:
            if found and not broken:
                await answered(first, question(), "stored")
            broken.append(True)

        broken: list[bool] = []
        sky = Sky()
        first, world = World(sky), World(sky, owner="2:two", hook=breaks)
        client = start(world.ask(named(mode="default" if found else "off")))  # off: nothing else is kept
        if not found:
            (await world.vendor.call()).finish()
        assert codes(await asyncio.gather(client, return_exceptions=True)) == ["internal_error"]
        assert all(one.landing is not None for one in sky.hangar._aloft.values())
        await rounds()
        assert len(world.notes.defects) == 1
        await world.close()
        await first.close()

    play(main())
