"""What comes of requests of the past, counted by hand; and that more room or time never does worse."""

from hypothesis import given, settings
from hypothesis import strategies as st

from askonce.simulation.replay import Outcome, Plan
from askonce.simulation.requests import PastRequest, Prefix
from askonce.simulation.run import simulate


def past(at_s: float, question: str, took_s: float = 1.0, **more: object) -> PastRequest:
    fields: dict[str, object] = {"answer_bytes": 1000, "cost_nano": 500, "caller": "me", "prefixes": (), **more}
    key = question.encode().ljust(32, b".")
    return PastRequest(int(at_s * 1000), "team", fingerprint=key, model="m", prompt_tokens=2000, completion_tokens=10,
                       took_ms=int(took_s * 1000), **fields)  # type: ignore[arg-type]  # fmt: skip


def outcome(requests: list[PastRequest], plan: Plan = Plan()) -> Outcome:  # noqa: B008
    return simulate(requests, [plan])[0][1]


def test_hits_joined_and_paid_are_told_apart() -> None:
    found = outcome([past(0, "a", 2), past(1, "a"), past(1.5, "b"), past(2, "a"), past(3, "a"), past(3, "b")])
    assert (found.paid, found.coalesced, found.hits) == (2, 1, 3)
    assert (found.cost_nano, found.saved_exact_nano, found.saved_coalesced_nano) == (1000, 1500, 500)
    assert found.saved_tokens == 4 * 2010
    assert round(found.hit_rate, 2) == 66.67


def test_an_answer_is_kept_for_its_time_from_when_it_landed() -> None:
    plan = Plan(ttl_s=10)
    assert outcome([past(0, "a", 2), past(11.9, "a")], plan).hits == 1
    assert outcome([past(0, "a", 2), past(12, "a")], plan).paid == 2


def test_where_there_is_no_room_what_was_used_last_stays() -> None:
    requests = [past(0, "a"), past(2, "b"), past(4, "a"), past(6, "c"), past(8, "a"), past(10, "b")]
    found = outcome(requests, Plan(capacity_bytes=2000))
    assert (found.hits, found.paid, found.evicted) == (2, 4, 2)
    assert (found.peak_bytes, found.peak_entries) == (2000, 2)


def test_a_caller_beyond_the_limit_is_refused_and_comes_in_again_when_the_window_moved_on() -> None:
    requests = [past(at, f"q{at}") for at in (0, 1, 2)] + [past(2, "q9", caller="other"), past(60, "q4")]
    found = outcome(requests, Plan(limit=2))
    assert (found.requests, found.refused, found.paid) == (5, 1, 4)


def test_what_vendors_could_know_is_told_apart() -> None:
    shared = (Prefix(b"system", 1500),)
    requests = [past(0, "a", prefixes=shared), past(10, "b", prefixes=shared), past(400, "c", prefixes=shared)]
    found = outcome([*requests, past(401, "d", prefixes=(Prefix(b"short", 10),))])
    assert (found.prompt_cached_tokens, found.saved_exact_nano) == (1500, 0)


asked = st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abcdefgh")), max_size=60)


@given(asked, st.integers(1, 8), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_more_room_never_finds_less(steps: list[tuple[int, str]], less: int, more: int) -> None:
    requests, at = [], 0
    for pause, question in steps:
        at += pause
        requests.append(past(at, question, took_s=0))
    small, large = sorted((less, less + more))
    found = simulate(requests, [Plan(10**6, 1000 * small), Plan(10**6, 1000 * large)])
    assert found[0][1].hits <= found[1][1].hits


@given(asked, st.integers(1, 60), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_every_request_is_exactly_one_of_all_kinds(steps: list[tuple[int, str]], ttl_s: int, limit: int) -> None:
    requests, at = [], 0
    for pause, question in steps:
        at += pause
        requests.append(past(at, question, took_s=3))
    found = outcome(requests, Plan(ttl_s, 3000, limit))
    assert found.requests == len(steps) == found.refused + found.hits + found.coalesced + found.paid
    assert found.peak_bytes <= 3000
