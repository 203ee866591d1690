"""Names of workers, held so that others know who lives.

On one machine the worker's lock on the data folder is enough: whoever holds it is the only worker there is. With a
server, a transaction that is open as long as the worker lives holds an advisory lock on its name; the server ends it
with the connection. An open transaction, not a session: that passes through every pooler. It has no snapshot and no
number of its own, so that it keeps nothing from being vacuumed.
"""

import asyncio
import hashlib
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from askonce.domain.errors import DatabaseAway

AWAY_S = 2  # after which it is worth asking again
ALONE = "alone"
# A name whose connection is silent for so long counts as lost. The server waits longer (eleven seconds, below) until it
# lets others have it, so that who was cut off stops before they begin.
HOLD_S = 5.0
# The last three: how long the server waits for a worker that has vanished without a word, such as with its network.
_NO_HURRY = (
    "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 5000; "
    "SET LOCAL lock_timeout = 5000; SET LOCAL tcp_keepalives_idle = 5; SET LOCAL tcp_keepalives_interval = 2; "
    "SET LOCAL tcp_keepalives_count = 3"
)


class AloneTenure:
    """Be the only worker (port `Tenure`): whoever was there before is dead."""

    async def take(self) -> str:
        """Take the one name."""
        return ALONE

    async def holds(self) -> bool:
        """Say yes."""
        return True

    async def inherit(self, worker: str, take_over: Callable[[], Awaitable[None]]) -> bool:
        """Inherit from anybody."""
        await take_over()
        return True

    async def release(self) -> None:
        """Do nothing."""


class PostgresTenure:
    """Hold a fresh name on a server (port `Tenure`). `connect` makes a connection, off the loop."""

    def __init__(self, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._held: psycopg.Connection[Any] | None = None
        self._asking: psycopg.Connection[Any] | None = None  # kept, because it is asked again every second

    async def take(self) -> str:
        """Take a fresh name; what was held is given up."""
        await self.release()
        name = uuid.uuid4().hex
        self._held = await asyncio.to_thread(self._hold, name)
        return name

    async def holds(self) -> bool:
        """Say whether our transaction is still open."""
        if self._held is None:
            return False
        try:
            async with asyncio.timeout(HOLD_S):
                return await asyncio.to_thread(_answers, self._held)
        except TimeoutError:
            self._held = None  # whoever waits for it in that thread closes it
            return False

    async def inherit(self, worker: str, take_over: Callable[[], Awaitable[None]]) -> bool:
        """Take over from a worker whose name nobody holds."""
        if not await asyncio.to_thread(self._try, worker):
            return False
        try:
            await take_over()
        finally:
            await asyncio.to_thread(self._let_go)
        return True

    async def release(self) -> None:
        """End our transactions."""
        connections, self._held, self._asking = (self._held, self._asking), None, None
        for connection in connections:
            if connection is not None:
                await asyncio.to_thread(connection.close)

    def _hold(self, name: str) -> psycopg.Connection[Any]:
        with _translated():
            connection = self._connect()
            if not _lock(connection, name):
                connection.close()
                raise DatabaseAway("A worker's name cannot be taken.", retry_after_s=AWAY_S)
            return connection

    def _try(self, name: str) -> bool:
        """Hold another's name until `_let_go`, if nobody does."""
        with _translated():
            if self._asking is None or self._asking.closed:
                self._asking = self._connect()
            try:
                held = _lock(self._asking, name)
            except psycopg.Error:
                self._asking.close()
                raise
        if not held:
            self._let_go()
        return held

    def _let_go(self) -> None:
        """End the transaction, and with it the lock."""
        if self._asking is not None:
            try:
                self._asking.rollback()
            except psycopg.Error:
                self._asking.close()


def _lock(connection: psycopg.Connection[Any], name: str) -> bool:
    """Open a transaction that holds a name, if nobody does.

    The settings come behind the lock: a statement with parameters keeps its snapshot until the next one begins, and
    indexes that are made meanwhile (the engine's own) would wait for it.
    """
    row = connection.execute("SELECT pg_try_advisory_xact_lock(%s)", (_number(name),), prepare=False).fetchone()
    connection.execute(_NO_HURRY, prepare=False)
    return row is not None and bool(row[0])


def _answers(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("SELECT 1", prepare=False)
    except psycopg.Error:
        connection.close()
        return False
    return True


def _number(name: str) -> int:
    """Return a name's number among advisory locks: 64 bits of its hash, so that nobody else's is the same."""
    return int.from_bytes(hashlib.sha256(f"askonce worker {name}".encode()).digest()[:8], signed=True)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (psycopg.OperationalError, OSError) as error:
        raise DatabaseAway(f"The database is away: {error}", retry_after_s=AWAY_S) from error
