"""Budgets as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.budget_text import parse_budget, parse_budgets, write_amount, write_bounds, write_budget
from askonce.domain.errors import Invalid
from askonce.domain.identity import Bounds, Budget

DOLLAR = 10**9


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("10$/day", Budget("nano_dollars", "day", 10 * DOLLAR)),
        ("$10/day", Budget("nano_dollars", "day", 10 * DOLLAR)),
        (" $ 10 / day ", Budget("nano_dollars", "day", 10 * DOLLAR)),
        ("10 dollars per day", Budget("nano_dollars", "day", 10 * DOLLAR)),
        ("1 dollar/month", Budget("nano_dollars", "month", DOLLAR)),
        ("2.5usd/hour", Budget("nano_dollars", "hour", 2_500_000_000)),
        ("$0.000000001/minute", Budget("nano_dollars", "minute", 1)),
        ("$1k/month", Budget("nano_dollars", "month", 1000 * DOLLAR)),
        ("$10/day@Europe/Berlin", Budget("nano_dollars", "day", 10 * DOLLAR, "Europe/Berlin")),
        ("$10/day @ Etc/GMT+5", Budget("nano_dollars", "day", 10 * DOLLAR, "Etc/GMT+5")),
        ("1M tokens/month", Budget("tokens", "month", 1_000_000)),
        ("1.5k tokens/hour", Budget("tokens", "hour", 1500)),
        ("1_000 requests/hour", Budget("requests", "hour", 1000)),
        ("1 request/minute", Budget("requests", "minute", 1)),
        ("0 requests/day", Budget("requests", "day", 0)),
        ("$5/day soft 50%", Budget("nano_dollars", "day", 5 * DOLLAR, "UTC", 0.5)),
        ("$5/day@Asia/Tokyo, soft at 0%", Budget("nano_dollars", "day", 5 * DOLLAR, "Asia/Tokyo", 0.0)),
        ("$5/day soft 33.3%", Budget("nano_dollars", "day", 5 * DOLLAR, "UTC", 0.333)),
    ],
)
def test_budgets_are_read(text: str, budget: Budget) -> None:
    assert parse_budget(text) == budget


@pytest.mark.parametrize(
    "text",
    [
        "", "10", "10/day", "$10", "$10/week", "$10$/day", "$10 tokens/day", "-1$/day", "1,000 requests/hour",
        "1e3 tokens/day", "1m tokens/day", "0.5 requests/hour", "$0.0000000001/day", "$10/day@", "$10/day soft 5",
        "$10/day soft", "$10/day@Europe/Berlin@UTC", "NaN$/day", "$10/daysoft50%x", "1" * 500 + "$/day",
    ],
)  # fmt: skip
def test_what_is_no_budget_is_refused_with_the_cure(text: str) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        parse_budget(text)


def test_none_takes_all_budgets_away_but_only_alone() -> None:
    assert parse_budgets([]) == ()
    assert parse_budgets([" None "]) == ()
    with pytest.raises(Invalid):
        parse_budgets(["none", "$1/day"])


@given(
    st.builds(
        Budget,
        st.sampled_from(["requests", "tokens", "nano_dollars"]),
        st.sampled_from(["minute", "hour", "day", "month"]),
        st.integers(0, 10**17),
        st.sampled_from(["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT-14"]),
        st.integers(0, 1000).map(lambda parts: parts / 1000),
    )
)
def test_what_is_written_is_read_as_the_same(budget: Budget) -> None:
    assert parse_budget(write_budget(budget)) == budget


def test_amounts_are_exact_and_short() -> None:
    assert write_amount("nano_dollars", 2_500_000_000) == "$2.5"
    assert write_amount("nano_dollars", 100 * DOLLAR) == "$100"
    assert write_amount("nano_dollars", 1) == "$0.000000001"
    assert write_amount("tokens", 1500) == "1500 tokens"
    assert write_amount("requests", 1) == "1 request"


def test_bounds_are_written_with_what_may_be_in_flight() -> None:
    bounds = Bounds((Budget("nano_dollars", "day", 10 * DOLLAR, "Europe/Berlin", 0.5),), 4)
    assert write_bounds(bounds) == ("$10/day@Europe/Berlin soft 50%", "4 at once")
    assert write_bounds(Bounds()) == ()
