"""What a batch adds to the sums: pure arithmetic, in 64-bit integers, exact.

A shape keeps some of the dimensions. Rows are added up once with all of them, by the hour; every other shape and every
longer grain is added up from that, so that the work follows how many different things happened, not how many. Minutes
are added up apart, in those shapes that the last hours are looked at in.
"""

import struct
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple

from askonce.domain.ledger import CallRow, CountRow, Record
from askonce.domain.reports import Kind, Narrow, PaidKind
from askonce.ledger.words import are_clean, clean

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
MINUTE_MS: Final = 60_000

MINUTES, HOURS, DAYS, MONTHS = 0, 1, 2, 3  # grains, as they are stored

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

# Of which there are sums by the minute.
MINUTELY: Final = frozenset((DOOR, TENANT | DOOR, PROVIDER | MODEL))

# tenant, key, door, provider, model, kind
Place = tuple[str, str, str, str, str, str]
Spot = tuple[int, Place]  # when a grain begins, and what happened
# All sums of one place in one integer, side by side: adding two of them adds all. A lane of 96 bits holds the sum of
# four thousand million values of 64 bits, so that no lane runs over into the next.
Sums = int
_LANES, _LANE = 15, 12
_BYTES = _LANES * _LANE
_MOST = 2**63 - 1  # what a column holds; a sum that would be larger stays there
_TOO_LARGE = sum(((1 << 96) - 1 - _MOST) << (96 * lane) for lane in range(_LANES))
_lanes = struct.Struct("<" + "Q4x" * _LANES)
_pack, _unpack = _lanes.pack, _lanes.unpack
# Of which larger shape a shape is added up: fewer things to add than in the whole.
_PARENTS: Final = {DOOR: TENANT | DOOR, PROVIDER | MODEL: TENANT | PROVIDER | MODEL}


def paid_kind(row: CallRow) -> PaidKind:
    """Say how a call that reached a provider is counted."""
    if row.ending == "answered":
        return "answered" if row.counted else "uncounted"
    return row.ending


def named(narrow: Narrow) -> dict[str, str]:
    """Return the dimensions that are asked for, each with its value."""
    values = {name: getattr(narrow, name) for name in DIMENSIONS}
    return {name: value for name, value in values.items() if value is not None}


def shape_with(dimensions: Iterable[str]) -> int:
    """Choose the smallest shape that keeps these dimensions."""
    asked = 0
    for name in dimensions:
        asked |= DIMENSIONS[name]
    return next(shape for shape in SHAPES if shape & asked == asked)


class Addition(NamedTuple):
    """Hold what is to be added to one row of `usage`; `values` stand in the order of its columns from `count` on."""

    grain: int
    shape: int
    start_ms: int
    place: Place
    values: Sequence[int]


def additions(records: Iterable[Record]) -> list[Addition]:
    """Return what records add to `usage`, no row of it twice."""
    hours, minutes = _added_up(records)
    cubes = {FULL: hours}
    for shape in reversed(SHAPES[:-1]):
        cubes[shape] = _keep(shape, cubes[_PARENTS.get(shape, FULL)])
    found: list[Addition] = []
    for shape, part in minutes.items():
        found += [Addition(MINUTES, shape, start, place, _values(sums)) for (start, place), sums in part.items()]
    for shape, hours in cubes.items():
        days = _lengthen(hours, _day_of)
        for grain, part in ((HOURS, hours), (DAYS, days), (MONTHS, _lengthen(days, month_of))):
            found += [Addition(grain, shape, start, place, _values(sums)) for (start, place), sums in part.items()]
    return found


@lru_cache(maxsize=64)
def month_of(at_ms: int) -> int:
    """Return when the month began that holds this moment (UTC)."""
    at = datetime.fromtimestamp(at_ms // 1000, UTC)
    return int(at.replace(day=1, hour=0, minute=0, second=0).timestamp()) * 1000


def month_after(at_ms: int) -> int:
    """Return when the month after the one that holds this moment begins (UTC)."""
    return month_of(month_of(at_ms) + 32 * DAY_MS)


def _day_of(at_ms: int) -> int:
    return at_ms - at_ms % DAY_MS


def _added_up(records: Iterable[Record]) -> tuple[dict[Spot, Sums], dict[int, dict[Spot, Sums]]]:
    """Return the sums by the hour with all dimensions, and those by the minute of each shape that has them."""
    hours: dict[Spot, Sums] = {}
    by_door: dict[Spot, Sums] = {}
    by_model: dict[Spot, Sums] = {}
    kind: Kind
    for row in records:
        if isinstance(row, CallRow):
            tenant, key_id, door = row.origin.tenant, row.origin.key_id, row.origin.door
            minute, kind = row.at_ms - row.at_ms % MINUTE_MS, paid_kind(row)
            worth = _packed(*_worth_of_call(row))
        elif isinstance(row, CountRow):
            tenant, key_id, door = row.tenant, row.key_id, row.door
            minute, kind = row.minute * MINUTE_MS, row.kind
            worth = _packed(row.count, 0, row.saved_nano, 0, 0, 0, 0, 0, 0, row.saved_tokens, 0, 0, 0, 0, 0)
        else:
            continue
        provider, model = row.provider, row.model
        spot = (minute - minute % HOUR_MS, (tenant, key_id, door, provider, model, kind))
        hours[spot] = hours.get(spot, 0) + worth
        spot = (minute, (tenant, "", door, "", "", kind))
        by_door[spot] = by_door.get(spot, 0) + worth
        spot = (minute, ("", "", "", provider, model, kind))
        by_model[spot] = by_model.get(spot, 0) + worth
    words = {word for _, place in hours for word in place}
    if not are_clean(words):
        hours, by_door, by_model = _cleaned(hours), _cleaned(by_door), _cleaned(by_model)
    return hours, {TENANT | DOOR: by_door, DOOR: _keep(DOOR, by_door), PROVIDER | MODEL: by_model}


def _cleaned(part: dict[Spot, Sums]) -> dict[Spot, Sums]:
    found: dict[Spot, Sums] = {}
    for (start, place), sums in part.items():
        tenant, key, door, provider, model, kind = (clean(word) for word in place)
        spot = (start, (tenant, key, door, provider, model, kind))
        found[spot] = found.get(spot, 0) + sums
    return found


def _worth_of_call(row: CallRow) -> tuple[int, ...]:
    return (
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
        row.estimated,
        not row.priced,
        row.took_ms,
        row.first_token_ms > 0,
        row.first_token_ms,
    )


def _packed(*values: int) -> Sums:
    try:
        return int.from_bytes(_pack(*values), "little")
    except struct.error:  # below nothing, or more than a column holds: no measurement of ours
        return int.from_bytes(_pack(*(min(max(value, 0), _MOST) for value in values)), "little")


def _values(sums: Sums) -> Sequence[int]:
    packed = sums.to_bytes(_BYTES, "little")
    if not sums & _TOO_LARGE:
        return _unpack(packed)
    lanes = (packed[start : start + _LANE] for start in range(0, _BYTES, _LANE))
    return [min(int.from_bytes(lane, "little"), _MOST) for lane in lanes]


def _keep(shape: int, whole: dict[Spot, Sums]) -> dict[Spot, Sums]:
    """Add up over the dimensions that a shape does not keep."""
    keeps = [bool(shape & bit) for bit in DIMENSIONS.values()]
    kept = {place: _only(place, keeps) for place in {place for _, place in whole}}
    found: dict[Spot, Sums] = {}
    for (start, place), sums in whole.items():
        spot = (start, kept[place])
        found[spot] = found.get(spot, 0) + sums
    return found


def _only(place: Place, keeps: list[bool]) -> Place:
    tenant, key, door, provider, model = keeps
    return (
        place[0] if tenant else "",
        place[1] if key else "",
        place[2] if door else "",
        place[3] if provider else "",
        place[4] if model else "",
        place[5],
    )


def _lengthen(part: dict[Spot, Sums], start_of: Callable[[int], int]) -> dict[Spot, Sums]:
    """Add up over a longer grain."""
    starts = {start: start_of(start) for start in {start for start, _ in part}}
    found: dict[Spot, Sums] = {}
    for (start, place), sums in part.items():
        spot = (starts[start], place)
        found[spot] = found.get(spot, 0) + sums
    return found
