"""What is waited for, what is tried again, and how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.errors import (
    BY_CODE,
    AskonceError,
    Draining,
    FlightLost,
    ModelLoading,
    OverBudget,
    ProviderBusy,
    ProviderFailed,
    ProviderTimeout,
    ProviderUnavailable,
    StoreUnavailable,
)
from askonce.workflows.waiting import JITTER, LONGEST_WAIT_S, PASSING, PROVIDER_PATIENCE_S, ROOM, Patience, Pause

HOUR_MS = 3_600_000
PATIENT = (*ROOM, *PASSING)


def patience(tries: int = 4, until_ms: int = HOUR_MS, dice: float = 0.0) -> Patience:
    return Patience(tries, until_ms, lambda: dice)


TABLE = [
    # error, its retry_after, seconds
    (OverBudget, 30, 30.0),
    (OverBudget, None, 0.5),
    (StoreUnavailable, 1, 1.0),
    (ProviderBusy, 7, 7.0),
    (ProviderUnavailable, None, 0.5),
    (ModelLoading, 2, 2.0),
    (Draining, 1, 1.0),
    (FlightLost, None, 0.5),
]


@pytest.mark.parametrize(("kind", "retry_after_s", "seconds"), TABLE)
def test_what_passes_is_waited_for_and_counts_as_no_try(kind, retry_after_s, seconds):
    patient = patience(tries=1)
    assert patient.after(kind("Wait.", retry_after_s=retry_after_s), 0) == Pause(seconds, retries=False)


def test_pauses_that_nobody_named_grow_to_a_bound():
    patient = patience()
    pauses = [patient.after(StoreUnavailable("Away."), 0).seconds for _ in range(7)]
    assert pauses == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_dice_make_pauses_longer_and_never_shorter_than_was_named():
    patient = patience(dice=1.0)
    assert patient.after(ProviderBusy("Busy.", retry_after_s=8), 0).seconds == 8 * (1 + JITTER)


def test_other_failures_that_pass_are_tried_again_after_one_two_and_four_seconds():
    patient = patience(tries=5)
    error = ProviderFailed("It broke.")
    assert [patient.after(error, 0) for _ in range(4)] == [Pause(s, retries=True) for s in (1.0, 2.0, 4.0, 4.0)]
    with pytest.raises(ProviderFailed):
        patient.after(error, 0)


def test_a_node_without_retries_is_tried_once():
    with pytest.raises(ProviderTimeout):
        patience(tries=1).after(ProviderTimeout("Too slow."), 0)


def test_whatever_no_retry_changes_is_raised_at_once():
    for kind in BY_CODE.values():
        if kind.retryable or issubclass(kind, OverBudget) or kind.code == "method_not_allowed":
            continue
        with pytest.raises(kind):
            patience().after(kind("No."), 0)


def test_providers_are_waited_for_two_minutes_in_all():
    patient = patience()
    waited = 0.0
    for _ in range(15):
        waited += patient.after(ProviderUnavailable("Left alone.", retry_after_s=7), 0).seconds
    assert waited == pytest.approx(PROVIDER_PATIENCE_S, abs=8)
    with pytest.raises(ProviderUnavailable):
        patient.after(ProviderUnavailable("Left alone.", retry_after_s=7), 0)
    with pytest.raises(ProviderBusy):
        patience().after(ProviderBusy("Tomorrow.", retry_after_s=120), 0)


def test_room_is_waited_for_until_the_end_and_not_beyond():
    patient = patience()
    assert patient.after(OverBudget("Full.", retry_after_s=3599), 0).seconds == 3599
    with pytest.raises(OverBudget) as refused:
        patient.after(OverBudget("Full until 14:00.", retry_after_s=3600), 0)
    assert refused.value.message == (
        "Full until 14:00. That is after the end of this execution's time, 1970-01-01 01:00:00 UTC."
    )
    assert refused.value.retry_after_s == 3600


def test_a_try_that_would_begin_after_the_end_is_not_waited_for():
    with pytest.raises(ProviderFailed):
        patience(until_ms=900).after(ProviderFailed("It broke."), 0)


@given(
    st.lists(st.tuples(st.sampled_from(PATIENT), st.none() | st.integers(0, 200)), max_size=60),
    st.integers(1, 600_000),
    st.floats(0, 1),
)
def test_no_history_waits_beyond_the_end_or_longer_for_providers_than_is_allowed(errors, until_ms, dice):
    patient = patience(until_ms=until_ms, dice=dice)
    now_s = for_providers = 0.0
    for kind, retry_after_s in errors:
        error: AskonceError = kind("Wait.", retry_after_s=retry_after_s)
        try:
            pause = patient.after(error, round(now_s * 1000))
        except AskonceError:
            continue
        assert pause.seconds >= min(retry_after_s or 0, LONGEST_WAIT_S)
        now_s += pause.seconds
        for_providers += pause.seconds * (kind in PASSING)
        assert now_s * 1000 <= until_ms + 1
        assert for_providers <= PROVIDER_PATIENCE_S + 0.001
