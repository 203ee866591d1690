"""The calendar's periods: which minute, hour, day or month holds an instant.

Minutes and hours are those of UTC, the same for everybody. A day or month begins at the first instant at which clocks
in its zone show that date or a later one, and ends where the next begins. So periods follow each other without a gap
and without overlap, whatever the zone does: a midnight that does not exist, one that comes twice, clocks that are put
back to the day before (the new day has begun all the same), a date that is left out. A day may then have 23 or 25
hours, or none.

Zones are the IANA's, by `zoneinfo` (RFC 9636 files of the system, or the package `tzdata`); UTC needs no files.
"""

from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

from askonce.domain.errors import ConfigError
from askonce.domain.identity import Span

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
STARTS_REMEMBERED = 4096  # of days and months; finding one takes some microseconds, and some dozens are asked for
_DAY = timedelta(days=1)


class UnknownZone(ConfigError):
    """Refuse a zone that this machine has no data for."""


class Period(NamedTuple):
    """Hold a half-open stretch of time in epoch milliseconds."""

    start_ms: int
    end_ms: int


def period(span: Span, zone: str, at_ms: int) -> Period:
    """Return the period that holds an instant. Raises `UnknownZone`."""
    if span == "minute" or span == "hour":
        length = MINUTE_MS if span == "minute" else HOUR_MS
        start = at_ms - at_ms % length
        return Period(start, start + length)
    day = datetime.fromtimestamp(at_ms // 1000, _zone(zone)).date()
    first = day if span == "day" else day.replace(day=1)
    following = _following(span, first)
    while (end := _start_ms(zone, following)) <= at_ms:  # clocks were put back behind a midnight that has passed
        first, following = following, _following(span, following)
    return Period(_start_ms(zone, first), end)


def check_zone(name: str) -> None:
    """Raise `UnknownZone` for one that periods cannot be found in."""
    _zone(name)


@lru_cache(maxsize=1024)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # not there; not a name; a folder of names
        raise UnknownZone(
            f"The time zone {name[:100]!r} is not known on this machine. Use an IANA name such as Europe/Zurich or "
            "UTC, or install the system's time zone data (package tzdata)."
        ) from error


def _following(span: Span, first: date) -> date:
    return first + _DAY if span == "day" else (first.replace(day=28) + 4 * _DAY).replace(day=1)


@lru_cache(maxsize=STARTS_REMEMBERED)
def _start_ms(zone: str, day: date) -> int:
    """Return the first instant at which clocks show this date or a later one."""
    tz = _zone(zone)
    midnight = datetime(day.year, day.month, day.day, tzinfo=tz)
    first, again = (int(midnight.replace(fold=fold).timestamp()) for fold in (0, 1))
    while again < first:  # never midnight: the gap lies between these readings of it (where it comes twice, behind)
        middle = (again + first) // 2
        if datetime.fromtimestamp(middle, tz).date() >= day:
            first = middle
        else:
            again = middle + 1
    return first * 1000
