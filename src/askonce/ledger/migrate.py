"""Bring the database to the shape that this program knows: all steps or none, by one process at a time.

A database that a newer program made is refused: what this one would write there may be wrong.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.domain.errors import ConfigError
from askonce.ledger.away import translated
from askonce.ledger.engine import UNHURRIED
from askonce.ledger.family import Family
from askonce.ledger.schema import SCHEMA, metadata

VERSIONS = "schema_version"  # the table that says which step was the last
LATEST = "head"
NOTHING = "base"
# Alembic tells every connection and step: what came of them is told by who asked.
logging.getLogger("alembic").setLevel(logging.WARNING)


LEDGER = Family(Path(__file__).parent / "migrations", VERSIONS, metadata)
Choose = Callable[[ScriptDirectory, Any], list[Any]]  # from what is there, the steps to take: Alembic's own business
# Of PostgreSQL's advisory locks: "askonce" in letters, so that nobody else's is the same.
_LOCK = int.from_bytes(b"askonce")


class LedgerTooNew(ConfigError):
    """Tell that a newer program made the database."""


async def migrate(engine: AsyncEngine, target: str = LATEST, family: Family = LEDGER) -> str:
    """Bring the tables up to `target` (a step's number), and return which step that is.

    Another process that does the same is waited for. Raises `LedgerTooNew` and `LedgerUnavailable`. If cancelled,
    nothing changed, unless it was being kept already.
    """
    return await _apply(engine, family, lambda known, current: known._upgrade_revs(target, current))


async def revert(engine: AsyncEngine, target: str, family: Family = LEDGER) -> str:
    """Bring the tables back to `target` (a step's number, or `NOTHING`); what later steps hold is lost."""
    return await _apply(engine, family, lambda known, current: known._downgrade_revs(target, current))


async def step_of(engine: AsyncEngine, family: Family = LEDGER) -> str:
    """Return which step the database is at, "" where there is none yet."""
    with translated():
        async with engine.connect() as connection:
            return await connection.run_sync(lambda it: context(it, family).get_current_revision() or "")


def context(connection: Connection, family: Family = LEDGER) -> MigrationContext:
    """Return Alembic's view of the database."""
    return MigrationContext.configure(connection, opts=_options(connection, family))


def scripts(family: Family = LEDGER) -> ScriptDirectory:
    """Return the steps that this program knows."""
    config = Config()
    config.set_main_option("script_location", str(family.folder))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


async def _apply(engine: AsyncEngine, family: Family, choose: Choose) -> str:
    with translated():
        async with engine.connect() as connection:
            await connection.execution_options(**{UNHURRIED: True})
            async with connection.begin():
                return await connection.run_sync(_step, family, choose)


def _step(connection: Connection, family: Family, choose: Choose) -> str:
    if connection.dialect.name == "postgresql":
        _take_turn(connection)
    known = scripts(family)
    current = context(connection, family).get_current_revision()
    if current is not None and current not in {script.revision for script in known.walk_revisions()}:
        raise LedgerTooNew(
            f"DATABASE_URL: this database is at step {current}, which a newer Askonce made; this one knows steps up to "
            f"{known.get_current_head()}. Run the newer program, or restore a backup from before."
        )
    with EnvironmentContext(Config(), known, fn=lambda current, _: choose(known, current)) as environment:
        environment.configure(connection, **_options(connection, family))
        environment.run_migrations()
    return context(connection, family).get_current_revision() or ""


def _take_turn(connection: Connection) -> None:
    """Wait for other processes, and let names without a schema mean ours until the end of the transaction."""
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    connection.execute(text(f"SET LOCAL search_path TO {SCHEMA}"))


def _options(connection: Connection, family: Family) -> dict[str, Any]:
    """Say what Alembic needs to know of our tables."""
    return {
        "target_metadata": family.tables,
        "version_table": family.versions,
        "version_table_schema": SCHEMA if connection.dialect.name == "postgresql" else None,
        "transactional_ddl": True,  # also with SQLite, whose transactions are begun by hand
    }
