"""The window's specification: a table of cases, and the laws that hold for every time, limit and interleaving."""

from collections import deque
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from askonce.domain.ports import Verdict, Window
from askonce.limits import window as rule

SPAN = 60


class Shelf(dict[bytes, bytes]):
    """Count what a decision costs."""

    gets = puts = 0

    def get(self, key: bytes) -> bytes | None:  # type: ignore[override]
        self.gets += 1
        return super().get(key)

    def put(self, key: bytes, value: bytes) -> None:
        self.puts += 1
        self[key] = value

    def sweep(self, now: int) -> None:
        for key in [key for key, value in self.items() if rule.expired(value, now)]:
            del self[key]


class Naive:
    """The same rule, written so that it is plainly right."""

    def __init__(self) -> None:
        self.stamps: deque[int] = deque()

    def take(self, limit: int, now: int) -> Verdict:
        counted = [stamp for stamp in self.stamps if stamp > now - SPAN][-limit:]
        if len(counted) >= limit:
            return Verdict(False, 0, counted[0] + SPAN - now)
        self.stamps.append(now)
        return Verdict(True, limit - len(counted) - 1, (counted or [now])[0] + SPAN - now)


def of(limit: int, span: int = SPAN) -> Window:
    return Window("llm:key:a", limit, span)


# (limit, [(time, admitted, remaining, reset)]) with a span of 60
TABLE: list[tuple[int, list[tuple[int, bool, int, int]]]] = [
    (1, [(0, True, 0, 60), (0, False, 0, 60), (59, False, 0, 1), (60, True, 0, 60), (119, False, 0, 1)]),
    (2, [(0, True, 1, 60), (30, True, 0, 30), (59, False, 0, 1), (60, True, 0, 30), (61, False, 0, 29)]),
    (2, [(5, True, 1, 60), (5, True, 0, 60), (65, True, 1, 60), (65, True, 0, 60), (66, False, 0, 59)]),
    (3, [(0, True, 2, 60), (10, True, 1, 50), (20, True, 0, 40), (60, True, 0, 10), (200, True, 2, 60)]),
]


@pytest.mark.parametrize(("limit", "steps"), TABLE)
def test_the_window_answers_as_the_table_says(limit: int, steps: list[tuple[int, bool, int, int]]) -> None:
    shelf = Shelf()
    for now, *expected in steps:
        verdict = rule.take(shelf, of(limit), now)
        assert [verdict.admitted, verdict.remaining, verdict.reset_ns] == expected, now


def test_a_peek_tells_the_room_and_takes_none() -> None:
    shelf = Shelf()
    assert rule.peek(shelf, of(2), 0) == Verdict(True, 2, 0)
    rule.take(shelf, of(2), 0)
    assert rule.peek(shelf, of(2), 10) == Verdict(True, 1, 50)
    rule.take(shelf, of(2), 20)
    assert rule.peek(shelf, of(2), 30) == Verdict(False, 0, 30)
    assert rule.peek(shelf, of(2), 60) == Verdict(True, 1, 20)
    assert shelf.puts == 2


def test_names_do_not_share_a_window() -> None:
    shelf = Shelf()
    long = "x" * 1_000
    for name in ("a", "b", "w" + "a", long, long + "y", "\ud800"):
        assert rule.take(shelf, Window(name, 1, SPAN), 0).admitted
        assert not rule.take(shelf, Window(name, 1, SPAN), 1).admitted
    assert all(len(key) < 300 for key in shelf)


@pytest.mark.parametrize("limit", [1, 20, rule.BLOCK])
def test_a_short_window_costs_one_read_and_one_write(limit: int) -> None:
    shelf = Shelf()
    for now in range(3 * limit):
        shelf.gets = shelf.puts = 0
        rule.take(shelf, of(limit, span=limit), now)
        assert (shelf.gets, shelf.puts) == (1, 1)


@pytest.mark.parametrize("limit", [rule.BLOCK + 1, 1_000, 20_000])
def test_a_long_window_writes_one_head_and_one_block_and_never_a_large_value(limit: int) -> None:
    shelf = Shelf()
    for now in range(2 * limit + 7):
        shelf.gets = shelf.puts = 0
        assert rule.take(shelf, of(limit, span=limit), now).admitted
        assert shelf.puts == 2
        assert shelf.gets <= 2 + (limit // rule.BLOCK).bit_length() + 1
    assert max(map(len, shelf.values())) <= 8 * (rule.BLOCK + 1)


@given(
    limit=st.one_of(st.integers(1, 8), st.integers(rule.BLOCK - 1, rule.BLOCK + 2), st.integers(200, 3_000)),
    start=st.integers(-100, 10**15),
    bursts=st.lists(st.tuples(st.integers(0, 130), st.integers(1, 150)), max_size=40),
    sweeps=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_it_equals_the_plain_rule(limit: int, start: int, bursts: Sequence[tuple[int, int]], sweeps: bool) -> None:
    shelf, naive, now = Shelf(), Naive(), start
    for pause, size in bursts:
        now += pause
        if sweeps:
            shelf.sweep(now)
        for _ in range(size):
            assert rule.take(shelf, of(limit), now) == naive.take(limit, now)


@given(
    limits=st.lists(st.integers(1, 300), min_size=1, max_size=60),
    steps=st.lists(st.tuples(st.integers(0, 70), st.integers(1, 40)), min_size=1, max_size=60),
)
@settings(max_examples=150, deadline=None)
def test_a_changed_limit_keeps_it_exact(limits: list[int], steps: list[tuple[int, int]]) -> None:
    shelf, naive, now = Shelf(), Naive(), 0
    for number, (pause, size) in enumerate(steps):
        now += pause
        limit = limits[number % len(limits)]
        for _ in range(size):
            assert rule.take(shelf, of(limit), now) == naive.take(limit, now)


def test_a_lowered_and_raised_limit_forgets_no_admission() -> None:
    shelf = Shelf()
    for now in range(20):
        rule.take(shelf, of(20), now)
    assert not rule.take(shelf, of(5), 30).admitted
    assert not rule.take(shelf, of(20), 59).admitted
    assert rule.take(shelf, of(20), 60).admitted


@given(
    limit=st.integers(1, 40),
    times=st.lists(st.integers(-200, 200), min_size=1, max_size=300),
)
@settings(max_examples=150, deadline=None)
def test_no_span_holds_more_than_the_limit_even_if_clocks_disagree(limit: int, times: list[int]) -> None:
    """Each process has a clock of its own error; an admission counts from when its window says it was."""
    shelf, true_now = Shelf(), 0
    admitted: list[int] = []
    for error in times:
        true_now += abs(error) // 3
        seen = max([true_now + min(error, 0), *admitted[-1:]])
        verdict = rule.take(shelf, of(limit), true_now + min(error, 0))
        if verdict.admitted:
            admitted.append(seen)
    assert all(late - early >= SPAN for early, late in zip(admitted, admitted[limit:], strict=False))


@given(limit=st.integers(1, 5), jumps=st.lists(st.integers(0, 70), min_size=1, max_size=80))
def test_a_refused_request_is_admitted_after_the_reset(limit: int, jumps: list[int]) -> None:
    shelf, now = Shelf(), 0
    for jump in jumps:
        now += jump
        verdict = rule.take(shelf, of(limit), now)
        if not verdict.admitted:
            assert not rule.peek(shelf, of(limit), now + verdict.reset_ns - 1).admitted
            now += verdict.reset_ns
            assert rule.take(shelf, of(limit), now).admitted


def test_a_dead_window_may_be_swept_and_a_live_one_may_not() -> None:
    for limit in (3, 500):
        shelf = Shelf()
        for now in range(limit):
            rule.take(shelf, of(limit, span=1_000), now)
        shelf.sweep(999)
        assert not rule.take(shelf, of(limit, span=1_000), 999).admitted
        shelf.sweep(1_000 + limit)
        assert not shelf


@pytest.mark.parametrize("former", [100, 1_000])
def test_a_dead_window_starts_anew_in_the_size_of_its_limit(former: int) -> None:
    shelf = Shelf()
    for _ in range(former):
        rule.take(shelf, of(former), 0)
    shelf.sweep(SPAN - 1)
    assert rule.take(shelf, of(2), SPAN).remaining == 1
    shelf.sweep(SPAN)
    assert max(map(len, shelf.values())) < 50
