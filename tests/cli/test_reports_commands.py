"""Usage and requests by the command line, on a ledger with a little traffic in it."""

import asyncio
import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.officeworld import Desk
from tests.ledger.ledgerworld import DAY, NOON, batch, call, count, no_audit
from tests.ledger.postgres import Postgres, postgres

from askonce.cli.requests import LATE_MS, Unseen
from askonce.domain.ledger import Record
from askonce.domain.reports import RequestRow
from askonce.ledger.engine import open_engine
from askonce.ledger.migrate import migrate
from askonce.ledger.writer import SqlLedger
from askonce.supervisor.folder import DataFolder

__all__ = ["postgres"]

TRAFFIC = (
    call(NOON, request_id="r1"),
    call(NOON + 1000, request_id="r2", model="gpt-4o-mini", cost_nano=500_000_000, tenant="other"),
    call(NOON + DAY, request_id="r3", ending="failed", cost_nano=0, error_code="provider_error"),
    count(NOON, "exact", 3),
    count(NOON + DAY, "coalesced", 2),
    count(NOON + DAY, "rate_limited", 5, saved_nano=0, saved_tokens=0),
)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


def write(folder: Path, *records: Record, first: int = 1, url: str = "") -> None:
    async def apply() -> None:
        engine = open_engine(url, folder)
        try:
            await migrate(engine)
            await SqlLedger(engine, no_audit).apply(batch(*records, first=first))
        finally:
            await engine.dispose()

    DataFolder.prepare(folder)
    asyncio.run(apply())


def test_usage_tells_requests_hits_and_dollars(desk: Desk) -> None:
    write(desk.data, *TRAFFIC)
    done = desk.well("usage", "--from", "2026-01-01", "--to", "2026-01-02")
    assert [line.split() for line in done.out.splitlines()] == [
        ["2026-01-01", "00:00", "to", "2026-01-03", "00:00", "UTC"],
        [],
        ["requests", "hits", "hit", "rate", "joined", "paid", "failed", "refused", "tokens", "cost", "saved"],
        ["8", "3", "60.0", "%", "2", "3", "1", "5", "507", "$0.5013", "$0.0063"],
    ]


def test_usage_is_grouped_with_its_total(desk: Desk) -> None:
    write(desk.data, *TRAFFIC)
    lines = desk.well("usage", "--by", "day,tenant", "--from", "2026-01-01", "--to", "2026-01-02").out.splitlines()[2:]
    assert [line.split()[:3] for line in lines] == [
        ["day", "tenant", "requests"],
        ["2026-01-01", "acme", "4"],
        ["2026-01-01", "other", "1"],
        ["2026-01-02", "acme", "3"],
        ["total", "8", "3"],
    ]


def test_usage_as_json_and_csv_is_exact_and_agrees(desk: Desk) -> None:
    write(desk.data, *TRAFFIC)
    asked = ("usage", "--by", "model", "--from", "2026-01-01", "--to", "2026-01-02")
    told = desk.well(*asked, "--json").json
    assert told["total"]["costNano"] == 501_262_500
    assert {row["model"]: row["costNano"] for row in told["rows"]} == {"gpt-4o": 1_262_500, "gpt-4o-mini": 500_000_000}
    rows = list(csv.DictReader(io.StringIO(desk.well(*asked, "--csv").out)))
    assert {row["model"]: int(row["costNano"]) for row in rows} == {
        row["model"]: row["costNano"] for row in told["rows"]
    }
    total = list(csv.DictReader(io.StringIO(desk.well("usage", *asked[3:], "--csv").out)))
    assert [row["costNano"] for row in total] == ["501262500"]
    assert desk.well("usage", "--by", "model", "--to", "2025-01-01", "--csv").out.count("\n") == 1


def test_usage_is_narrowed(desk: Desk) -> None:
    write(desk.data, *TRAFFIC)
    asked = ("usage", "--from", "2026-01-01", "--to", "2026-01-02", "--json")
    assert desk.well(*asked, "--tenant", "other").json["total"]["requests"] == 1
    assert desk.well(*asked, "--model", "gpt-4o", "--tenant", "acme").json["total"]["requests"] == 7
    assert desk.well("usage", "--from", "2026-01-01", "--to", "2026-01-01", "--json").json["total"]["requests"] == 5
    assert desk("usage", "--from", "2026-01-02", "--to", "2025-01-01").code == 2


def test_a_group_name_is_no_formula(desk: Desk) -> None:
    write(desk.data, call(NOON, model="=cmd|x"))
    asked = ("usage", "--by", "day,model", "--from", "2026-01-01", "--to", "2026-01-01", "--csv")
    lines = desk.well(*asked).out.splitlines()
    assert lines[0].startswith("time,model,requests,")
    assert lines[1].startswith("2026-01-01,'=cmd|x,1,")


def test_a_group_name_cannot_steer_the_terminal(desk: Desk) -> None:
    write(desk.data, call(NOON, model="\x1b[2Jgpt\nx"))
    done = desk.well("usage", "--by", "model", "--from", "2026-01-01", "--to", "2026-01-02")
    assert "\x1b" not in done.out
    assert "[2Jgpt x" in done.out


def test_requests_are_listed_with_the_oldest_first_and_filtered(desk: Desk) -> None:
    write(desk.data, *TRAFFIC)

    def ids(*filters: str) -> list[str]:
        return [row["requestId"] for row in desk.well("requests", "--json", *filters).json]

    assert ids() == ["r1", "r2", "r3"]
    assert ids("-n", "2") == ["r2", "r3"]
    assert ids("-n", "0") == []
    assert ids("--tenant", "other") == ["r2"]
    assert ids("--kind", "failed") == ["r3"]
    assert ids("--error", "provider_error") == ["r3"]
    assert ids("--id", "r1") == ["r1"]
    assert ids("--from", "2026-01-02") == ["r3"]
    assert ids("--to", "2026-01-01") == ["r1", "r2"]
    lines = desk.well("requests").out.splitlines()
    assert len(lines) == 4
    assert "$0.5000" in lines[2]


def test_more_requests_than_a_page_holds_are_read_page_by_page(desk: Desk) -> None:
    write(desk.data, *(call(NOON + number, request_id=f"r{number}") for number in range(450)))
    rows = desk.well("requests", "-n", "430", "--json").json
    assert [row["requestId"] for row in rows] == [f"r{number}" for number in range(20, 450)]


class Following:
    """Run `askonce requests --follow` and read what it prints."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "ASKONCE_DATA_DIR": str(folder / "data")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "askonce", "requests", "--follow", "--json", *arguments],
            cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._killer = threading.Timer(60, self.process.kill)  # so that a test never waits for ever
        self._killer.start()

    def next(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1]
        return str(json.loads(line)["requestId"])

    def close(self) -> str:
        self._killer.cancel()
        self.process.terminate()
        return self.process.communicate()[0]


@pytest.fixture
def followed(desk: Desk) -> Iterator[Following]:
    write(desk.data, *TRAFFIC)
    following = Following(desk.folder, "-n", "2")
    yield following
    following.close()


@pytest.mark.process
def test_following_prints_each_request_once_also_those_that_come_late(desk: Desk, followed: Following) -> None:
    assert [followed.next(), followed.next()] == ["r2", "r3"]
    new = NOON + DAY + 5000
    write(desk.data, call(new, request_id="r4"), call(new, request_id="r4"), first=10)
    assert [followed.next(), followed.next()] == ["r4", "r4"]
    write(desk.data, call(new - LATE_MS // 2, request_id="late"), call(new + 1, request_id="r5"), first=20)
    assert [followed.next(), followed.next()] == ["late", "r5"]
    assert followed.close() == ""


ROWS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from("abc")).map(
        lambda pair: RequestRow(pair[0] * 4000, "t", "", "", "", pair[1], "", "p", "m", "answered", 1)
    ),
    max_size=12,
)


@given(st.lists(ROWS, max_size=5))
def test_what_comes_in_is_unseen_once_and_never_again(arrivals: list[list[RequestRow]]) -> None:
    unseen, table, told = Unseen(0), list[RequestRow](), list[RequestRow]()
    expected = 0
    for arrived in arrivals:
        table += arrived
        expected += sum(row.at_ms >= unseen.start_ms for row in arrived)
        told += unseen.of([row for row in table if row.at_ms >= unseen.start_ms])
        assert unseen.of([row for row in table if row.at_ms >= unseen.start_ms]) == []
    assert len(told) == expected


def test_postgresql_reports_the_same(desk: Desk, postgres: Postgres) -> None:
    url = postgres.database()
    desk.set("DATABASE_URL", url)
    write(desk.data, *TRAFFIC, url=url)
    told = desk.well("usage", "--by", "month,key", "--from", "2026-01-01", "--to", "2026-01-02", "--json").json
    assert told["total"]["costNano"] == 501_262_500
    assert [row["time"] for row in told["rows"]] == ["2026-01"]
    assert len(desk.well("requests", "--json").json) == 3
    postgres.drop(url)
