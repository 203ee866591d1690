"""Changes over HTTP: one at a time, each kept together with its row of the audit."""

import asyncio
import base64
import json
from pathlib import Path

import msgspec
import pytest
from tests.api.adminworld import AdminWorld, Caller


@pytest.fixture
def world(tmp_path: Path) -> AdminWorld:
    return AdminWorld(tmp_path)


def test_of_two_changes_at_once_none_undoes_the_other(world: AdminWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(caller: Caller) -> None:
        path = f"/admin/users/{world.users['acme', 'use']}"
        users = type((await world.offices.open()).users)
        real = users.get

        async def slow(self, *wanted):
            found = await real(self, *wanted)
            await asyncio.sleep(0.05)
            return found

        monkeypatch.setattr(users, "get", slow)
        changes = [{"name": "Ada"}, {"disabled": True}, {"budgets": ["$5/day"]}]
        replies = await asyncio.gather(*(caller.ask("acme/admin", "PATCH", path, change) for change in changes))
        assert [reply.status for reply in replies] == [200, 200, 200]
        user = (await caller.ask("acme/admin", "GET", path)).json
        assert (user["name"], bool(user["disabledAt"]), user["budgets"]) == ("Ada", True, ["$5/day"])

    world.tell(story)


def test_a_change_whose_row_cannot_be_sealed_is_none(world: AdminWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(caller: Caller) -> None:
        turns = (await world.offices.open()).turns
        before = (await caller.ask("acme/admin", "GET", "/admin/keys")).json["keys"]

        async def fails(*_: object) -> None:
            raise ValueError("the chain")

        monkeypatch.setattr(turns._seal, "seal_rows", fails)  # type: ignore[attr-defined]
        assert (await caller.ask("acme/admin", "POST", "/admin/keys", {"name": "x"})).status == 500
        monkeypatch.undo()
        assert (await caller.ask("acme/admin", "GET", "/admin/keys")).json["keys"] == before
        assert (await caller.ask("acme/admin", "POST", "/admin/keys", {"name": "x"})).status == 201
        assert [row.action for row in await world.audited()] == ["key.created"]

    world.tell(story)


def test_a_cursor_of_impossible_numbers_is_refused(world: AdminWorld) -> None:
    packed = msgspec.msgpack.encode((2**64 - 1, 2**64 - 1, 2**64 - 1))
    cursor = base64.urlsafe_b64encode(packed).rstrip(b"=").decode()

    async def story(caller: Caller) -> None:
        reply = await caller.ask("acme/report", "GET", f"/admin/requests?after={cursor}")
        assert (reply.status, json.loads(reply.body)["code"]) == (400, "invalid_request")

    world.tell(story)
