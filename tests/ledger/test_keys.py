"""Keys are shown once, kept as keyed hashes, and in force in the directory before a method returns."""

import asyncio
import logging

import pytest
from msgspec.structs import replace
from tests.ledger.identityworld import DAY, FORMER, PEPPER, Stage, World

from askonce.domain.accounts import DEFAULT_TENANT, KeyChange, KeyWish, SecretChanged
from askonce.domain.credentials import fingerprint, is_sound, key_digest, key_id
from askonce.domain.errors import Invalid, NotFound, StoreUnavailable
from askonce.domain.identity import Bounds, Budget, Holder, KeyCard
from askonce.ledger import keys as keys_module
from askonce.ledger.keys import SqlKeys

WISH = KeyWish(
    "ci",
    scopes=("use", "report"),
    models=("gpt-4o*", "openai:o3"),
    providers=("openai",),
    addresses=("10.0.0.0/8", "2001:db8::/32"),
    bounds=Bounds((Budget("nano_dollars", "month", 5_000_000_000, "Europe/Zurich", 0.5),), 4),
)


def test_a_key_is_shown_once_and_kept_as_its_keyed_hash(stage: Stage) -> None:
    async def play(world: World) -> None:
        issued = await world.keys.create(WISH)
        card = issued.card
        assert is_sound(issued.key)
        assert (card.id, card.prefix) == (key_id(issued.key), issued.key[:14])
        assert card.digest == key_digest(PEPPER, issued.key)
        assert (card.created_ms, card.revoked_ms, card.version) == (world.clock.wall, 0, 1)
        assert await world.keys.get(card.id) == card
        assert KeyWish(**{name: getattr(card, name) for name in KeyWish.__struct_fields__}) == WISH
        assert issued.key not in repr(issued)
        everything = str(await world.sql("SELECT * FROM {keys}"))
        assert card.prefix in everything
        assert issued.key[15:] not in everything

    stage(play)


def test_what_is_changed_is_in_force_at_once_where_the_directory_is_filled(stage: Stage) -> None:
    async def play(world: World) -> None:
        await world.refresh()
        issued = await world.keys.create(WISH)
        found = await world.in_force(issued.key)
        assert found is not None
        assert found.card == issued.card
        changed = await world.keys.update(
            issued.card.id, KeyChange(name="new", models=(), expires_ms=world.clock.wall + 5)
        )
        assert changed == replace(
            issued.card, name="new", models=(), expires_ms=world.clock.wall + 5, version=changed.version
        )
        assert (await world.in_force(issued.key)).card == changed  # type: ignore[union-attr]
        revoked = await world.keys.revoke(issued.card.id)
        assert revoked.revoked_ms == world.clock.wall
        assert (await world.in_force(issued.key)).card == revoked  # type: ignore[union-attr]
        assert await world.keys.get(issued.card.id) == revoked

    stage(play)


def test_a_directory_that_is_away_gets_the_change_with_the_next_reading(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    async def play(world: World) -> None:
        await world.refresh()
        issued = await world.keys.create(WISH)

        async def away(source: str, *records: KeyCard | Holder) -> None:
            raise StoreUnavailable("The disk is full.")

        there = world.directory.put
        world.directory.put = away  # type: ignore[method-assign]
        with caplog.at_level(logging.WARNING, "askonce.ledger"):
            await world.keys.revoke(issued.card.id)
        world.directory.put = there  # type: ignore[method-assign]
        assert "a little later" in caplog.text
        assert await world.refresh()
        assert (await world.in_force(issued.key)).card.revoked_ms  # type: ignore[union-attr]

    stage(play)


def test_a_revoked_key_stays_as_it_ended(stage: Stage) -> None:
    async def play(world: World) -> None:
        card = (await world.keys.create(WISH)).card
        first = await world.keys.revoke(card.id)
        world.clock.pass_s(60)
        assert (await world.keys.revoke(card.id)).revoked_ms == first.revoked_ms
        with pytest.raises(Invalid, match="revoked"):
            await world.keys.update(card.id, KeyChange(name="again"))
        with pytest.raises(Invalid, match="ended"):
            await world.keys.rotate(card.id, 0)

    stage(play)


def test_rotating_makes_a_key_that_may_do_the_same_and_ends_the_former_after_the_grace(stage: Stage) -> None:
    async def play(world: World) -> None:
        await world.refresh()
        old = await world.keys.create(WISH)
        world.clock.pass_s(10)
        rotated = await world.keys.rotate(old.card.id, DAY)
        new = rotated.issued.card
        assert rotated.issued.key != old.key
        assert replace(new, id="", digest=b"", prefix="", created_ms=0, version=0) == replace(
            old.card, id="", digest=b"", prefix="", created_ms=0, version=0
        )
        assert rotated.former == replace(old.card, expires_ms=world.clock.wall + DAY, version=new.version)
        assert (await world.in_force(old.key)).card == rotated.former  # type: ignore[union-attr]
        assert (await world.in_force(rotated.issued.key)).card == new  # type: ignore[union-attr]
        with pytest.raises(Invalid, match=new.id):
            await world.keys.rotate(old.card.id, DAY)
        await world.keys.rotate(new.id, 0)

    stage(play)


def test_rotating_never_prolongs_a_key(stage: Stage) -> None:
    async def play(world: World) -> None:
        end = world.clock.wall + 1000
        old = await world.keys.create(replace(WISH, expires_ms=end))
        rotated = await world.keys.rotate(old.card.id, DAY)
        assert rotated.former.expires_ms == rotated.issued.card.expires_ms == end
        with pytest.raises(Invalid, match="grace"):
            await world.keys.rotate(rotated.issued.card.id, 91 * DAY)

    stage(play)


def test_keys_of_another_tenant_are_not_there(stage: Stage) -> None:
    async def play(world: World) -> None:
        await world.tenants.create("team")
        card = (await world.keys.create(replace(WISH, tenant="team"))).card
        assert await world.keys.get(card.id, "team") == card
        for refused in (
            world.keys.get(card.id, "other"),
            world.keys.update(card.id, KeyChange(name="x"), "other"),
            world.keys.revoke(card.id, "other"),
            world.keys.rotate(card.id, 0, "other"),
            world.keys.get("nobody"),
        ):
            with pytest.raises(NotFound):
                await refused
        assert await world.keys.get(card.id) == card

    stage(play)


def test_pages_show_every_key_once_newest_first(stage: Stage) -> None:
    async def play(world: World) -> None:
        await world.tenants.create("team")
        made = []
        for number in range(7):
            world.clock.wall += number % 2  # some are of the same millisecond
            tenant = "team" if number % 3 else DEFAULT_TENANT
            made.append((await world.keys.create(replace(WISH, tenant=tenant, name=f"k{number}"))).card)
        newest_first = sorted(made, key=lambda card: (card.created_ms, card.id), reverse=True)
        for tenant in ("", "team", DEFAULT_TENANT, "nobody"):
            seen: list[KeyCard] = []
            after = ""
            while True:
                page = await world.keys.list(tenant, after, 2)
                assert len(page.items) <= 2
                seen.extend(page.items)
                if not (after := page.after):
                    break
            assert seen == [card for card in newest_first if tenant in ("", card.tenant)]
        for cursor in ("x", "1", "-1.a", "1" * 20 + ".a"):
            with pytest.raises(Invalid, match="cursor"):
                await world.keys.list("", cursor)

    stage(play)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"scopes": ()}, "scopes"),
        ({"models": ("gpt*4",)}, "models"),
        ({"models": ("",)}, "models"),
        ({"providers": ("openai",) * 101}, "providers"),
        ({"addresses": ("10.0.0.1/8",)}, "addresses"),
        ({"addresses": ("localhost",)}, "addresses"),
        ({"expires_ms": 1}, "expires"),
        ({"tenant": "nobody"}, "tenant"),
        ({"user_id": "nobody"}, "user_id"),
        ({"bounds": Bounds((Budget("tokens", "day", -1),))}, "bounds.tokens.day"),
        ({"bounds": Bounds((Budget("tokens", "day", 1, "Mars/Olympus"),))}, "bounds.tokens.day"),
        ({"bounds": Bounds((Budget("tokens", "day", 1, "Europe"),))}, "bounds.tokens.day"),
        ({"bounds": Bounds((Budget("tokens", "day", 1, "UTC", 1.5),))}, "bounds.tokens.day"),
        ({"bounds": Bounds((Budget("tokens", "day", 1), Budget("tokens", "day", 2)))}, "bounds"),
        ({"bounds": Bounds(concurrency=-1)}, "bounds.concurrency"),
    ],
)
def test_a_wrong_wish_is_refused_by_its_field_and_leaves_nothing(
    stage: Stage, changes: dict[str, object], field: str
) -> None:
    async def play(world: World) -> None:
        with pytest.raises(Invalid) as caught:
            await world.keys.create(replace(WISH, **changes))
        assert [detail.field for detail in caught.value.details] == [field]
        assert await world.sql("SELECT * FROM {keys}") == []

    stage(play)


def test_a_change_is_checked_like_a_wish(stage: Stage) -> None:
    async def play(world: World) -> None:
        card = (await world.keys.create(WISH)).card
        with pytest.raises(Invalid, match="models"):
            await world.keys.update(card.id, KeyChange(models=("*x",)))
        with pytest.raises(Invalid, match="expires"):
            await world.keys.update(card.id, KeyChange(expires_ms=world.clock.wall))
        assert await world.keys.get(card.id) == card

    stage(play)


def test_there_is_room_for_so_many_keys_in_force(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys_module, "KEYS_MAX", 2)

    async def play(world: World) -> None:
        first = await world.keys.create(WISH)
        await world.keys.create(WISH)
        with pytest.raises(Invalid, match="2 keys"):
            await world.keys.create(WISH)
        await world.keys.revoke(first.card.id)
        await world.keys.create(WISH)

    stage(play)


def test_a_changed_secret_is_told_by_name_until_no_key_needs_it(stage: Stage) -> None:
    async def play(world: World) -> None:
        with_former = SqlKeys(world.engine, world.directory, (FORMER,), world.clock)
        issued = await with_former.create(WISH)
        with pytest.raises(SecretChanged, match=f"1 keys.*{fingerprint(FORMER)}.*{fingerprint(PEPPER)}"):
            await world.keys.check_secret()
        await SqlKeys(world.engine, world.directory, (PEPPER, FORMER), world.clock).check_secret()
        await world.keys.revoke(issued.card.id)
        await world.keys.check_secret()

    stage(play)


def test_versions_count_every_change_without_gaps_also_of_many_at_once(stage: Stage) -> None:
    async def play(world: World) -> None:
        await world.tenants.create("team")
        wish = replace(WISH, tenant="team")
        issued = await asyncio.gather(*(world.keys.create(wish) for _ in range(8)))
        assert sorted(one.card.version for one in issued) == list(range(2, 10))

    stage(play)
