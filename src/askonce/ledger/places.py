"""Numbers for what sums are of: each combination gets one when it first occurs, and keeps it.

Most batches bring combinations that were there before; those are remembered here, so that they cost no statement.
"""

from collections.abc import Iterable

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from askonce.ledger.bulk import Bulk
from askonce.ledger.cubes import Place
from askonce.ledger.tables import places

REMEMBERED = 200_000  # combinations, some 60 MB; then all are forgotten, and asked for again as they occur
ASKED_AT_ONCE = 1_000  # seven parameters each: SQLite takes 32,766, PostgreSQL 65,535

Shaped = tuple[int, Place]

_dimensions = (places.c.tenant, places.c.key_id, places.c.door, places.c.provider, places.c.model, places.c.kind)
_places = Bulk(places, leave_out=("id",), known="kept")


class Places:
    """Know the numbers of combinations."""

    def __init__(self) -> None:
        self._kept: dict[Shaped, int] = {}

    async def numbers(self, connection: AsyncConnection, wanted: Iterable[Shaped]) -> dict[Shaped, int]:
        """Return the number of each, giving one to those that are new; they are remembered only once `keep` says so."""
        asked = set(wanted)
        found = {shaped: self._kept[shaped] for shaped in asked if shaped in self._kept}
        # In one order, so that two writers who bring the same ones never wait for each other in a circle.
        unknown = sorted(asked - found.keys())
        found |= await _look_up(connection, unknown)
        fresh = [shaped for shaped in unknown if shaped not in found]
        if fresh:
            await _places.insert(connection, [(shape, *place) for shape, place in fresh])
            found |= await _look_up(connection, fresh)
        return found

    def keep(self, found: dict[Shaped, int]) -> None:
        """Remember numbers whose transaction was kept."""
        if len(self._kept) + len(found) > REMEMBERED:
            self._kept.clear()
        self._kept |= found


async def _look_up(connection: AsyncConnection, wanted: list[Shaped]) -> dict[Shaped, int]:
    found: dict[Shaped, int] = {}
    for start in range(0, len(wanted), ASKED_AT_ONCE):
        some = [(shape, *place) for shape, place in wanted[start : start + ASKED_AT_ONCE]]
        rows = await connection.execute(
            select(places.c.id, places.c.shape, *_dimensions).where(tuple_(places.c.shape, *_dimensions).in_(some))
        )
        for number, shape, *place in rows:
            found[shape, tuple(place)] = number
    return found
