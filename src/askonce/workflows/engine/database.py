"""Connections of the engine to its own database: a file of SQLite, or a schema of PostgreSQL.

DBOS is synchronous inside and has threads of its own; what it would choose by itself differs from what it needs here.
"""

import sqlite3
import time
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Engine, create_engine, event

LOCK_S = 30  # to wait for another writer
TURN_WAIT_S = 30  # to wait for one of our own connections
# SQLite has one writer at a time: further connections only make their threads wait in the database instead of here.
SQLITE_CONNECTIONS = 1
POSTGRES_CONNECTIONS = 8
RECYCLE_S = 1800  # servers and proxies drop connections that grew old
WAL_BYTES = 16 << 20  # what SQLite's log is cut back to once it was longer
_SUBSECONDS = (3, 42)  # since which SQLite knows `unixepoch('subsec')`, which DBOS writes times with


def sqlite_engine(path: Path) -> Engine:
    """Prepare connections to a file; none is made yet.

    Synced by the system, not at every commit: a killed process loses nothing, a power cut the last moments.
    """
    engine = create_engine(
        f"sqlite:///{path}",
        pool_size=SQLITE_CONNECTIONS,
        max_overflow=0,
        pool_timeout=TURN_WAIT_S,
        connect_args={"timeout": LOCK_S, "check_same_thread": False},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _settle)
    return engine


def postgres_engine(dsn: str, *, pooled: bool = False, connect_s: float = 10.0) -> Engine:
    """Prepare connections to a server, as libpq reads `dsn`; none is made yet.

    `pooled`: behind a pooler that gives each transaction another connection; nothing is prepared on one then.
    """

    def connect() -> psycopg.Connection[Any]:
        return postgres_connection(dsn, pooled=pooled, connect_s=connect_s)

    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_size=POSTGRES_CONNECTIONS,
        max_overflow=0,
        pool_timeout=TURN_WAIT_S,
        pool_recycle=RECYCLE_S,
        pool_pre_ping=True,
        hide_parameters=True,
    )


def postgres_connection(dsn: str, *, pooled: bool = False, connect_s: float = 10.0) -> psycopg.Connection[Any]:
    """Connect to a server; a lost network is noticed within half a minute."""
    told: dict[str, Any] = {"connect_timeout": max(2, round(connect_s)), "application_name": "askonce engine"}
    told |= {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 15_000}
    connection = psycopg.connect(dsn, **told)
    if pooled:
        connection.prepare_threshold = None
    return connection


def _settle(connection: sqlite3.Connection, _entry: object) -> None:
    connection.isolation_level = "IMMEDIATE"
    for setting in (
        "journal_mode = WAL",
        "synchronous = NORMAL",
        f"busy_timeout = {LOCK_S * 1000}",
        "foreign_keys = ON",
        "temp_store = MEMORY",
        f"journal_size_limit = {WAL_BYTES}",
    ):
        connection.execute(f"PRAGMA {setting}").close()
    if sqlite3.sqlite_version_info < _SUBSECONDS:
        connection.create_function("unixepoch", 1, lambda _: time.time())
