"""The audit by the command line: checked, tampered with, exported, accepted; beside a server's shared state too."""

import asyncio
import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from tests.cli.officeworld import Desk
from tests.ledger.auditworld import tamper
from tests.ledger.postgres import Postgres, postgres

from askonce.domain.clock import SystemClock
from askonce.domain.ledger import Anchor
from askonce.ledger.engine import open_engine
from askonce.state.lmdb_glance import Glance
from askonce.state.lmdb_state import LmdbState

__all__ = ["postgres"]

ANOTHER = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    desk = Desk(tmp_path, monkeypatch, capsys)
    for name in ("a", "b", "c"):
        desk.well("keys", "create", name)
    return desk


def as_owner(desk: Desk, *statements: str) -> None:
    """Change the audit's table as whoever owns the database can."""

    async def act() -> None:
        engine = open_engine("", desk.data)
        try:
            await tamper(engine, *statements)
        finally:
            await engine.dispose()

    asyncio.run(act())


def serve(folder: Path, act: Callable[[LmdbState], None]) -> None:
    """Do something as a server would, in a process of its own: one process opens the files once only."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        pool.submit(_serve, folder, act).result()


def _serve(folder: Path, act: Callable[[LmdbState], None]) -> None:
    state = LmdbState(folder, 1 << 20, SystemClock(), "0:1")
    state.open()
    try:
        act(state)
    finally:
        state.close()


def open_only(_: LmdbState) -> None:
    pass


def test_a_sound_log_is_said_to_be_so_with_what_that_does_not_prove(desk: Desk) -> None:
    done = desk.well("audit", "verify")
    assert "3 rows, from number 1 to 3." in done.out
    assert "Nothing is wrong" in done.out
    assert "Who holds the key (ASKONCE_SECRET) can make a chain anew" in done.out
    assert "No end was ever noted" in done.out


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE AUDIT SET subject = 'key:x' WHERE number = 2", "edited"),
        ("DELETE FROM AUDIT WHERE number = 2", "missing"),
        ("UPDATE AUDIT SET number = 9 WHERE number = 3", "moved"),
    ],
)
def test_a_broken_log_ends_with_1_and_says_where(desk: Desk, statement: str, kind: str) -> None:
    as_owner(desk, statement)
    done = desk("audit", "verify")
    assert done.code == 1
    assert "BROKEN" in done.out
    told = desk("audit", "verify", "--json")
    assert told.code == 1
    assert kind in {finding["kind"] for finding in told.json["findings"]}


def test_a_missing_tail_is_found_by_an_end_that_was_noted_elsewhere(desk: Desk) -> None:
    end = desk.well("audit", "verify", "--json").json["end"]
    as_owner(desk, "DELETE FROM AUDIT WHERE number = 3")
    assert desk("audit", "verify").code == 0
    done = desk("audit", "verify", "--anchor", end)
    assert done.code == 1
    assert "missing at the end" in done.out
    assert desk("audit", "verify", "--anchor", "3:xyz").code == 2


def test_a_missing_tail_is_found_by_the_end_that_the_server_noted(desk: Desk) -> None:
    number, _, seal = desk.well("audit", "verify", "--json").json["end"].partition(":")
    serve(desk.data, open_only)
    asyncio.run(Glance(desk.data, SystemClock()).note(Anchor(int(number), bytes.fromhex(seal))))
    as_owner(desk, "DELETE FROM AUDIT WHERE number = 3")
    assert desk("audit", "verify").code == 1


def test_a_lost_lock_of_the_table_is_told(desk: Desk) -> None:
    with sqlite3.connect(desk.data / "ledger.db") as connection:
        connection.execute("DROP TRIGGER audit_no_update")
    connection.close()
    assert "trigger audit_no_update is gone" in desk("audit", "verify").out


def test_an_export_is_checked_with_nothing_but_the_secret(desk: Desk) -> None:
    file = desk.folder / "log.jsonl"
    assert desk.well("audit", "export", "--out", str(file)).err == "4 rows were exported.\n"
    assert file.stat().st_mode & 0o77 == 0
    assert desk("audit", "export", "--out", str(file)).code == 1
    secret = (desk.data / "secret").read_text().strip()
    desk.set("ASKONCE_DATA_DIR", str(desk.folder / "nowhere"))
    assert desk("audit", "verify", str(file)).code == 2
    desk.set("ASKONCE_SECRET", secret)
    desk.set("DATABASE_URL", "postgresql://x@127.0.0.1:1/x")
    assert "4 rows, from number 1 to 4." in desk.well("audit", "verify", str(file)).out
    assert not (desk.folder / "nowhere").exists()
    desk.set("ASKONCE_SECRET", ANOTHER)
    assert desk("audit", "verify", str(file)).code == 1


def test_a_file_that_was_edited_or_cut_is_broken(desk: Desk) -> None:
    lines = desk.well("audit", "export").out.splitlines(keepends=True)
    assert json.loads(lines[-1])["rows"] == 4
    whole = "".join(lines)
    assert desk("audit", "verify", "-", stdin=whole).code == 0
    assert desk("audit", "verify", "-", stdin="".join(lines[:-1])).code == 1
    assert desk("audit", "verify", "-", stdin="".join(lines[:2] + lines[3:])).code == 1
    assert desk("audit", "verify", "-", stdin=whole.replace('"name":"b"', '"name":"x"')).code == 1
    assert desk("audit", "verify", "-", stdin="").code == 1
    assert desk("audit", "verify", str(desk.folder / "none")).code == 1


def test_an_export_is_itself_recorded(desk: Desk) -> None:
    desk.well("audit", "export")
    assert desk.well("audit", "show", "-n", "1", "--json").json[0]["action"] == "audit.exported"


def test_rows_are_shown_by_who_did_what(desk: Desk) -> None:
    desk.well("tenants", "create", "acme")
    rows = desk.well("audit", "show", "--json").json
    assert [row["action"] for row in rows] == ["key.created"] * 3 + ["tenant.created"]
    assert all(row["actor"].startswith("shell:") for row in rows)
    assert len(desk.well("audit", "show", "--tenant", "acme", "--json").json) == 1
    assert desk.well("audit", "show", "--actor", "key:x", "--json").json == []
    assert "tenant:acme" in desk.well("audit", "show", "-n", "1").out


def test_after_a_restore_the_end_is_accepted_and_that_is_recorded(desk: Desk) -> None:
    number, _, seal = desk.well("audit", "verify", "--json").json["end"].partition(":")
    serve(desk.data, open_only)
    glance = Glance(desk.data, SystemClock())
    asyncio.run(glance.note(Anchor(int(number), bytes.fromhex(seal))))
    as_owner(desk, "DELETE FROM AUDIT WHERE number >= 2", f"UPDATE audit_head SET number = 1, seal = {seal_of(desk)}")
    assert desk("audit", "verify").code == 1
    assert desk("audit", "accept").code == 2
    done = desk.well("audit", "accept", "--yes")
    assert f"noted before: 3:{seal}" in done.out
    row = desk.well("audit", "show", "-n", "1", "--json").json[0]
    assert (row["action"], row["severity"], row["details"]["former"]) == ("audit.accepted", "critical", f"3:{seal}")
    assert desk.well("audit", "verify", "--json").json["end"] in done.out


def seal_of(desk: Desk) -> str:
    with sqlite3.connect(desk.data / "ledger.db") as connection:
        (seal,) = connection.execute("SELECT seal FROM audit WHERE number = 1").fetchone()
    connection.close()
    return f"x'{seal.hex()}'"


def test_a_lost_secret_ends_the_chain_until_that_is_accepted(desk: Desk) -> None:
    (desk.data / "secret").unlink()
    desk.set("ASKONCE_SECRET", ANOTHER)
    assert desk("tenants", "create", "acme").code == 2
    desk.well("audit", "accept", "--yes")
    desk.well("tenants", "create", "acme")
    told = desk("audit", "verify", "--json")
    assert told.code == 1
    assert {finding["kind"] for finding in told.json["findings"]} == {"unknown_key"}
    assert told.json["wrong"] == 3


def test_checking_without_a_secret_makes_none(desk: Desk) -> None:
    (desk.data / "secret").unlink()
    done = desk("audit", "verify")
    assert done.code == 2
    assert "ASKONCE_SECRET is not set" in done.err
    assert not (desk.data / "secret").exists()


def test_postgresql_is_checked_and_exported_as_well(desk: Desk, postgres: Postgres) -> None:
    url = postgres.database()
    desk.set("DATABASE_URL", url)
    desk.well("keys", "create", "a")
    exported = desk.well("audit", "export").out
    assert desk.well("audit", "verify", "--json").json["rows"] == 2
    desk.well("audit", "verify", "-", stdin=exported)
    postgres.drop(url)
