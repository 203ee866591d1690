import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.routing import breaker as module
from askonce.routing.breaker import MAX_OPEN_S, MOVES, OPEN_S, TRIP_AFTER, Breaker

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"
ARROW = re.compile(r"(?<![\w-])(?=([\w-]+) ─+ (\w+) ─+▶ ([\w-]+))")


@pytest.mark.parametrize("page", [module.__doc__ or "", DESIGN.read_text()], ids=["module", "design"])
def test_the_drawing_is_the_table(page: str) -> None:
    drawn = {(start, event): end for start, event, end in ARROW.findall(page) if event in EVENTS}
    assert drawn == MOVES


EVENTS = {event for _, event in MOVES}


def tripped(now_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(TRIP_AFTER):
        breaker.fail(now_s)
    return breaker


def test_a_few_failures_in_a_row_open_it_and_one_success_between_them_does_not() -> None:
    breaker = Breaker()
    for _ in range(3 * TRIP_AFTER):
        for _ in range(TRIP_AFTER - 1):
            breaker.fail(0)
        assert breaker.state == "closed"
        breaker.succeed()
    assert tripped().state == "open"


def test_after_a_while_one_call_is_let_through_and_decides() -> None:
    breaker = tripped()
    assert breaker.wait_s(OPEN_S - 1) == 1
    assert breaker.wait_s(OPEN_S) == 0
    assert breaker.begin(OPEN_S)
    assert breaker.state == "half-open"
    assert breaker.wait_s(OPEN_S) > 0  # the trial is under way
    assert not breaker.begin(OPEN_S)  # who comes by all the same is not the trial
    breaker.succeed()
    assert (breaker.state, breaker.wait_s(OPEN_S)) == ("closed", 0)


def test_each_failed_trial_doubles_the_pause_up_to_a_bound() -> None:
    breaker, now, pauses = tripped(), 0.0, []
    for _ in range(6):
        pauses.append(breaker.wait_s(now))
        now += pauses[-1]
        breaker.begin(now)
        breaker.fail(now)
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_a_trial_that_tells_nothing_makes_room_for_another() -> None:
    breaker = tripped()
    breaker.begin(OPEN_S)
    breaker.abandon_trial()
    assert breaker.wait_s(OPEN_S) == 0
    assert breaker.begin(OPEN_S)


def test_the_vendors_own_word_prolongs_the_pause_within_the_bound() -> None:
    breaker = Breaker()
    for _ in range(TRIP_AFTER):
        breaker.fail(0, at_least_s=20)
    assert breaker.wait_s(0) == 20
    for _ in range(2):
        breaker.begin(20)
        breaker.fail(20, at_least_s=10_000)
    assert breaker.wait_s(20) == MAX_OPEN_S


@given(st.lists(st.tuples(st.sampled_from("begin succeed fail abandon".split()), st.floats(0, 100)), max_size=60))
def test_it_only_ever_moves_as_the_table_says_and_never_shuts_for_good(acts: list[tuple[str, float]]) -> None:
    breaker, now = Breaker(), 0.0
    for act, passed in acts:
        now += passed
        before = breaker.state
        if act == "begin" and breaker.wait_s(now) == 0:
            breaker.begin(now)
        elif act == "succeed":
            breaker.succeed()
        elif act == "fail":
            breaker.fail(now)
        elif act == "abandon":
            breaker.abandon_trial()
        moved = {end for (start, _), end in MOVES.items() if start == before}
        assert breaker.state == before or breaker.state in moved
        assert breaker.wait_s(now) <= MAX_OPEN_S
