"""Sums are added exactly, and a hit is added the same way by both roads."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.state.rows import paid

from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared
from askonce.state import tally

AMOUNT = st.integers(0, 10**12)


@given(st.lists(AMOUNT, min_size=16, max_size=16), AMOUNT, AMOUNT)
def test_a_hit_is_the_same_as_a_spared_call(start: list[int], nano: int, tokens: int) -> None:
    packed = tally.TALLY.pack(*start)
    assert tally.add_hit(packed, nano, tokens) == tally.add(packed, Spared("t", "exact", nano, tokens))


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        (paid("answered", True, 5, "t"), tally.Tally(misses=1, spent_nano=5)),
        (paid("answered", False, 5, "t"), tally.Tally(uncounted=1, spent_nano=5)),
        (paid("failed", True, 5, "t"), tally.Tally(failed=1, spent_nano=5)),
        (paid("abandoned", False, 5, "t"), tally.Tally(abandoned=1, spent_nano=5)),
        (
            paid("answered", True, 5, "t", saved_prompt_cache_nano=3),
            tally.Tally(misses=1, spent_nano=5, saved_prompt_cache_nano=3),
        ),
        (paid("answered", True, 0, "t", priced=False), tally.Tally(misses=1, unpriced=1)),
        (
            paid("abandoned", False, 5, "t", estimated=True),
            tally.Tally(abandoned=1, spent_nano=5, estimated=1, estimated_nano=5),
        ),
        (Spared("t", "exact", 5, 7), tally.Tally(hits=1, saved_exact_nano=5, saved_tokens=7)),
        (Spared("t", "coalesced", 5, 7), tally.Tally(coalesced=1, saved_coalesced_nano=5, saved_tokens=7)),
        (Spared("t", "resumed", 5, 7), tally.Tally(resumed=1, saved_resumed_nano=5, saved_tokens=7)),
    ],
)
def test_an_ending_adds_to_its_own_sums_only(ending: CallRow | Spared, expected: tally.Tally) -> None:
    assert tally.TALLY.unpack(tally.add(tally.NOTHING, ending)) == tuple(expected)


def test_sums_stop_at_the_largest_number_that_fits_instead_of_failing() -> None:
    full = tally.TALLY.pack(*[2**63 - 1] * 16)
    assert tally.add(full, paid("answered", True, 5, "t", prompt_tokens=1, completion_tokens=1)) == full
    assert tally.add_hit(tally.TALLY.pack(0, *[2**63 - 1] * 15), 2**62, 2**62)[8:] == full[8:]


def test_sums_of_a_version_that_had_fewer_are_taken_over() -> None:
    eleven = struct.pack("<11q", *range(11))
    assert tally.read(eleven) == (*range(11), 0, 0, 0, 0, 0)
    assert tally.read(tally.add(eleven, paid("answered", True, 0, "t", priced=False)))[-5:] == (1, 0, 0, 0, 0)
    assert tally.read(tally.add_hit(eleven, 1, 1))[:2] == (1, 1)
