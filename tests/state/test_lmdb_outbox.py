"""What is special about the outbox in the books: acts that fail, books that begin anew."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.state.statefakes import HandClock

from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import AuditRow, CallRow, Origin, Tallied
from askonce.state import counters, lmdb_outbox, lmdb_state
from askonce.state.lmdb_files import Txn
from askonce.state.lmdb_outbox import LmdbOutbox
from askonce.state.lmdb_state import LmdbState

CALL = CallRow(1, Origin("team"), "openai", "gpt-4o", "v", "answered", True, True)
WHAT = Tallied("team", "k1", "generate", "openai", "gpt-4o", "exact")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LmdbState]:
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 8 << 20)
    state = LmdbState(tmp_path / "one", 1 << 20, HandClock(), "0:a")
    state.open()
    yield state
    state.close()


def test_a_record_that_is_refused_undoes_the_act_that_it_belongs_to(state: LmdbState) -> None:
    outbox = LmdbOutbox(state._desk, bound_bytes=0)

    def act(txn: Txn) -> None:
        counters.count(txn, 1, WHAT)
        outbox.append_in(txn, CALL)
        outbox.append_in(txn, AuditRow(1, "system", "x"))

    with pytest.raises(StoreUnavailable):
        state._desk.write(act)
    assert asyncio.run(outbox.head(9)) is None
    assert asyncio.run(outbox.roll(-1)) == 0


def test_a_batch_is_bounded_in_bytes_but_never_empty(state: LmdbState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_outbox, "BATCH_BYTES", 10)
    outbox = LmdbOutbox(state._desk)
    asyncio.run(outbox.append(CALL, CALL))
    batch = asyncio.run(outbox.head(9))
    assert batch is not None
    assert len(batch.records) == 1


def test_books_that_begin_anew_have_an_outbox_of_another_name(state: LmdbState, tmp_path: Path) -> None:
    other = LmdbState(tmp_path / "two", 1 << 20, HandClock(), "0:a")
    other.open()
    try:
        names = set()
        for each in (state, other):
            asyncio.run(LmdbOutbox(each._desk).append(CALL))
            names.add(asyncio.run(LmdbOutbox(each._desk).stock()).source)
        assert len(names) == 2
    finally:
        other.close()


def test_with_the_books_full_paid_calls_are_the_last_to_be_refused(state: LmdbState) -> None:
    outbox = LmdbOutbox(state._desk, bound_bytes=4 << 20)
    big = CallRow(1, Origin("team", request_id="r" * 900), "openai", "gpt-4o", "v", "failed", False, False)

    async def fill() -> None:
        while True:
            await outbox.append(big)

    with pytest.raises(StoreUnavailable):
        asyncio.run(fill())
    written = asyncio.run(outbox.stock()).next - 1
    assert asyncio.run(outbox.stock()).bytes > 4 << 20
    asyncio.run(outbox.settle(written))
    asyncio.run(outbox.append(big))
    batch = asyncio.run(outbox.head(9))
    assert batch is not None
    assert batch.first == written + 1
