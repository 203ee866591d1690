"""The first entries of an order, of all that a tenant has."""

import asyncio

import pytest
from tests.gate.gate_world import LoopClock
from tests.state.statefakes import key

from askonce.api import rankings
from askonce.api.rankings import Order, Ranked, rank
from askonce.domain.answer import Answer, Entry, pack
from askonce.domain.ports import Filters
from askonce.domain.usage import Usage
from askonce.state.memory import MemoryAnswers

COSTS = (50, 40, 31, 20, 10)  # of the entries 0 to 4
HITS = (0, 1, 1, 4, 3)


def entry(number: int) -> Entry:
    answer = pack(Answer("x" * (10 + number), "stop", Usage(1, 1), "acme", "m", "", cost_nano=COSTS[number]))
    return Entry(key(number), "team", "acme", f"m{number}", 1_000 + number, 10**15, COSTS[number], 1, 1, answer)


async def ranked(order: Order, size: int = 3) -> Ranked:
    answers = MemoryAnswers(LoopClock(), 1 << 20)
    for number, hits in enumerate(HITS):
        await answers.keep(entry(number))
        for _ in range(hits):
            answers.touch(entry(number))
    return await rank(answers, "team", Filters(), order, size, lambda one: one.model != "m3")


@pytest.mark.parametrize(
    ("order", "first"),
    [
        ("newest", [4, 2, 1]),
        ("oldest", [0, 1, 2]),
        ("size", [4, 2, 1]),
        ("cost", [0, 1, 2]),
        ("saved", [1, 2, 4]),
    ],
)
def test_the_first_ones_are_told_without_those_that_may_not_be_seen(order: Order, first: list[int]) -> None:
    found = asyncio.run(ranked(order))
    assert [one.key for one, _ in found.entries] == [key(number) for number in first]
    assert found.complete


def test_equals_come_in_the_order_of_their_keys() -> None:
    found = asyncio.run(ranked("hits", 4))
    assert [hits for _, hits in found.entries] == [3, 1, 1, 0]
    assert [one.key for one, _ in found.entries][1:3] == sorted([key(1), key(2)])


def test_what_is_looked_at_is_bounded_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rankings, "LOOKED_AT", 2)
    monkeypatch.setattr(rankings, "AT_ONCE", 1)
    found = asyncio.run(ranked("hits", 5))
    assert (len(found.entries) <= 2, found.complete) == (True, False)
