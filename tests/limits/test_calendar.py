"""Which period holds an instant: tables of odd days, and the laws that hold in every zone."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from askonce.domain.identity import Span
from askonce.limits.calendar import Period, UnknownZone, check_zone, period

HOUR = 3_600_000
SPANS: tuple[Span, ...] = ("minute", "hour", "day", "month")
ZONES = sorted(available_timezones() - {"localtime", "Factory"})


def ms(text: str) -> int:
    """Read an instant, UTC unless it says otherwise."""
    read = datetime.fromisoformat(text)
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)


# (span, zone, an instant, start, end), all in UTC
TABLE: list[tuple[Span, str, str, str, str]] = [
    ("minute", "UTC", "2026-03-01T10:20:30.999", "2026-03-01T10:20", "2026-03-01T10:21"),
    ("hour", "Asia/Kathmandu", "2026-03-01T10:20", "2026-03-01T10:00", "2026-03-01T11:00"),
    ("day", "UTC", "2026-03-01T00:00", "2026-03-01", "2026-03-02"),
    ("day", "UTC", "2026-02-28T23:59:59.999", "2026-02-28", "2026-03-01"),
    ("day", "UTC", "1969-12-31T23:59:59.999", "1969-12-31", "1970-01-01"),
    ("day", "Asia/Kathmandu", "2026-03-01T18:14", "2026-02-28T18:15", "2026-03-01T18:15"),
    ("day", "Pacific/Kiritimati", "2026-03-01T12:00", "2026-03-01T10:00", "2026-03-02T10:00"),
    ("month", "UTC", "2024-02-29T12:00", "2024-02-01", "2024-03-01"),
    ("month", "UTC", "2100-02-28T12:00", "2100-02-01", "2100-03-01"),
    ("month", "UTC", "2025-12-31T23:59:59.999", "2025-12-01", "2026-01-01"),
    ("month", "America/New_York", "2026-04-01T03:59", "2026-03-01T05:00", "2026-04-01T04:00"),
    # daylight saving: a day of 23 hours, one of 25
    ("day", "Europe/Zurich", "2026-03-29T12:00", "2026-03-28T23:00", "2026-03-29T22:00"),
    ("day", "Europe/Zurich", "2026-10-25T00:30", "2026-10-24T22:00", "2026-10-25T23:00"),
    ("day", "Australia/Lord_Howe", "2026-04-04T15:15", "2026-04-04T13:00", "2026-04-05T13:30"),
    # midnight does not exist: the day begins at one o'clock
    ("day", "America/Sao_Paulo", "2018-11-04T03:00", "2018-11-04T03:00", "2018-11-05T02:00"),
    ("day", "America/Sao_Paulo", "2018-11-04T02:59:59", "2018-11-03T03:00", "2018-11-04T03:00"),
    ("day", "America/Toronto", "1919-03-31T12:00", "1919-03-31T04:30", "1919-04-01T04:00"),
    ("month", "Asia/Amman", "2022-04-01T12:00", "2022-03-31T21:00", "2022-04-30T21:00"),
    ("month", "Asia/Amman", "2011-04-01T12:00", "2011-03-31T22:00", "2011-04-30T21:00"),
    # midnight comes twice: the first one counts
    ("day", "America/Havana", "2026-11-01T04:30", "2026-11-01T04:00", "2026-11-02T05:00"),
    ("day", "America/Havana", "2026-11-01T05:30", "2026-11-01T04:00", "2026-11-02T05:00"),
    # eleven o'clock comes twice, before midnight
    ("day", "America/Sao_Paulo", "2018-02-18T02:30", "2018-02-17T02:00", "2018-02-18T03:00"),
    # a minute into the new day clocks went back into the old one; the new day has begun
    ("day", "America/St_Johns", "2010-11-07T02:29:59", "2010-11-06T02:30", "2010-11-07T02:30"),
    ("day", "America/St_Johns", "2010-11-07T02:30:30", "2010-11-07T02:30", "2010-11-08T03:30"),
    ("day", "America/St_Johns", "2010-11-07T03:00", "2010-11-07T02:30", "2010-11-08T03:30"),
    # a date that never was: Samoa went from the 29th to the 31st
    ("day", "Pacific/Apia", "2011-12-30T09:59:59", "2011-12-29T10:00", "2011-12-30T10:00"),
    ("day", "Pacific/Apia", "2011-12-30T10:00", "2011-12-30T10:00", "2011-12-31T10:00"),
    ("month", "Pacific/Apia", "2011-12-30T10:00", "2011-12-01T10:00", "2011-12-31T10:00"),
    # likewise Kwajalein, from the 20th to the 22nd
    ("day", "Pacific/Kwajalein", "1993-08-21T12:00", "1993-08-21T12:00", "1993-08-22T12:00"),
]


@pytest.mark.parametrize(("span", "zone", "at", "start", "end"), TABLE, ids=lambda value: str(value))
def test_the_calendar(span: Span, zone: str, at: str, start: str, end: str) -> None:
    assert period(span, zone, ms(at)) == Period(ms(start), ms(end))


# From the time at which most zones had left their sundials, to where 64-bit rules still apply.
INSTANTS = st.integers(ms("1930-01-01"), ms("2150-01-01"))


@given(st.sampled_from(SPANS), st.sampled_from(ZONES), INSTANTS)
@example("day", "America/St_Johns", ms("2010-11-07T02:30:30"))
def test_periods_follow_each_other_without_gap_or_overlap(span: Span, zone: str, at: int) -> None:
    held = period(span, zone, at)
    assert held.start_ms <= at < held.end_ms
    assert period(span, zone, held.start_ms) == period(span, zone, held.end_ms - 1) == held
    assert period(span, zone, held.end_ms).start_ms == held.end_ms
    assert period(span, zone, held.start_ms - 1).end_ms == held.start_ms


def offset(zone: str, at: int) -> timedelta | None:
    return datetime.fromtimestamp(at / 1000, ZoneInfo(zone)).utcoffset()


@given(st.sampled_from(ZONES), INSTANTS)
def test_while_a_zone_does_nothing_odd_days_begin_at_midnight_and_months_on_the_first(zone: str, at: int) -> None:
    for span in ("day", "month"):
        held = period(span, zone, at)
        assume(len({offset(zone, at) for at in range(held.start_ms - 25 * HOUR, held.end_ms + 25 * HOUR, HOUR)}) == 1)
        start = datetime.fromtimestamp(held.start_ms / 1000, ZoneInfo(zone))
        assert start.time().isoformat() == "00:00:00"
        if span == "day":
            assert held.end_ms - held.start_ms == 24 * HOUR
        else:
            assert start.day == 1
            assert held.end_ms - held.start_ms in {days * 24 * HOUR for days in (28, 29, 30, 31)}


@given(st.sampled_from(ZONES), st.integers(ms("1970-01-01"), ms("2037-01-01")))
def test_a_day_begins_at_the_first_instant_of_its_date(zone: str, at: int) -> None:
    held = period("day", zone, at)
    first = datetime.fromtimestamp(held.start_ms / 1000, ZoneInfo(zone)).date()
    before = datetime.fromtimestamp(held.start_ms / 1000 - 1, ZoneInfo(zone)).date()
    assert before < first, "the second before it still had an earlier date"


@given(st.sampled_from(ZONES), INSTANTS)
def test_months_consist_of_days_days_of_hours_or_halves_of_them_hours_of_minutes(zone: str, at: int) -> None:
    month, day = period("month", zone, at), period("day", zone, at)
    assert month.start_ms <= day.start_ms < day.end_ms <= month.end_ms
    assert period("day", zone, month.start_ms).start_ms == month.start_ms
    hour, minute = period("hour", zone, at), period("minute", zone, at)
    assert hour.start_ms <= minute.start_ms < minute.end_ms <= hour.end_ms


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "Europe", "../etc/passwd", "/etc/localtime", "a\0b", "x" * 5000])
def test_a_zone_that_is_not_known_is_refused_with_the_cure(name: str) -> None:
    with pytest.raises(UnknownZone, match="IANA name"):
        check_zone(name)
    with pytest.raises(UnknownZone):
        period("day", name, 0)
