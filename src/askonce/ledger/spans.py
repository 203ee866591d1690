"""Which sums make up a range of time: whole months, and at its edges days and hours. Pure arithmetic, in UTC."""

from collections.abc import Iterator
from typing import NamedTuple

from askonce.domain.reports import Group
from askonce.ledger.cubes import DAY_MS, DAYS, HOUR_MS, HOURS, MONTHS, month_after, month_of


class Span(NamedTuple):
    """Name sums of one grain that begin from `start_ms` up to but without `end_ms`."""

    grain: int
    start_ms: int
    end_ms: int


def whole_hours(start_ms: int, end_ms: int) -> tuple[int, int]:
    """Widen a range to whole hours."""
    return start_ms - start_ms % HOUR_MS, end_ms + -end_ms % HOUR_MS


def spans(start_ms: int, end_ms: int, by: tuple[Group, ...]) -> list[Span]:
    """Return what a range of whole hours is made of: as few sums as possible, none longer than it is grouped by.

    Nothing but whole months reaches from one month into another.
    """
    if start_ms >= end_ms:
        return []
    if "hour" in by:
        return [Span(HOURS, start_ms, end_ms)]
    if "day" in by:
        return list(_days(start_ms, end_ms))
    first = start_ms if month_of(start_ms) == start_ms else month_after(start_ms)
    last = month_of(end_ms)
    if first > last:  # within one month
        return list(_days(start_ms, end_ms))
    whole = [Span(MONTHS, first, last)] if first < last else []
    return [*_days(start_ms, first), *whole, *_days(last, end_ms)]


def _days(start_ms: int, end_ms: int) -> Iterator[Span]:
    first, last = start_ms + -start_ms % DAY_MS, end_ms - end_ms % DAY_MS
    parts = [(HOURS, start_ms, first), (DAYS, first, last), (HOURS, last, end_ms)]
    if first > last:  # within one day
        parts = [(HOURS, start_ms, end_ms)]
    yield from (Span(*part) for part in parts if part[1] < part[2])
