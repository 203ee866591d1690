"""Many rows in one statement, as each database takes them quickest.

SQLite runs one prepared statement for every row. PostgreSQL gets a COPY, twice as quick as anything else; what may be
there already, which COPY cannot take, goes as one array per column that the server unrolls. Neither needs anything of
a connection that a pooler could take away, and all go past SQLAlchemy's handling of parameters, which would cost more
than the databases' work.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

import asyncpg  # type: ignore[import-untyped]
from sqlalchemy import Column, Table
from sqlalchemy.ext.asyncio import AsyncConnection

from askonce.ledger.away import driver_failed
from askonce.ledger.schema import SCHEMA, Small, Wide
from askonce.ledger.words import are_clean, clean

Row = tuple[int | str, ...]
Value = int | str
Known = Literal["refused", "kept", "added"]  # an error; left as it is; the rest is added to what stands there
_MOST, _LEAST = 2**63 - 1, -(2**63)


class Bulk:
    """Insert rows into one table. `known` says what becomes of one whose key is there already.

    `leave_out` names columns that the database fills.
    """

    def __init__(self, table: Table, *, known: Known = "refused", leave_out: Sequence[str] = ()) -> None:
        columns = [column for column in table.columns if column.name not in leave_out]
        names = [column.name for column in columns]
        listed = ", ".join(names)
        self._table, self._names, self._copies = table.name, names, known == "refused"
        arrays = ", ".join(f"${place}::{_array_of(column)}" for place, column in enumerate(columns, 1))
        marks = ", ".join("?" * len(names))
        # Texts made of our own tables' names only; the values are parameters.
        self._postgres = f"INSERT INTO {SCHEMA}.{table.name} AS old ({listed}) SELECT * FROM unnest({arrays})"  # noqa: S608
        self._sqlite = f"INSERT INTO {table.name} AS old ({listed}) VALUES ({marks})"  # noqa: S608
        self._postgres += _conflict(table, known, "least")
        self._sqlite += _conflict(table, known, "min")

    async def insert(self, connection: AsyncConnection, rows: Sequence[Row]) -> None:
        """Write rows whose values stand in the order of the table's columns."""
        if not rows:
            return
        columns = [_clean(column) for column in zip(*rows, strict=True)]
        if connection.dialect.name != "postgresql":
            await connection.exec_driver_sql(self._sqlite, list(zip(*columns, strict=True)))
        elif self._copies:
            await self._copy(connection, zip(*columns, strict=True))
        else:
            await connection.exec_driver_sql(self._postgres, tuple(columns))

    async def _copy(self, connection: AsyncConnection, rows: Iterable[tuple[Value, ...]]) -> None:
        """Copy as part of the transaction, which the driver begins with a statement and not before."""
        await connection.exec_driver_sql("SELECT 1")
        driver: Any = (await connection.get_raw_connection()).driver_connection
        try:
            await driver.copy_records_to_table(self._table, schema_name=SCHEMA, columns=self._names, records=rows)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise driver_failed(error) from error


def _conflict(table: Table, known: Known, least: str) -> str:
    if known == "refused":
        return ""
    if known == "kept":
        return " ON CONFLICT DO NOTHING"
    keys = [column.name for column in table.primary_key.columns]
    names = [column.name for column in table.columns if column.name not in keys]
    # A sum that would be larger than a column stays there, so that no lying vendor can stop the books.
    sums = ", ".join(f"{name} = {least}(old.{name}, {_MOST} - excluded.{name}) + excluded.{name}" for name in names)
    return f" ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {sums}"


def _array_of(column: Column[Any]) -> str:
    if column.type is Wide:
        return "bigint[]"
    if column.type is Small:
        return "smallint[]"
    return "integer[]" if column.type.python_type is int else "text[]"


def _clean(column: Sequence[Value]) -> Sequence[Value]:
    """Take out what a database cannot hold, so that no one row stops the books for ever."""
    if isinstance(column[0], str):
        words = cast(Sequence[str], column)
        return column if are_clean(words) else [clean(word) for word in words]
    numbers = cast(Sequence[int], column)
    if max(numbers) > _MOST or min(numbers) < _LEAST:
        return [max(_LEAST, min(_MOST, value)) for value in numbers]
    return column
