"""What is promised stays until its day is over or its room is needed: in memory and on disk alike."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.state.statefakes import HandClock, an_entry, key, noise
from tests.state.valkeyworld import valkey_parts

from askonce.domain.answer import Entry
from askonce.domain.outcome import Totals
from askonce.domain.ports import Filters, Kept, Promise
from askonce.state import lmdb_promises
from askonce.state.lmdb_promises import _PROMISE_BYTES, LARGEST, SHARE
from askonce.state.lmdb_state import LmdbState
from askonce.state.memory import MemoryState

ROOM = 4 << 20
DAY_MS = 86_400_000
ASKED = key(7)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["memory", "lmdb", "valkey", pytest.param("cluster", marks=pytest.mark.soak)])
def state(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> Iterator[Any]:
    if request.param in ("valkey", "cluster"):
        yield valkey_parts(request.getfixturevalue("redis" if request.param == "valkey" else "cluster"), clock)
        return
    if request.param == "memory":
        yield MemoryState(clock, capacity_bytes=ROOM)
        return
    lmdb = LmdbState(tmp_path, ROOM, clock, "0:a")
    lmdb.open()
    yield lmdb
    lmdb.close()


@pytest.fixture(params=["memory", "lmdb"])
def bounded(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> Iterator[Any]:
    """Give those that have a bound of their own; Valkey and Redis have the server's."""
    if request.param == "memory":
        yield MemoryState(clock, capacity_bytes=ROOM)
        return
    lmdb = LmdbState(tmp_path, ROOM, clock, "0:a")
    lmdb.open()
    yield lmdb
    lmdb.close()


@pytest.fixture
def disk(tmp_path: Path, clock: HandClock) -> Iterator[LmdbState]:
    state = LmdbState(tmp_path, ROOM, clock, "0:a")
    state.open()
    yield state
    state.close()


def kept(number: int, now_ms: int, **more: Any) -> Kept:
    return Kept(Promise(key(1000 + number), ASKED), an_entry(number, now_ms, **more), now_ms + DAY_MS)


def found(state: Any, number: int) -> Entry | None:
    kept: Kept | None = asyncio.run(state.promises.find(key(1000 + number)))
    return None if kept is None else kept.entry


def keep(state: Any, *promises: Kept) -> bool:
    """Keep promises of one answer."""
    until_ms = {kept.promise: kept.expires_ms for kept in promises}
    done: bool = asyncio.run(state.promises.keep(promises[0].entry, until_ms))
    return done


def records(state: LmdbState) -> list[bytes]:
    """Return the keys of all that lies there for promises; check that what they are said to be is right."""
    with state._rooms[1].env.begin() as txn:
        lying = [(key, value) for key, value in txn.cursor() if key[:1] in (b"n", b"p", b"q", b"r")]
        used = txn.get(b"s") or bytes(8)
    answers = sum(len(value) for key, value in lying if key[:1] == b"r")
    promises = sum(key[:1] == b"p" for key, _ in lying)
    assert int.from_bytes(used, "little") == answers + promises * _PROMISE_BYTES
    return [key for key, _ in lying]


def test_what_is_kept_is_found_whole_under_its_key_only(state: Any, clock: HandClock) -> None:
    promise = kept(1, clock.wall, text="an answer", rendition=b'{"code": "x"}')
    assert found(state, 1) is None
    assert keep(state, promise)
    assert asyncio.run(state.promises.find(promise.promise.key)) == promise
    assert asyncio.run(state.promises.question(promise.promise.key)) == ASKED
    assert found(state, 2) is None
    assert asyncio.run(state.promises.question(key(1002))) is None


def test_the_first_answer_is_the_promise(state: Any, clock: HandClock) -> None:
    first = kept(1, clock.wall, text="first")
    keep(state, first)
    clock.pass_s(5)
    keep(state, Kept(Promise(first.promise.key, key(8)), an_entry(2, clock.wall, "second"), clock.wall + DAY_MS))
    assert asyncio.run(state.promises.find(first.promise.key)) == first


def test_a_promise_ends_at_its_hour_and_its_name_is_free_again(state: Any, clock: HandClock) -> None:
    keep(state, kept(1, clock.wall, text="old"))
    clock.pass_s(86_399)
    assert found(state, 1) is not None
    clock.pass_s(1)
    assert found(state, 1) is None
    assert asyncio.run(state.promises.question(key(1001))) is None
    keep(state, kept(1, clock.wall, text="new"))
    assert (entry := found(state, 1)) is not None
    assert entry.open().text == "new"


def test_a_promise_is_no_stored_answer_and_no_stored_answer_a_promise(state: Any, clock: HandClock) -> None:
    keep(state, kept(1, clock.wall))
    entry = an_entry(2, clock.wall)
    asyncio.run(state.answers.keep(entry))
    totals: Totals = asyncio.run(state.books.totals("team"))
    assert totals.entries == 1
    page = asyncio.run(state.answers.page("team", Filters(), b"", 10))
    assert page.entries == (entry,)
    assert asyncio.run(state.answers.find("team", (key(1), key(1001)), 0)) is None
    assert asyncio.run(state.answers.purge("team", Filters())) == 1
    assert found(state, 1) is not None
    assert found(state, 2) is None


def test_promises_keep_to_their_share_and_the_oldest_give_way(bounded: Any, clock: HandClock) -> None:
    for number in range(60):
        assert keep(bounded, kept(number, clock.wall, rendition=noise(number)))
        clock.pass_s(1)
    there = [number for number in range(60) if found(bounded, number) is not None]
    assert there == list(range(there[0], 60))
    assert ROOM // SHARE // 2 < len(there) * 20_000 <= ROOM // SHARE


def test_what_is_larger_than_all_the_room_is_not_kept(bounded: Any, clock: HandClock) -> None:
    assert not keep(bounded, kept(1, clock.wall, rendition=noise(1, ROOM // SHARE + 1)))
    assert found(bounded, 1) is None


def test_on_disk_one_promise_gets_no_more_than_a_part_of_the_share(disk: LmdbState, clock: HandClock) -> None:
    bound = ROOM // SHARE // LARGEST
    assert not keep(disk, kept(1, clock.wall, rendition=noise(1, bound)))
    assert keep(disk, kept(2, clock.wall, rendition=noise(2, bound - 2000)))
    many = [
        replace(kept(n, clock.wall), entry=an_entry(1, clock.wall)) for n in range(ROOM // SHARE // _PROMISE_BYTES + 1)
    ]
    assert not keep(disk, *many)
    assert keep(disk, *many[:100])


def test_stored_answers_make_room_for_promises(disk: LmdbState, clock: HandClock) -> None:
    for number in range(300):
        assert asyncio.run(disk.answers.keep(an_entry(number, clock.wall, rendition=noise(number))))
    for number in range(20):
        assert keep(disk, kept(number, clock.wall, rendition=noise(number)))
    assert all(found(disk, number) for number in range(20))
    assert asyncio.run(disk.books.totals("team")).entries > 100
    assert disk.health().degraded == {}


def test_the_sweeper_removes_what_has_expired_and_gives_its_room_back(disk: LmdbState, clock: HandClock) -> None:
    empty = disk._rooms[1].env.stat()["entries"]
    for number in range(10):
        keep(disk, kept(number, clock.wall))
        clock.pass_s(3600)
    clock.pass_s(86_400 - 5 * 3600)
    asyncio.run(disk.sweep())
    assert [found(disk, number) is not None for number in range(10)] == [False] * 6 + [True] * 4
    assert disk._rooms[1].env.stat()["entries"] == empty + 4 * 4 + 1
    clock.pass_s(86_400)
    assert disk.promises.sweep(3)
    assert not disk.promises.sweep(200)
    assert disk._rooms[1].env.stat()["entries"] == empty + 1
    with disk._rooms[1].env.begin() as txn:
        assert txn.get(b"s") == bytes(8)


def test_a_promise_is_there_after_a_restart_that_nobody_meant(tmp_path: Path, clock: HandClock) -> None:
    one = LmdbState(tmp_path, ROOM, clock, "0:a", "this boot")
    one.open()
    keep(one, kept(1, clock.wall))
    one.close(clean=False)
    again = LmdbState(tmp_path, ROOM, clock, "0:b", "this boot")
    again.open()
    assert found(again, 1) is not None
    again.close()


def test_a_record_that_cannot_be_read_is_as_good_as_none(disk: LmdbState, clock: HandClock) -> None:
    promise = kept(1, clock.wall)
    keep(disk, promise)
    with disk._rooms[1].env.begin(write=True) as txn:
        place = next(key for key, _ in txn.cursor() if key[:1] == b"r")
        txn.put(place, bytes(txn.get(place) or b"")[:44])
    assert found(disk, 1) is None
    assert keep(disk, replace(promise, expires_ms=clock.wall + DAY_MS))


def test_an_answer_that_many_were_promised_is_written_once_and_goes_with_the_last(
    disk: LmdbState, clock: HandClock
) -> None:
    entry = an_entry(1, clock.wall, rendition=noise(1))
    many = [Kept(Promise(key(1000 + n), ASKED), entry, clock.wall + DAY_MS + n) for n in range(50)]
    assert keep(disk, *many[:40])
    assert keep(disk, *many[30:])
    assert len(records(disk)) == 1 + 3 * 50
    assert all(found(disk, number) == entry for number in range(50))
    clock.pass_s(86_400.048)
    assert not disk.promises.sweep(200)
    assert found(disk, 49) == entry
    assert len(records(disk)) == 1 + 3
    clock.pass_s(1)
    assert disk.promises.sweep(1)
    assert records(disk) == []


def test_promises_of_one_answer_are_kept_in_one_act(disk: LmdbState, clock: HandClock) -> None:
    env = disk._rooms[1].env
    before = env.info()["last_txnid"]
    assert keep(disk, *[replace(kept(n, clock.wall), entry=an_entry(1, clock.wall)) for n in range(100)])
    assert env.info()["last_txnid"] == before + 1


def test_one_name_for_two_questions_of_one_answer_leaves_one_promise(disk: LmdbState, clock: HandClock) -> None:
    one = kept(1, clock.wall)
    two = Kept(Promise(one.promise.key, key(8)), one.entry, one.expires_ms - 5000)
    assert keep(disk, one, two)
    assert len(records(disk)) == 4
    clock.pass_s(86_400)
    assert disk.promises.sweep(1)
    assert not disk.promises.sweep(1)
    assert records(disk) == []


def test_the_sweeper_gets_on_where_a_promise_is_missing_at_its_place(disk: LmdbState, clock: HandClock) -> None:
    keep(disk, kept(1, clock.wall))
    clock.pass_s(1)
    keep(disk, kept(2, clock.wall))
    with disk._rooms[1].env.begin(write=True) as txn:
        txn.delete(b"p" + key(1001))
    clock.pass_s(86_400)
    assert not disk.promises.sweep(3)
    with disk._rooms[1].env.begin() as txn:
        assert not [found for found, _ in txn.cursor() if found[:1] == b"q"]


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        (Filters(), []),
        (Filters(provider="acme"), [2]),
        (Filters(model="another"), [1, 3]),
        (Filters(older_than_s=30), [3]),
    ],
)
def test_a_purge_takes_the_promises_whose_answers_match_and_no_other_tenants(
    state: Any, clock: HandClock, filters: Filters, left: list[int]
) -> None:
    keep(state, *[replace(kept(n, clock.wall), entry=an_entry(1, clock.wall)) for n in (1, 11)])
    other = an_entry(2, clock.wall)
    keep(state, replace(kept(2, clock.wall), entry=replace(other, provider="anthropic", model="another")))
    keep(state, replace(kept(4, clock.wall), entry=replace(other, tenant="others")))
    clock.pass_s(60)
    keep(state, kept(3, clock.wall))
    asyncio.run(state.promises.purge("team", filters))
    assert [number for number in (1, 2, 3) if found(state, number)] == left
    assert (found(state, 1) is None) == (found(state, 11) is None)
    assert found(state, 4) is not None
    if isinstance(state, LmdbState):
        assert len([record for record in records(state) if record[:1] == b"r"]) == 1 + len(left)


def test_a_purge_goes_through_however_many_promises(disk: LmdbState, clock: HandClock) -> None:
    shared = an_entry(1, clock.wall)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lmdb_promises, "FORGET_MAX", 7)
        patch.setattr(lmdb_promises, "PURGED_TOGETHER", 3)
        keep(disk, *[replace(kept(n, clock.wall), entry=shared) for n in range(30)])
        for number in range(30, 50):
            keep(disk, kept(number, clock.wall))
        asyncio.run(disk.promises.purge("team", Filters()))
    assert records(disk) == []
