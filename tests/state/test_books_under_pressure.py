"""Books that are nearly full, and a directory that is being filled: nothing is lost, and nobody gets in by that."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from askonce.domain.budget import Account, Amounts, Reservation, Settled
from askonce.domain.clock import SystemClock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Bounds, Budget, Edition, Holder, KeyCard
from askonce.domain.ledger import AuditRow, CallRow, Origin
from askonce.limits.budget import ALERT_ACTION
from askonce.state.lmdb_state import LmdbState

CLOCK = SystemClock()
ACCOUNT = Account("key:k", (Budget("nano_dollars", "day", 1000),), 0, "t")


def play(folder: Path, act: Callable[[LmdbState], Coroutine[Any, Any, None]]) -> None:
    state = LmdbState(folder, 1 << 24, CLOCK, "0:1")
    state.open()
    try:
        asyncio.run(act(state))
    finally:
        state.close()


def call() -> CallRow:
    return CallRow(CLOCK.wall_ms(), Origin("t", "k"), "p", "m", "", "answered", True, False, cost_nano=100)


def test_an_alert_for_which_there_is_no_room_undoes_no_booking(tmp_path: Path) -> None:
    async def act(state: LmdbState) -> None:
        state.outbox._bound = 200_000
        while state.outbox.fullness() < 0.92:
            await state.books.book(call())
        with pytest.raises(StoreUnavailable):
            await state.outbox.append(AuditRow(0, "a", "b", "c"))
        for _ in range(9):
            reserved = await state.budgets.reserve((ACCOUNT,), Amounts(1, 1, 100))
            assert isinstance(reserved, Reservation)
            await state.books.book(call(), Settled(reserved, Amounts(1, 1, 100)))
        (balance,) = (await state.budgets.statement(ACCOUNT)).balances
        assert (balance.used, balance.reserved) == (900, 0)
        batch = await state.outbox.head(100_000)
        assert batch is not None
        alerts = [row for row in batch.records if isinstance(row, AuditRow) and row.action == ALERT_ACTION]
        assert len(alerts) == 1

    play(tmp_path, act)


CARDS = [KeyCard(f"k{at}", at.to_bytes(32, "big"), "ask_", "n", "acme", version=1) for at in range(450)]
TENANT = Holder("tenant:acme", Bounds((Budget("requests", "day", 1),)), disabled_ms=5, version=1)


def test_a_directory_that_is_being_filled_or_emptied_lets_nobody_in(tmp_path: Path) -> None:
    async def never_without_holder(state: LmdbState, change: Coroutine[Any, Any, None]) -> int:
        """Look between all slices of a change; return how often nothing could be said."""
        changing, closed = asyncio.ensure_future(change), 0
        while not changing.done():
            for card in (CARDS[0], CARDS[-1]):
                try:
                    standing = await state.directory.find(card.digest)
                except StoreUnavailable:
                    closed += 1
                else:
                    assert standing is None or standing.tenant == TENANT
            try:
                assert TENANT in await state.directory.holders(TENANT.name)
            except StoreUnavailable:
                closed += 1
            await asyncio.sleep(0)
        await changing
        return closed

    async def act(state: LmdbState) -> None:
        filled = state.directory.replace([*CARDS, TENANT], Edition("db", 1))
        assert await never_without_holder(state, filled) > 0
        standing = await state.directory.find(CARDS[0].digest)
        assert standing is not None
        assert standing.tenant == TENANT
        assert await never_without_holder(state, state.directory.forget()) > 0
        with pytest.raises(StoreUnavailable):
            await state.directory.find(CARDS[0].digest)

    play(tmp_path, act)
