"""The life of the files: whose they are, what is trusted after which ending, what happens when they are full."""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import lmdb
import pytest
from tests.state.rows import paid
from tests.state.statefakes import SECOND, HandClock, an_entry, key, noise

from askonce.domain.answer import Delta
from askonce.domain.budget import Account, Amounts, Reservation
from askonce.domain.errors import ConfigError, StoreUnavailable
from askonce.domain.identity import Budget, Edition, Session
from askonce.domain.ledger import Anchor, Tallied
from askonce.domain.outcome import Spared
from askonce.domain.ports import Filters, Knock, Landing, Verdict, Window
from askonce.state import lmdb_answers, lmdb_files, lmdb_state
from askonce.state.lmdb_books import sums_key
from askonce.state.lmdb_state import LmdbState

WINDOW = Window("w", 1, 60 * SECOND)
ACCOUNT = Account("key:k", (Budget("requests", "month", 100),), tenant="team")
PAID = paid("answered", True, 100, "team", prompt_tokens=10, completion_tokens=20)


@pytest.fixture(autouse=True)
def small_books(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 1 << 20)


@contextmanager
def opened(
    folder: Path, clock: HandClock | None = None, boot: str = "boot-1", *, clean: bool = True
) -> Iterator[LmdbState]:
    state = LmdbState(folder, 4 << 20, clock or HandClock(), "0:a", boot)
    state.open()
    try:
        yield state
    finally:
        state.close(clean=clean)


def fill(state: LmdbState, clock: HandClock) -> None:
    """Leave a window, a booked call and an entry behind."""

    async def play() -> None:
        await state.windows.take(WINDOW)
        await state.books.book(PAID)
        await state.answers.keep(an_entry(1, clock.wall))
        await state.sweep()

    asyncio.run(play())


def what_is_left(state: LmdbState) -> tuple[bool, int, bool]:
    """Say whether the window still counts, how many calls are booked, and whether the entry is still found."""

    async def look() -> tuple[bool, int, bool]:
        window = not (await state.windows.peek(WINDOW)).admitted
        totals = await state.books.totals("team")
        return window, totals.misses, await state.answers.find("team", [key(1)], 0) is not None

    return asyncio.run(look())


@pytest.mark.parametrize(
    ("clean", "boot", "expected"),
    [
        (True, "boot-1", (True, 1, True)),  # the same boot: the kernel has everything
        (False, "boot-1", (True, 1, True)),
        (True, "boot-2", (False, 1, True)),  # the windows' clock has ended
        (False, "boot-2", (False, 1, False)),  # power lost: only what was synced
    ],
)
def test_what_a_restart_keeps(tmp_path: Path, clean: bool, boot: str, expected: tuple[bool, int, bool]) -> None:
    clock = HandClock()
    with opened(tmp_path, clock, clean=clean) as state:
        fill(state, clock)
    with opened(tmp_path, clock, boot) as state:
        assert what_is_left(state) == expected


def leave_accounts(state: LmdbState) -> None:
    """Leave behind a row for the ledger, a counter, a note, a login, and a budget of which 7 are used, 2 reserved."""

    async def play() -> None:
        await state.outbox.append(PAID)
        await state.outbox.count(1, Tallied("team", "k", "generate", "openai", "gpt-4o", "exact"))
        await state.anchors.note(Anchor(3, b"s" * 32))
        await state.sessions.open(Session(b"d" * 32, "user:1", "team", ("use",), "", 1, 1, 1 << 60))
        await state.directory.replace((), Edition("db", 1))
        reservation = await state.budgets.reserve((ACCOUNT,), Amounts(7))
        assert isinstance(reservation, Reservation)
        await state.budgets.settle(reservation, Amounts(7))
        await state.budgets.reserve((ACCOUNT,), Amounts(2))
        await state.sweep()

    asyncio.run(play())


def accounts_left(state: LmdbState) -> tuple[int, int, bool, bool, bool, int, int]:
    """Return rows, counters, whether the note, the login and the keys are there, and what is used and reserved."""

    async def look() -> tuple[int, int, bool, bool, bool, int, int]:
        rows = await state.outbox.head(9)
        note, login = await state.anchors.read(), await state.sessions.find(b"d" * 32, 1)
        [balance] = (await state.budgets.statement(ACCOUNT)).balances
        return (
            len(rows.records) if rows else 0,
            await state.outbox.roll(-1),
            note is not None,
            login is not None,
            await state.directory.edition() is not None,
            balance.used,
            balance.reserved,
        )

    return asyncio.run(look())


@pytest.mark.parametrize(
    ("clean", "boot", "expected"),
    [
        (True, "boot-1", (1, 1, True, True, True, 7, 2)),
        (False, "boot-1", (1, 1, True, True, True, 7, 2)),
        (True, "boot-2", (1, 1, True, True, True, 7, 0)),  # only reservations end: their processes are no more
        (False, "boot-2", (0, 0, True, False, False, 7, 0)),  # power lost: what the database had not got is gone
    ],
)
def test_what_a_restart_keeps_of_accounts(
    tmp_path: Path, clean: bool, boot: str, expected: tuple[int, int, bool, bool, bool, int, int]
) -> None:
    clock = HandClock()
    with opened(tmp_path, clock, clean=clean) as state:
        leave_accounts(state)
    with opened(tmp_path, clock, boot) as state:
        assert accounts_left(state) == expected


def test_numbers_of_the_outbox_go_on_after_a_reboot(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        asyncio.run(state.outbox.append(PAID, PAID))
        asyncio.run(state.outbox.settle(1))
        before = asyncio.run(state.outbox.stock())
    with opened(tmp_path, boot="boot-2") as state:
        assert asyncio.run(state.outbox.stock()) == before


def test_full_books_are_carried_over_a_reboot(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as state:
        asyncio.run(state.outbox.append(PAID))
        for number in count():
            with state._rooms[0].env.begin(write=True) as txn:
                txn.put(b"w%d" % number, noise(200))
            if state._rooms[0].used_bytes() > 0.93 * (1 << 20):
                break
    with opened(tmp_path, clock, "boot-2") as state:
        assert state._rooms[0].used_bytes() < 1 << 16
        assert asyncio.run(state.outbox.stock()).next == 2


def test_a_crowded_outbox_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as state:
        assert state.health().degraded == {}
        state.outbox._bound = 100
        asyncio.run(state.outbox.append(PAID))
        assert "is the worker running?" in state.health().degraded["outbox"]


def test_a_sweep_ends_logins_that_ran_out(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as state:
        session = Session(b"d" * 32, "user:1", "team", ("use",), "", 1, 1, clock.wall_ms())
        asyncio.run(state.sessions.open(session))
        asyncio.run(state.sweep())
        assert asyncio.run(state.sessions.of_user("user:1", 0)) == ()


def test_since_is_the_first_opening_whatever_happens_later(tmp_path: Path) -> None:
    clock = HandClock()
    for boot in ("boot-1", "boot-1", "boot-2", "boot-3"):
        with opened(tmp_path, clock, boot, clean=boot != "boot-2") as state:
            assert asyncio.run(state.books.totals("team")).since_ms == HandClock().wall
            asyncio.run(state.sweep())
        clock.pass_s(100)


def test_the_cache_and_only_the_cache_begins_anew_in_an_older_format(tmp_path: Path) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as state:
        fill(state, clock)
        state._rooms[1].write_mark(lmdb_files.Mark(0, "boot-1", True, 0))
        state.close(clean=False)
    with opened(tmp_path, clock) as state:
        assert what_is_left(state) == (True, 1, False)


@pytest.mark.parametrize(("room", "name"), [(0, "books"), (1, "cache")])
def test_files_of_a_newer_version_are_refused_and_left_alone(tmp_path: Path, room: int, name: str) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as state:
        fill(state, clock)
        state._rooms[room].write_mark(lmdb_files.Mark(99, "boot-1", True, 0))
        state.close(clean=False)
    files = [tmp_path / "state" / each / "data.mdb" for each in ("books", "cache")]
    before = [file.read_bytes() for file in files]
    with pytest.raises(ConfigError, match=rf"ASKONCE_DATA_DIR: .*{name} has format 99.*newer"):
        LmdbState(tmp_path, 4 << 20, HandClock(), "0:a", "boot-1").open()
    assert files[1].read_bytes() == before[1]
    assert room == 1 or files[0].read_bytes() == before[0]


def cut_short(data: Path) -> None:
    with data.open("r+b") as file:
        file.truncate(3 * 4096)


def garble(data: Path) -> None:
    with data.open("r+b") as file:
        file.write(noise(1, 8192))


def zero(data: Path) -> None:
    data.write_bytes(bytes(data.stat().st_size))


@pytest.mark.parametrize("damage", [cut_short, garble, zero])
@pytest.mark.parametrize("name", ["cache", "books"])
def test_a_damaged_file_is_moved_aside_and_begun_anew(
    tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    clock = HandClock()
    with opened(tmp_path, clock) as state:
        fill(state, clock)
    damage(tmp_path / "state" / name / "data.mdb")
    with opened(tmp_path, clock) as state:
        window, misses, found = what_is_left(state)
        assert misses == 1, "the sums are always known"
        assert (window, found) == ((True, False) if name == "cache" else (False, True))
        fill(state, clock)
    assert [path.name for path in (tmp_path / "state").glob("*.broken-*")] == [f"{name}.broken-1"]


@pytest.mark.parametrize("content", [b"notes of somebody else", noise(1)])
@pytest.mark.parametrize("name", ["cache", "books"])
def test_a_foreign_file_is_refused_and_left_alone(tmp_path: Path, name: str, content: bytes) -> None:
    data = tmp_path / "state" / name / "data.mdb"
    data.parent.mkdir(parents=True)
    data.write_bytes(content)
    with pytest.raises(ConfigError, match=f"ASKONCE_DATA_DIR: .*{name}/data.mdb was not written by Askonce"):
        LmdbState(tmp_path, 4 << 20, HandClock(), "0:a").open()
    assert data.read_bytes() == content
    assert [path.name for path in (tmp_path / "state").iterdir() if path.is_dir()] == [name]


def test_a_foreign_lmdb_file_among_ours_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path):
        pass
    for file in (tmp_path / "state/cache").iterdir():
        file.unlink()
    with lmdb.open(str(tmp_path / "state/cache")) as env, env.begin(write=True) as txn:
        txn.put(b"theirs", b"1")
    with pytest.raises(ConfigError, match="was not written by Askonce"):
        LmdbState(tmp_path, 4 << 20, HandClock(), "0:a").open()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"ASKONCE_DATA_DIR: .*file/state cannot be used"):
        LmdbState(tmp_path / "file", 4 << 20, HandClock(), "0:a").open()


def test_files_are_private(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        asyncio.run(state.sweep())
        for path in [tmp_path / "state", *(tmp_path / "state").rglob("*")]:
            if path.name != lmdb_files.BADGE:
                assert path.stat().st_mode & 0o077 == 0, path


def test_a_snapshot_that_cannot_be_read_is_set_aside(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        fill(state, HandClock())
        state.close(clean=False)
    for content in (b"{", b"[]", json.dumps({"since_ms": 1, "tenants": {"63": [1]}}).encode()):
        (tmp_path / "state/counters.json").write_bytes(content)
        with opened(tmp_path, boot=f"boot of {content!r}", clean=False) as state:
            assert asyncio.run(state.books.totals("team")).misses == 0
        assert (tmp_path / "state/counters.broken").read_bytes() == content


def test_a_snapshot_of_a_version_with_fewer_sums_is_taken_over(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        fill(state, HandClock())
        state.close(clean=False)
    sums = {sums_key("team").hex(): list(range(11))}
    (tmp_path / "state/counters.json").write_bytes(json.dumps({"since_ms": 1, "tenants": sums, "format": 2}).encode())
    with opened(tmp_path, boot="after the power came back", clean=False) as state:
        totals = asyncio.run(state.books.totals("team"))
        assert (totals.misses, totals.saved_prompt_cache_nano, totals.unpriced) == (1, 10, 0)


async def crowd(state: LmdbState) -> None:
    for number in range(100_000):
        await state.windows.take(Window(f"late-{number}", 20, SECOND))


def test_full_books_are_swept_then_refuse_then_recover(tmp_path: Path) -> None:
    clock = HandClock()

    async def play(state: LmdbState) -> None:
        await state.books.book(PAID)
        for number in range(500):
            await state.windows.take(Window(f"early-{number}", 20, SECOND))
        clock.pass_s(1)
        with pytest.raises(StoreUnavailable, match="full"):
            await crowd(state)
        assert state.health().degraded == {"books": "its file is full"}
        assert (await state.books.totals("team")).misses == 1
        assert await state.answers.keep(an_entry(1, clock.wall)), "the cache goes on"
        clock.pass_s(1)
        await state.books.book(Spared("team", "coalesced", 1, 1))
        assert await state.windows.take(Window("after", 1, SECOND)) == Verdict(True, 0, SECOND)
        assert state.health().degraded == {}
        totals = await state.books.totals("team")
        assert (totals.misses, totals.coalesced) == (1, 1)

    with opened(tmp_path, clock) as state:
        asyncio.run(play(state))


def test_a_full_cache_file_makes_room_even_for_large_answers(tmp_path: Path) -> None:
    clock = HandClock()

    async def play(state: LmdbState) -> None:
        for number in range(400):
            size = 400_000 if number % 10 == 9 else 300 + 97 * (number % 50)
            assert await state.answers.keep(an_entry(number, clock.wall, rendition=noise(number, size)))
            assert await state.answers.find("team", [key(number)], 0) is not None
        assert state._rooms[1].used_bytes() <= 0.9 * (4 << 20)

    with opened(tmp_path, clock) as state:
        asyncio.run(play(state))


def test_sweeping_leaves_nothing_but_the_sums(tmp_path: Path) -> None:
    clock = HandClock()

    async def play(state: LmdbState) -> None:
        for number in range(300):
            await state.windows.take(Window(f"w{number}", 500 if number % 2 else 5, SECOND))
            await state.answers.keep(an_entry(number, clock.wall))
            lease = await state.flights.board(key(number))
            await state.flights.append(key(number), lease.generation, (Delta("a"), Delta("b")))
            if number % 3:
                await state.flights.land(key(number), lease.generation, Landing(None, "x", "y"))
            await state.flights.board(key(number))
        await state.books.book(PAID)
        clock.pass_s(4_000)
        for _ in range(60):
            await state.sweep(100)
        totals = await state.books.totals("team")
        assert (totals.misses, totals.entries, totals.bytes) == (1, 0, 0)
        assert [room.env.stat()["entries"] for room in state._rooms] == [4, 1], (
            "marks, sums, and what waits for the ledger"
        )

    with opened(tmp_path, clock) as state:
        asyncio.run(play(state))


def test_sweeping_spares_what_lives(tmp_path: Path) -> None:
    clock = HandClock()

    async def play(state: LmdbState) -> None:
        await state.answers.keep(an_entry(1, clock.wall))
        lease = await state.flights.board(key(1))
        await state.flights.append(key(1), lease.generation, (Delta("a"),))
        for _ in range(30):
            clock.pass_s(1)
            await state.windows.take(WINDOW)
            assert await state.flights.renew(key(1), lease.generation)
            await state.sweep()
        await state.flights.land(key(1), lease.generation, Landing(None, "x", "y"))
        clock.pass_s(4)
        await state.sweep()
        pieces = [piece async for piece in state.flights.follow(key(1), lease.generation)]
        assert len(pieces) == 2
        assert not (await state.windows.take(WINDOW)).admitted
        assert await state.answers.find("team", [key(1)], 0) is not None

    with opened(tmp_path, clock) as state:
        asyncio.run(play(state))


def test_a_record_that_cannot_be_read_is_a_miss_and_may_be_replaced_or_dropped(tmp_path: Path) -> None:
    clock = HandClock()

    async def play(state: LmdbState) -> None:
        await state.answers.keep(an_entry(1, clock.wall))
        room = state._rooms[1]
        with room.env.begin(write=True) as txn:
            for name in [name for name, _ in txn.cursor() if name.startswith(b"e")]:
                txn.put(name, b"\xa1garbage")
        assert (await state.threshold.enter(Knock("team", WINDOW, (key(1),)))).entry is None
        assert await state.answers.keep(an_entry(1, clock.wall))
        assert await state.answers.find("team", [key(1)], 0) is not None

    with opened(tmp_path, clock) as state:
        asyncio.run(play(state))


def test_where_no_space_can_be_reserved_the_books_are_written_plainly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(descriptor: int, offset: int, size: int) -> None:
        if size >= 1 << 20:
            raise OSError(28, "No space left on device")
        reserve(descriptor, offset, size)

    reserve = os.posix_fallocate
    monkeypatch.setattr("os.posix_fallocate", refuse)
    clock = HandClock()
    with opened(tmp_path, clock) as state:
        fill(state, clock)
        assert "plainly" in state.health().notes[0]
        assert not state._rooms[0].env.flags()["writemap"]
    monkeypatch.undo()
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 1 << 20)
    with opened(tmp_path, clock) as state:
        assert state.health().notes == ()
        assert state._rooms[0].env.flags()["writemap"]
        assert what_is_left(state) == (True, 1, True)


def test_large_entries_are_listed_and_purged_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_answers, "SCAN_BYTES", 10_000)
    clock = HandClock()

    async def play(state: LmdbState) -> None:
        for number in range(30):
            await state.answers.keep(an_entry(number, clock.wall, rendition=noise(number, 4_000)))
        scanned, ended = state.answers._scan("team", b"")
        assert 1 <= len(scanned) <= 4
        assert not ended
        page = await state.answers.page("team", Filters(), b"", 20)
        rest = await state.answers.page("team", Filters(), page.after, 20)
        assert (len(page.entries), len(rest.entries), rest.after) == (20, 10, b"")
        assert await state.answers.purge("team", Filters()) == 30

    with opened(tmp_path, clock) as state:
        asyncio.run(play(state))


def test_books_that_fill_with_windows_keep_room_for_sums_and_recover(tmp_path: Path) -> None:
    clock = HandClock()

    async def play(state: LmdbState) -> None:
        refused = 0
        for number in range(25_000):
            if number % 200 == 0:
                state.beat()
            try:
                await state.windows.take(Window(f"w{number}", 5, 3600 * SECOND))
            except StoreUnavailable:
                refused += 1
        assert refused > 1_000
        assert "books" in state.health().degraded
        await state.books.book(PAID)  # money has room
        clock.pass_s(3_700)
        for _ in range(20):
            await state.sweep()
        state.beat()
        for number in range(1_000):
            assert (await state.windows.take(Window(f"again{number}", 5, SECOND))).admitted
        assert state.health().degraded == {}

    with opened(tmp_path, clock) as state:
        asyncio.run(play(state))
