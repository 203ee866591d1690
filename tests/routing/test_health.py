import pytest
from tests.routing.routingworld import HandClock

from askonce.domain.answer import Answer
from askonce.domain.call import Candidate
from askonce.domain.errors import (
    AskonceError,
    ContentRefused,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderRejected,
    ProviderTimeout,
)
from askonce.domain.usage import Usage
from askonce.routing import health as module
from askonce.routing.breaker import OPEN_S, TRIP_AFTER
from askonce.routing.health import DENIED_S, MAX_REST_S, UNMEASURED, Health, Target

WHO = Candidate("v", "m")
ONE, TWO = Target(WHO, 0), Target(WHO, 1)


def answer(took_ms: int = 1100, first_ms: int = 100, tokens: int = 200) -> Answer:
    return Answer("", "stop", Usage(1, tokens), "v", "m", "m", took_ms=took_ms, first_token_ms=first_ms)


def make() -> tuple[Health, HandClock]:
    clock = HandClock()
    return Health(clock), clock


def test_what_was_measured_moves_the_averages_by_a_fifth() -> None:
    health, _ = make()
    assert health.pace(WHO) == UNMEASURED
    health.succeed(ONE, answer())
    pace = health.pace(WHO)
    assert pace.first_token_ms == pytest.approx(1000 + 0.2 * (100 - 1000))
    assert pace.tokens_per_s == pytest.approx(50 + 0.2 * (200 - 50))
    health.fail(ONE, ProviderTimeout("slow"))
    assert health.pace(WHO).failing == pytest.approx(0.2)
    health.succeed(ONE, answer())
    assert health.pace(WHO).failing == pytest.approx(0.16)


def test_an_answer_without_measures_teaches_nothing_of_speed() -> None:
    health, _ = make()
    health.succeed(ONE, answer(0, 0, 0))
    assert health.pace(WHO) == UNMEASURED


def test_a_key_rests_alone_and_no_longer_than_a_minute() -> None:
    health, clock = make()
    health.fail(ONE, ProviderBusy("quota", retry_after_s=3600))
    assert health.wait_s(ONE) == MAX_REST_S
    assert health.wait_s(TWO) == 0
    assert health.wait_s(Target(Candidate("v", "other"), 0)) == 0  # vendors' limits are per model
    clock.now_s += MAX_REST_S
    assert health.wait_s(ONE) == 0


def test_a_refused_key_is_remembered_for_all_models_until_it_works_again() -> None:
    health, clock = make()
    health.fail(ONE, ProviderDenied("no"))
    assert health.is_denied("v", 0)
    assert not health.is_denied("v", 1)
    assert health.wait_s(ONE) == 0  # it is asked last, but it is asked
    clock.now_s += DENIED_S
    assert not health.is_denied("v", 0)
    health.fail(ONE, ProviderDenied("no"))
    health.succeed(ONE, answer())
    assert not health.is_denied("v", 0)


@pytest.mark.parametrize("error", [ProviderRejected("no"), ContentRefused("no")])
def test_a_vendor_that_refuses_the_question_is_alive(error: AskonceError) -> None:
    health, clock = make()
    for _ in range(TRIP_AFTER):
        health.fail(ONE, ProviderFailed("down"))
    assert health.breaker_state("v") == "open"
    clock.now_s += OPEN_S
    trial = health.begin(ONE)
    assert trial
    assert health.breaker_state("v") == "half-open"
    health.fail(ONE, error)
    health.end(ONE, trial)
    assert health.breaker_state("v") == "closed"


def test_a_trial_that_was_hung_up_makes_room_for_another() -> None:
    health, clock = make()
    for _ in range(TRIP_AFTER):
        health.fail(ONE, ProviderFailed("down"))
    clock.now_s += OPEN_S
    trial = health.begin(ONE)
    assert health.wait_s(ONE) > 0
    health.end(ONE, trial)
    assert health.wait_s(ONE) == 0


def test_load_counts_what_is_in_the_air() -> None:
    health, _ = make()
    health.begin(ONE)
    health.begin(TWO)
    assert health.load("v") == 2
    health.end(ONE, False)
    assert (health.load("v"), health.load("w")) == (1, 0)


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TRACKED", 3)
    health, _ = make()
    for number in range(10):
        target = Target(Candidate("v", f"m{number}"), 0)
        health.fail(target, ProviderFailed("down", retry_after_s=1))
        health.succeed(target, answer())
        assert max(len(health._breakers), len(health._paces), len(health._rests)) <= 3
