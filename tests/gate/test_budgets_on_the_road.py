"""Budgets where calls are paid: reserved before, settled after, given back on every other ending."""

import asyncio
from typing import Any

import pytest
from tests.gate.gate_world import (
    COST_NANO,
    PRICE,
    TENANT,
    Sky,
    Vendor,
    World,
    away,
    codes,
    dawdle,
    play,
    promptly,
    question,
    rounds,
    start,
)

from askonce.domain.answer import Answer
from askonce.domain.budget import Account, Reservation, Statement, accounts_of
from askonce.domain.caller import Caller
from askonce.domain.errors import OverBudget, ProviderBusy, ProviderFailed, StoreUnavailable
from askonce.domain.identity import Bounds, Budget, Holder, KeyCard, Standing
from askonce.domain.usage import Usage
from askonce.gate.treasury import Hold
from askonce.routing.estimate import likely_usage

ESTIMATE_NANO = PRICE.cost_nano(likely_usage(question().call))


def caller(key_id: str = "k1", *budgets: Budget, concurrency: int = 0, team: Bounds = Bounds()) -> Caller:  # noqa: B008
    card = KeyCard(key_id, b"", "", "", TENANT, bounds=Bounds(budgets, concurrency))
    standing = Standing(card, None, Holder(f"tenant:{TENANT}", team))
    return Caller(f"key:{key_id}", TENANT, key_id, standing=standing)


def dollars(nano: int) -> Budget:
    return Budget("nano_dollars", "day", nano)


def account(who: Caller) -> Account:
    assert who.standing is not None
    return accounts_of(who.standing)[0]


async def statement(world: World, who: Caller) -> Statement:
    return await world.sky.budgets("9:looker").statement(account(who))


async def figures(world: World, who: Caller) -> tuple[int, int]:
    """Return what is used and what is reserved of the caller's first budget."""
    balance = (await statement(world, who)).balances[0]
    return balance.used, balance.reserved


async def counted(world: World, kind: str) -> int:
    await world.sky.outbox.roll(0)
    batch = await world.sky.outbox.head(1_000)
    rows = () if batch is None else batch.records
    return sum(getattr(row, "count", 0) for row in rows if getattr(row, "kind", "") == kind)


@pytest.mark.parametrize("hook", [promptly, dawdle])
def test_a_paid_call_is_reserved_by_its_estimate_and_settled_at_its_cost(hook: Any) -> None:
    async def main() -> None:
        world, who = World(hook=hook), caller("k1", dollars(10 * ESTIMATE_NANO))
        client = start(world.ask(question(), who))
        line = await world.vendor.call()
        assert await figures(world, who) == (0, ESTIMATE_NANO)
        line.finish()
        await client
        assert await figures(world, who) == (COST_NANO, 0)
        await world.close()

    play(main())


def test_what_costs_nothing_needs_no_budget() -> None:
    async def main() -> None:
        world, rich, poor = World(), caller("rich"), caller("poor", dollars(0))
        client = start(world.ask(question(), rich))
        line = await world.vendor.call()
        joined = start(world.ask(question(), poor))
        await rounds()
        line.finish()
        assert [(await client).state, (await joined).state] == ["miss", "coalesced"]
        assert (await world.ask(question(), poor)).state == "hit"
        assert await figures(world, poor) == (0, 0)
        await world.close()

    play(main())


def test_without_room_nothing_is_paid_and_the_refusal_says_when_to_come_again() -> None:
    async def main() -> None:
        world, who = World(), caller("k1", dollars(ESTIMATE_NANO - 1))
        with pytest.raises(OverBudget, match="key:k1") as told:
            await world.ask(question(), who)
        assert told.value.retry_after_s is not None
        assert 0 < told.value.retry_after_s <= 86_400
        assert world.vendor.lines == []
        assert await counted(world, "over_budget") == 1
        await world.close()

    play(main())


def test_where_calls_in_flight_hold_the_rest_the_caller_may_come_again_soon() -> None:
    async def main() -> None:
        world, who = World(), caller("k1", dollars(ESTIMATE_NANO + 1))
        client = start(world.ask(question("one"), who))
        line = await world.vendor.call()
        with pytest.raises(OverBudget, match="in flight") as told:
            await world.ask(question("two"), who)
        assert told.value.retry_after_s == 1
        line.finish()
        await client
        await world.close()

    play(main())


def test_no_more_calls_are_in_flight_than_a_key_may_have() -> None:
    async def main() -> None:
        world, who = World(), caller("k1", concurrency=2)
        clients = [start(world.ask(question(f"{number}"), who)) for number in range(2)]
        lines = [await world.vendor.call(number) for number in range(2)]
        with pytest.raises(OverBudget, match="in flight"):
            await world.ask(question("three"), who)
        for line in lines:
            line.finish()
        await asyncio.gather(*clients)
        assert (await statement(world, who)).in_flight == 0
        third = start(world.ask(question("three"), who))
        (await world.vendor.call(2)).finish()
        await third
        await world.close()

    play(main())


@pytest.mark.parametrize(
    ("error", "used"), [(ProviderFailed("It broke.", retry_after_s=1), 0), (ProviderBusy("Slow."), 0)]
)
def test_a_call_that_failed_gives_everything_back(error: Any, used: int) -> None:
    async def main() -> None:
        world, who = World(), caller("k1", dollars(10 * ESTIMATE_NANO), Budget("requests", "day", 9))
        client = start(world.ask(question(), who))
        (await world.vendor.call()).fail(error)
        assert codes(await asyncio.gather(client, return_exceptions=True)) == [error.code]
        assert [(balance.used, balance.reserved) for balance in (await statement(world, who)).balances] == [
            (used, 0)
        ] * 2
        await world.close()

    play(main())


def test_a_call_that_broke_off_is_settled_at_what_it_took() -> None:
    async def main() -> None:
        world, who = World(), caller("k1", dollars(10 * ESTIMATE_NANO))
        seat: Any = await world.set_out(question(stream=True), who)
        line = await world.vendor.call()
        line.send(told := Usage(700, 3))
        line.say("some words")
        assert await seat.more()
        line.fail(ProviderFailed("It broke."))
        with pytest.raises(ProviderFailed):
            await seat.arrival()
        seat.leave()
        assert await figures(world, who) == (PRICE.cost_nano(told), 0)
        await world.close()

    play(main())


def test_an_abandoned_call_is_settled_at_what_it_took() -> None:
    async def main() -> None:
        world, who = World(), caller("k1", dollars(10 * ESTIMATE_NANO))
        seat: Any = await world.set_out(question(stream=True), who)
        line = await world.vendor.call()
        line.send(told := Usage(700, 3))
        line.say("some words")
        assert await seat.more()
        seat.leave()
        await asyncio.sleep(1)
        assert await figures(world, who) == (PRICE.cost_nano(told), 0)
        await world.close()

    play(main())


def test_all_attempts_count_into_one_reservation() -> None:
    async def main() -> None:
        world, who = World(), caller("k1", dollars(10 * ESTIMATE_NANO), Budget("requests", "day", 9))
        client = start(world.stream_as(question(stream=True), who))
        first = await world.vendor.call()
        first.send(told := Usage(700, 3))
        first.fail(ProviderFailed("It broke."))
        (await world.vendor.call(1)).finish()
        await client
        cost, requests = (await statement(world, who)).balances
        assert (cost.used, cost.reserved) == (PRICE.cost_nano(told) + COST_NANO, 0)
        assert (requests.used, requests.reserved) == (1, 0)
        await world.close()

    play(main())


def test_who_joined_a_call_whose_payer_has_no_budget_asks_for_itself() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        one, two = World(sky, vendor, "1:a", dawdle), World(sky, vendor, "2:b", dawdle)
        poor = [caller(f"poor{number}", dollars(0)) for number in range(4)]
        rich = caller("rich", dollars(10 * ESTIMATE_NANO))
        clients = [start(one.ask(question(), who)) for who in poor[:2]]
        clients += [start(two.ask(question(), who)) for who in poor[2:]]
        clients += [start(world.ask(question(), rich)) for world in (one, two)]
        (await vendor.call()).finish()
        results = await asyncio.gather(*clients, return_exceptions=True)
        assert "over_budget" not in codes(results[4:])
        assert len(vendor.lines) == 1
        assert await figures(one, rich) == (COST_NANO, 0)
        await one.close()
        await two.close()

    play(main())


def test_all_without_budget_are_refused_and_nobody_waits_for_ever() -> None:
    async def main() -> None:
        sky, vendor = Sky(), Vendor()
        worlds = [World(sky, vendor, f"{number}:x", dawdle) for number in range(3)]
        clients = [
            start(world.ask(question(), caller(f"{world_number}-{number}", dollars(0))))
            for world_number, world in enumerate(worlds)
            for number in range(5)
        ]
        assert codes(await asyncio.gather(*clients, return_exceptions=True)) == ["over_budget"] * 15
        assert vendor.lines == []
        for world in worlds:
            await world.close()

    play(main())


def test_the_tenants_budget_bounds_all_of_its_keys() -> None:
    async def main() -> None:
        team = Bounds((dollars(ESTIMATE_NANO),))
        world, one, two = World(), caller("k1", team=team), caller("k2", team=team)
        client = start(world.ask(question("one"), one))
        line = await world.vendor.call()
        with pytest.raises(OverBudget, match=f"tenant:{TENANT}"):
            await world.ask(question("two"), two)
        line.finish()
        await client
        await world.close()

    play(main())


def test_with_the_store_away_whoever_has_a_budget_is_not_served_and_others_are() -> None:
    async def main() -> None:
        world = World(hook=away("reserve"))
        with pytest.raises(StoreUnavailable):
            await world.ask(question(), caller("k1", dollars(10 * ESTIMATE_NANO)))
        client = start(world.ask(question(), caller("k2")))
        (await world.vendor.call()).finish()
        assert (await client).state == "miss"
        await world.close()

    play(main())


def test_a_refusal_says_what_there_is_and_what_is_needed() -> None:
    async def main() -> None:
        world, who = World(), caller("k1", Budget("requests", "hour", 0))
        with pytest.raises(OverBudget) as told:
            await world.ask(question(), who)
        assert told.value.message.startswith(
            "The budget of key:k1, 0 requests/hour, has 0 requests left, and this call may need 1 request. It begins"
        )
        await world.close()

    play(main())


def test_what_was_taken_is_told_in_numbers() -> None:
    hold = Hold(Reservation(b"id", (), 0))
    hold.add(Answer("", "stop", Usage(1, 2), "acme", "m1", "m1-2026", cost_nano=3))
    assert [type(amount) for amount in hold.settled().actual] == [int] * 3
