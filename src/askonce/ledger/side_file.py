"""A file of SQLite's beside the database: for what waits here. Work on it is done in threads, one at a time.

What was written is on the disk when `do` returns.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

BUSY_S = 30.0  # another worker's turn

_T = TypeVar("_T")


class SideFile:
    """Hold one file with one table, opened by its first use."""

    def __init__(self, path: Path, table: str) -> None:
        self.path = path
        self._table = table
        self._turn = asyncio.Lock()
        self._connection: sqlite3.Connection | None = None

    async def do(self, act: Callable[[sqlite3.Connection], _T]) -> _T:
        """Do one thing, kept if it ends well. Raises `sqlite3.Error`.

        A thread that was begun ends, also if nobody waits for it any more.
        """
        async with self._turn:
            thread = asyncio.ensure_future(asyncio.to_thread(self._in_thread, act))
            try:
                return await asyncio.shield(thread)
            except asyncio.CancelledError:
                await asyncio.wait([thread])
                raise

    async def close(self) -> None:
        """Let go of the file; what is in it stays. Opened again by the next use."""
        async with self._turn:
            if self._connection is not None:
                await asyncio.to_thread(self._connection.close)
                self._connection = None

    def _in_thread(self, act: Callable[[sqlite3.Connection], _T]) -> _T:
        if self._connection is None:
            self._connection = self._open()
        with self._connection:
            return act(self._connection)

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_S, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            with connection:
                connection.execute(self._table)
        except BaseException:
            connection.close()
            raise
        return connection
