"""Pages of other origins: let in by name, with a key, never with a cookie; and the headers that guard everything."""

from pathlib import Path
from typing import Any

import pytest
from tests.api.adminworld import AdminWorld

from askonce.api.crossing import Crossing
from askonce.api.doors import DOORS

APP = "https://app.example.org"
ASKS = {"access_control_request_method": "POST", "access_control_request_headers": "authorization,content-type"}


@pytest.fixture
def world(tmp_path: Path) -> AdminWorld:
    world = AdminWorld(tmp_path)
    world.crossing = Crossing((APP,))
    return world


def test_a_page_that_is_named_may_ask_and_read_our_headers(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        asked = await caller.ask("", "OPTIONS", "/llm/generate", origin=APP, **ASKS)
        assert asked.status == 204
        assert asked.headers["access-control-allow-origin"] == APP
        assert asked.headers["access-control-allow-methods"] == "POST"
        allowed = asked.headers["access-control-allow-headers"].lower()
        assert {"authorization", "content-type", "idempotency-key", "x-api-key"} <= set(allowed.split(", "))
        assert "content-length" not in asked.headers
        told = await caller.ask("acme/use", "POST", "/llm/generate", {"prompt": "x"}, origin=APP)
        assert told.status == 200
        exposed = told.headers["access-control-expose-headers"].lower().split(", ")
        ours = [name for name in told.headers if name.startswith(("x-", "ratelimit", "cache-status", "age"))]
        assert set(ours) - {"x-content-type-options"} <= set(exposed)
        refused = await caller.ask("", "POST", "/llm/generate", {"prompt": "x"}, origin=APP)
        assert (refused.status, refused.headers["access-control-allow-origin"]) == (401, APP)
        assert "retry-after" in exposed

    world.tell(story)


def test_cookies_never_cross(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        told = (await caller.ask("acme/admin", "POST", "/sessions", {})).json
        sent = {"cookie": f"sessionId={told['sessionId']}", "x_csrf_token": told["csrfToken"], "origin": APP}
        answer = await caller.ask("", "POST", "/admin/keys", {"name": "x"}, **sent)
        assert answer.status == 403
        assert "access-control-allow-credentials" not in answer.headers

    world.tell(story)


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", APP + ".evil.example", "http://app.example.org", ""]
)
def test_other_pages_hear_nothing(world: AdminWorld, origin: str) -> None:
    async def story(caller: Any) -> None:
        asked = await caller.ask("", "OPTIONS", "/llm/generate", origin=origin, **ASKS)
        assert asked.status == 405
        told = await caller.ask("acme/use", "GET", "/llm/models", origin=origin)
        for answer in (asked, told):
            assert "access-control-allow-origin" not in answer.headers
        assert told.headers["vary"] == "origin"

    world.tell(story)


def test_all_pages_at_once_are_let_in_only_where_keys_protect(world: Any) -> None:
    world.crossing = Crossing(("*",))

    async def story(caller: Any) -> None:
        answer = await caller.ask("acme/use", "GET", "/llm/models", origin="https://any.example")
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "https://any.example")
        world.admission.note_keys(False)
        assert (await caller.ask("", "GET", "/llm/models", origin="https://any.example")).status == 403

    world.tell(story)


def test_a_page_that_is_named_may_use_a_server_without_keys(world: Any) -> None:
    async def story(caller: Any) -> None:
        world.admission.note_keys(False)
        assert (await caller.ask("", "GET", "/llm/models", origin=APP)).status == 200
        assert (await caller.ask("", "GET", "/llm/models", origin="https://other.example")).status == 403

    world.tell(story)


def test_everything_is_guarded_against_guessing_and_telling_and_keeping(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        for door in DOORS:
            path = door.path.replace("{key}", "nothing")
            answer = await caller.ask("acme/root", door.method, path, {} if door.method in ("POST", "PATCH") else None)
            assert answer.headers["x-content-type-options"] == "nosniff", door.name
            assert answer.headers["referrer-policy"] == "no-referrer", door.name
            if door.path.startswith(("/admin", "/sessions", "/login")):
                assert answer.headers["cache-control"] == "no-store", door.name
            if answer.headers.get("content-type", "").startswith("text/html"):
                assert "frame-ancestors 'none'" in answer.headers["content-security-policy"], door.name

    world.tell(story)
