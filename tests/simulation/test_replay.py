"""Small histories with hits counted by hand, and what holds for all of them."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from askonce.simulation.replay import Outcome, Plan
from askonce.simulation.requests import PastRequest, Prefix
from askonce.simulation.run import simulate

ENTRY = 1000


def asked(name: str, at_s: float, took_s: float = 0.0, caller: str = "c", size: int = ENTRY) -> PastRequest:
    return PastRequest(
        at_ms=int(at_s * 1000),
        tenant="t",
        caller=caller,
        fingerprint=hashlib.sha256(name.encode()).digest(),
        model="m",
        prompt_tokens=2000,
        completion_tokens=100,
        took_ms=int(took_s * 1000),
        answer_bytes=size,
        cost_nano=7,
    )


def played(requests: list[PastRequest], plan: Plan | None = None) -> Outcome:
    ((_, outcome),) = simulate(requests, [plan or Plan()])
    assert outcome.requests == outcome.hits + outcome.coalesced + outcome.refused + outcome.paid
    return outcome


def test_hits_while_it_is_kept_and_not_after() -> None:
    # Paid at 0, kept from 2 until 12: 11 is a hit, 12 is not; kept again from 14 until 24.
    requests = [asked("a", at, took_s=2) for at in (0, 11, 12, 23, 24)]
    outcome = played(requests, Plan(ttl_s=10))
    assert (outcome.paid, outcome.hits, outcome.coalesced) == (3, 2, 0)
    assert (outcome.cost_nano, outcome.saved_exact_nano, outcome.saved_tokens) == (21, 14, 4200)


def test_who_asks_while_it_is_in_the_air_joins() -> None:
    requests = [asked("a", 0, 5), asked("b", 1, 5), asked("a", 1, 5), asked("a", 4.999, 5), asked("a", 5, 5)]
    outcome = played(requests)
    assert (outcome.paid, outcome.coalesced, outcome.hits) == (2, 2, 1)
    assert (outcome.saved_coalesced_nano, outcome.saved_exact_nano, outcome.peak_in_flight) == (14, 7, 2)


def test_the_least_recently_used_goes_where_room_ends() -> None:
    # Room for two: a, b, a again; c pushes b out, which pushes a out.
    names = ["a", "b", "a", "c", "b", "c", "a"]
    outcome = played([asked(name, at) for at, name in enumerate(names)], Plan(capacity_bytes=2 * ENTRY))
    assert (outcome.hits, outcome.paid, outcome.evicted) == (2, 5, 3)
    assert (outcome.peak_bytes, outcome.peak_entries) == (2 * ENTRY, 2)


def test_what_is_larger_than_all_room_is_not_kept() -> None:
    outcome = played([asked("a", 0, size=5 * ENTRY), asked("a", 1, size=5 * ENTRY)], Plan(capacity_bytes=2 * ENTRY))
    assert (outcome.hits, outcome.paid, outcome.evicted, outcome.peak_bytes) == (0, 2, 0, 0)


def test_the_window_counts_hits_too_and_each_caller_alone() -> None:
    requests = [asked("a", at, caller="x") for at in range(4)] + [asked("a", 5, caller="y")]
    outcome = played([*requests, asked("a", 59.9, caller="x"), asked("a", 60, caller="x")], Plan(limit=3, span_s=60))
    assert (outcome.refused, outcome.paid, outcome.hits) == (2, 1, 4)
    assert outcome.hit_rate == pytest.approx(80)


def test_twenty_of_twenty_five_at_once_are_admitted() -> None:
    assert played([asked(str(number), 0) for number in range(25)], Plan(limit=20)).refused == 5


def test_what_a_request_wished_of_the_cache_counts() -> None:
    wished = ("default", "off", "off", "refresh", "only", "default")
    requests = [replace(asked("a", at), mode=mode) for at, mode in enumerate(wished)]
    outcome = played([*requests, replace(asked("b", 9), mode="off"), replace(asked("b", 10), mode="only")])
    assert (outcome.paid, outcome.hits, outcome.refused, outcome.evicted) == (5, 2, 1, 0)


def test_a_refresh_joins_what_is_in_the_air_and_off_does_not() -> None:
    requests = [asked("a", 0, 9), replace(asked("a", 1, 9), mode="refresh"), replace(asked("a", 2, 9), mode="off")]
    outcome = played([*requests, asked("a", 10)])
    assert (outcome.paid, outcome.coalesced, outcome.hits) == (2, 1, 1)


@pytest.mark.parametrize("start_s", [0, 1_700_000_000])
def test_vendors_know_a_prompts_beginning_for_five_minutes(start_s: int) -> None:
    begins = (Prefix(b"short", 500), Prefix(b"middle", 1500), Prefix(b"whole", 2000))
    requests = [
        PastRequest(
            at_ms=1000 * (start_s + at_s),
            tenant="t",
            caller="c",
            fingerprint=str(at_s).encode().ljust(32),
            model="m",
            prompt_tokens=2000,
            completion_tokens=1,
            took_ms=0,
            answer_bytes=1,
            prefixes=prefixes,
        )
        for at_s, prefixes in [(0, begins), (299, begins[:2]), (598, begins[:2]), (599, begins[:1]), (898, begins)]
    ]
    outcome = played(requests)
    assert (outcome.prompt_cached_tokens, outcome.input_tokens) == (1500 + 1500, 10_000)


def test_nothing_costs_nothing() -> None:
    assert played([]).hit_rate == 0


HISTORIES = st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 5)), max_size=60)


@given(HISTORIES, st.integers(1, 60), st.integers(1, 60))
def test_every_request_is_of_one_kind_and_no_room_is_exceeded(
    steps: list[tuple[str, int]], ttl_s: int, limit: int
) -> None:
    outcome = played(_history(steps, took_s=3), Plan(ttl_s, 3 * ENTRY, limit))
    assert outcome.requests == len(steps)
    assert outcome.peak_bytes <= 3 * ENTRY


def _history(steps: list[tuple[str, int]], took_s: float = 0) -> list[PastRequest]:
    now, requests = 0, []
    for name, gap in steps:
        now += gap
        requests.append(asked(name, now, took_s))
    return requests


@given(HISTORIES)
def test_more_room_never_hits_less(steps: list[tuple[str, int]]) -> None:
    """The least recently used of a small cache are among those of a larger one, where nothing runs out."""
    plans = [Plan(ttl_s=86_400, capacity_bytes=ENTRY * room) for room in range(1, 9)]
    hits = [outcome.hits + outcome.coalesced for _, outcome in simulate(_history(steps), plans)]
    assert hits == sorted(hits)
    assert hits[-1] == len(steps) - len({name for name, _ in steps})


@given(HISTORIES)
def test_being_kept_longer_never_hits_less(steps: list[tuple[str, int]]) -> None:
    """Where there is room for all: a payment serves a span, and longer spans need no more of them."""
    plans = [Plan(ttl_s=ttl_s) for ttl_s in (1, 2, 3, 5, 8, 13, 1000)]
    hits = [outcome.hits + outcome.coalesced for _, outcome in simulate(_history(steps), plans)]
    assert hits == sorted(hits)


def test_a_call_that_failed_is_paid_and_nobody_gets_its_answer() -> None:
    found = played([replace(asked("a", 0, 5), failed=True), asked("a", 1), asked("a", 10)])
    assert (found.paid, found.coalesced, found.hits) == (2, 0, 1)
