"""Spans and moments as arguments."""

import pytest

from askonce.cli.exits import Misused
from askonce.cli.moments import day_end_ms, end_ms, moment_ms, span_ms

HOUR = 3_600_000
DAY = 24 * HOUR
NEW_YEAR = 1_767_225_600_000  # 1 January 2026, UTC


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("2026-01-01", NEW_YEAR),
        (" 2026-01-01T12:00 ", NEW_YEAR + 12 * HOUR),
        ("2026-01-01T12:00Z", NEW_YEAR + 12 * HOUR),
        ("2026-01-01T12:00+01:00", NEW_YEAR + 11 * HOUR),
        ("1969-12-31", -DAY),
    ],
)
def test_moments_are_those_of_utc_unless_they_say_so(text: str, milliseconds: int) -> None:
    assert moment_ms(text, "--from") == milliseconds


def test_the_last_day_of_a_range_is_in_it_whole() -> None:
    assert day_end_ms("2026-01-01", "--to") == NEW_YEAR + DAY
    assert day_end_ms("2026-01-01T12:00", "--to") == NEW_YEAR + 12 * HOUR


@pytest.mark.parametrize(("text", "milliseconds"), [("90", 90_000), ("15m", 900_000), ("30d", 30 * DAY), ("0", 0)])
def test_spans_are_read(text: str, milliseconds: int) -> None:
    assert span_ms(text, "--valid") == milliseconds


def test_an_end_is_a_span_from_now_a_moment_or_never() -> None:
    assert end_ms("1d", NEW_YEAR, "--expires") == NEW_YEAR + DAY
    assert end_ms("2026-01-01", 0, "--expires") == NEW_YEAR
    assert end_ms("Never", NEW_YEAR, "--expires") == 0


@pytest.mark.parametrize("text", ["", "soon", "-5m", "2026-13-01", "2026-02-30", "01.01.2026", "9" * 400 + "d", "nan"])
def test_what_is_neither_is_refused_by_the_options_name(text: str) -> None:
    with pytest.raises(Misused, match="--expires"):
        end_ms(text, 0, "--expires")


@pytest.mark.parametrize("text", ["0001-01-01T00:00+14:00", "9999-12-31"])
def test_the_ends_of_the_calendar_are_no_defect(text: str) -> None:
    with pytest.raises(Misused, match="--to"):
        day_end_ms(text, "--to")
