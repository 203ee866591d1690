"""What the ledger keeps for people to look at, besides its sums."""

import json
from typing import Any

import pytest
from tests.gate.gate_world import Sky, World, away, play, question, start, visit

from askonce.domain.ledger import CallRow, SampleRow, TextRow
from askonce.gate.keeping import TEXT_BYTES, Keeping


async def rows(world: World, kind: Any) -> list[Any]:
    batch = await world.sky.outbox.head(100)
    return [] if batch is None else [row for row in batch.records if isinstance(row, kind)]


async def traffic(world: World, prompt: str = "hello", answer: str = "an answer") -> None:
    """Pay once, join once, hit twice."""
    clients = [start(world.ask(question(prompt))) for _ in range(2)]
    (await world.vendor.call()).finish(answer)
    for client in clients:
        await client
    for _ in range(2):
        assert (await world.ask(question(prompt))).state == "hit"


@pytest.mark.parametrize(("share", "kinds"), [(0.0, []), (0.5, []), (0.6, ["coalesced", "exact", "exact"])])
def test_a_share_of_what_cost_nothing_is_kept_row_by_row(share: float, kinds: list[str]) -> None:
    async def main() -> None:
        world = World(keeping=Keeping(samples=share))  # the dice say 0.5
        await traffic(world)
        kept = await rows(world, SampleRow)
        assert [row.kind for row in kept] == kinds
        assert {(row.origin.door, row.origin.request_id, row.provider) for row in kept} <= {("door", "req-1", "vendor")}
        assert len(await rows(world, CallRow)) == 1
        await world.close()

    play(main())


def test_texts_are_kept_only_where_that_is_wanted_and_only_of_paid_calls() -> None:
    async def main() -> None:
        silent, telling = World(), World(Sky(), keeping=Keeping(texts=True))
        for world in (silent, telling):
            await traffic(world, "what is one and one?", "two \N{SNOWMAN}")
        assert await rows(silent, TextRow) == []
        (text,) = await rows(telling, TextRow)
        assert "what is one and one?" in text.question
        assert json.loads(text.question)["messages"]
        assert "two \N{SNOWMAN}" in json.loads(text.answer)[0]
        assert not text.cut
        for world in (silent, telling):
            await world.close()

    play(main())


def test_texts_that_are_too_long_are_cut_and_say_so() -> None:
    async def main() -> None:
        world = World(keeping=Keeping(texts=True))
        await traffic(world, "\N{SNOWMAN}" * TEXT_BYTES)
        (text,) = await rows(world, TextRow)
        assert text.cut
        assert len(text.question.encode()) <= TEXT_BYTES
        await world.close()

    play(main())


def test_with_the_store_away_nothing_is_kept_and_nobody_notices() -> None:
    async def main() -> None:
        world = World(hook=away("append", "book"), keeping=Keeping(1.0, True))
        client = start(world.ask(question()))
        (await world.vendor.call()).finish()
        assert (await client).state == "miss"
        await world.close()

    play(main())


def test_a_row_tells_where_its_request_came_from() -> None:
    come = visit()
    assert come.origin("t").door == "door"
    assert come.took_ms() >= 0
