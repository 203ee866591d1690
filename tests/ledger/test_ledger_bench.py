"""The benchmark of the ledger runs, on a small scale; its numbers mean nothing here."""

import asyncio

from bench.ledger import measure
from tests.ledger.ledgerworld import Place


def test_every_question_of_the_benchmark_is_answered(place: Place) -> None:
    results = asyncio.run(measure("small", place.url, place.folder, 2_000, 1))
    assert [result.what.partition(": ")[2] for result in results] == [
        "drained",
        "drained, a year at once",
        "slowest answer",
        "deleted",
    ]
