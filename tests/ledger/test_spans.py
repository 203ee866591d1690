"""Which sums make up a range."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.ledger.cubes import DAY_MS, DAYS, HOUR_MS, HOURS, MONTHS, month_after, month_of
from askonce.ledger.spans import spans, whole_hours

_NAMES = {HOURS: "h", DAYS: "d", MONTHS: "m"}
hours = st.integers(480_000, 500_000).map(lambda hour: hour * HOUR_MS)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("start", "end", "by", "expected"),
    [
        ("2026-01-01", "2027-01-01", (), "m2026-01-01..2027-01-01"),
        ("2026-01-01", "2027-01-01", ("month",), "m2026-01-01..2027-01-01"),
        ("2026-01-01", "2026-02-01", ("day",), "d2026-01-01..2026-02-01"),
        ("2026-01-31", "2026-02-02", (), "d2026-01-31..2026-02-01 d2026-02-01..2026-02-02"),
        ("2026-01-30T22", "2026-03-01T02", (), "h2026-01-30T22..2026-01-31 d2026-01-31..2026-02-01 "
            "m2026-02-01..2026-03-01 h2026-03-01..2026-03-01T02"),
        ("2026-01-05T01", "2026-01-05T07", (), "h2026-01-05T01..2026-01-05T07"),
        ("2026-01-05T23", "2026-01-06T01", ("day",), "h2026-01-05T23..2026-01-06 h2026-01-06..2026-01-06T01"),
        ("2026-01-05", "2026-01-05", (), ""),
        ("2024-02-29T12", "2024-03-01", (), "h2024-02-29T12..2024-03-01"),
    ],
)  # fmt: skip
def test_a_range_is_made_of_the_longest_grains_that_fit(start, end, by, expected):
    def show(at_ms: int) -> str:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H").removesuffix("T00")

    found = spans(at(start), at(end), by)
    assert " ".join(f"{_NAMES[part.grain]}{show(part.start_ms)}..{show(part.end_ms)}" for part in found) == expected


@given(st.tuples(hours, hours).map(sorted), st.sampled_from([(), ("hour",), ("day",), ("month",)]))
def test_the_parts_follow_each_other_without_gap_and_begin_where_their_grain_does(ends, by):
    start, end = ends
    found = spans(start, end, by)
    assert [part.start_ms for part in found] == [start, *(part.end_ms for part in found)][: len(found)]
    assert not found or found[-1].end_ms == end
    for part in found:
        assert part.start_ms < part.end_ms
        if part.grain == DAYS:
            assert part.start_ms % DAY_MS == part.end_ms % DAY_MS == 0
        if part.grain == MONTHS:
            assert month_of(part.start_ms) == part.start_ms
            assert month_of(part.end_ms) == part.end_ms
        elif by == ("month",):
            assert month_of(part.start_ms) == month_of(part.end_ms - 1)


@given(st.integers(0, 4_000_000_000_000))
def test_a_month_holds_its_moments(at_ms):
    assert month_of(at_ms) <= at_ms < month_after(at_ms)
    assert month_of(month_after(at_ms)) == month_after(at_ms)


@given(st.integers(0, 10**13), st.integers(0, 10**13))
def test_a_range_is_widened_to_whole_hours(start, end):
    first, last = whole_hours(start, end)
    assert first <= start < first + HOUR_MS
    assert last - HOUR_MS < end <= last
    assert first % HOUR_MS == last % HOUR_MS == 0
