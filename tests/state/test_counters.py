"""What a counter says of what was counted."""

from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.ledger import CountRow, Tallied
from askonce.state import counters
from askonce.state.shelf import Shelf

WHAT = Tallied("team", "k1", "generate", "openai", "gpt-4o", "exact")


def rows(shelf: Shelf) -> list[CountRow]:
    return [counters.read(key, shelf[key]) for key in sorted(shelf)]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 10**12), st.integers(0, 10**6)), min_size=1))
def test_counting_adds_up_exactly_per_minute(acts: list[tuple[int, int, int]]) -> None:
    shelf = Shelf()
    for minute, nano, tokens in acts:
        counters.count(shelf, minute, WHAT, nano, tokens)
    for row in rows(shelf):
        of_minute = [act for act in acts if act[0] == row.minute]
        assert row.count == len(of_minute)
        assert row.saved_nano == sum(nano for _, nano, _ in of_minute)
        assert row.saved_tokens == sum(tokens for _, _, tokens in of_minute)


def test_different_things_are_counted_apart() -> None:
    shelf = Shelf()
    for field in Tallied.__struct_fields__:
        words = {name: getattr(WHAT, name) for name in Tallied.__struct_fields__}
        counters.count(shelf, 1, Tallied(**{**words, field: "refused"}))
    assert len(rows(shelf)) == len(Tallied.__struct_fields__)


def test_a_sum_that_would_be_too_large_stays_at_the_most() -> None:
    shelf = Shelf()
    for _ in range(2):
        counters.count(shelf, 1, WHAT, 2**63, 2**62)
    (row,) = rows(shelf)
    assert (row.count, row.saved_nano, row.saved_tokens) == (2, 2**63 - 1, 2**63 - 1)


def test_odd_and_endless_names_are_counted_too() -> None:
    shelf = Shelf()
    counters.count(shelf, 1, Tallied("t\ud800", "k", "d", "p", "m" * 10_000, "refused"))
    (row,) = rows(shelf)
    assert (row.tenant, row.model) == ("t?", "m" * counters.NAME_LETTERS)


def test_merging_moves_a_counter_into_its_hour() -> None:
    shelf = Shelf()
    for minute in (60, 61, 119, 120):
        counters.count(shelf, minute, WHAT, 5, 7)
    for key in sorted(shelf)[1:3]:
        counters.merge(shelf, key, shelf.pop(key))
    assert [(row.minute, row.count, row.saved_nano, row.saved_tokens) for row in rows(shelf)] == [
        (60, 3, 15, 21),
        (120, 1, 5, 7),
    ]
