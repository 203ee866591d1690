"""Fill the ledger with ten million rows and ask it everything: how fast it drains, how soon it answers, how it forgets.

Both databases as they are shipped: SQLite and PostgreSQL with every commit on the disk. The rows are a year of
traffic: 20 tenants with 500 keys, 20 models, of which each key uses a few; hits are counters, as they are in truth. The
first rows come spread over the year, which makes the most sums; the last million as one busy hour.
"""

import asyncio
import random
import resource
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.ledger.postgres import Postgres

from askonce.domain.ledger import AuditRow, Batch, CallRow, CountRow, Origin, Record
from askonce.domain.reports import Group, Narrow, RequestQuestion, UsageQuestion
from askonce.ledger.drain import BATCH
from askonce.ledger.engine import open_engine
from askonce.ledger.migrate import migrate
from askonce.ledger.reports import SqlReports
from askonce.ledger.retention import Ages, sweep
from askonce.ledger.writer import SqlLedger
from bench.figures import Result, Scale, median

TARGET_MS = 200.0
TARGET_ROWS_PER_S = 20_000
ROWS, ROWS_QUICK = 10_000_000, 100_000
BUSY = 0.1  # of the rows fall into the last hour
COUNTED = 0.1  # of the records are counters
DAY = 86_400_000
START = 1_735_689_600_000  # 1 January 2025, UTC
END = START + 365 * DAY
KEYS, TENANTS, MODELS = 500, 20, 20


class Filled(NamedTuple):
    """Say how the filling went: all of it, and the busy hour; rows per second of wall time and of our CPU."""

    sparse: float
    busy: float
    busy_cpu_us: float


def run(folder: Path, scale: Scale) -> list[Result]:
    """Measure SQLite, then PostgreSQL."""
    rows = ROWS_QUICK if scale.quick else ROWS
    results = asyncio.run(measure("sqlite", "", folder, rows, scale.rounds))
    with server() as url:
        results += asyncio.run(measure("postgresql", url, folder, rows, scale.rounds))
    return results


@contextmanager
def server() -> Iterator[str]:
    """Run a PostgreSQL that syncs."""
    folder = Path(tempfile.mkdtemp(prefix="askonce-bench-postgres-"))
    postgres = Postgres(folder, durable=True)
    try:
        postgres.start()
        yield postgres.url
    finally:
        postgres.stop()
        shutil.rmtree(folder)


async def measure(name: str, url: str, folder: Path, rows: int, rounds: int) -> list[Result]:
    """Fill one database, ask it, let it forget."""
    engine = open_engine(url, folder)
    try:
        await migrate(engine)
        filled = await fill(engine, rows)
        print(f"{name}: {rows:,} rows, {filled.sparse:,.0f}/s over the year, {filled.busy:,.0f}/s of the busy hour")
        await settle(engine)
        answers = await ask(engine, name, rounds)
        forgotten = await forget(engine)
        print(f"{name}: {forgotten:,.0f} old rows deleted per second")
    finally:
        await engine.dispose()
    slowest = max(answers, key=lambda answer: answer[1])
    drained = f"{filled.busy:,.0f}/s, {filled.busy_cpu_us:.0f} µs of our CPU each"
    enough = filled.busy >= TARGET_ROWS_PER_S
    slow = f"{slowest[1]:.0f} ms ({slowest[0]})"
    return [
        Result("ledger", f"{name}: drained", drained, f">= {TARGET_ROWS_PER_S:,}/s", enough),
        Result("ledger", f"{name}: drained, a year at once", f"{filled.sparse:,.0f}/s"),
        Result("ledger", f"{name}: slowest answer", slow, f"< {TARGET_MS:.0f} ms", slowest[1] < TARGET_MS),
        Result("ledger", f"{name}: deleted", f"{forgotten:,.0f}/s"),
    ]


async def fill(engine: AsyncEngine, rows: int) -> Filled:
    """Write all rows through the ledger's own door."""
    ledger = SqlLedger(engine, no_audit)
    busy_rows = int(rows * BUSY)
    sparse_s = await write(ledger, 1, rows - busy_rows, (START, END - DAY))
    before = cpu_s()
    busy_s = await write(ledger, rows - busy_rows + 1, busy_rows, (END - 2 * 3_600_000, END - 3_600_000))
    return Filled((rows - busy_rows) / sparse_s, busy_rows / busy_s, (cpu_s() - before) / busy_rows * 1e6)


async def write(ledger: SqlLedger, first: int, rows: int, span: tuple[int, int]) -> float:
    """Write rows spread over a time; return the seconds that the ledger took, their making apart."""
    took_s = 0.0
    for start in range(0, rows, BATCH):
        size = min(BATCH, rows - start)
        records = tuple(made(first + start + place, span, (start + place) / rows) for place in range(size))
        batch = Batch("bench", first + start, first + start + size - 1, records)
        began = time.perf_counter()
        await ledger.apply(batch)
        took_s += time.perf_counter() - began
    return took_s


def made(number: int, span: tuple[int, int], share: float) -> Record:
    """Make a record that could have happened."""
    dice = random.Random(number)
    at_ms = int(span[0] + (span[1] - span[0]) * share)
    key = dice.randrange(KEYS)
    model = (key * 7 + dice.randrange(3)) % MODELS
    door = ("generate", "chat")[key % 2]
    tenant, key_id = f"tenant-{key % TENANTS}", f"key{key:07d}"
    provider, name = f"provider-{model % 5}", f"model-{model}-large"
    if dice.random() < COUNTED:
        hits = 1 + dice.randrange(20)
        return CountRow(
            at_ms // 60_000, tenant, key_id, door, provider, name, "exact", hits, hits * 1_000_000, hits * 100
        )
    request = f"a1b2c3d4e5f6{number:06x}"
    origin = Origin(tenant, key_id, "", door, request, f"{dice.getrandbits(128):032x}")
    failed = dice.random() < 0.01
    return CallRow(
        at_ms, origin, provider, name, f"{name}-2025-06-01", "failed" if failed else "answered", True, not failed,
        dice.randrange(10**7), 0, dice.randrange(3_000), dice.randrange(1_000), took_ms=dice.randrange(9_000),
        first_token_ms=dice.randrange(500), error_code="provider_failed" if failed else "",
    )  # fmt: skip


async def settle(engine: AsyncEngine) -> None:
    """Let PostgreSQL learn what is in its tables, as its own housekeeping does all the time."""
    if engine.dialect.name == "postgresql":
        async with engine.connect() as connection:
            await (await connection.execution_options(isolation_level="AUTOCOMMIT")).execute(text("VACUUM ANALYZE"))


def questions(reports: SqlReports) -> Iterator[tuple[str, Callable[[], Awaitable[object]]]]:
    """Name every kind of question, each with one of its worst cases."""

    def usage(start: int, end: int, *by: Group, **narrow: str) -> Callable[[], Awaitable[object]]:
        return lambda: reports.usage(UsageQuestion(start, end, by, Narrow(**narrow)))

    def listed(**narrow: str) -> Callable[[], Awaitable[object]]:
        return lambda: reports.requests(RequestQuestion(Narrow(**narrow)))

    yield "a year's total", usage(START, END)
    yield "a crooked year's total", usage(START + 20 * DAY + 5 * 3_600_000, END - 10 * DAY - 3_600_000)
    groups: tuple[Group, ...] = ("month", "tenant", "key", "door", "provider", "model")
    for group in groups:
        yield f"a year by {group}", usage(START, END, group)
    yield "a crooked year by key", usage(START + 20 * DAY + 5 * 3_600_000, END - 10 * DAY - 3_600_000, "key")
    yield "a year by day", usage(START, END, "day")
    yield "a year by day and provider", usage(START, END, "day", "provider")
    yield "a tenant's year by day", usage(START, END, "day", tenant="tenant-3")
    yield "a tenant's year by day and model", usage(START, END, "day", "model", tenant="tenant-3")
    yield "a tenant's year by key", usage(START, END, "key", tenant="tenant-3")
    yield "a tenant's year by key and model", usage(START, END, "key", "model", tenant="tenant-3")
    yield "a key's year by day", usage(START, END, "day", tenant="tenant-3", key_id="key0000003")
    yield "a year by key and model", usage(START, END, "key", "model")
    yield "a month by day and key", usage(END - 20 * DAY, END, "day", "key")
    yield "a week by hour", usage(END - 7 * DAY, END, "hour")
    yield "a week by hour and model", usage(END - 7 * DAY, END, "hour", "model")
    yield "requests", listed()
    yield "a tenant's requests", listed(tenant="tenant-3")
    yield "a key's requests", listed(tenant="tenant-3", key_id="key0000003")
    yield "a model's requests", listed(model="model-3-large")
    yield "a tenant's requests to a model that it never used", listed(tenant="tenant-3", model="model-4-large")
    yield "failed requests", lambda: reports.requests(RequestQuestion(kinds=("failed",)))
    yield "requests with an error", lambda: reports.requests(RequestQuestion(error_code="provider_failed"))
    yield "one request", lambda: reports.requests(RequestQuestion(request_id="a1b2c3d4e5f6000fff"))
    yield "requests of half a year ago", lambda: reports.requests(RequestQuestion(end_ms=END - 180 * DAY))


async def ask(engine: AsyncEngine, name: str, rounds: int) -> list[tuple[str, float]]:
    """Ask every question, in turns; return the medians in milliseconds."""
    took: dict[str, list[float]] = {}
    for _ in range(rounds):
        for question, answer in questions(SqlReports(engine)):
            began = time.perf_counter()
            await answer()
            took.setdefault(question, []).append((time.perf_counter() - began) * 1000)
    for question, times in took.items():
        print(f"{name}: {median(times):8.1f} ms  {question}")
    return [(question, median(times)) for question, times in took.items()]


async def forget(engine: AsyncEngine) -> float:
    """Delete a month, and return how many rows went per second."""
    began = time.perf_counter()
    rows = await sweep(engine, Ages(335, 335, 335), END)
    return rows / (time.perf_counter() - began)


async def no_audit(_: AsyncConnection, rows: Sequence[AuditRow]) -> None:
    """Stand in for the audit's sealer: there is no audit here."""
    if rows:
        raise ValueError(rows)


def cpu_s() -> float:
    """Return the seconds of CPU that this process has used."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
