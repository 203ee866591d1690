"""What a batch adds to the sums."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.ledger.ledgerworld import NOON, call, count, records

from askonce.ledger.cubes import (
    DAY_MS,
    DAYS,
    DIMENSIONS,
    DOOR,
    FULL,
    HOUR_MS,
    HOURS,
    KEY,
    MINUTELY,
    MINUTES,
    MONTHS,
    SHAPES,
    TENANT,
    additions,
    month_of,
    paid_kind,
)  # fmt: skip
from askonce.ledger.tables import usage

COLUMNS = [column.name for column in usage.columns][4:]
MOST = 2**63 - 1


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "answered"),
        ({"counted": False}, "uncounted"),
        ({"ending": "failed"}, "failed"),
        ({"ending": "failed", "counted": False}, "failed"),
        ({"ending": "abandoned"}, "abandoned"),
    ],
)
def test_a_call_is_counted_by_how_it_ended(changes, kind):
    assert paid_kind(call(**changes)) == kind


def test_equal_things_of_an_hour_become_one_addition_per_shape_and_grain():
    every = additions([call(NOON), call(NOON + 1), call(NOON + HOUR_MS - 1)])
    found = [part for part in every if part.grain != MINUTES]
    assert len(found) == len(SHAPES) * 3
    for part in found:
        assert dict(zip(COLUMNS, part.values, strict=True))["count"] == 3
    starts = {part.grain: part.start_ms for part in found}
    assert starts == {HOURS: NOON, DAYS: NOON - NOON % DAY_MS, MONTHS: month_of(NOON)}


def test_minutes_are_told_in_the_shapes_that_the_last_hours_are_looked_at_in():
    found = [part for part in additions([call(NOON), call(NOON + 1), call(NOON + 61_000)]) if part.grain == MINUTES]
    assert {part.shape for part in found} == MINUTELY
    counted = sorted((part.start_ms, part.values[0]) for part in found if part.shape == DOOR)
    assert counted == [(NOON, 2), (NOON + 60_000, 1)]


def test_a_shape_keeps_its_dimensions_only():
    (part,) = (part for part in additions([call()]) if part.shape == TENANT | KEY and part.grain == HOURS)
    assert part.place == ("acme", "k1", "", "", "", "answered")


def test_a_smaller_shape_comes_before_a_larger_one_that_has_all_of_it():
    for place, shape in enumerate(SHAPES):
        assert not [larger for larger in SHAPES[:place] if larger & shape == shape]
    assert SHAPES[-1] == FULL == sum(DIMENSIONS.values())


@given(st.lists(records, max_size=10))
def test_nothing_is_added_twice_to_one_row(rows):
    found = [part[:4] for part in additions(rows)]
    assert len(found) == len(set(found))


@given(st.lists(st.integers(0, MOST), min_size=1, max_size=6))
def test_sums_are_exact_and_stay_at_what_a_column_holds(costs):
    (part,) = (
        part for part in additions([call(cost_nano=cost, took_ms=1) for cost in costs]) if part[:2] == (HOURS, FULL)
    )
    sums = dict(zip(COLUMNS, part.values, strict=True))
    assert sums["cost_nano"] == min(sum(costs), MOST)
    assert (sums["count"], sums["took_ms"]) == (len(costs), len(costs))


@pytest.mark.parametrize(("cost", "kept"), [(-1, 0), (2**64, MOST), (MOST + 1, MOST)])
def test_a_number_that_is_no_measurement_is_brought_within_bounds(cost, kept):
    for part in additions([call(cost_nano=cost), count()]):
        if part.place[-1] == "answered":
            assert dict(zip(COLUMNS, part.values, strict=True))["cost_nano"] == kept
