"""Money is exact, and rounded once, half to even."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from askonce.domain.money import Price, Rate, Tier, divide_half_even, dollars, nano_from_decimal
from askonce.domain.usage import Usage


@pytest.mark.parametrize(
    ("numerator", "denominator", "quotient"),
    [
        (0, 2, 0),
        (1, 2, 0),
        (3, 2, 2),
        (5, 2, 2),
        (7, 2, 4),
        (-1, 2, 0),
        (-3, 2, -2),
        (-5, 2, -2),
        (1, 3, 0),
        (2, 3, 1),
        (-1, 3, 0),
        (-2, 3, -1),
        (10**30 + 1, 2, 5 * 10**29),
        (10**30 + 3, 2, 5 * 10**29 + 2),
        (6, 1, 6),
    ],
)
def test_halves_go_to_the_even_neighbour(numerator: int, denominator: int, quotient: int) -> None:
    assert divide_half_even(numerator, denominator) == quotient


@settings(deadline=None)
@given(st.integers(), st.integers(min_value=1))
def test_division_rounds_as_exact_fractions_do(numerator: int, denominator: int) -> None:
    assert divide_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@pytest.mark.parametrize(
    ("nano", "places", "text"),
    [
        (0, 4, "$0.0000"),
        (1_262_500, 4, "$0.0013"),
        (1_250_000, 4, "$0.0012"),
        (1_350_000, 4, "$0.0014"),
        (1_250_001, 4, "$0.0013"),
        (49_999, 4, "$0.0000"),
        (50_000, 4, "$0.0000"),
        (50_001, 4, "$0.0001"),
        (150_000, 4, "$0.0002"),
        (999_950_000, 4, "$1.0000"),
        (1_000_000_000, 4, "$1.0000"),
        (123_456_789_012_345, 4, "$123456.7890"),
        (150_000_000, 2, "$0.15"),
        (145_000_000, 2, "$0.14"),
        (155_000_000, 2, "$0.16"),
        (1, 9, "$0.000000001"),
        (1_500_000_000, 0, "$2"),
        (2_500_000_000, 0, "$2"),
        (-1_350_000, 4, "-$0.0014"),
        (-1, 4, "$0.0000"),
    ],
)
def test_money_is_written_for_people(nano: int, places: int, text: str) -> None:
    assert dollars(nano, places) == text


@settings(deadline=None)
@given(st.integers(0, 10**18), st.integers(0, 9))
def test_what_is_written_is_never_further_off_than_half_a_unit(nano: int, places: int) -> None:
    written = Decimal(dollars(nano, places)[1:])
    assert abs(written - Decimal(nano).scaleb(-9)) <= Decimal(5).scaleb(-places - 1)


@pytest.mark.parametrize(
    ("amount", "nano"),
    [("0", 0), ("2.5", 2_500_000_000), ("0.0000000005", 0), ("0.0000000015", 2), ("1E-9", 1), ("75", 75 * 10**9)],
)
def test_prices_are_read_from_decimals(amount: str, nano: int) -> None:
    assert nano_from_decimal(Decimal(amount)) == nano


# Dollars per million tokens, times 10⁹: what gpt-4o cost in 2024.
GPT_4O = Price(input=Rate(2_500_000_000), output=Rate(10_000_000_000), cache_read=Rate(1_250_000_000))
CLAUDE = Price(
    input=Rate(3_000_000_000),
    output=Rate(15_000_000_000),
    cache_read=Rate(300_000_000),
    cache_write=Rate(3_750_000_000),
    cache_write_1h=Rate(6_000_000_000),
    service_tiers=(("batch", 50),),
)
TIERED = Price(
    input=Rate(1_250_000_000, (Tier(200_000, 2_500_000_000),)),
    output=Rate(10_000_000_000, (Tier(200_000, 15_000_000_000), Tier(1_000_000, 20_000_000_000))),
)


@pytest.mark.parametrize(
    ("price", "usage", "nano"),
    [
        (GPT_4O, Usage(57, 112), 57 * 2500 + 112 * 10_000),
        (GPT_4O, Usage(0, 0), 0),
        (GPT_4O, Usage(100, 0, cached_tokens=40), 60 * 2500 + 40 * 1250),
        (GPT_4O, Usage(100, 10, reasoning_tokens=8), 100 * 2500 + 10 * 10_000),
        (GPT_4O, Usage(100, 0, cache_write_tokens=40), 100 * 2500),  # without a rate: as the kind it is part of
        (CLAUDE, Usage(1000, 10, 300, 200), 500 * 3000 + 300 * 300 + 200 * 3750 + 10 * 15_000),
        # Anthropic, "Prompt caching", "Pricing": five minutes at 1.25 times the input's rate, an hour at twice.
        (CLAUDE, Usage(1000, 10, 300, 200, cache_write_1h_tokens=0), 500 * 3000 + 300 * 300 + 200 * 3750 + 10 * 15_000),
        (CLAUDE, Usage(1000, 0, 0, 200, cache_write_1h_tokens=150), 800 * 3000 + 50 * 3750 + 150 * 6000),
        (GPT_4O, Usage(1000, 0, 0, 200, cache_write_1h_tokens=150), 1000 * 2500),
        (CLAUDE, Usage(1000, 10, service_tier="standard"), 1000 * 3000 + 10 * 15_000),
        (CLAUDE, Usage(1000, 10, service_tier="batch"), 500 * 3000 + 5 * 15_000),
        (TIERED, Usage(200_000, 1), 200_000 * 1250 + 10_000),
        (TIERED, Usage(200_001, 1), 200_001 * 2500 + 15_000),
        (TIERED, Usage(1_000_001, 1), 1_000_001 * 2500 + 20_000),
        (Price(Rate(1), Rate(1)), Usage(500_000, 0), 0),  # half a nano-dollar: to even
        (Price(Rate(1), Rate(1)), Usage(500_001, 0), 1),
        (Price(Rate(1), Rate(1)), Usage(1_000_000, 500_000), 2),
        (Price(Rate(0), Rate(0), per_call_nano=7), Usage(9, 9), 7),
    ],
)
def test_a_call_costs_what_its_tokens_cost(price: Price, usage: Usage, nano: int) -> None:
    assert price.cost_nano(usage) == nano


def test_the_cost_is_rounded_once_not_for_each_kind() -> None:
    third = Price(Rate(400_000), Rate(400_000))
    assert third.cost_nano(Usage(1, 1)) == 1
    assert third.cost_nano(Usage(1, 0)) == third.cost_nano(Usage(0, 1)) == 0


COUNTS = st.integers(0, 10**7)


@settings(deadline=None)
@given(st.builds(Usage, COUNTS, COUNTS, COUNTS, COUNTS), st.sampled_from([GPT_4O, CLAUDE, TIERED]))
def test_no_usage_that_a_vendor_may_report_earns_money(usage: Usage, price: Price) -> None:
    assert price.cost_nano(usage) >= 0


@pytest.mark.parametrize(
    ("price", "tier", "covered"),
    [
        (CLAUDE, "", True),
        (CLAUDE, "standard", True),
        (GPT_4O, "default", True),
        (CLAUDE, "batch", True),
        (CLAUDE, "priority", False),
        (GPT_4O, "flex", False),
        (Price(Rate(0), Rate(0)), "priority", True),  # where nothing is charged, there is nothing to know
    ],
)
def test_a_service_tier_whose_price_nobody_knows_is_not_covered(price: Price, tier: str, covered: bool) -> None:
    assert price.covers(Usage(1, 1, service_tier=tier)) is covered


def test_the_vendors_cache_takes_off_less_where_all_costs_less() -> None:
    usage = Usage(1000, 0, cached_tokens=1000)
    assert CLAUDE.saved_nano(usage) == 2 * CLAUDE.saved_nano(replace(usage, service_tier="batch")) == 1000 * 2700
