"""Alerts are kept before they leave the outbox, each once, and tell no more than the audit does."""

import asyncio
import logging
import sqlite3
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from tests.state.rows import paid
from tests.state.statefakes import HandClock

from askonce.domain.ledger import AuditRow, Record
from askonce.ledger.alerts import KEPT_MS, AlertBox, NotingOutbox
from askonce.limits.budget import ALERT_ACTION
from askonce.state.memory_outbox import MemoryOutbox

ALERT = AuditRow(7, "system", ALERT_ACTION, "key:k", "team", severity="warning", details=msgspec.Raw(b'{"amount":100}'))
OTHER = AuditRow(7, "user:u", "key.created", "key:k")
PAID = paid("answered", True, 100, "team")
T = TypeVar("T")


def outbox_of(*records: Record) -> MemoryOutbox:
    outbox = MemoryOutbox()
    asyncio.run(outbox.append(*records))
    return outbox


def using(folder: Path, act: Any, clock: HandClock | None = None, *, wanted: bool = True) -> Any:
    """Do something with a box, as a process would that begins and ends with it."""

    async def whole() -> Any:
        box = AlertBox(folder, clock or HandClock(), wanted=wanted)
        try:
            return await act(box)
        finally:
            await box.close()

    work: Coroutine[Any, Any, Any] = whole()
    return asyncio.run(work)


async def all_due(box: AlertBox, now_ms: int) -> list[dict[str, Any]]:
    found = []
    while (parcel := await box.due(now_ms)) is not None:
        found.append(msgspec.json.decode(parcel.body))
        await box.end(parcel)
    return found


def test_only_alerts_are_kept_and_whoever_looks_again_keeps_nothing_new(tmp_path: Path) -> None:
    clock = HandClock()
    outbox = outbox_of(PAID, ALERT, OTHER, ALERT)

    async def look_twice(box: AlertBox) -> list[dict[str, Any]]:
        noting = NotingOutbox(outbox, box)
        first, second = await noting.head(9), await noting.head(9)
        assert first == second
        return await all_due(box, clock.wall_ms())

    told = using(tmp_path, look_twice, clock)
    source = asyncio.run(outbox.stock()).source
    assert [one["id"] for one in told] == [f"{source}-2", f"{source}-4"]
    assert told[0] | {"id": ""} == {
        "id": "",
        "type": "budget.soft_limit",
        "atMs": 7,
        "subject": "key:k",
        "tenant": "team",
        "details": {"amount": 100},
    }


def test_what_was_delivered_is_not_kept_again_by_the_next_worker(tmp_path: Path) -> None:
    clock = HandClock()
    outbox = outbox_of(ALERT)

    async def look(box: AlertBox) -> list[dict[str, Any]]:
        await NotingOutbox(outbox, box).head(9)
        return await all_due(box, clock.wall_ms())

    assert len(using(tmp_path, look, clock)) == 1
    assert using(tmp_path, look, clock) == []


def test_what_waits_outlives_the_process_and_comes_when_it_is_due(tmp_path: Path) -> None:
    clock, outbox = HandClock(), outbox_of(ALERT)
    now_ms = clock.wall_ms()

    async def look(box: AlertBox) -> None:
        await NotingOutbox(outbox, box).head(9)
        parcel = await box.due(now_ms)
        assert parcel is not None
        await box.postpone(parcel, now_ms + 1000)

    using(tmp_path, look, clock)
    assert using(tmp_path, lambda box: box.due(now_ms + 999)) is None
    assert using(tmp_path, lambda box: box.due(now_ms + 1000)).tries == 1


def test_without_a_receiver_alerts_are_logged_once_and_wait_for_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    outbox, clock = outbox_of(ALERT), HandClock()

    async def look_twice(box: AlertBox) -> object:
        noting = NotingOutbox(outbox, box)
        await noting.head(9)
        await noting.head(9)
        return await box.due(clock.wall_ms())

    with caplog.at_level(logging.WARNING, "askonce.alerts"):
        assert using(tmp_path, look_twice, clock, wanted=False) is None
    assert [record.getMessage() for record in caplog.records] == ["a budget's soft limit was passed"]


def test_a_file_that_fails_does_not_hold_the_outbox_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "alerts.db").mkdir()
    outbox = outbox_of(ALERT)
    batch = using(tmp_path, lambda box: NotingOutbox(outbox, box).head(9))
    assert batch.records == (ALERT,)
    assert "alerts cannot be kept" in caplog.text
    assert "a budget's soft limit was passed" in caplog.text


def test_what_ended_long_ago_is_forgotten(tmp_path: Path) -> None:
    clock, outboxes = HandClock(), [outbox_of(ALERT), outbox_of(ALERT)]

    async def end_one(box: AlertBox) -> None:
        await NotingOutbox(outboxes.pop(), box).head(9)
        parcel = await box.due(clock.wall_ms())
        assert parcel is not None
        await box.end(parcel)

    using(tmp_path, end_one, clock)
    clock.pass_s(KEPT_MS / 1000 + 1)
    using(tmp_path, end_one, clock)
    connection = sqlite3.connect(tmp_path / "alerts.db")
    assert connection.execute("SELECT count(*) FROM alerts").fetchone() == (1,)
    connection.close()
