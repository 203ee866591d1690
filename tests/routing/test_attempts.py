from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.routing.routingworld import HandClock

from askonce.domain.call import Candidate
from askonce.domain.errors import (
    AskonceError,
    ContentRefused,
    ContextExceeded,
    InternalError,
    Invalid,
    ModelLoading,
    ModelUnavailable,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderRejected,
    ProviderTimeout,
    ProviderUnavailable,
    UnknownModel,
)
from askonce.routing.attempts import MAX_ATTEMPTS, MAX_PAUSE_S, PAUSE_S, SAME_AGAIN, Attempts
from askonce.routing.breaker import TRIP_AFTER
from askonce.routing.health import Health, Target

A, B = Candidate("a", "m"), Candidate("b", "m")
A1, A2, B1 = Target(A, 0), Target(A, 1), Target(B, 0)


def begin(*targets: Target, dice: float = 1.0) -> tuple[Attempts, Health, HandClock]:
    clock = HandClock()
    health = Health(clock)
    return Attempts(targets, health, lambda: dice), health, clock


@pytest.mark.parametrize(
    ("error", "following"),
    [
        (ProviderFailed("broke"), A1),
        (ProviderFailed("down", retry_after_s=3), B1),
        (ProviderTimeout("slow"), B1),
        (ProviderBusy("slow down", retry_after_s=9), A2),
        (ProviderDenied("bad key"), A2),
        (UnknownModel("no such model"), B1),
        (ModelLoading("loading"), B1),
        (ModelUnavailable("given up"), B1),
        (Invalid("cannot be said in this shape"), B1),
        (ContextExceeded("too long"), B1),
        (ContentRefused("no"), None),
        (ProviderRejected("no such field"), None),
        (InternalError("ours"), None),
    ],
)
def test_what_failed_decides_who_is_next(error: AskonceError, following: Target | None) -> None:
    attempts, health, _ = begin(A1, A2, B1)
    assert attempts.next() == A1
    attempts.made(A1)
    health.fail(A1, error)
    pause_s = attempts.after(A1, error)
    assert attempts.next() == following
    assert (pause_s is None) == (following is None)
    assert not pause_s or following == A1  # only the same endpoint is given time to recover


def test_the_same_endpoint_is_tried_once_more_then_left_with_all_its_keys() -> None:
    attempts, _, _ = begin(A1, A2, B1)
    for _ in range(SAME_AGAIN):
        attempts.made(A1)
        assert attempts.after(A1, ProviderFailed("broke")) == PAUSE_S
        assert attempts.next() == A1
    attempts.made(A1)
    assert attempts.after(A1, ProviderFailed("broke")) == 0
    assert attempts.next() == B1


@pytest.mark.parametrize(("dice", "pause_s"), [(0.0, PAUSE_S / 2), (0.5, PAUSE_S * 3 / 4), (1.0, PAUSE_S)])
def test_the_pause_is_jittered(dice: float, pause_s: float) -> None:
    attempts, _, _ = begin(A1, dice=dice)
    attempts.made(A1)
    assert attempts.after(A1, ProviderFailed("broke")) == pause_s


def test_who_asked_to_be_left_alone_is_passed_over_until_then() -> None:
    attempts, health, clock = begin(A1, B1)
    health.fail(A1, ProviderBusy("slow down", retry_after_s=9))
    assert attempts.next() == B1
    clock.now_s += 9
    assert attempts.next() == A1


def test_who_is_broken_down_is_passed_over_until_a_trial_is_due() -> None:
    attempts, health, clock = begin(A1, B1)
    for _ in range(TRIP_AFTER):
        health.fail(A1, ProviderTimeout("slow"))
    assert attempts.next() == B1
    clock.now_s += 5
    assert attempts.next() == A1
    assert health.begin(A1)
    assert attempts.next() == B1  # one trial at a time


def test_with_everybody_to_be_left_alone_the_refusal_says_when_to_come_again() -> None:
    attempts, health, clock = begin(A1, B1)
    health.fail(A1, ProviderBusy("slow down", retry_after_s=9))
    health.fail(B1, ProviderBusy("slow down", retry_after_s=30))
    clock.now_s += 0.5
    assert attempts.next() is None
    refusal = attempts.refusal()
    assert isinstance(refusal, ProviderBusy)
    assert refusal.retry_after_s == 9
    assert "a:m, b:m" in refusal.message


def test_an_open_breaker_is_named_as_one() -> None:
    attempts, health, _ = begin(A1)
    for _ in range(TRIP_AFTER):
        health.fail(A1, ProviderFailed("down"))
    refusal = attempts.refusal()
    assert isinstance(refusal, ProviderUnavailable)
    assert (refusal.status, refusal.retry_after_s) == (503, 5)


def test_with_no_room_anywhere_the_refusal_says_so() -> None:
    attempts, _, _ = begin(A1, A2)
    attempts.pass_over(A1)
    assert attempts.next() is None
    refusal = attempts.refusal()
    assert refusal is not None
    assert "taken" in refusal.message


def test_where_all_were_asked_nobody_was_left_alone() -> None:
    attempts, health, _ = begin(A1, B1)
    for target in (A1, B1):
        attempts.made(target)
        health.fail(target, ProviderBusy("slow down", retry_after_s=9))
        attempts.after(target, ProviderBusy("slow down", retry_after_s=9))
    assert attempts.refusal() is None


ERRORS = st.sampled_from(
    [
        ProviderFailed("x"),
        ProviderFailed("x", retry_after_s=2),
        ProviderTimeout("x"),
        ProviderBusy("x"),
        ProviderBusy("x", retry_after_s=1),
        ProviderDenied("x"),
        UnknownModel("x"),
        Invalid("x"),
        ProviderRejected("x"),
    ]
)
TARGETS = st.lists(
    st.builds(Target, st.builds(Candidate, st.sampled_from("abcd"), st.just("m")), st.integers(0, 3)),
    max_size=12,
    unique=True,
)


@given(TARGETS, st.lists(ERRORS, min_size=20, max_size=20), st.floats(0, 1))
def test_attempts_are_bounded_whatever_fails(targets: list[Target], errors: list[AskonceError], dice: float) -> None:
    attempts, health, clock = begin(*targets, dice=dice)
    made: Counter[Target] = Counter()
    for error in errors:
        target = attempts.next()
        if target is None:
            break
        attempts.made(target)
        made[target] += 1
        health.fail(target, error)
        pause_s = attempts.after(target, error)
        if pause_s is None:
            assert attempts.next() is None
            break
        assert 0 <= pause_s <= MAX_PAUSE_S
        clock.now_s += pause_s
    assert made.total() <= MAX_ATTEMPTS
    assert all(times <= 1 + SAME_AGAIN for times in made.values())
    assert attempts.next() is None
