"""Turns at the rows of executions: each transaction is one function, which is run in one piece.

SQLite: in threads of its own. Whoever wants to write waits there for his turn, for SQLite lets those who wait for its
lock sleep, longer each time; and a transaction crosses from thread to thread once, not with each of its statements.
PostgreSQL: on the loop, like everything else.

Small changes that many make side by side share a transaction: while one is under way, all that come gather for the
next. Where that fails for what one of them wrote, each has one of its own.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.domain.errors import DatabaseAway
from askonce.ledger.engine import plain_engine, reading, writing
from askonce.ledger.executions.away import translated

T = TypeVar("T")
GROUP = 64  # changes that share a transaction at most
READERS = 2  # reading takes no lock, but is done by one processor at a time in any case


class Turns:
    """Give turns at the database behind `engine`; to be closed by disposing of that."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._desks: tuple[_Desk, _Desk] | None = None
        if engine.dialect.name == "sqlite":
            self._desks = _Desk(engine, 1, reads=False), _Desk(engine, READERS, reads=True)
        self._waiting: deque[tuple[Callable[[Connection], Any], asyncio.Future[Any]]] = deque()
        self._sharing: asyncio.Task[None] | None = None

    async def change(self, act: Callable[[Connection], T]) -> T:
        """Do something in a transaction that writes. Raises `DatabaseAway`. If cancelled, it may be done."""
        with translated():
            if self._desks is not None:
                return await self._desks[0].do(act)
            async with writing(self._engine) as connection:
                return await connection.run_sync(act)

    async def share(self, act: Callable[[Connection], T]) -> T:
        """Do a small change, perhaps in one transaction with others'; perhaps twice, if the first time is undone.

        Otherwise as `change`.
        """
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._waiting.append((act, result))
        if self._sharing is None or self._sharing.done():
            self._sharing = loop.create_task(self._share())
        return await result

    async def _share(self) -> None:
        while self._waiting:
            await self._do_together([self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))])

    async def _do_together(self, group: list[tuple[Callable[[Connection], Any], asyncio.Future[Any]]]) -> None:
        group = [(act, result) for act, result in group if not result.done()]  # some may have left
        try:
            values = await self.change(lambda connection: [act(connection) for act, _ in group])
        except Exception as error:
            if len(group) == 1 or isinstance(error, DatabaseAway):
                for _, result in group:
                    if not result.done():
                        result.set_exception(error)
                return
            for one in group:
                await self._do_together([one])
        else:
            for (_, result), value in zip(group, values, strict=True):
                if not result.done():
                    result.set_result(value)

    async def look(self, act: Callable[[Connection], T]) -> T:
        """Do something in a transaction that only reads. Raises `DatabaseAway`."""
        with translated():
            if self._desks is not None:
                return await self._desks[1].do(act)
            async with reading(self._engine) as connection:
                return await connection.run_sync(act)


class _Desk:
    """Threads with a connection each to a file of SQLite."""

    def __init__(self, engine: AsyncEngine, threads: int, *, reads: bool) -> None:
        self._of = engine
        self._threads = threads
        self._reads = reads
        self._open: tuple[Engine, ThreadPoolExecutor] | None = None
        event.listen(engine.sync_engine, "engine_disposed", self._close)

    async def do(self, act: Callable[[Connection], T]) -> T:
        """Do something in a transaction."""
        if self._open is None:
            engine = plain_engine(self._of, self._threads, reads=self._reads)
            self._open = engine, ThreadPoolExecutor(self._threads, "askonce-rows")
        engine, pool = self._open
        return await asyncio.get_running_loop().run_in_executor(pool, _done, engine, act)

    def _close(self, _: Any) -> None:
        """Close the connections once what has begun is done; the next turn opens others."""
        if self._open is not None:
            engine, pool = self._open
            self._open = None
            pool.submit(engine.dispose)
            pool.shutdown(wait=False)


def _done(engine: Engine, act: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return act(connection)
