"""Logging in and out: cookies and their flags, words against forged requests, ids that nobody chooses."""

from pathlib import Path
from typing import Any

import pytest
from tests.api.adminworld import AdminWorld

from askonce.api.app import LimitRule
from askonce.gate.logins import SPAN_MS


@pytest.fixture
def world(tmp_path: Path) -> AdminWorld:
    return AdminWorld(tmp_path)


async def opened(caller: Any, who: str = "acme/admin") -> dict[str, Any]:
    answer = await caller.ask(who, "POST", "/sessions", {})
    assert answer.status == 201
    told: dict[str, Any] = answer.json
    return told | {"cookie": f"sessionId={told['sessionId']}"}


def test_a_key_opens_a_session_that_browsers_keep_and_scripts_cannot_read(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        answer = await caller.ask("acme/admin", "POST", "/sessions", {}, user_agent="Firefox")
        told = answer.json
        cookie = answer.headers["set-cookie"]
        assert cookie == f"sessionId={told['sessionId']}; Path=/; Max-Age=86400; HttpOnly; SameSite=Lax"
        assert (told["agent"], told["address"], told["scopes"]) == ("Firefox", "127.0.0.1", ["admin"])
        assert told["expiresAt"] == world.clock.wall_ms() + SPAN_MS
        assert answer.headers["cache-control"] == "no-store"
        for sent in ({"cookie": f"other=1; sessionId={told['sessionId']}"}, {"x_session_id": told["sessionId"]}):
            who = await caller.ask("", "GET", "/sessions/current", **sent)
            assert who.json["csrfToken"] == told["csrfToken"]
            assert "sessionId" not in who.json
        assert (await caller.ask("", "GET", "/admin/keys", x_session_id=told["sessionId"])).status == 200

    world.tell(story)


@pytest.mark.parametrize(
    ("proxies", "proto", "secure"),
    [
        ((), "https", False),
        (("127.0.0.1",), "https", True),
        (("127.0.0.1",), "http", False),
        (("127.0.0.1",), "", False),
    ],
)
def test_the_cookie_is_secure_where_the_clients_connection_is(
    world: AdminWorld, proxies: tuple[str, ...], proto: str, secure: bool
) -> None:
    world.trusted = proxies

    async def story(caller: Any) -> None:
        answer = await caller.ask("acme/use", "POST", "/sessions", {}, x_forwarded_proto=proto)
        assert answer.headers["set-cookie"].endswith("; Secure") == secure

    world.tell(story)


def test_what_a_cookie_writes_needs_its_word_and_no_foreign_origin(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        told = await opened(caller)
        cookie, word, body = told["cookie"], told["csrfToken"], {"name": "made"}
        tries = [
            ({}, 403),
            ({"x_csrf_token": "guess"}, 403),
            ({"x_csrf_token": word, "origin": "https://evil.example"}, 403),
            ({"x_csrf_token": word, "origin": "null"}, 403),
            ({"x_csrf_token": word, "origin": "http://127.0.0.1:3001"}, 201),
            ({"x_csrf_token": word}, 201),
        ]
        for sent, status in tries:
            assert (await caller.ask("", "POST", "/admin/keys", body, cookie=cookie, **sent)).status == status, sent
        # What a program sends by itself no browser sends for others.
        assert (await caller.ask("", "POST", "/admin/keys", body, x_session_id=told["sessionId"])).status == 201
        assert (await caller.ask("", "GET", "/admin/keys", cookie=cookie)).status == 200

    world.tell(story)


def test_a_key_that_is_sent_wins_over_a_cookie_but_contradicts_a_session(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        told = await opened(caller, "acme/admin")
        assert (await caller.ask("acme/use", "GET", "/admin/keys", cookie=told["cookie"])).status == 403
        assert (
            await caller.ask("acme/use", "POST", "/llm/generate", {"prompt": "x"}, cookie="sessionId=old")
        ).status == 200
        assert (await caller.ask("acme/use", "GET", "/llm/models", x_session_id=told["sessionId"])).status == 401

    world.tell(story)


@pytest.mark.parametrize(
    "cookie", ["sessionId=", "sessionId=made-up", "a=b; sessionId=made-up", "sessionId=a; sessionId=b"]
)
def test_a_session_that_is_not_known_is_nobody(world: AdminWorld, cookie: str) -> None:
    async def story(caller: Any) -> None:
        for path in ("/sessions/current", "/llm/models", "/admin/keys"):
            assert (await caller.ask("", "GET", path, cookie=cookie)).status == 401
        told = await opened(caller)
        both = f"{cookie}; {told['cookie']}"  # a neighbour set one too: which of them is ours?
        assert (await caller.ask("", "GET", "/sessions/current", cookie=both)).status == 401

    world.tell(story)


def test_an_id_is_never_taken_over_and_logging_in_again_gives_another(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        planted = await caller.ask("acme/use", "POST", "/sessions", {}, cookie="sessionId=planted")
        assert planted.json["sessionId"] != "planted"
        cookie = f"sessionId={planted.json['sessionId']}"
        risen = await caller.ask("acme/admin", "POST", "/sessions", {}, cookie=cookie)
        assert risen.json["sessionId"] != planted.json["sessionId"]
        assert (await caller.ask("", "GET", "/sessions/current", cookie=cookie)).status == 401

    world.tell(story)


def test_use_prolongs_a_session_and_gives_its_cookie_anew(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        told = await opened(caller)
        world.clock.pass_s(30)
        assert "set-cookie" not in (await caller.ask("", "GET", "/llm/models", cookie=told["cookie"])).headers
        world.clock.pass_s(23 * 3600)
        used = await caller.ask("", "GET", "/llm/cache/stats", cookie=told["cookie"])
        assert used.headers["set-cookie"].startswith(told["cookie"])
        world.clock.pass_s(23 * 3600)
        assert (await caller.ask("", "GET", "/llm/models", cookie=told["cookie"])).status == 200
        world.clock.pass_s(24 * 3600 + 1)
        assert (await caller.ask("", "GET", "/llm/models", cookie=told["cookie"])).status == 401

    world.tell(story)


def test_one_sees_and_ends_ones_own_sessions_alone(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        first, second, theirs = await opened(caller), await opened(caller), await opened(caller, "beta/admin")
        own = (await caller.ask("", "GET", "/sessions", cookie=first["cookie"])).json["sessions"]
        assert {each["id"] for each in own} == {first["id"], second["id"]}
        assert [each["id"] for each in own if each["current"]] == [first["id"]]
        word = {"cookie": first["cookie"], "x_csrf_token": first["csrfToken"]}
        for other in (theirs["id"], "00" * 32, "nothing"):
            assert (await caller.ask("", "DELETE", f"/sessions/{other}", **word)).status == 404
        assert (await caller.ask("", "DELETE", f"/sessions/{second['id']}", **word)).json == {"ended": 1}
        assert (await caller.ask("", "GET", "/llm/models", cookie=second["cookie"])).status == 401
        named = await caller.ask("", "PATCH", "/sessions/current", {"agent": "my laptop"}, **word)
        assert named.json["agent"] == "my laptop"
        gone = await caller.ask("", "DELETE", "/sessions/current", **word)
        assert "Max-Age=0" in gone.headers["set-cookie"]
        assert (await caller.ask("", "GET", "/llm/models", cookie=first["cookie"])).status == 401
        assert (await caller.ask("", "GET", "/llm/models", cookie=theirs["cookie"])).status == 200
        await opened(caller)
        assert (await caller.ask("acme/admin", "DELETE", "/sessions")).json == {"ended": 1}

    world.tell(story)


def test_a_session_ends_with_its_key_and_its_user(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        told = await opened(caller, "acme/use")
        await caller.ask("acme/root", "DELETE", f"/admin/keys/{world.ids['acme', 'use']}")
        assert (await caller.ask("", "GET", "/llm/models", cookie=told["cookie"])).status == 401
        assert (await caller.ask("acme/use", "GET", "/llm/models")).status == 401
        user = world.users["acme", "report"]
        link = (await caller.ask("acme/root", "POST", f"/admin/users/{user}/link", {})).json
        entered = await caller.ask("", "POST", "/sessions", {"word": link["word"]})
        cookie = f"sessionId={entered.json['sessionId']}"
        assert (await caller.ask("", "GET", "/admin/usage", cookie=cookie)).status == 200
        await caller.ask("acme/root", "PATCH", f"/admin/users/{user}", {"disabled": True})
        assert (await caller.ask("", "GET", "/admin/usage", cookie=cookie)).status == 401

    world.tell(story)


def test_a_link_logs_in_once_and_looking_at_it_uses_nothing_up(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        made = await caller.ask("acme/admin", "POST", f"/admin/users/{world.users['acme', 'admin']}/link", {})
        link = made.json
        assert link["url"] == f"http://127.0.0.1:3001/login?word={link['word']}"
        for _ in range(3):
            page = await caller.ask("", "GET", f"/login?word={link['word']}")
            assert page.status == 200
            assert link["word"] not in page.body.decode()
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert page.headers["referrer-policy"] == "no-referrer"
        entered = await caller.ask("", "POST", "/sessions", {"word": link["word"]})
        assert (entered.status, entered.json["scopes"]) == (201, ["admin"])
        assert (await caller.ask("", "POST", "/sessions", {"word": link["word"]})).status == 401

    world.tell(story)


def test_who_fails_to_log_in_is_stopped_and_written_down(world: AdminWorld) -> None:
    world.limits["refused"] = LimitRule(3, 60_000_000_000)

    async def story(caller: Any) -> None:
        statuses = [(await caller.ask("", "POST", "/sessions", {"word": "x" * 43})).status for _ in range(5)]
        assert statuses == [401, 401, 401, 429, 429]
        rows = [row for row in await world.audited() if row.action == "login.refused"]
        assert rows
        assert {row.address for row in rows} == {"127.0.0.1"}
        assert all(b"xxx" not in bytes(row.details) for row in rows)

    world.tell(story)


def test_a_configured_key_opens_sessions_too(world: AdminWorld) -> None:
    world.keys = [("a-configured-key", "acme")]

    async def story(caller: Any) -> None:
        bearer = {"authorization": "Bearer a-configured-key"}
        answer = await caller.client.post({}, "/sessions", headers=bearer)
        assert (answer.status, answer.json["scopes"], answer.json["tenant"]) == (201, ["use", "report"], "acme")
        sent = {"x-session-id": answer.json["sessionId"]}
        assert (await caller.client.get("/admin/usage", headers=sent)).status == 200
        assert (await caller.client.get("/admin/keys", headers=sent)).status == 403

    world.tell(story)


def test_a_login_may_ask_only_within_its_users_budget(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        user = world.users["acme", "use"]
        await caller.ask("acme/root", "PATCH", f"/admin/users/{user}", {"budgets": ["1 request/day"]})
        link = (await caller.ask("acme/root", "POST", f"/admin/users/{user}/link", {})).json
        told = (await caller.ask("", "POST", "/sessions", {"word": link["word"]})).json
        codes = [
            (await caller.ask("", "POST", "/llm/generate", {"prompt": p}, x_session_id=told["sessionId"])).status
            for p in ("one", "two")
        ]
        assert codes == [200, 429]
        stands = (await caller.ask("acme/root", "GET", f"/admin/budgets?user={user}")).json
        assert stands["budgets"][0]["used"] == 1

    world.tell(story)
