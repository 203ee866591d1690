"""A database that is away, as executions tell of it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.errors import DatabaseAway
from askonce.domain.ledger import LedgerUnavailable
from askonce.ledger.engine import reading, writing

AWAY_S = 5  # after which it is worth asking again


@asynccontextmanager
async def changing(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that writes. Raises `DatabaseAway`."""
    with _translated():
        async with writing(engine) as connection:
            yield connection


@asynccontextmanager
async def looking(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a transaction that reads. Raises `DatabaseAway`."""
    with _translated():
        async with reading(engine) as connection:
            yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except LedgerUnavailable as error:
        raise DatabaseAway(f"{error} Executions are kept there; ask again.", retry_after_s=AWAY_S) from error
