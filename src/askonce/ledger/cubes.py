"""What a batch adds to the sums: pure arithmetic, in 64-bit integers, exact.

A shape keeps some of the dimensions. Rows are added up once with all of them, by the hour; every other shape and every
longer grain is added up from that, so that the work follows how many different things happened, not how many.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from functools import lru_cache
from operator import add
from typing import Final, Literal

from askonce.domain.ledger import CallRow, CountKind, CountRow, Record

PaidKind = Literal["answered", "uncounted", "failed", "abandoned"]
Kind = PaidKind | CountKind

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000

HOURS, DAYS, MONTHS = 1, 2, 3  # grains, as they are stored

# Dimensions, as bits of a shape, as they are stored.
TENANT, KEY, DOOR, PROVIDER, MODEL = 1, 2, 4, 8, 16
DIMENSIONS: Final = {"tenant": TENANT, "key_id": KEY, "door": DOOR, "provider": PROVIDER, "model": MODEL}
FULL = TENANT | KEY | DOOR | PROVIDER | MODEL
# Smallest first: a report takes the first that has what it asks for.
SHAPES: Final = (
    DOOR,
    PROVIDER | MODEL,
    TENANT | DOOR,
    TENANT | PROVIDER | MODEL,
    TENANT | KEY,
    FULL,
)

# start, tenant, key, door, provider, model, kind
Place = tuple[int, str, str, str, str, str, str]
# In the order of the columns of `usage` from `count` on.
Sums = list[int]
# grain, shape, then a `Place`, then the sums
CubeRow = tuple[int | str, ...]


def paid_kind(row: CallRow) -> PaidKind:
    """Say how a call that reached a provider is counted."""
    if row.ending == "answered":
        return "answered" if row.counted else "uncounted"
    return row.ending


def additions(records: Iterable[Record]) -> list[CubeRow]:
    """Return what records add to `usage`, in the order of its key: who locks in one order never waits in a circle."""
    whole = _by_hour(records)
    found: list[CubeRow] = []
    for shape in SHAPES:
        hours = _keep(shape, whole) if shape != FULL else whole
        days = _merge(((place[0] - place[0] % DAY_MS, *place[1:]), sums) for place, sums in hours.items())
        months = _merge(((month_of(place[0]), *place[1:]), sums) for place, sums in days.items())
        for grain, part in ((HOURS, hours), (DAYS, days), (MONTHS, months)):
            found += [(grain, shape, *place, *sums) for place, sums in part.items()]
    found.sort()
    return found


@lru_cache(maxsize=64)
def month_of(at_ms: int) -> int:
    """Return when the month began that holds this moment (UTC)."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return int(at.replace(day=1, hour=0, minute=0, second=0).timestamp()) * 1000


def month_after(at_ms: int) -> int:
    """Return when the month after the one that holds this moment begins (UTC)."""
    return month_of(month_of(at_ms) + 32 * DAY_MS)


def _by_hour(records: Iterable[Record]) -> dict[Place, Sums]:
    found: dict[Place, Sums] = {}
    for row in records:
        if isinstance(row, CallRow):
            origin = row.origin
            hour = row.at_ms - row.at_ms % HOUR_MS
            place = (hour, origin.tenant, origin.key_id, origin.door, row.provider, row.model, paid_kind(row))
            _add(found, place, _worth_of_call(row))
        elif isinstance(row, CountRow):
            at_ms = row.minute * MINUTE_MS
            hour = at_ms - at_ms % HOUR_MS
            counted = (hour, row.tenant, row.key_id, row.door, row.provider, row.model, row.kind)
            _add(found, counted, [row.count, 0, row.saved_nano, 0, 0, 0, 0, 0, 0, row.saved_tokens, 0, 0, 0, 0])
    return found


def _worth_of_call(row: CallRow) -> Sums:
    return [
        1,
        row.cost_nano,
        0,
        row.saved_prompt_cache_nano,
        row.prompt_tokens,
        row.completion_tokens,
        row.cached_tokens,
        row.cache_write_tokens,
        row.reasoning_tokens,
        0,
        int(row.estimated),
        row.took_ms,
        int(row.first_token_ms > 0),
        row.first_token_ms,
    ]


def _keep(shape: int, whole: dict[Place, Sums]) -> dict[Place, Sums]:
    kept = [bool(shape & bit) for bit in DIMENSIONS.values()]
    tenant, key, door, provider, model = kept
    return _merge(
        (
            (
                place[0],
                place[1] if tenant else "",
                place[2] if key else "",
                place[3] if door else "",
                place[4] if provider else "",
                place[5] if model else "",
                place[6],
            ),
            sums,
        )
        for place, sums in whole.items()
    )


def _merge(parts: Iterable[tuple[Place, Sums]]) -> dict[Place, Sums]:
    found: dict[Place, Sums] = {}
    for place, sums in parts:
        _add(found, place, sums)
    return found


def _add(found: dict[Place, Sums], place: Place, sums: Sums) -> None:
    """Add to what stands at a place; lists that came in are never changed."""
    known = found.get(place)
    found[place] = sums if known is None else list(map(add, known, sums))
