"""People are known by their provider's subject, invited by address, and log in once by a link."""

import asyncio

import pytest
from msgspec.structs import replace
from tests.ledger.identityworld import DAY, Stage, World

from askonce.domain.accounts import DEFAULT_TENANT, Claims, Tenant, User
from askonce.domain.errors import Invalid, NotFound
from askonce.domain.identity import Bounds, Budget

ADA = User("", "team", "Ada@Example.org", "Ada", ("use", "admin"))
CLAIMS = Claims("https://id.example.org", "subject-1", "ada@example.org", "Ada L.")


async def with_ada(world: World) -> User:
    await world.tenants.create("team", "The team")
    return await world.users.create(ADA)


def test_a_user_is_kept_as_made(stage: Stage) -> None:
    async def play(world: World) -> None:
        ada = await with_ada(world)
        assert ada == replace(ADA, id=ada.id, email="ada@example.org", created_ms=world.clock.wall)
        assert await world.users.get(ada.id) == await world.users.get(ada.id, "team") == ada
        with pytest.raises(NotFound):
            await world.users.get(ada.id, "other")
        changed = replace(
            ada, name="A", scopes=("root",), bounds=Bounds((Budget("requests", "hour", 5),)), disabled_ms=9
        )
        assert await world.users.update(replace(changed, tenant="other", email="e@x.org", subject="s")) == changed
        assert await world.users.get(ada.id) == changed

    stage(play)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "ADA@example.org"}, "email"),
        ({"email": "no address"}, "email"),
        ({"email": "", "name": ""}, "email"),
        ({"tenant": "nobody"}, "tenant"),
        ({"name": "a\tb"}, "name"),
        ({"bounds": Bounds(concurrency=-1)}, "bounds.concurrency"),
    ],
)
def test_a_user_that_cannot_be_is_refused(stage: Stage, changes: dict[str, object], field: str) -> None:
    async def play(world: World) -> None:
        await with_ada(world)
        with pytest.raises(Invalid) as caught:
            await world.users.create(replace(ADA, **({"email": "b@example.org"} | changes)))
        assert [detail.field for detail in caught.value.details] == [field]

    stage(play)


def test_the_first_login_binds_an_invited_address_to_its_subject_for_good(stage: Stage) -> None:
    async def play(world: World) -> None:
        ada = await with_ada(world)
        logged_in = await world.users.login(CLAIMS)
        assert logged_in == replace(ada, issuer=CLAIMS.issuer, subject=CLAIMS.subject, login_ms=world.clock.wall)
        assert await world.users.login(replace(CLAIMS, email="renamed@example.org")) == logged_in
        assert await world.users.login(replace(CLAIMS, subject="another")) is None
        assert await world.users.login(replace(CLAIMS, issuer="https://evil.example.org")) is None

    stage(play)


@pytest.mark.parametrize(
    "claims",
    [
        replace(CLAIMS, email=""),
        replace(CLAIMS, email="bob@example.org"),
        replace(CLAIMS, subject=""),
        replace(CLAIMS, issuer=""),
    ],
)
def test_nobody_we_know_does_not_log_in(stage: Stage, claims: Claims) -> None:
    async def play(world: World) -> None:
        await with_ada(world)
        assert await world.users.login(claims) is None

    stage(play)


def test_a_disabled_user_does_not_log_in(stage: Stage) -> None:
    async def play(world: World) -> None:
        ada = await with_ada(world)
        word = await world.links.issue(ada.id, world.clock.wall + DAY)
        await world.users.update(replace(ada, disabled_ms=world.clock.wall))
        assert await world.users.login(CLAIMS) is None
        assert await world.links.redeem(word) is None

    stage(play)


def test_users_without_an_address_may_be_many_and_pages_show_each_once(stage: Stage) -> None:
    async def play(world: World) -> None:
        await world.tenants.create("team")
        made = {(await world.users.create(replace(ADA, email="", name=f"u{n}"))).id for n in range(5)}
        first = await world.users.list("team", size=3)
        second = await world.users.list("team", first.after, 3)
        assert {user.id for user in first.items + second.items} == made
        assert (len(first.items), len(second.items), second.after) == (3, 2, "")
        assert (await world.users.list("other")).items == ()

    stage(play)


def test_a_link_logs_in_once_however_many_try(stage: Stage) -> None:
    async def play(world: World) -> None:
        ada = await with_ada(world)
        word = await world.links.issue(ada.id, world.clock.wall + DAY)
        assert word not in str(await world.sql("SELECT * FROM {login_links}"))
        users = await asyncio.gather(*(world.links.redeem(word) for _ in range(8)))
        assert [user.id for user in users if user is not None] == [ada.id]
        assert await world.links.redeem(word) is None

    stage(play)


def test_a_link_ends_with_its_time_and_with_the_next_one(stage: Stage) -> None:
    async def play(world: World) -> None:
        ada = await with_ada(world)
        former = await world.links.issue(ada.id, world.clock.wall + DAY)
        word = await world.links.issue(ada.id, world.clock.wall + DAY)
        assert await world.links.redeem(former) is None
        world.clock.pass_s(86_400)
        assert await world.links.redeem(word) is None
        assert await world.links.redeem("nonsense") is None
        with pytest.raises(NotFound):
            await world.links.issue("nobody", world.clock.wall + DAY)

    stage(play)


def test_the_first_administrator_is_one_person_and_gets_links_until_they_log_in(stage: Stage) -> None:
    async def play(world: World) -> None:
        assert await world.users.administrator() is None
        end = world.clock.wall + DAY
        words = [await world.links.first_administrator(end) for _ in range(3)]
        assert await world.users.administrator() is None
        assert await world.links.redeem(words[0]) is None
        user = await world.links.redeem(words[2])
        assert user is not None
        assert (user.tenant, user.scopes, user.login_ms) == (DEFAULT_TENANT, ("root",), world.clock.wall)
        assert await world.users.administrator() == user
        assert await world.links.first_administrator(end) == ""
        assert len((await world.users.list()).items) == 1

    stage(play)


def test_without_an_administrator_who_may_still_log_in_there_is_a_link_again(stage: Stage) -> None:
    async def play(world: World) -> None:
        end = world.clock.wall + DAY
        user = await world.links.redeem(await world.links.first_administrator(end))
        assert user is not None
        await world.users.update(replace(user, disabled_ms=1))
        assert await world.links.first_administrator(end) != ""

    stage(play)


def test_tenants_are_made_listed_and_changed(stage: Stage) -> None:
    async def play(world: World) -> None:
        made = [await world.tenants.create(name, bounds=Bounds(concurrency=2)) for name in ("a", "b", "c")]
        assert made[0] == Tenant("a", "a", Bounds(concurrency=2), world.clock.wall)
        changed = await world.tenants.update(Tenant("a", "Team A", Bounds(), 12345, 7))
        assert changed == await world.tenants.get("a") == Tenant("a", "Team A", Bounds(), world.clock.wall, 7)
        page = await world.tenants.list(size=2)
        rest = await world.tenants.list(page.after, 2)
        assert {tenant.id for tenant in page.items + rest.items} == {"a", "b", "c"}
        for refused in (world.tenants.get("nobody"), world.tenants.update(Tenant("nobody", "x"))):
            with pytest.raises(NotFound):
                await refused
        for wrong in ("a", "", "anonymous", "key-abc", "a b", "x" * 65):
            with pytest.raises(Invalid, match="tenant"):
                await world.tenants.create(wrong)

    stage(play)
