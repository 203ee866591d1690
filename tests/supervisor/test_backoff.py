import pytest

from askonce.supervisor.backoff import CALM_S, FIRST_PAUSE_S, LONGEST_PAUSE_S, Backoff


def test_pauses_double_up_to_the_longest() -> None:
    backoff = Backoff()
    pauses = [backoff.after_death(1.0, was_ready=True) for _ in range(8)]
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LONGEST_PAUSE_S, LONGEST_PAUSE_S]


def test_who_lived_long_starts_with_a_clean_slate() -> None:
    backoff = Backoff()
    for _ in range(8):
        backoff.after_death(1.0, was_ready=True)
    assert backoff.after_death(CALM_S, was_ready=True) == FIRST_PAUSE_S


@pytest.mark.parametrize("limit", [1, 3, 6])
def test_who_never_gets_ready_is_given_up(limit: int) -> None:
    backoff = Backoff(limit)
    pauses = [backoff.after_death(1.0, was_ready=False) for _ in range(limit)]
    assert None not in pauses[:-1]
    assert pauses[-1] is None


def test_one_that_gets_ready_in_between_is_not_given_up() -> None:
    backoff = Backoff(2)
    outcomes = [backoff.after_death(1.0, was_ready=bool(turn % 2)) for turn in range(10)]
    assert None not in outcomes


def test_the_hopeless_is_given_up_at_once() -> None:
    assert Backoff().after_death(100.0, was_ready=True, hopeless=True) is None
