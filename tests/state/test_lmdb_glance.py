"""Looking at the books from outside changes nothing for those who serve."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from tests.state.statefakes import HandClock

from askonce.domain.budget import Account, Amounts, Reservation, Statement
from askonce.domain.clock import SystemClock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Budget
from askonce.domain.ledger import Anchor
from askonce.state.anchors import LmdbAnchors
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_glance import Glance, NoBooks
from askonce.state.lmdb_state import LmdbState

END = Anchor(7, b"s" * 32, 5)
CLOCK = SystemClock()


def serving(folder: Path, boot: str = "b") -> LmdbState:
    state = LmdbState(folder, 1 << 20, CLOCK, "0:1", boot)
    state.open()
    return state


def read(folder: Path) -> Anchor | None:
    return asyncio.run(Glance(folder, CLOCK, "b").read())


def note(folder: Path, anchor: Anchor) -> None:
    asyncio.run(Glance(folder, CLOCK, "b").note(anchor))


def tell(folder: Path, account: Account) -> Statement:
    return asyncio.run(Glance(folder, CLOCK, "b").statement(account))


@pytest.fixture(scope="module")
def outside() -> Iterator[Callable[..., Any]]:
    """Call something in another process: one process opens a file once only."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield lambda function, *given: pool.submit(function, *given).result()


def test_the_noted_end_is_seen_beside_a_server_and_without_one(tmp_path: Path, outside: Callable[..., Any]) -> None:
    state = serving(tmp_path)
    asyncio.run(LmdbAnchors(state._desk).note(END))
    assert outside(read, tmp_path) == END
    state.close()
    assert outside(read, tmp_path) == END


def test_what_is_noted_from_outside_is_seen_by_the_server(tmp_path: Path, outside: Callable[..., Any]) -> None:
    state = serving(tmp_path)
    outside(note, tmp_path, END)
    assert asyncio.run(LmdbAnchors(state._desk).read()) == END
    asyncio.run(LmdbAnchors(state._desk).note(Anchor(8, b"t" * 32)))
    assert outside(read, tmp_path) == Anchor(8, b"t" * 32)
    state.close()
    outside(note, tmp_path, END)
    state = serving(tmp_path)
    assert asyncio.run(LmdbAnchors(state._desk).read()) == END
    state.close()


def test_budgets_are_told_as_they_stand(tmp_path: Path, outside: Callable[..., Any]) -> None:
    account = Account("key:a", (Budget("tokens", "month", 1000),), 5)
    state = serving(tmp_path)
    budgets = LmdbBudgets(state._desk, CLOCK, "0:1", lambda *_: None)
    asyncio.run(budgets.reserve((account,), Amounts(1, 100, 0)))
    held = asyncio.run(budgets.reserve((account,), Amounts(1, 100, 0)))
    assert isinstance(held, Reservation)
    asyncio.run(budgets.settle(held, Amounts(1, 60, 0)))
    told = outside(tell, tmp_path, account)
    assert (told.balances[0].used, told.balances[0].reserved, told.in_flight) == (60, 100, 1)
    state.close()


def test_without_books_that_can_be_believed_that_is_said(tmp_path: Path) -> None:
    account = Account("key:a", (Budget("tokens", "month", 1000),))
    with pytest.raises(NoBooks):
        asyncio.run(Glance(tmp_path, CLOCK).read())
    assert list(tmp_path.iterdir()) == []
    serving(tmp_path, "former").close()
    with pytest.raises(NoBooks, match="since this machine was started"):
        asyncio.run(Glance(tmp_path, CLOCK, "b").statement(account))
    assert asyncio.run(Glance(tmp_path, CLOCK, "b").read()) is None


def test_a_damaged_file_is_left_as_it_is(tmp_path: Path) -> None:
    serving(tmp_path).close()
    data = tmp_path / "state" / "books" / "data.mdb"
    data.write_bytes(b"x" * 8192)
    with pytest.raises(StoreUnavailable):
        asyncio.run(Glance(tmp_path, HandClock()).read())
    assert data.read_bytes() == b"x" * 8192
