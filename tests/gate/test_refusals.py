"""What is turned away is counted by its kind, under names that we gave."""

import asyncio

import pytest

from askonce.domain.caller import Caller
from askonce.domain.errors import (
    AskonceError,
    CacheMiss,
    Forbidden,
    Invalid,
    NotFound,
    OverBudget,
    ProviderFailed,
    RateLimited,
    StoreUnavailable,
    Unauthorized,
)
from askonce.domain.ledger import CountKind, CountRow, Tallied
from askonce.gate.refusals import Refusals
from askonce.state.memory_outbox import MemoryOutbox


class Clock:
    def wall_ms(self) -> int:
        return 90_000

    def steady_ns(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RateLimited("x"), "rate_limited"),
        (Unauthorized("x"), "unauthorized"),
        (Forbidden("x"), "forbidden"),
        (Invalid("x"), "refused"),
        (NotFound("x"), "refused"),
        (CacheMiss("x"), "refused"),
        (OverBudget("x"), None),  # the treasury counts it, with the model
        (ProviderFailed("x"), None),  # that reached a provider, and has a row
        (StoreUnavailable("x"), None),
    ],
)
def test_each_is_counted_as_what_it_is(error: AskonceError, kind: CountKind | None) -> None:
    async def main() -> None:
        outbox = MemoryOutbox()
        await Refusals(outbox, Clock()).count(error, Caller("key:k", "acme", "k"), "generate")
        await outbox.roll(0)
        batch = await outbox.head(9)
        rows = () if batch is None else batch.records
        assert rows == (() if kind is None else (CountRow(1, "acme", "k", "generate", "", "", kind, 1),))

    asyncio.run(main())


def test_with_the_store_away_nothing_is_counted_and_nothing_fails() -> None:
    class Away:
        async def count(self, minute: int, what: Tallied, saved_nano: int = 0, saved_tokens: int = 0) -> None:
            raise StoreUnavailable("away")

        async def roll(self, open_minute: int) -> int:
            return 0

    asyncio.run(Refusals(Away(), Clock()).count(Invalid("x"), Caller("key:k", "acme", "k"), "generate"))
