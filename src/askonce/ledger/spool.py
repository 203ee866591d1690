"""A file for what the database cannot take yet, so that shared state stays small while it is away.

Records keep their numbers and go on from here in the order in which they came. What was put here is on the disk when
`add` returns; putting it here twice is putting it here once. The file lies in the data folder.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from askonce.domain.ledger import Batch, LedgerUnavailable, Record, pack_record, unpack_record
from askonce.ledger.side_file import SideFile

FILE = "spool.db"

_T = TypeVar("_T")
_TABLE = """
CREATE TABLE IF NOT EXISTS records (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    number INTEGER NOT NULL,
    record BLOB NOT NULL,
    UNIQUE (source, number)
)
"""


class Spool:
    """Keep records in a file, oldest first. All methods raise `LedgerUnavailable` if the disk fails."""

    def __init__(self, folder: Path) -> None:
        self._file = SideFile(folder / FILE, _TABLE)

    async def add(self, batch: Batch) -> None:
        """Keep a batch. If cancelled, it may or may not be kept: add it again."""
        rows = [(batch.source, number, pack_record(record)) for number, record in enumerate(batch.records, batch.first)]
        await self._do(lambda it: it.executemany("INSERT OR IGNORE INTO records VALUES (NULL, ?, ?, ?)", rows))

    async def head(self, size: int) -> Batch | None:
        """Return the oldest records of one source, at most `size`, without a gap among them; None at the end."""
        return await self._do(lambda it: _head(it, size))

    async def settle(self, batch: Batch) -> None:
        """Forget a batch: the ledger has it."""
        delete = "DELETE FROM records WHERE source = ? AND number BETWEEN ? AND ?"
        await self._do(lambda it: it.execute(delete, (batch.source, batch.first, batch.last)))

    async def count(self) -> int:
        """Return how many records wait."""
        return await self._do(lambda it: int(it.execute("SELECT count(*) FROM records").fetchone()[0]))

    async def close(self) -> None:
        """Let go of the file; what is in it stays. Opened again by the next use."""
        await self._file.close()

    async def _do(self, act: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            return await self._file.do(act)
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"The spool {self._file.path} cannot be used: {error}.") from error


def _head(connection: sqlite3.Connection, size: int) -> Batch | None:
    rows = connection.execute("SELECT source, number, record FROM records ORDER BY place LIMIT ?", (size,)).fetchall()
    if not rows:
        return None
    source, first, _ = rows[0]
    records: list[Record] = []
    for name, number, record in rows:
        if name != source or number != first + len(records):
            break
        records.append(unpack_record(record))
    return Batch(source, first, first + len(records) - 1, tuple(records))
