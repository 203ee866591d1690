"""What the statistics say and what the ledger's reports say is one and the same, to the nano-dollar."""

import asyncio
from random import Random
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine
from tests.gate.gate_world import START_MS, TENANT, Line, Sky, Vendor, World, play, question, rounds, start
from tests.ledger.ledgerworld import DAY, Place, no_audit

from askonce.domain.caller import Caller
from askonce.domain.errors import ProviderBusy, ProviderFailed
from askonce.domain.ledger import Batch
from askonce.domain.outcome import Totals
from askonce.domain.reports import Figures, UsageQuestion
from askonce.domain.usage import Usage
from askonce.gate.keeping import Keeping
from askonce.ledger.reports import SqlReports
from askonce.ledger.writer import SqlLedger

REQUESTS = 400
GROUPS: tuple[tuple[Any, ...], ...] = (
    (),
    ("day",),
    ("key",),
    ("door",),
    ("provider", "model"),
    ("hour", "key", "model"),
)


class Moody(Vendor):
    """Answer, fail, or break off, as the dice fall."""

    def __init__(self, dice: Random) -> None:
        super().__init__()
        self._dice = dice

    def opened(self, line: Line) -> None:
        mood = self._dice.random()
        line.usage = Usage(self._dice.randrange(1, 9_999), self._dice.randrange(0, 999), estimated=mood < 0.1)
        if mood < 0.1:
            line.fail(ProviderBusy("Slow down."))
        elif mood < 0.2:
            line.send(Usage(self._dice.randrange(1, 9_999), 3))
            line.say("some words")
            line.fail(ProviderFailed("It broke."))
        else:
            line.say("an answer")
            line.finish()


async def traffic(seed: int) -> tuple[list[Batch], Totals]:
    """Let many callers ask few questions on two processes; returns what came into the outbox, and the sums."""
    dice = Random(seed)
    sky = Sky()
    worlds = [World(sky, Moody(dice), f"{number}:x", keeping=Keeping(0.6, True)) for number in range(2)]
    clients: list[asyncio.Task[Any]] = []
    for number in range(REQUESTS):
        ask = question(
            f"{dice.randrange(40)}",
            stream=dice.random() < 0.5,
            mode=dice.choice(["default", "default", "default", "refresh", "off", "only"]),
            model=dice.choice(["m-1", "m-2"]),
        )
        key_id = f"k{dice.randrange(3)}"
        clients.append(start(dice.choice(worlds).ask(ask, Caller(f"key:{key_id}", TENANT, key_id))))
        if dice.random() < 0.3:
            await asyncio.sleep(dice.random() * 600)
        if dice.random() < 0.05:
            dice.choice(clients).cancel()
        if number % 50 == 0:
            await sky.outbox.roll(sky.clock.wall_ms() // 60_000)
    await asyncio.gather(*clients, return_exceptions=True)
    await rounds(50)
    for world in worlds:
        await world.answering.stop(100)
    await sky.outbox.roll(0)
    batches = []
    while (batch := await sky.outbox.head(37)) is not None:
        batches.append(batch)
        await sky.outbox.settle(batch.last)
    return batches, await sky.books.totals(TENANT)


def test_the_ledgers_sums_are_those_of_the_statistics(place: Place) -> None:
    batches, totals = play(traffic(7))
    assert min(totals.hits, totals.misses, totals.coalesced, totals.failed, totals.uncounted) > 0

    async def act(engine: AsyncEngine) -> list[tuple[Figures, Figures]]:
        ledger, reports = SqlLedger(engine, no_audit), SqlReports(engine)
        for batch in batches:
            await ledger.apply(batch)
            await ledger.apply(batch)
        found = []
        for by in GROUPS:
            report = await reports.usage(UsageQuestion(START_MS - DAY, START_MS + 60 * DAY, by))
            added = Figures()
            for row in report.rows:
                for name in Figures.__struct_fields__:
                    setattr(added, name, getattr(added, name) + getattr(row.figures, name))
            found.append((report.total, added if by else report.total))
        return found

    for total, added in place.play(act):
        assert added == total
        assert {name: getattr(total, name) for name in AGREEING} == {
            name: getattr(totals, AGREEING[name]) for name in AGREEING
        }


# The report's name of a sum, and that of the statistics.
AGREEING = {
    "hits": "hits",
    "misses": "misses",
    "coalesced": "coalesced",
    "failed": "failed",
    "abandoned": "abandoned",
    "uncounted": "uncounted",
    "cost_nano": "spent_nano",
    "saved_exact_nano": "saved_exact_nano",
    "saved_coalesced_nano": "saved_coalesced_nano",
    "saved_tokens": "saved_tokens",
    "saved_prompt_cache_nano": "saved_prompt_cache_nano",
    "estimated": "estimated",
    "unpriced": "unpriced",
}
