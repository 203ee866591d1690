"""Administration as it is used: keys, people, budgets, providers' keys, reports, and the audit of it all."""

import csv
import io
import json
from typing import Any

import pytest
from tests.api.adminworld import SECRET, AdminWorld
from tests.ledger.ledgerworld import Place

from askonce.config.secret import AUDIT_CHAIN
from askonce.domain.ledger import CallRow, Origin, TextRow
from askonce.ledger.audit import Sealer
from askonce.ledger.audit_export import verify_export
from askonce.ledger.engine import open_engine, writing
from askonce.ledger.writer import SqlLedger


@pytest.fixture
def world(place: Place) -> AdminWorld:
    return AdminWorld(place.folder, place.url)


UNLOCK = {
    "sqlite": ("DROP TRIGGER audit_no_update", "UPDATE audit SET actor = 'somebody else'"),
    "postgresql": (
        "ALTER TABLE askonce.audit DISABLE TRIGGER audit_no_change",
        "UPDATE askonce.audit SET actor = 'somebody else'",
    ),
}


async def drained(world: AdminWorld) -> None:
    """Bring what is in the outbox into the database, as the worker does."""
    await world.trail.flush()
    engine = open_engine(world.url, world.folder)
    try:
        ledger = SqlLedger(engine, Sealer(SECRET.subkey(AUDIT_CHAIN), world.clock).seal_rows)
        while (batch := await world.state.outbox.head(1000)) is not None:
            await ledger.apply(batch)
            await world.state.outbox.settle(batch.last)
    finally:
        await engine.dispose()


def test_a_key_is_shown_once_and_lives_until_it_is_rotated_and_revoked(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        wish = {
            "name": "ci",
            "scopes": ["use", "report"],
            "models": ["m"],
            "budgets": ["5 requests/day"],
            "expiresIn": 60,
        }
        made = (await caller.ask("acme/admin", "POST", "/admin/keys", wish)).json
        assert made["key"].startswith(made["prefix"])
        assert made["expiresAt"] == world.clock.wall_ms() + 60_000
        assert made["budgets"] == ["5 requests/day"]
        path = f"/admin/keys/{made['id']}"
        looked = (await caller.ask("acme/admin", "GET", path)).json
        assert looked == {name: value for name, value in made.items() if name != "key"}
        assert made["key"] not in (await caller.ask("acme/admin", "GET", "/admin/keys")).body.decode()

        async def status(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return int((await caller.client.get("/admin/usage", headers=headers)).status)

        assert await status(made["key"]) == 200
        await caller.ask("acme/admin", "PATCH", path, {"scopes": ["use"]})
        assert await status(made["key"]) == 403
        turned = (await caller.ask("acme/admin", "POST", f"{path}/rotate", {"graceSeconds": 30})).json
        assert (turned["former"]["id"], turned["name"]) == (made["id"], "ci")
        assert turned["key"] != made["key"]
        assert [await status(key) for key in (made["key"], turned["key"])] == [403, 403]
        world.clock.pass_s(31)
        assert await status(made["key"]) == 401
        revoked = await caller.ask("acme/admin", "DELETE", f"/admin/keys/{turned['id']}")
        assert revoked.json["state"] == "revoked"
        assert await status(turned["key"]) == 401
        actions = [row.action for row in await world.audited() if row.action.startswith("key.")]
        assert actions == ["key.created", "key.changed", "key.rotated", "key.revoked"]
        assert all(
            made["key"].encode() not in bytes(row.details) and turned["key"].encode() not in bytes(row.details)
            for row in await world.audited()
        )

    world.tell(story)


@pytest.mark.parametrize(
    ("path", "body", "field", "says"),
    [
        ("/admin/keys", {}, "name", "is required"),
        ("/admin/keys", {"name": "x", "scope": ["use"]}, "scope", "did you mean scopes?"),
        ("/admin/keys", {"name": "x", "scopes": ["god"]}, "scopes", "is wrong"),
        ("/admin/keys", {"name": "x", "scopes": []}, "scopes", "may do nothing"),
        ("/admin/keys", {"name": "x", "addresses": ["10.0.0.300"]}, "addresses", "such as 10.0.0.0/8"),
        ("/admin/keys", {"name": "x", "budgets": ["lots"]}, "budgets", "write it as"),
        ("/admin/keys", {"name": "x", "expiresAt": 5}, "expires", "past"),
        ("/admin/keys", {"name": "x", "expiresAt": 10**14, "expiresIn": 5}, "expiresIn", "one too many"),
        ("/admin/keys", {"name": "a\0b"}, "name", "is wrong"),
        ("/admin/users", {"name": "x", "mail": "x@y"}, "mail", "did you mean"),
        ("/admin/users", {}, "email", "needs an address or a name"),
        ("/admin/users", {"email": "use@acme.example", "tenant": "acme"}, "email", "already"),
        ("/admin/tenants", {"id": "anonymous"}, "tenant", "anonymous"),
        ("/admin/provider-keys", {"provider": "openai", "secret": "short"}, "secret", "8 to"),
        ("/sessions", {"wrod": "x"}, "wrod", "did you mean word?"),
    ],
)
def test_a_wrong_field_is_named_with_its_cure(
    world: AdminWorld, path: str, body: object, field: str, says: str
) -> None:
    async def story(caller: Any) -> None:
        answer = await caller.ask("acme/root", "POST", path, body)
        assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer.body
        assert any(each["field"] == field and says in each["problem"] for each in answer.json["details"]), answer.json

    world.tell(story)


def test_a_providers_key_is_never_shown_again(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        secret = "sk-proj-0123456789abcdefghijklmnop"
        made = await caller.ask("acme/root", "POST", "/admin/provider-keys", {"provider": "openai", "secret": secret})
        assert (made.status, made.json["hint"]) == (201, "sk-p…mnop")
        path = f"/admin/provider-keys/{made.json['id']}"
        assert (await caller.ask("acme/root", "POST", f"{path}/rotate", {"secret": secret[::-1]})).json[
            "hint"
        ] == "ponm…p-ks"
        assert (await caller.ask("acme/root", "DELETE", path)).json["retiredAt"] == world.clock.wall_ms()
        listed = await caller.ask("acme/root", "GET", "/admin/provider-keys")
        rows = [row for row in await world.audited() if row.action.startswith("provider_key.")]
        assert [row.action for row in rows] == [f"provider_key.{act}" for act in ("added", "rotated", "retired")]
        for told in (made.body, listed.body, *(bytes(row.details) for row in rows)):
            assert secret.encode() not in told
            assert secret[::-1].encode() not in told

    world.tell(story)


def test_texts_are_told_to_administrators_of_their_tenant_and_that_is_noted(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        at_ms = world.clock.wall_ms()
        for tenant, request_id in (("acme", "mine/1"), ("beta", "theirs")):
            origin = Origin(tenant, "k", "", "generate", request_id)
            await world.state.outbox.append(TextRow(at_ms, origin, "fake", "m", '{"messages":[]}', '["hi"]'))
        await drained(world)
        path = "/admin/requests/mine/1"
        told = (await caller.ask("acme/admin", "GET", path)).json
        assert told["requestId"] == "mine/1"
        assert [(text["question"], text["answer"]) for text in told["texts"]] == [('{"messages":[]}', '["hi"]')]
        assert (await caller.ask("acme/report", "GET", path)).status == 403
        assert (await caller.ask("acme/admin", "GET", "/admin/requests/theirs")).status == 404
        assert (await caller.ask("acme/root", "GET", "/admin/requests/theirs")).status == 200
        assert (await caller.ask("acme/admin", "GET", "/admin/requests/unknown")).status == 404
        rows = [row for row in await world.audited() if row.action == "texts.read"]
        assert [row.subject for row in rows] == ["request:mine/1", "request:theirs"]
        assert all(b"hi" not in bytes(row.details) for row in rows)

    world.tell(story)


def test_reports_agree_in_json_and_csv_and_a_spreadsheet_computes_nothing(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        at_ms = world.clock.wall_ms()
        for tenant, door, cost in (("acme", "generate", 5), ("acme", "=HYPERLINK()", 7), ("beta", "generate", 11)):
            origin = Origin(tenant, "k", "", door, f"r{cost}")
            await world.state.outbox.append(
                CallRow(at_ms, origin, "fake", "m", "m", "answered", True, True, cost, prompt_tokens=2)
            )
        await drained(world)
        told = (await caller.ask("acme/report", "GET", "/admin/usage?by=door,day")).json
        assert told["total"]["costNano"] == 12
        assert {(row["door"], row["costNano"]) for row in told["rows"]} == {("generate", 5), ("=HYPERLINK()", 7)}
        everything = (await caller.ask("acme/root", "GET", "/admin/usage")).json["total"]
        assert (everything["costNano"], everything["requests"]) == (23, 3)
        for answer in (
            await caller.ask("acme/report", "GET", "/admin/usage?by=door,day", accept="text/csv"),
            await caller.ask("acme/report", "GET", "/admin/usage?by=door,day&format=csv"),
        ):
            assert answer.headers["content-type"].startswith("text/csv")
            rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
            assert {(row["door"], row["costNano"]) for row in rows} == {("generate", "5"), ("'=HYPERLINK()", "7")}
            assert {row["time"] for row in rows} == {"2023-11-14"}
        page = (await caller.ask("acme/report", "GET", "/admin/requests?limit=1&kind=answered")).json
        rest = (await caller.ask("acme/report", "GET", f"/admin/requests?limit=1&after={page['next']}")).json
        assert {page["requests"][0]["requestId"], rest["requests"][0]["requestId"]} == {"r5", "r7"}
        assert rest["next"] is None

    world.tell(story)


@pytest.mark.parametrize(
    "query",
    [
        "by=weeks",
        "from=yesterday",
        "to=2026-13-01",
        "kind=free",
        "limit=0",
        "b=day",
        "by=day,hour",
        "after=x",
        "format=xml",
    ],
)
def test_a_report_that_cannot_be_is_refused_by_its_field(world: AdminWorld, query: str) -> None:
    async def story(caller: Any) -> None:
        path = "/admin/requests" if query.split("=")[0] in ("kind", "limit", "after") else "/admin/usage"
        answer = await caller.ask("acme/report", "GET", f"{path}?{query}")
        assert (answer.status, answer.json["code"]) == (400, "invalid_request"), answer.body

    world.tell(story)


def test_the_audit_tells_each_tenant_its_own_and_proves_itself(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        for tenant in ("acme", "beta"):
            await caller.ask(f"{tenant}/admin", "POST", "/admin/keys", {"name": tenant})
            await caller.ask(f"{tenant}/use", "DELETE", "/llm/cache?model=m")
        for _ in range(30):
            await caller.ask("beta/use", "GET", "/admin/keys")
        await drained(world)
        own = (await caller.ask("acme/admin", "GET", "/admin/audit")).json["rows"]
        assert {row["tenant"] for row in own} == {"acme"}
        assert {row["action"] for row in own} == {"key.created", "cache.purged"}
        refused = (await caller.ask("acme/root", "GET", "/admin/audit?action=access.refused")).json["rows"]
        [row] = [row for row in refused if row["actor"] == f"key:{world.ids['beta', 'use']}"]
        assert row["details"] == {"count": 30, "codes": {"forbidden": 30}, "paths": ["GET /admin/keys"]}
        page = (await caller.ask("acme/root", "GET", "/admin/audit?limit=2")).json
        after = (await caller.ask("acme/root", "GET", f"/admin/audit?limit=2&after={page['next']}")).json
        numbers = [row["number"] for row in page["rows"] + after["rows"]]
        assert numbers == sorted(numbers, reverse=True)
        assert len(set(numbers)) == 4
        assert (await caller.ask("acme/root", "POST", "/admin/audit/verify")).json["sound"]
        exported = await caller.ask("acme/root", "GET", "/admin/audit/export")
        lines = exported.body.splitlines(keepends=True)
        assert verify_export(lines, SECRET.subkeys(AUDIT_CHAIN)).sound
        assert not verify_export(lines[:-2] + lines[-1:], SECRET.subkeys(AUDIT_CHAIN)).sound
        assert [row.action for row in await world.audited()][-2:] == ["audit.verified", "audit.exported"]

    world.tell(story)


def test_a_chain_that_somebody_touched_is_told(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        await caller.ask("acme/admin", "POST", "/admin/keys", {"name": "x"})
        await drained(world)
        engine = open_engine(world.url, world.folder)
        async with writing(engine) as connection:
            for act in UNLOCK[connection.dialect.name]:
                await connection.exec_driver_sql(act)
        await engine.dispose()
        told = (await caller.ask("acme/root", "POST", "/admin/audit/verify")).json
        assert not told["sound"]
        assert {each["kind"] for each in told["findings"]} == {"edited", "unlocked"}
        assert [row.severity for row in await world.audited()] == ["notice", "critical"]

    world.tell(story)


def test_all_pages_of_a_list_hold_everything_once(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        found: list[str] = []
        path = "/admin/keys?limit=3"
        while path:
            page = (await caller.ask("acme/root", "GET", path)).json
            found += [key["id"] for key in page["keys"]]
            path = f"/admin/keys?limit=3&after={page['next']}" if page["next"] else ""
        assert sorted(found) == sorted(world.ids.values())
        assert (await caller.ask("acme/root", "GET", "/admin/keys?after=nonsense")).status == 400

    world.tell(story)


def test_details_of_the_audit_are_json(world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        await caller.ask("acme/root", "POST", "/admin/tenants", {"id": "gamma", "budgets": ["$10/day"]})
        [row] = [row for row in await world.audited() if row.action == "tenant.created"]
        assert json.loads(bytes(row.details)) == {"budgets": ["$10/day"], "concurrency": 0}
        assert (row.subject, row.actor) == ("tenant:gamma", f"key:{world.ids['acme', 'root']}")

    world.tell(story)
