"""What every outbox with its counters promises."""

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace
from tests.state.statefakes import HandClock
from tests.state.valkeyworld import valkey_parts

from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import (
    Anchor,
    Anchors,
    AuditRow,
    CallRow,
    CountRow,
    Origin,
    Record,
    SampleRow,
    Tallied,
    pack_record,
)
from askonce.state import lmdb_outbox, lmdb_state
from askonce.state.anchors import LmdbAnchors, MemoryAnchors
from askonce.state.lmdb_outbox import LmdbOutbox
from askonce.state.lmdb_state import LmdbState
from askonce.state.memory_outbox import MemoryOutbox
from askonce.state.valkey.outbox import ValkeyOutbox

Outbox = LmdbOutbox | MemoryOutbox | ValkeyOutbox
World = tuple[Outbox, Anchors]

ORIGIN = Origin("team", "k1", "", "generate", "r1")
CALL = CallRow(1, ORIGIN, "openai", "gpt-4o", "gpt-4o-2024", "answered", True, True, 1_250, prompt_tokens=57)
SAMPLE = SampleRow(1, ORIGIN, "openai", "gpt-4o", "exact", 1_250, 3)
AUDIT = AuditRow(1, "key:k1", "key.created", details=Raw(b'{"name": "b\xc3\xa4r"}'))
WHAT = Tallied("team", "k1", "generate", "openai", "gpt-4o", "exact")
BOUND = 40_000  # bytes; some 200 records
MINUTE = 29_000_037  # the 58th of its hour


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(coroutine)


def memory_world(_: Path) -> Iterator[World]:
    yield MemoryOutbox(BOUND), MemoryAnchors()


def lmdb_world(folder: Path) -> Iterator[World]:
    state = LmdbState(folder, 1 << 20, HandClock(), "0:a")
    state.open()
    yield LmdbOutbox(state._desk, BOUND), LmdbAnchors(state._desk)
    state.close()


WORLDS = {"memory": memory_world, "lmdb": lmdb_world}


@pytest.fixture(params=[*WORLDS, "valkey"])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 8 << 20)
    if request.param == "valkey":
        yield valkey_parts(request.getfixturevalue("redis"), HandClock(), outbox_bytes=BOUND).outbox, MemoryAnchors()
    else:
        yield from WORLDS[request.param](tmp_path)


@pytest.fixture
def outbox(world: World) -> Outbox:
    return world[0]


def count_row(minute: int, count: int, nano: int = 0, tokens: int = 0, what: Tallied = WHAT) -> CountRow:
    return CountRow(
        minute, what.tenant, what.key_id, what.door, what.provider, what.model, what.kind, count, nano, tokens
    )


async def drained(outbox: Outbox) -> list[Record]:
    """Take everything out, and see that the numbers have no gaps."""
    records: list[Record] = []
    following = (await outbox.stock()).first
    while (batch := await outbox.head(7)) is not None:
        assert batch.first == following
        assert len(batch.records) == batch.last - batch.first + 1
        records += batch.records
        following = batch.last + 1
        await outbox.settle(batch.last)
    return records


async def fill(outbox: Outbox, record: Record) -> int:
    """Append until it is refused or dropped; returns how many went in."""
    number = (await outbox.stock()).next
    while True:
        before = await outbox.stock()
        try:
            await outbox.append(record)
        except StoreUnavailable:
            break
        if (await outbox.stock()).next == before.next:
            break
    return (await outbox.stock()).next - number


def test_an_empty_outbox_has_no_head_and_no_name(outbox: Outbox) -> None:
    assert run(outbox.head(10)) is None
    assert run(outbox.stock()).source == ""


def test_records_of_all_kinds_come_out_as_they_went_in_and_in_order(outbox: Outbox) -> None:
    records: list[Record] = [CALL, SAMPLE, AUDIT, count_row(MINUTE, 3, 5, 7)]
    run(outbox.append(*records[:2]))
    run(outbox.append(*records[2:]))
    assert run(drained(outbox)) == records


def test_a_head_stays_until_it_is_settled(outbox: Outbox) -> None:
    run(outbox.append(CALL, CALL, AUDIT))
    first = run(outbox.head(2))
    assert (first.first, first.last) == (1, 2)
    assert run(outbox.head(2)) == first
    run(outbox.settle(2))
    run(outbox.settle(1))  # again, or late: nothing happens
    rest = run(outbox.head(2))
    assert (rest.source, rest.first, rest.last, rest.records) == (first.source, 3, 3, (AUDIT,))


def test_numbers_go_on_after_everything_was_settled(outbox: Outbox) -> None:
    run(outbox.append(CALL, CALL))
    run(outbox.settle(2))
    run(outbox.append(CALL))
    assert run(outbox.head(9)).first == 3


def test_settling_what_was_never_written_is_a_defect(outbox: Outbox) -> None:
    run(outbox.append(CALL))
    with pytest.raises(ValueError, match="never written"):
        run(outbox.settle(2))
    assert run(outbox.head(1)).first == 1


def test_more_records_than_a_slice_are_settled(outbox: Outbox) -> None:
    small = count_row(1, 1)
    many = lmdb_outbox.SLICE + 50
    for _ in range(many):
        run(outbox.append(replace(small, tenant="")))
    run(outbox.settle(many - 1))
    assert run(outbox.head(9)).first == many
    run(outbox.settle(many))
    assert run(outbox.stock()).bytes == 0


def test_where_room_gets_scarce_samples_go_first_then_counters_then_the_audit_and_calls_never(outbox: Outbox) -> None:
    run(fill(outbox, SAMPLE))
    stock = run(outbox.stock())
    assert BOUND * 0.5 <= stock.bytes < BOUND * 0.5 + 1_000
    run(outbox.append(SAMPLE, CALL, SAMPLE))
    assert run(outbox.stock()).next == stock.next + 1
    assert run(outbox.stock()).dropped == stock.dropped + 2
    assert run(fill(outbox, count_row(1, 1))) > 0
    assert BOUND * 0.7 <= run(outbox.stock()).bytes < BOUND * 0.7 + 1_000
    assert run(fill(outbox, AUDIT)) > 0
    assert BOUND * 0.9 <= run(outbox.stock()).bytes < BOUND * 0.9 + 1_000
    for _ in range(100):
        run(outbox.append(CALL))
    assert run(outbox.stock()).bytes > BOUND


def test_what_is_refused_is_refused_whole(outbox: Outbox) -> None:
    run(fill(outbox, AUDIT))
    stock = run(outbox.stock())
    with pytest.raises(StoreUnavailable, match="askonce worker"):
        run(outbox.append(CALL, SAMPLE, AUDIT))
    assert run(outbox.stock()) == stock


def test_counters_of_finished_minutes_are_rolled_once_and_the_open_one_goes_on(outbox: Outbox) -> None:
    other = replace(WHAT, kind="rate_limited")
    for minute in (MINUTE - 1, MINUTE, MINUTE + 1):
        run(outbox.count(minute, WHAT, 5, 7))
        run(outbox.count(minute, WHAT, 6, 8))
        run(outbox.count(minute, other))
    assert run(outbox.roll(MINUTE)) == 4
    assert run(outbox.roll(MINUTE)) == 0
    rows = run(drained(outbox))
    assert sorted(rows, key=lambda row: (row.minute, row.kind)) == [
        count_row(MINUTE - 1, 2, 11, 15),
        count_row(MINUTE - 1, 1, what=other),
        count_row(MINUTE + 1, 2, 11, 15),
        count_row(MINUTE + 1, 1, what=other),
    ]
    run(outbox.count(MINUTE, WHAT, 1, 1))
    assert run(outbox.roll(-1)) == 2
    assert count_row(MINUTE, 3, 12, 16) in run(drained(outbox))


def test_a_late_count_makes_a_further_row_of_its_minute(outbox: Outbox) -> None:
    run(outbox.count(MINUTE, WHAT, 5, 7))
    run(outbox.roll(MINUTE + 1))
    run(outbox.count(MINUTE, WHAT, 6, 8))
    run(outbox.roll(MINUTE + 1))
    assert run(drained(outbox)) == [count_row(MINUTE, 1, 5, 7), count_row(MINUTE, 1, 6, 8)]


def test_without_room_counters_wait_by_the_hour_and_lose_nothing(outbox: Outbox) -> None:
    run(fill(outbox, AUDIT))
    for minute in range(MINUTE, MINUTE + 60):
        run(outbox.count(minute, WHAT, 5, 7))
    before = run(outbox.stock())
    assert run(outbox.roll(0)) == 0
    assert run(outbox.stock()) == before
    run(drained(outbox))
    assert run(outbox.roll(0)) == 2
    hour = MINUTE - MINUTE % 60
    assert run(drained(outbox)) == [count_row(hour, 3, 15, 21), count_row(hour + 60, 57, 285, 399)]


def test_more_counters_than_a_slice_are_rolled(outbox: Outbox) -> None:
    many = lmdb_outbox.SLICE + 50
    for number in range(many):
        run(outbox.count(MINUTE, replace(WHAT, key_id=f"k{number}")))
    assert run(outbox.roll(MINUTE + 1)) == run(outbox.stock()).next - 1


def test_an_anchor_is_remembered_until_the_next(world: World) -> None:
    anchors = world[1]
    assert run(anchors.read()) is None
    run(anchors.note(Anchor(1, b"s" * 32, 5)))
    run(anchors.note(Anchor(2, b"t" * 32, 6)))
    assert run(anchors.read()) == Anchor(2, b"t" * 32, 6)


whats = st.builds(
    Tallied,
    tenant=st.sampled_from(["", "a"]),
    key_id=st.sampled_from(["", "k"]),
    door=st.just("generate"),
    provider=st.just("openai"),
    model=st.sampled_from(["", "m"]),
    kind=st.sampled_from(["exact", "refused"]),
)
records = st.sampled_from([CALL, SAMPLE, AUDIT, count_row(MINUTE, 1)])
steps = st.one_of(
    st.tuples(st.just("append"), st.lists(records, max_size=6)),
    st.tuples(st.just("count"), st.tuples(st.integers(MINUTE - 70, MINUTE + 70), whats, st.integers(0, 10**12))),
    st.tuples(st.just("roll"), st.integers(MINUTE - 70, MINUTE + 70)),
    st.tuples(st.just("settle"), st.floats(0, 1)),
)


async def play(outbox: Outbox, history: list[tuple[str, Any]]) -> list[Any]:
    """Live through a history; tells all that could be seen of it."""
    seen: list[Any] = []
    for act, what in history:
        if act == "append":
            try:
                await outbox.append(*what)
            except StoreUnavailable:
                seen.append("refused")
        elif act == "count":
            await outbox.count(what[0], what[1], what[2], what[2] % 1_000)
        elif act == "roll":
            await outbox.roll(what)
        else:
            stock = await outbox.stock()
            await outbox.settle(stock.first - 1 + int(what * (stock.next - stock.first)))
        stock = await outbox.stock()
        seen.append((stock.first, stock.next, stock.dropped))
    rows = await drained(outbox)
    await outbox.roll(-1)
    rows += await drained(outbox)
    return [*seen, sorted(pack_record(row) for row in rows)]


@given(st.lists(steps, max_size=40))
@settings(max_examples=60, deadline=None)
def test_both_outboxes_live_through_the_same_history(history: list[tuple[str, Any]]) -> None:
    tight = 1_500  # bytes, so that the shares matter
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lmdb_state, "BOOKS_BYTES", 1 << 20)
        state = LmdbState(Path(folder), 1 << 20, HandClock(), "0:a")
        state.open()
        try:
            assert run(play(LmdbOutbox(state._desk, tight), history)) == run(play(MemoryOutbox(tight), history))
        finally:
            state.close()


@given(st.lists(steps, max_size=40))
@settings(max_examples=100, deadline=None)
def test_whatever_happens_all_that_was_counted_comes_out(history: list[tuple[str, Any]]) -> None:
    async def sums() -> tuple[int, int]:
        outbox, taken = MemoryOutbox(2_000), []
        for act, what in history:
            if act == "count":
                await outbox.count(what[0], what[1], what[2])
            elif act == "roll":
                await outbox.roll(what)
            elif act == "settle":
                taken += await drained(outbox)
        taken += await drained(outbox)
        await outbox.roll(-1)
        taken += await drained(outbox)
        rows = [row for row in taken if isinstance(row, CountRow)]
        return sum(row.count for row in rows), sum(row.saved_nano for row in rows)

    counted = [what for act, what in history if act == "count"]
    assert run(sums()) == (len(counted), sum(what[2] for what in counted))
