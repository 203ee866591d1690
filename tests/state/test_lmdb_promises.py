"""What is promised stays until its day is over or its room is needed: in memory and on disk alike."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.state.statefakes import HandClock, an_entry, key, noise

from askonce.domain.answer import Entry
from askonce.domain.outcome import Totals
from askonce.domain.ports import Filters, Kept, Promise
from askonce.state.lmdb_promises import LARGEST, SHARE
from askonce.state.lmdb_state import LmdbState
from askonce.state.memory import MemoryState

ROOM = 4 << 20
DAY_MS = 86_400_000
ASKED = key(7)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(params=["memory", "lmdb"])
def state(request: pytest.FixtureRequest, tmp_path: Path, clock: HandClock) -> Iterator[Any]:
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


def keep(state: Any, promise: Kept) -> bool:
    done: bool = asyncio.run(state.promises.keep(promise))
    return done


def test_what_is_kept_is_found_whole_under_its_key_only(state: Any, clock: HandClock) -> None:
    promise = kept(1, clock.wall, text="an answer", rendition=b'{"code": "x"}')
    assert found(state, 1) is None
    assert keep(state, promise)
    assert asyncio.run(state.promises.find(promise.promise.key)) == promise
    assert found(state, 2) is None


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


def test_promises_keep_to_their_share_and_the_oldest_give_way(state: Any, clock: HandClock) -> None:
    for number in range(60):
        assert keep(state, kept(number, clock.wall, rendition=noise(number)))
        clock.pass_s(1)
    there = [number for number in range(60) if found(state, number) is not None]
    assert there == list(range(there[0], 60))
    assert ROOM // SHARE // 2 < len(there) * 20_000 <= ROOM // SHARE


def test_what_is_larger_than_all_the_room_is_not_kept(state: Any, clock: HandClock) -> None:
    assert not keep(state, kept(1, clock.wall, rendition=noise(1, ROOM // SHARE + 1)))
    assert found(state, 1) is None


def test_on_disk_one_promise_gets_no_more_than_a_part_of_the_share(disk: LmdbState, clock: HandClock) -> None:
    bound = ROOM // SHARE // LARGEST
    assert not keep(disk, kept(1, clock.wall, rendition=noise(1, bound)))
    assert keep(disk, kept(2, clock.wall, rendition=noise(2, bound - 2000)))


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
        head = txn.get(b"p" + promise.promise.key)
        assert head is not None
        record = txn.get(b"r" + head[-32:])
        assert record is not None
        txn.put(b"r" + head[-32:], record[:44])
    assert found(disk, 1) is None
    assert keep(disk, replace(promise, expires_ms=clock.wall + DAY_MS))


def test_an_answer_that_many_were_promised_is_written_once_and_goes_with_the_last(
    disk: LmdbState, clock: HandClock
) -> None:
    entry = an_entry(1, clock.wall, rendition=noise(1))
    promises = [Promise(key(1000 + number), ASKED) for number in range(50)]
    for number, promise in enumerate(promises):
        assert keep(disk, Kept(promise, entry, clock.wall + DAY_MS + number))
    with disk._rooms[1].env.begin() as txn:
        used = txn.get(b"s")
        assert used is not None
        assert int.from_bytes(used, "little") < 2 * 20_000 + 50 * 160
    assert all(found(disk, number) == entry for number in range(50))
    clock.pass_s(86_400.049)
    assert not disk.promises.sweep(200)
    with disk._rooms[1].env.begin() as txn:
        assert txn.get(b"s") == bytes(8)
        assert [key for key, _ in txn.cursor() if key[:1] in (b"p", b"q", b"r", b"n")] == []
