"""The world of the tests of keys, users and tenants: a database, a directory in memory, a clock set by hand."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.ledger.ledgerworld import DAY, Place
from tests.state.statefakes import HandClock

from askonce.config.sealing import Sealer
from askonce.domain.accounts import Feed, Keys, LoginLinks, ProviderKeys, Tenants, Users
from askonce.domain.credentials import key_digest
from askonce.domain.identity import Standing
from askonce.ledger import identity_tables
from askonce.ledger.key_feed import SqlFeed, refresh
from askonce.ledger.keys import SqlKeys
from askonce.ledger.schema import metadata, qualified
from askonce.ledger.tenants import SqlTenants
from askonce.ledger.users import SqlLoginLinks, SqlUsers
from askonce.ledger.vault import SqlProviderKeys
from askonce.state.memory_identity import MemoryDirectory

__all__ = ["DAY", "FORMER", "PEPPER", "TABLES", "Stage", "World", "stage"]

PEPPER, FORMER = b"p" * 32, b"f" * 32
TABLES = [
    table
    for table in metadata.sorted_tables
    if any(table is known for known in vars(identity_tables).values())  # others' tables are others' tests
]


class World:
    """Hold everything over one database."""

    def __init__(self, engine: AsyncEngine, peppers: tuple[bytes, ...] = (PEPPER,)) -> None:
        self.engine = engine
        self.clock = HandClock()
        self.directory = MemoryDirectory()
        self.keys = SqlKeys(engine, self.directory, peppers, self.clock)
        self.tenants = SqlTenants(engine, self.directory, self.clock)
        self.users = SqlUsers(engine, self.directory, self.clock)
        self.links = SqlLoginLinks(engine, self.clock)
        self.vault = SqlProviderKeys(engine, Sealer(peppers), self.clock)
        self.feed = SqlFeed(engine, self.clock)
        self.ports: tuple[Keys, Tenants, Users, LoginLinks, ProviderKeys, Feed]  # for the type checker
        self.ports = (self.keys, self.tenants, self.users, self.links, self.vault, self.feed)

    async def refresh(self) -> bool:
        return await refresh(self.feed, self.directory)

    async def in_force(self, key: str, pepper: bytes = PEPPER) -> Standing | None:
        return await self.directory.find(key_digest(pepper, key))

    async def sql(self, statement: str, **values: object) -> list[Any]:
        """Do something behind everybody's back."""
        async with self.engine.begin() as connection:
            names = {table.name: qualified(connection.dialect, table.name) for table in TABLES}
            result = await connection.execute(text(statement.format_map(names)), values)
            return list(result) if result.returns_rows else []


Play = Callable[[World], Coroutine[Any, Any, None]]
Stage = Callable[[Play], None]


@pytest.fixture
def stage(place: Place) -> Stage:
    """Give a stage over each kind of database in turn: what is played on it finds its tables there."""
    return lambda play: place.play(lambda engine: play(World(engine)))
