"""The store of executions over the database, for a gateway. Imported by `archive` alone, and late."""

import asyncio
from pathlib import Path

from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.config.settings import Config
from askonce.domain.clock import Clock
from askonce.domain.errors import DatabaseAway
from askonce.domain.ledger import LedgerUnavailable
from askonce.ledger.engine import Bounds, open_beside, reading
from askonce.ledger.executions.away import AWAY_S
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import FILE, executions
from askonce.ledger.schema import SCHEMA

# Of one gateway: submissions are short, and lists read a page.
_BOUNDS = Bounds(connections=3, statement_s=20.0, name="askonce gateway executions")
LOOK_S, LOOKS = 0.1, 100  # for tables that a worker is making: ten seconds, and only once in a process' life
UNPREPARED = "The database has no tables of executions yet: the worker makes them."


class Shelves:
    """Hold the store and its connections."""

    def __init__(self, engine: AsyncEngine, store: SqlExecutions) -> None:
        self._engine = engine
        self.store = store
        self.prepared = False
        self._looks = LOOKS

    async def prepare(self) -> SqlExecutions:
        """Return the store. Raises `DatabaseAway` until its tables are there.

        The first who asks gives a worker that has just been started the time to make them.
        """
        while not self.prepared:
            try:
                async with reading(self._engine) as connection:
                    self.prepared = await connection.run_sync(_has_tables)
            except LedgerUnavailable as error:
                raise DatabaseAway(f"{error} Executions are kept there; ask again.", retry_after_s=AWAY_S) from error
            if not self.prepared:
                if self._looks <= 0:
                    raise DatabaseAway(UNPREPARED, retry_after_s=AWAY_S)
                self._looks -= 1
                await asyncio.sleep(LOOK_S)
        return self.store

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def open_shelves(config: Config, clock: Clock) -> Shelves:
    """Put the store together; nothing is connected yet. Raises `ConfigError`."""
    engine = open_beside(config.database_url, Path(config.data_dir), FILE, _BOUNDS)
    return Shelves(engine, SqlExecutions(engine, clock))


def _has_tables(connection: Connection) -> bool:
    schema = SCHEMA if connection.dialect.name == "postgresql" else None
    return inspect(connection).has_table(executions.name, schema=schema)
