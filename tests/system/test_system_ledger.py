"""What happened arrives in the database: each once, whoever is killed, and whether the database is there or not."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import pytest
from tests.ledger.postgres import Postgres
from tests.system.clients import request_now, run
from tests.system.houses import COST_NANO, USAGE, Build, House, eventually, script
from tests.system.loads import Memory, press

pytestmark = pytest.mark.process
FREE = 'workers = 2\nlimit_llm = "off"\nlimit_standard = "off"'
WORKING = script(f'delay_ms = 20\ntext = "Answer to {{prompt}}"\n{USAGE}')
CALLS = "SELECT request_id, kind, counted, cost_nano FROM {0}calls"
HITS = "SELECT sum(count) FROM {0}counts WHERE kind = 'exact'"


class Books:
    """Read one house's database."""

    def __init__(self, house: House, url: str = "") -> None:
        self._house = house
        self._url = url

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        """Answer a question; `{0}` stands for the schema."""
        if self._url:
            return asyncio.run(self._ask(question.format("askonce.")))
        connection = sqlite3.connect(f"file:{self._house.data / 'ledger.db'}?mode=ro", uri=True)
        try:
            return connection.execute(question.format("")).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return []  # they are just being made
        finally:
            connection.close()

    async def _ask(self, question: str) -> list[tuple[Any, ...]]:
        connection = await asyncpg.connect(self._url)
        try:
            return [tuple(row) for row in await connection.fetch(question)]
        except asyncpg.UndefinedTableError:
            return []
        finally:
            await connection.close()


@pytest.fixture
def server() -> Iterator[Postgres]:
    """Have a database server to kill."""
    folder = Path(tempfile.mkdtemp(prefix="askonce-postgres-"))
    one = Postgres(folder, durable=True)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder)


def ledger_part(house: House) -> dict[str, str]:
    """Return what /ready says of the ledger."""
    reply = request_now(house.port, "/ready")
    assert reply.status == 200, "a database that is away makes no gateway unready"
    part: dict[str, str] = reply.json()["parts"]["ledger"]
    return part


def hold_against_ledger(house: House, books: Books) -> None:
    """Stop the house, and check that the ledger has exactly what its statistics say."""
    stats = house.stats()
    assert house.stop() == 0
    rows = books.rows(CALLS)
    ids = [row[0] for row in rows]
    assert len(set(ids)) == len(ids), "none twice"
    answered = [row for row in rows if row[1] == "answered" and row[2]]
    assert len(answered) == stats["misses"], "none lost"
    assert sum(row[3] for row in answered) == stats["misses"] * COST_NANO
    assert (books.rows(HITS)[0][0] or 0) == stats["hits"]


def test_a_paid_call_is_in_the_ledger_a_moment_later_and_hits_once_it_is_stopped(build: Build) -> None:
    house = build(FREE).start(with_prices=True)
    books = Books(house)
    eventually(lambda: (house.data / "ledger.db").exists(), "the worker made the database")
    asked = house.ask("one")
    eventually(lambda: books.rows(CALLS) == [(asked.headers["x-request-id"], "answered", 1, COST_NANO)], "it is there")
    assert house.ask("one").cache == "hit"
    eventually(lambda: ledger_part(house) == {"status": "ok", "detail": ""}, "it is well")
    hold_against_ledger(house, books)


async def kill_some(house: House, dice: random.Random, server: Postgres | None) -> None:
    """Kill the worker, a gateway or the database, at some moment of the next second."""
    await asyncio.sleep(dice.uniform(0.05, 0.6))
    kind = dice.choice(["worker", "worker", "gateway"] + ["database"] * (server is not None))
    if kind == "database" and server is not None:
        await asyncio.to_thread(server.stop, hard=True)
        await asyncio.sleep(dice.uniform(0.1, 1.0))
        await asyncio.to_thread(server.start_again)
        return
    victim = house.scribe() if kind == "worker" else dice.choice(house.workers() or [None])
    if victim is not None:
        victim.send_signal(signal.SIGKILL)
    await asyncio.to_thread(eventually, lambda: len(house.workers()) == 2, "gateways are back")
    await asyncio.to_thread(house.await_workers)


KEY = ("--scope", "use", "--scope", "report", "--scope", "admin", "--concurrency", "64")
BUDGETS = ("--budget", "$1000/month", "--budget", "1000000 requests/day", "--budget", "1000000000 tokens/month")
LAPSES_S = 30.0  # what a dead process had reserved is free again well before


def give_key(house: House) -> str:
    """Have everything asked with a key that has budgets; return its id."""
    made: dict[str, str] = json.loads(house.run_command("keys", "create", "load", *KEY, *BUDGETS, "--json"))
    house.key = made["key"]
    return made["id"]


def hold_against_budgets(house: House, books: Books, key_id: str) -> None:
    """Check that nothing is reserved any more, and that exactly what was booked counts."""

    def statement() -> dict[str, Any]:
        told: dict[str, Any] = request_now(house.port, f"/admin/budgets?key={key_id}", headers=house.headers).json()
        return told

    def is_free() -> bool:
        now = statement()
        return now["inFlight"] == 0 and not any(each["reserved"] for each in now["budgets"])

    eventually(is_free, "nothing is reserved for calls that are over", within_s=LAPSES_S)
    used = {each["metric"]: each["used"] for each in statement()["budgets"]}
    eventually(lambda: ledger_part(house)["status"] == "ok", "the ledger is written", within_s=90)
    spent = f"SELECT sum(cost_nano), sum(prompt_tokens + completion_tokens) FROM {{0}}calls WHERE key_id = '{key_id}'"
    eventually(lambda: books.rows(spent) == [(used["nano_dollars"], used["tokens"])], "what was booked is what counts")


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("rounds", [4, pytest.param(50, marks=pytest.mark.soak)])
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_whoever_is_killed_no_row_is_lost_or_doubled(
    build: Build, request: pytest.FixtureRequest, database: str, rounds: int
) -> None:
    server: Postgres | None = request.getfixturevalue("server") if database == "postgresql" else None
    url = server.url if server else ""
    house = build(FREE, WORKING, {"DATABASE_URL": url}).start(with_prices=True)
    key_id = give_key(house)
    eventually(lambda: all(house.ask("first").status == 200 for _ in range(12)), "every gateway knows the key")
    memory, dice = Memory(), random.Random(rounds)
    for _ in range(rounds):
        run(press(house, memory, lambda: kill_some(house, dice, server)))
    assert memory.ways["miss"] > rounds
    assert not memory.others
    books = Books(house, url)
    hold_against_budgets(house, books, key_id)
    hold_against_ledger(house, books)


def test_with_the_database_away_requests_go_on_and_everything_arrives_once(build: Build, server: Postgres) -> None:
    house = build(FREE, env={"DATABASE_URL": server.url}).start(with_prices=True)
    eventually(lambda: all(house.ask("first").status == 200 for _ in range(12)), "every gateway knows the keys")
    server.stop(hard=True)
    for number in range(20):
        assert house.ask(f"question {number % 10}").status == 200
    eventually(lambda: "The database is away" in ledger_part(house)["detail"], "it is said")
    eventually(lambda: (house.data / "spool.db").exists(), "they are kept in a file")
    assert house.stop() == 0
    house.start(with_prices=True)  # what is kept outlives a restart
    assert house.ask("another").cache == "miss"
    server.start_again()
    eventually(lambda: ledger_part(house)["status"] == "ok", "the database is found again", within_s=90)
    hold_against_ledger(house, Books(house, server.url))


def test_with_the_database_frozen_requests_go_on_and_everything_arrives_once(build: Build, server: Postgres) -> None:
    house = build(FREE, env={"DATABASE_URL": server.url}).start(with_prices=True)
    eventually(lambda: all(house.ask("first").status == 200 for _ in range(12)), "every gateway knows the keys")
    server.freeze()
    try:
        for number in range(20):
            began = time.monotonic()
            assert house.ask(f"question {number % 10}").status == 200
            assert time.monotonic() - began < 2
        assert request_now(house.port, "/health").status == 200
    finally:
        server.thaw()
    eventually(lambda: ledger_part(house)["status"] == "ok", "the database is found again", within_s=90)
    hold_against_ledger(house, Books(house, server.url))


def test_with_the_databases_disk_full_requests_go_on_and_everything_arrives_once(build: Build, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("mounting a tmpfs needs root")
    tmp_path.chmod(0o755)
    disk = Path(tempfile.mkdtemp(dir="/tmp"))
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m,mode=0755", "none", disk], capture_output=True)
    if done.returncode:
        disk.rmdir()
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    server = Postgres(disk)
    try:
        server.start()
        house = build(FREE, env={"DATABASE_URL": server.url}).start(with_prices=True)
        eventually(lambda: all(house.ask("first").status == 200 for _ in range(12)), "every gateway knows the keys")
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 65536):
                pass
        asyncio.run(exhaust(server))
        for number in range(20):
            assert house.ask(f"question {number % 10}").status == 200
        ballast.unlink()
        if not server.is_running():
            server.start_again()
        eventually(lambda: ledger_part(house)["status"] == "ok", "the database is found again", within_s=90)
        hold_against_ledger(house, Books(house, server.url))
    finally:
        server.stop(hard=True)
        subprocess.run(["umount", "--lazy", disk], check=True)
        disk.rmdir()


async def exhaust(server: Postgres) -> None:
    """Write until the server says that its disk is full, or is gone for it."""
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection = await asyncpg.connect(server.url)
        try:
            await connection.execute("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")
        finally:
            await connection.close()
        raise AssertionError("the disk was not full")


def test_the_first_administrators_link_is_on_the_screen_only(build: Build) -> None:
    house = build(FREE).start()
    eventually(lambda: "/login?word=" in house.screen(), "the link is shown")
    word = house.screen().partition("/login?word=")[2].split()[0]
    assert len(word) >= 40
    house.stop()
    assert word not in (house.folder / "log").read_text()
