import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.call import Candidate, Priority
from askonce.domain.money import Price, Rate
from askonce.routing.health import Pace
from askonce.routing.score import WEIGHTS, Traits, scores

WHO = Candidate("v", "m")


def dollars(amount: float) -> Price:
    return Price(Rate(int(amount * 1e9)), Rate(int(amount * 1e9)))


def traits(price: float | None = 1.0, pace: Pace | None = None, load: float = 0.0) -> Traits:
    return Traits(WHO, None if price is None else dollars(price), pace or Pace(), load)


def test_the_price_is_of_three_parts_prompt_and_one_part_answer() -> None:
    assert Traits(WHO, Price(Rate(2_000_000_000), Rate(10_000_000_000))).dollars == 4.0


def test_the_time_is_the_first_token_and_500_more() -> None:
    assert Traits(WHO, None, Pace(2000.0, 100.0)).seconds == 7.0


@pytest.mark.parametrize(
    ("field", "priority", "expected"),
    [
        ([traits(1), traits(9)], "quality", [0.8 * math.log(2) / math.log(10) + 0.1 + 0.1, 0.9 + 0.1 * 1.01 / 9.01]),
        ([traits(0), traits(9)], "cost", [0.1 * 0 + 0.1 + 0.8, 0.1 + 0.1 + 0.8 * 0.01 / 9.01]),
        ([traits(None)], "cost", [0.1 * 0.5 + 0.1 + 0]),
        ([traits(0)], "quality", [0.8 * 0.5 + 0.1 + 0.1]),
        ([traits(1, Pace(1000, 500)), traits(1, Pace(3000, 500))], "speed", [1.0, 0.1 + 0.8 * 2 / 4 + 0.1]),
        ([traits(1, Pace(failing=0.25))], None, [0.75]),
        ([traits(1, load=1.0), traits(1, load=7.0)], None, [0.5, 0.5]),
        ([], None, []),
    ],
)
def test_the_score_follows_its_formula(field: list[Traits], priority: Priority | None, expected: list[float]) -> None:
    assert scores(field, priority) == pytest.approx(expected)


def test_the_weights_of_each_priority_make_one() -> None:
    assert all(sum(weights) == pytest.approx(1) for weights in WEIGHTS.values())


TRAITS = st.builds(
    traits,
    st.none() | st.floats(0, 1000),
    st.builds(Pace, st.floats(0, 60_000), st.floats(0, 10_000), st.floats(0, 1)),
    st.floats(0, 2),
)


@given(st.lists(TRAITS, max_size=6), st.sampled_from(list(WEIGHTS)))
def test_a_score_lies_between_0_and_1(field: list[Traits], priority: Priority | None) -> None:
    assert all(0 <= score <= 1.000001 for score in scores(field, priority))
