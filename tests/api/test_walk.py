"""Deny by default: every door, tried by nobody, by each role, and by another tenant's administrator."""

from pathlib import Path
from typing import Any

import pytest
from tests.api.adminworld import ROLES, AdminWorld

from askonce.api.door import Door
from askonce.api.doors import DOORS
from askonce.gate.scopes import ALLOWS

OPEN = {
    "health", "ready", "metrics", "openapi", "docs", "root", "login_page", "open_session", "oidc_login",
    "oidc_callback", "ui_root", "ui", "ui_page",
}  # fmt: skip
# What a door answers to somebody who may, given nothing sensible: anything but 401 and 403.
BODIES: dict[str, object] = {"POST": {}, "PATCH": {}}


@pytest.fixture
def admin_world(tmp_path: Path) -> AdminWorld:
    return AdminWorld(tmp_path)


def path_of(door: Door) -> str:
    return door.path.replace("{key}", "nothing")


def test_every_door_has_a_handler(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        app = caller.client.app
        served = (
            set(app._looks)
            | set(app._s.asking)
            | {"health", "ready", "metrics", "openapi", "docs", "root", "ui_root", "ui", "ui_page"}
        )
        assert {door.name for door in DOORS} == served
        assert len({door.name for door in DOORS}) == len(DOORS)

    admin_world.tell(story)


def test_the_open_doors_are_a_short_list_and_all_others_know_no_stranger(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        for door in DOORS:
            answer = await caller.ask("", door.method, path_of(door), BODIES.get(door.method))
            assert (door.scope == "open") == (door.name in OPEN), door.name
            if door.scope != "open":
                assert answer.status == 401, door.name
                assert answer.json["error"], door.name
                assert "www-authenticate" in answer.headers

    admin_world.tell(story)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_passes_where_its_scope_does_and_nowhere_else(admin_world: AdminWorld, role: str) -> None:
    may = {"open", "any"} | {needed for scope in ROLES[role] for needed in ALLOWS[scope]}

    async def story(caller: Any) -> None:
        for door in DOORS:
            if door.name == "open_session":
                continue
            answer = await caller.ask(f"acme/{role}", door.method, path_of(door), BODIES.get(door.method))
            if door.scope in may:
                assert answer.status not in (401, 403, 405, 500), (door.name, answer.body)
            else:
                assert answer.status == 403, door.name
                assert f"'{door.scope}'" in answer.body.decode(), door.name
        assert not admin_world.defects

    admin_world.tell(story)


def test_another_tenants_things_are_not_there_and_look_like_what_never_was(admin_world: AdminWorld) -> None:
    """Whatever an administrator of acme asks of beta is answered as if beta were nobody."""

    async def story(caller: Any) -> None:
        theirs = {"keys": admin_world.ids["beta", "use"], "users": admin_world.users["beta", "use"], "tenants": "beta"}
        before = (await caller.ask("acme/root", "GET", f"/admin/keys/{theirs['keys']}")).json
        for door in DOORS:
            kind = door.path.removeprefix("/admin/").partition("/")[0]
            if "{key}" not in door.path or kind not in theirs or door.scope == "root":
                continue
            said = []
            for name in (theirs[kind], "nobody"):
                body = {"name": "mine"} if door.method == "PATCH" else BODIES.get(door.method)
                answer = await caller.ask("acme/admin", door.method, door.path.replace("{key}", name), body)
                assert answer.status == 404, (door.name, answer.body)
                told = answer.json | {"requestId": ""}
                said.append(str(told).replace(name, "…"))
            assert said[0] == said[1], door.name
        assert (await caller.ask("acme/root", "GET", f"/admin/keys/{theirs['keys']}")).json == before
        for path in (
            "/admin/keys?tenant=", "/admin/users?tenant=", "/admin/tenants?tenant=", "/admin/usage?tenant=",
            "/admin/requests?tenant=", "/admin/audit?tenant=", "/admin/budgets?tenant=",
        ):  # fmt: skip
            of_theirs, of_nobody = [await caller.ask("acme/admin", "GET", path + name) for name in ("beta", "nobody")]
            assert (of_theirs.status, of_nobody.status) == (404, 404), path
            assert of_theirs.json["message"].replace("beta", "nobody") == of_nobody.json["message"]
        for query in (f"key={theirs['keys']}", f"user={theirs['users']}"):
            assert (await caller.ask("acme/admin", "GET", f"/admin/budgets?{query}")).status == 404

    admin_world.tell(story)


def test_lists_hold_ones_own_tenant_alone(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        for path, name in (("/admin/keys", "keys"), ("/admin/users", "users")):
            own = (await caller.ask("acme/admin", "GET", path)).json[name]
            assert {each["tenant"] for each in own} == {"acme"}
            everything = (await caller.ask("acme/root", "GET", path)).json[name]
            assert {each["tenant"] for each in everything} == {"acme", "beta"}
        own = (await caller.ask("beta/admin", "GET", "/admin/tenants")).json["tenants"]
        assert [each["id"] for each in own] == ["beta"]

    admin_world.tell(story)


def test_another_tenants_answers_are_neither_read_nor_counted_nor_dropped(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        question = {"prompt": "whose is this"}
        assert (await caller.ask("acme/use", "POST", "/llm/generate", question)).json["metadata"]["cache"] == "miss"
        entries = (await caller.ask("acme/use", "GET", "/llm/cache/entries")).json["entries"]
        key = entries[0]["key"]
        assert (await caller.ask("beta/use", "GET", "/llm/cache/entries")).json["entries"] == []
        for method in ("GET", "DELETE"):
            assert (await caller.ask("beta/use", method, f"/llm/cache/entries/{key}")).status == 404
        assert (await caller.ask("beta/use", "DELETE", "/llm/cache")).json == {"deleted": 0}
        stats = (await caller.ask("beta/use", "GET", "/llm/cache/stats")).json
        assert (stats["misses"], stats["entries"]) == (0, 0)
        assert (await caller.ask("beta/use", "POST", "/llm/generate", question)).json["metadata"]["cache"] == "miss"
        assert (await caller.ask("acme/use", "POST", "/llm/generate", question)).json["metadata"]["cache"] == "hit"

    admin_world.tell(story)


def test_nobody_gives_or_takes_over_what_is_not_theirs_to_give(admin_world: AdminWorld) -> None:
    """A tenant's administrator stands beside a root in the same tenant, and becomes none by any door."""

    async def story(caller: Any) -> None:
        root_key, root_user = admin_world.ids["acme", "root"], admin_world.users["acme", "root"]
        tries: list[tuple[str, str, object]] = [
            ("POST", "/admin/keys", {"name": "up", "scopes": ["root"]}),
            ("POST", "/admin/users", {"name": "up", "scopes": ["use", "root"]}),
            ("PATCH", f"/admin/keys/{admin_world.ids['acme', 'admin']}", {"scopes": ["root"]}),
            ("PATCH", f"/admin/users/{admin_world.users['acme', 'admin']}", {"scopes": ["root"]}),
            ("POST", f"/admin/keys/{root_key}/rotate", {}),
            ("PATCH", f"/admin/keys/{root_key}", {"name": "mine"}),
            ("DELETE", f"/admin/keys/{root_key}", None),
            ("POST", f"/admin/users/{root_user}/link", {}),
            ("PATCH", f"/admin/users/{root_user}", {"disabled": True}),
        ]
        for method, path, body in tries:
            answer = await caller.ask("acme/admin", method, path, body)
            assert (answer.status, answer.json["code"]) == (403, "forbidden"), (method, path)
        assert (await caller.ask("acme/root", "GET", "/admin/tenants")).status == 200
        made = await caller.ask("acme/admin", "POST", "/admin/keys", {"name": "x", "tenant": "beta"})
        assert made.status == 404
        lent = {"name": "x", "userId": admin_world.users["beta", "use"]}
        assert (await caller.ask("acme/admin", "POST", "/admin/keys", lent)).status == 400

    admin_world.tell(story)


def test_where_the_database_is_away_administering_says_so_and_asking_goes_on(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        admin_world.offices.away = True
        for door in DOORS:
            if door.path.startswith("/admin/") and door.method == "GET" and "database_unavailable" in door.errors:
                path = door.path.replace("{key}", "acme") + ("?tenant=acme" if door.name == "admin_budgets" else "")
                answer = await caller.ask("acme/root", "GET", path)
                assert (answer.status, answer.json["code"]) == (503, "database_unavailable"), door.name
                assert answer.headers["retry-after"] == "5"
                assert "unplugged" not in answer.json["message"]
        assert (await caller.ask("acme/use", "POST", "/llm/generate", {"prompt": "x"})).status == 200
        assert (await caller.ask("acme/use", "POST", "/sessions", {})).status == 201
        assert (await caller.ask("", "POST", "/sessions", {"word": "w" * 43})).status == 503

    admin_world.tell(story)
