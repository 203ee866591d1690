"""Connections to the database, and turns at it.

SQLite: one file in WAL mode, synced at every commit. A writing turn takes the file's lock at its beginning, so that it
never fails in its middle for another's sake. PostgreSQL: our own schema, statements and locks with deadlines; behind a
pooler that shares connections, no statement outlives its transaction and no setting is sent that it would refuse.
"""

import sqlite3
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
from msgspec import Struct
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.engine.interfaces import DBAPIConnection, DBAPICursor
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, NullPool
from sqlalchemy.util import await_

from askonce.ledger.address import PostgresServer, SqliteFile, parse
from askonce.ledger.away import translated
from askonce.ledger.schema import SCHEMA

LOCK_S = 30.0  # to wait for another writer
LOG_TRIES, LOG_PAUSE_S = 200, 0.01  # to be the first who has a file write ahead
TURN_WAIT_S = 10.0  # to wait for one of our own connections
RECYCLE_S = 1800  # servers and proxies drop connections that grew old
SQLITE_CACHE_KIB = 65_536  # the ends of all indexes that a busy ledger writes to fit into it
SQLITE_WAL_BYTES = 64 << 20  # what the log is cut back to once it was longer
SQLITE_STEPS = 200_000  # of its machine, some milliseconds, between two looks at the clock

READS = "askonce_reads"  # this connection only reads: no lock is taken
UNHURRIED = "askonce_unhurried"  # no deadline: changes of the tables themselves

# What waits for a transaction's end.
Afterwards = list[Callable[[], Awaitable[None]]]
_joined: ContextVar[tuple[AsyncEngine, AsyncConnection, Afterwards] | None] = ContextVar(
    "askonce_together", default=None
)


class Bounds(Struct, frozen=True):
    """Bound what one process takes of the database. `statement_s` is for a statement, on SQLite for a whole turn."""

    connections: int = 4
    statement_s: float = 60.0
    name: str = "askonce"  # as the server's own lists show it


def open_engine(url: str, folder: Path, bounds: Bounds = Bounds()) -> AsyncEngine:  # noqa: B008  # it is frozen
    """Prepare connections to what `DATABASE_URL` says; none is made yet. Raises `ConfigError`.

    To be disposed of (`await engine.dispose()`) in the event loop that used it.
    """
    address = parse(url, folder)
    if isinstance(address, SqliteFile):
        return _sqlite(address, bounds, "FULL")
    return _postgres(address, bounds)


def open_beside(url: str, folder: Path, file: str, bounds: Bounds) -> AsyncEngine:
    """Prepare connections to another file of SQLite beside the ledger's, or to the same PostgreSQL.

    The file is synced by the system, not at every commit: a killed process loses nothing, a power cut the last moments.
    """
    address = parse(url, folder)
    if isinstance(address, SqliteFile):
        return _sqlite(SqliteFile(address.path.with_name(file)), bounds, "NORMAL")
    return _postgres(address, bounds)


def plain_engine(of: AsyncEngine, connections: int, *, reads: bool) -> Engine:
    """Prepare connections to the file beside the ledger's that `of` is for, for threads instead of the loop.

    `reads`: they cannot write, and take no lock. There is no deadline: for short turns only.
    """
    engine = create_engine(
        URL.create("sqlite", database=of.url.database),
        pool_size=connections,
        max_overflow=0,
        pool_timeout=TURN_WAIT_S,
        connect_args={"timeout": LOCK_S, "check_same_thread": False},  # whoever closes one is another thread
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: ConnectionPoolEntry) -> None:
        connection.isolation_level = None
        _settle(connection, "NORMAL")
        if reads:
            connection.execute("PRAGMA query_only = 1").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


@asynccontextmanager
async def writing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that is kept if its block ends well, undone otherwise. Raises `LedgerUnavailable`.

    If it was cancelled or raised while it was being kept, nobody knows whether it is. Within `together` it is a part of
    that, and kept with it.
    """
    joined = _joined.get()
    if joined is not None and joined[0] is engine:
        yield joined[1]
        return
    with translated():
        async with engine.begin() as connection:
            yield connection


@asynccontextmanager
async def together(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that each `writing` and `reading` within its block is part of: all of it is kept, or none."""
    waiting: Afterwards = []
    async with writing(engine) as connection:
        token = _joined.set((engine, connection, waiting))
        try:
            yield connection
        finally:
            _joined.reset(token)
    for act in waiting:
        await act()


async def afterwards(engine: AsyncEngine, act: Callable[[], Awaitable[None]]) -> None:
    """Do something once what was written is kept: at once, or at the end of the transaction that is open `together`."""
    joined = _joined.get()
    if joined is not None and joined[0] is engine:
        joined[2].append(act)
    else:
        await act()


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that sees one state of the database, and cannot change it. Raises `LedgerUnavailable`.

    Within `together` it sees what was written there.
    """
    joined = _joined.get()
    if joined is not None and joined[0] is engine:
        yield joined[1]
        return
    with translated():
        async with engine.connect() as connection:
            options: dict[str, Any] = {READS: True}
            if connection.dialect.name == "postgresql":
                options |= {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
            yield await connection.execution_options(**options)


def _postgres(server: PostgresServer, bounds: Bounds) -> AsyncEngine:
    options: dict[str, Any] = {"dsn": server.dsn, "timeout": server.connect_s, "command_timeout": None}
    pool: dict[str, Any] = {"poolclass": NullPool}
    if server.pooled:
        # The pooler has the pool, and its connections keep nothing for us; names of statements meet those of others.
        options |= {"statement_cache_size": 0, "command_timeout": bounds.statement_s + LOCK_S}
        names: dict[str, Any] = {
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": lambda: f"askonce_{uuid.uuid4().hex}",
        }
    else:
        names = {}
        options["server_settings"] = {
            "application_name": bounds.name,
            "statement_timeout": str(int(bounds.statement_s * 1000)),
            "lock_timeout": str(int(LOCK_S * 1000)),
            "idle_in_transaction_session_timeout": str(int((bounds.statement_s + LOCK_S) * 1000)),
        }
        pool = {
            "pool_size": bounds.connections,
            "max_overflow": 0,
            "pool_timeout": TURN_WAIT_S,
            "pool_recycle": RECYCLE_S,
            "pool_pre_ping": True,
        }

    async def connect(**_: object) -> asyncpg.Connection:
        return await asyncpg.connect(**options)

    engine = create_async_engine(
        URL.create("postgresql+asyncpg"), async_creator=connect, connect_args=names, hide_parameters=True, **pool
    )
    return engine.execution_options(schema_translate_map={None: SCHEMA})


def _sqlite(file: SqliteFile, bounds: Bounds, sync: str) -> AsyncEngine:
    engine = create_async_engine(
        URL.create("sqlite+aiosqlite", database=str(file.path)),
        pool_size=bounds.connections,
        max_overflow=0,
        pool_timeout=TURN_WAIT_S,
        connect_args={"timeout": LOCK_S},
        hide_parameters=True,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, entry: ConnectionPoolEntry) -> None:
        connection.isolation_level = None  # `begin` below says when a transaction begins, not the driver
        try:
            _settle(connection, sync)
        except BaseException:
            connection.close()  # it has a thread, and nobody else knows of it yet
            raise
        until = entry.info["until"] = [float("inf")]
        await_(connection.driver_connection.set_progress_handler(lambda: time.monotonic() > until[0], SQLITE_STEPS))

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        hurry = bounds.statement_s + LOCK_S
        connection.info["until"][0] = float("inf") if options.get(UNHURRIED) else time.monotonic() + hurry
        reads = options.get(READS, False)
        connection.exec_driver_sql(f"PRAGMA query_only = {int(reads)}")
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _settle(connection: DBAPIConnection, sync: str) -> None:
    """Set what SQLite keeps per connection."""
    cursor = connection.cursor()
    _begin_log(cursor)
    for setting in (
        f"synchronous = {sync}",
        "foreign_keys = ON",
        "temp_store = MEMORY",
        f"cache_size = -{SQLITE_CACHE_KIB}",
        f"journal_size_limit = {SQLITE_WAL_BYTES}",
    ):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _begin_log(cursor: DBAPICursor) -> None:
    """Have a file write ahead. Of several who ask for that first at once SQLite turns some away without a wait."""
    for _ in range(LOG_TRIES):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            time.sleep(LOG_PAUSE_S)  # whoever is at it needs a moment of a thread of its own
        else:
            return
    cursor.execute("PRAGMA journal_mode = WAL")
