"""A directory follows its database: filled once, then by what changed, and anew when the database is another."""

import asyncio
import logging
from random import Random

import pytest
from msgspec.structs import replace
from tests.ledger.identityworld import DAY, Stage, World

from askonce.domain.accounts import KeyChange, KeyWish, User
from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Bounds, Edition, KeyCard
from askonce.domain.ledger import LedgerUnavailable
from askonce.ledger import key_feed
from askonce.ledger.key_feed import AWAY_S, FOLLOW_S, follow
from askonce.state.memory_identity import MemoryDirectory

WISH = KeyWish("ci")


def test_a_directory_is_filled_once_and_then_follows(stage: Stage) -> None:
    async def play(world: World) -> None:
        issued = await world.keys.create(WISH)
        with pytest.raises(StoreUnavailable):
            await world.in_force(issued.key)
        assert await world.refresh()
        assert (await world.in_force(issued.key)).card == issued.card  # type: ignore[union-attr]
        assert not await world.refresh()

        elsewhere = World(world.engine)  # another machine makes and revokes
        await elsewhere.refresh()
        other = await elsewhere.keys.create(WISH)
        await elsewhere.keys.revoke(issued.card.id)
        assert await world.in_force(other.key) is None
        assert await world.refresh()
        assert (await world.in_force(other.key)).card == other.card  # type: ignore[union-attr]
        assert (await world.in_force(issued.key)).card.revoked_ms  # type: ignore[union-attr]

    stage(play)


def test_holders_follow_too(stage: Stage) -> None:
    async def play(world: World) -> None:
        await world.refresh()
        team = await world.tenants.create("team", bounds=Bounds(concurrency=3))
        user = await world.users.create(User("", "team", "ada@example.org"))
        issued = await world.keys.create(replace(WISH, tenant="team", user_id=user.id))
        await world.tenants.update(replace(team, disabled_ms=5))
        await world.users.update(replace(user, bounds=Bounds(concurrency=2)))
        at_once = await world.in_force(issued.key)
        assert at_once is not None
        assert at_once.tenant is not None
        assert at_once.user is not None
        assert (at_once.tenant.disabled_ms, at_once.user.bounds.concurrency) == (5, 2)
        assert at_once.user.scopes == ("use",)
        other = MemoryDirectory()
        await other.replace(*await world.feed.snapshot())
        assert await other.find(issued.card.digest) == at_once

    stage(play)


def test_changes_since_a_number_and_the_snapshot_lead_to_the_same(stage: Stage) -> None:
    async def play(world: World) -> None:
        dice = Random(7)
        followers = [MemoryDirectory() for _ in range(3)]
        cards: list[KeyCard] = []
        for _ in range(40):
            match dice.randrange(4) if cards else 0:
                case 0:
                    cards.append((await world.keys.create(WISH)).card)
                case 1:
                    card = await world.keys.get(dice.choice(cards).id)
                    if not card.revoked_ms:
                        await world.keys.update(card.id, KeyChange(name=f"n{dice.random()}"))
                case 2:
                    await world.keys.revoke(dice.choice(cards).id)
                case 3:
                    world.directory = dice.choice(followers)
                    await world.refresh()
        full = MemoryDirectory()
        await full.replace(*await world.feed.snapshot())
        for follower in followers:
            world.directory = follower
            await world.refresh()
            assert await follower.edition() == await full.edition()
            for card in cards:
                assert await follower.find(card.digest) == await full.find(card.digest) is not None

    stage(play)


def test_keys_that_ended_long_ago_are_left_out_of_a_snapshot(stage: Stage) -> None:
    async def play(world: World) -> None:
        revoked = await world.keys.create(WISH)
        expiring = await world.keys.create(replace(WISH, expires_ms=world.clock.wall + DAY))
        await world.keys.revoke(revoked.card.id)
        lasting = await world.keys.create(WISH)
        world.clock.pass_s(20 * 86_400)
        assert [await _knows(world, one.card) for one in (revoked, expiring, lasting)] == [True, True, True]
        world.clock.pass_s(12 * 86_400)
        assert [await _knows(world, one.card) for one in (revoked, expiring, lasting)] == [False, False, True]

    stage(play)


async def _knows(world: World, card: KeyCard) -> bool:
    return card.id in {known.id for known in (await world.feed.snapshot())[0] if isinstance(known, KeyCard)}


def test_a_database_that_was_put_back_fills_the_directory_anew(stage: Stage) -> None:
    async def play(world: World) -> None:
        issued = await world.keys.create(WISH)
        later = await world.keys.create(WISH)
        await world.refresh()
        await world.keys.revoke(issued.card.id)
        await world.refresh()
        await world.sql("UPDATE {keys} SET revoked_ms = 0, version = 1 WHERE id = :id", id=issued.card.id)
        await world.sql("DELETE FROM {keys} WHERE id = :id", id=later.card.id)
        await world.sql("UPDATE {meta} SET number = 1 WHERE name = 'identity'")
        assert await world.refresh()
        assert (await world.in_force(issued.key)).card == issued.card  # type: ignore[union-attr]
        assert await world.in_force(later.key) is None

    stage(play)


def test_a_directory_of_another_database_is_filled_anew(stage: Stage) -> None:
    async def play(world: World) -> None:
        issued = await world.keys.create(WISH)
        await world.directory.replace([replace(issued.card, id="foreign", version=99)], Edition("another", 99))
        assert await world.refresh()
        assert (await world.in_force(issued.key)).card == issued.card  # type: ignore[union-attr]

    stage(play)


def test_following_while_others_write_misses_nothing(stage: Stage) -> None:
    async def play(world: World) -> None:
        await world.tenants.create("team")
        await world.refresh()
        elsewhere = World(world.engine)
        made: list[KeyCard] = []

        async def write() -> None:
            for _ in range(5):
                made.append((await elsewhere.keys.create(replace(WISH, tenant="team"))).card)

        async def follow() -> None:
            while len(made) < 15:
                await world.refresh()

        await asyncio.gather(write(), write(), write(), follow())
        await world.refresh()
        for card in made:
            found = await world.directory.find(card.digest)
            assert found is not None
            assert found.card == card

    stage(play)


def test_following_outlives_a_database_that_is_away_and_says_so_once(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(world: World) -> None:
        issued = await world.keys.create(WISH)
        edition = world.feed.edition
        rests: list[float] = []

        async def away() -> Edition:
            raise LedgerUnavailable("The database is away.")

        async def rest(seconds: float) -> None:
            rests.append(seconds)
            if len(rests) == 1:
                world.feed.edition = away  # type: ignore[method-assign]
                await world.keys.revoke(issued.card.id)
                await world.directory.forget()  # as if another machine had done it
                await world.directory.replace([issued.card], Edition(world_source, issued.card.version))
            if len(rests) == 4:
                assert (await world.in_force(issued.key)).card == issued.card  # type: ignore[union-attr]
                world.feed.edition = edition  # type: ignore[method-assign]
            if len(rests) == 6:
                raise asyncio.CancelledError

        world_source = (await edition()).source
        with caplog.at_level(logging.WARNING, "askonce.ledger"), pytest.raises(asyncio.CancelledError):
            await follow(world.feed, world.directory, rest)
        assert rests == [FOLLOW_S, AWAY_S, AWAY_S, AWAY_S, FOLLOW_S, FOLLOW_S]
        assert ["cannot be read now" in record.message for record in caplog.records] == [True, False]
        assert (await world.in_force(issued.key)).card.revoked_ms  # type: ignore[union-attr]

    stage(play)


def test_once_a_day_keys_that_ended_long_ago_leave_the_directory(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_feed, "REFILL_S", 0.0)

    class Enough(Exception):
        pass

    async def rest(_: float) -> None:
        raise Enough

    async def play(world: World) -> None:
        issued = await world.keys.create(WISH)
        await world.refresh()
        await world.keys.revoke(issued.card.id)
        await world.refresh()
        world.clock.pass_s(40 * DAY // 1000)
        assert await world.directory.find(issued.card.digest) is not None
        with pytest.raises(Enough):
            await follow(world.feed, world.directory, rest)
        assert await world.directory.find(issued.card.digest) is None

    stage(play)
