"""What the dashboard shows: the overview and the requests, once and as they come, to whom they belong."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.api.adminworld import AdminWorld
from tests.ledger.ledgerworld import batch, call, count, no_audit

from askonce.ledger.engine import open_engine
from askonce.ledger.writer import SqlLedger


@pytest.fixture
def admin_world(tmp_path: Path) -> AdminWorld:
    return AdminWorld(tmp_path)


async def happen(world: AdminWorld, first: int = 1, number: int = 3, **changes: Any) -> None:
    """Have calls and as many hits reach the ledger just now."""
    now_ms = world.clock.wall_ms()
    engine = open_engine(world.url, world.folder)
    try:
        calls = [call(now_ms - 1000 + n, request_id=f"r{first + n}", **changes) for n in range(number)]
        counts = [count(now_ms, number=number, tenant=changes.get("tenant", "acme"))]
        await SqlLedger(engine, no_audit).apply(batch(*calls, *counts, first=first))
    finally:
        await engine.dispose()


def events(body: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in body.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_the_overview_tells_steps_sums_and_advice(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        await happen(admin_world)
        answer = await caller.ask("acme/root", "GET", "/admin/overview?range=1h")
        told = answer.json
        assert answer.status == 200
        assert (told["range"], told["stepMs"], len(told["points"])) == ("1h", 60_000, 60)
        assert sum(point["misses"] for point in told["points"]) == told["total"]["misses"] == 3
        assert (told["total"]["hits"], told["total"]["hitRate"], told["total"]["requests"]) == (3, 50.0, 6)
        assert told["advice"].startswith("Fair")
        assert (told["before"], told["projectedMonthlySavingNano"]) == (None, None)
        assert told["latency"]["miss"]["count"] == 3
        assert [one["model"] for one in told["models"]] == ["gpt-4o"]
        assert told["models"][0]["requests"] == 6

    admin_world.tell(story)


def test_a_month_is_told_in_advance_from_an_hour_on(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        await happen(admin_world)
        admin_world.clock.pass_s(3600)
        told = (await caller.ask("acme/root", "GET", "/admin/overview")).json
        saved = told["total"]["savedNano"]
        month = told["projectedMonthlySavingNano"]
        assert saved > 0
        assert 30 * 24 * saved * 0.6 < month <= 30 * 24 * saved  # the first step began up to half an hour before

    admin_world.tell(story)


def test_a_tenant_sees_its_own_and_root_whichever(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        await happen(admin_world)
        await happen(admin_world, first=5, number=2, tenant="beta")
        for who, query, misses in (
            ("acme/report", "", 3),
            ("beta/report", "", 2),
            ("acme/root", "", 5),
            ("acme/root", "&tenant=beta", 2),
        ):
            told = (await caller.ask(who, "GET", f"/admin/overview?range=15m{query}")).json
            assert told["total"]["misses"] == misses, who
            streamed = await caller.ask(who, "GET", f"/admin/overview/events?range=15m{query}")
            assert events(streamed.body) == [("overview", told)]
        for path in ("/admin/overview", "/admin/overview/events", "/admin/requests/events"):
            assert (await caller.ask("acme/report", "GET", f"{path}?tenant=beta")).status == 404
            assert (await caller.ask("acme/use", "GET", path)).status == 403

    admin_world.tell(story)


def test_a_range_that_is_none_is_named(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        for path in ("/admin/overview?range=2h", "/admin/overview/events?range=", "/admin/requests/events?kind=odd"):
            answer = await caller.ask("acme/report", "GET", path)
            assert (answer.status, answer.json["code"]) == (400, "invalid_request")

    admin_world.tell(story)


def test_streams_tell_what_comes_and_nothing_twice(admin_world: AdminWorld) -> None:
    admin_world.patience_s = 3.0

    async def story(caller: Any) -> None:
        await happen(admin_world)

        async def later() -> None:
            await asyncio.sleep(0.8)  # until all three are told what there was
            await happen(admin_world, first=10, number=2)
            await happen(admin_world, first=20, number=1, provider="other")

        whole, narrow, overview, _ = await asyncio.gather(
            caller.ask("acme/report", "GET", "/admin/requests/events"),
            caller.ask("acme/report", "GET", "/admin/requests/events?provider=other"),
            caller.ask("acme/report", "GET", "/admin/overview/events?range=15m"),
            later(),
        )
        assert sorted(line["requestId"] for _, line in events(whole.body)) == ["r10", "r11", "r20"]
        assert [line["requestId"] for _, line in events(narrow.body)] == ["r20"]
        shown = [told["total"]["misses"] for _, told in events(overview.body)]
        assert (shown[0], shown[-1]) == (3, 6)
        assert len(shown) == len(set(shown)), "what did not change is not shown again"
        assert not admin_world.defects

    admin_world.tell(story)


def test_settings_are_told_with_their_origin_and_without_secrets(admin_world: AdminWorld) -> None:
    async def story(caller: Any) -> None:
        answer = await caller.ask("acme/root", "GET", "/admin/settings")
        told = {one["key"]: one for one in answer.json["settings"]}
        assert (told["port"]["origin"], told["host"]["origin"]) == ("here", "default")
        assert told["port"]["about"]
        assert b"a-secret" not in answer.body
        assert (await caller.ask("acme/admin", "GET", "/admin/settings")).status == 403

    admin_world.tell(story)
