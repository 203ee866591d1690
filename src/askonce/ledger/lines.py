"""Lines of sums as the database answers them, one for each kind of what happened, and what they come to."""

from collections.abc import Sequence
from operator import add
from typing import Any

from sqlalchemy import Connection, Select
from sqlalchemy.ext.asyncio import AsyncConnection

from askonce.domain.reports import KINDS, Figures
from askonce.ledger.tables import usage

# Sums that mean the same whatever the kind, and are called in an answer as they are in the table.
COMMON = Figures.__struct_fields__[Figures.__struct_fields__.index("cost_nano") :]
_KIND = -len(COMMON) - 3  # where a line names its kind; number and avoided cost follow
SUMS = [usage.c[name] for name in ("count", "saved_nano", *COMMON)]
# Where in an answer a kind's number of requests and its avoided cost stand.
_FIELDS = Figures.__struct_fields__
_COUNT_OF = {kind: _FIELDS.index({"answered": "misses", "exact": "hits"}.get(kind, kind)) for kind in KINDS}
_SAVING_OF = {kind: _FIELDS.index(f"saved_{kind}_nano") for kind in ("exact", "coalesced", "resumed")}
_NOTHING = [0] * len(COMMON)

Line = tuple[Any, ...]  # of the database's answer: the groups, the kind, then `SUMS`


async def read_lines(connection: AsyncConnection, query: Select[Any]) -> list[Line]:
    """Read all lines as the driver has them: they are plain, and many."""

    def read(connection: Connection) -> list[Line]:
        return list(connection.execute(query).cursor.fetchall())

    return await connection.run_sync(read)


def figures(lines: Sequence[Line]) -> Figures:
    """Add up a group's lines, one for each kind. Ten thousand groups are asked for at once: this is their time."""
    values = [0] * len(_FIELDS)
    common: Sequence[int] = _NOTHING
    for line in lines:
        kind, count, saved = line[_KIND : _KIND + 3]
        values[_COUNT_OF[kind]] += count
        if kind in _SAVING_OF:
            values[_SAVING_OF[kind]] += saved
        common = list(map(add, common, line[-len(COMMON) :]))
    values[-len(COMMON) :] = common
    return Figures(*values)
