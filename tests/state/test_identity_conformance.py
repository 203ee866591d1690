"""What every directory and every keeper of sessions promises."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.state.redisserver import RedisServer
from tests.state.statefakes import HandClock
from tests.state.valkeyaccounts import connected, over_server, run

from askonce.domain.errors import StoreUnavailable
from askonce.domain.identity import Bounds, Budget, Directory, Edition, Holder, KeyCard, Session, Sessions, Standing
from askonce.state import lmdb_state
from askonce.state.lmdb_directory import SLICE, LmdbDirectory
from askonce.state.lmdb_sessions import PER_USER_MAX, LmdbSessions
from askonce.state.lmdb_state import LmdbState
from askonce.state.memory_identity import MemoryDirectory, MemorySessions
from askonce.state.valkey.directory import ValkeyDirectory
from askonce.state.valkey.server import Hour
from askonce.state.valkey.sessions import ValkeySessions

World = tuple[Directory, Sessions]


def memory_world(_: Path) -> Iterator[World]:
    yield MemoryDirectory(), MemorySessions()


def lmdb_world(folder: Path) -> Iterator[World]:
    state = LmdbState(folder, 1 << 20, HandClock(), "0:a")
    state.open()
    yield LmdbDirectory(state._desk), LmdbSessions(state._desk)
    state.close()


WORLDS: dict[str, Callable[[Path], Iterator[World]]] = {"memory": memory_world, "lmdb": lmdb_world}


@pytest.fixture(params=[*WORLDS, "valkey", pytest.param("cluster", marks=pytest.mark.soak)])
def world(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 8 << 20)
    if request.param in WORLDS:
        yield from WORLDS[request.param](tmp_path)
        return
    with over_server(request) as server:
        yield ValkeyDirectory(server, Hour(), HandClock()), ValkeySessions(server)


@pytest.fixture
def directory(world: World) -> Directory:
    return world[0]


@pytest.fixture
def sessions(world: World) -> Sessions:
    return world[1]


def digest(number: int) -> bytes:
    return sha256(b"%d" % number).digest()


def a_card(number: int, version: int = 1, tenant: str = "team", user_id: str = "", revoked_ms: int = 0) -> KeyCard:
    bounds = Bounds((Budget("tokens", "day", 1000, "Europe/Zurich"),), 3)
    return KeyCard(
        f"id{number}", digest(number), "ask_x", "ci", tenant, user_id, bounds=bounds, version=version,
        revoked_ms=revoked_ms,
    )  # fmt: skip


# -- directory ----------------------------------------------------------------------------------------------------


def test_until_it_is_filled_nobody_is_told_that_a_key_is_unknown(directory: Directory) -> None:
    assert run(directory.edition()) is None
    for question in (lambda: directory.find(digest(1)), lambda: directory.holders("tenant:team")):
        with pytest.raises(StoreUnavailable):
            run(question())
    run(directory.put("db", a_card(1)))
    run(directory.catch_up([a_card(1)], Edition("db", 1)))
    assert run(directory.edition()) is None
    run(directory.replace([], Edition("db", 0)))
    assert run(directory.find(digest(1))) is None
    assert run(directory.holders("tenant:team")) == ()
    assert run(directory.edition()) == Edition("db", 0)


def test_a_key_is_found_with_its_holders(directory: Directory) -> None:
    user, tenant = Holder("user:u1", Bounds(concurrency=2), 0, 2), Holder("tenant:team", Bounds(), 99, 3)
    run(directory.replace([a_card(1, user_id="u1"), a_card(2, tenant="t2"), user, tenant], Edition("db", 3)))
    assert run(directory.find(digest(1))) == Standing(a_card(1, user_id="u1"), user, tenant)
    assert run(directory.find(digest(2))) == Standing(a_card(2, tenant="t2"))
    assert run(directory.find(digest(3))) is None
    assert run(directory.holders("tenant:team", "user:nobody", "user:u1")) == (tenant, user)


def test_a_revocation_is_in_force_at_once_and_an_older_state_does_not_undo_it(directory: Directory) -> None:
    run(directory.replace([a_card(1, 1)], Edition("db", 1)))
    revoked = a_card(1, 4, revoked_ms=77)
    run(directory.put("db", revoked))
    assert run(directory.find(digest(1))).card == revoked
    run(directory.put("db", a_card(1, 2)))
    run(directory.catch_up([a_card(1, 3)], Edition("db", 3)))
    run(directory.replace([a_card(1, 3)], Edition("db", 3)))
    run(directory.replace([], Edition("db", 3)))
    assert run(directory.find(digest(1))).card == revoked


def test_replacing_leaves_exactly_what_the_database_has(directory: Directory) -> None:
    run(directory.replace([a_card(n) for n in range(3)] + [Holder("tenant:team", version=1)], Edition("db", 1)))
    run(directory.replace([a_card(1), a_card(5, 2)], Edition("db", 2)))
    assert [run(directory.find(digest(n))) is not None for n in range(6)] == [False, True, False, False, False, True]
    assert run(directory.holders("tenant:team")) == ()
    assert run(directory.edition()) == Edition("db", 2)


def test_catching_up_takes_in_changes_and_moves_the_edition_forward_only(directory: Directory) -> None:
    run(directory.replace([a_card(1)], Edition("db", 1)))
    run(directory.catch_up([a_card(2, 2), Holder("tenant:team", disabled_ms=5, version=3)], Edition("db", 3)))
    assert run(directory.find(digest(2))).tenant.disabled_ms == 5
    run(directory.catch_up([], Edition("db", 2)))
    assert run(directory.edition()) == Edition("db", 3)


def test_another_database_takes_over_whole_although_its_numbers_are_lower(directory: Directory) -> None:
    run(directory.replace([a_card(1, 50), a_card(2, 50), Holder("tenant:team", version=50)], Edition("old", 50)))
    run(directory.put("new", a_card(9, 60)))
    run(directory.catch_up([a_card(9, 60)], Edition("new", 60)))
    assert run(directory.find(digest(9))) is None
    run(directory.replace([a_card(2, 3)], Edition("new", 3)))
    assert run(directory.find(digest(1))) is None
    assert run(directory.find(digest(2))) == Standing(a_card(2, 3))
    assert run(directory.edition()) == Edition("new", 3)


def test_what_was_forgotten_can_be_filled_with_lower_numbers(directory: Directory) -> None:
    run(directory.replace([a_card(1, 50)], Edition("db", 50)))
    run(directory.forget())
    with pytest.raises(StoreUnavailable):
        run(directory.find(digest(1)))
    run(directory.replace([a_card(1, 7)], Edition("db", 7)))
    assert run(directory.find(digest(1))).card.version == 7


def test_many_keys_are_replaced_over_several_slices(directory: Directory) -> None:
    many = 2 * SLICE + 7
    run(directory.replace([a_card(n) for n in range(many)], Edition("db", 1)))
    assert all(run(directory.find(digest(n))) is not None for n in range(many))
    run(directory.replace([a_card(n, 2) for n in range(many, 2 * many)], Edition("db", 2)))
    assert not any(run(directory.find(digest(n))) is not None for n in range(many))
    assert all(run(directory.find(digest(n))) is not None for n in range(many, 2 * many))


def test_the_stamp_changes_whenever_something_else_may_be_found(directory: Directory) -> None:
    stamps = [run(directory.stamp())]
    for change in (
        lambda: directory.replace([a_card(1)], Edition("db", 1)),
        lambda: directory.put("db", a_card(1, 2, revoked_ms=5)),
        lambda: directory.catch_up([Holder("tenant:team", disabled_ms=5, version=3)], Edition("db", 3)),
        lambda: directory.replace([], Edition("db", 9)),
        lambda: directory.forget(),
        lambda: directory.replace([a_card(1)], Edition("other", 1)),
    ):
        run(change())
        stamps.append(run(directory.stamp()))
    assert len(set(stamps)) == len(stamps)
    run(directory.catch_up([], Edition("other", 2)))
    run(directory.find(digest(1)))
    assert run(directory.stamp()) == stamps[-1]


def test_long_names_are_kept_apart(directory: Directory) -> None:
    long = ["tenant:" + "é" * 400 + tail for tail in "ab"]
    run(directory.replace([Holder(name, version=1) for name in long], Edition("db", 1)))
    assert [holder.name for holder in run(directory.holders(*long))] == long


Act = tuple[str, list[tuple[int, int]], int]
ACTS: st.SearchStrategy[Act] = st.tuples(
    st.sampled_from(["put", "catch_up", "replace", "forget"]),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 6)), max_size=3, unique_by=lambda pair: pair[0]),
    st.integers(0, 6),
)


def act(directory: Directory, act: Act) -> None:
    """Do one thing, as one of two databases would have it done."""
    name, pairs, number = act
    records = [a_card(key, version) for key, version in pairs]
    source = "db" if number % 2 else "other"
    if name == "put":
        run(directory.put(source, *records))
    elif name == "forget":
        run(directory.forget())
    elif name == "replace":
        run(directory.replace(records, Edition(source, number)))
    else:
        run(directory.catch_up(records, Edition(source, number)))


def known(directory: Directory) -> list[object]:
    """Return all that can be seen of it."""
    edition = run(directory.edition())
    return [edition, *(run(directory.find(digest(number))) for number in range(4) if edition)]


@settings(max_examples=60, deadline=None)
@given(st.lists(ACTS, max_size=10))
def test_both_directories_know_the_same_after_any_history(history: list[Act]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lmdb_state, "BOOKS_BYTES", 1 << 20)
        memory = MemoryDirectory()
        for lmdb, _ in lmdb_world(Path(folder)):
            compare_directories(memory, lmdb, history)


@settings(max_examples=20, deadline=None)
@given(st.lists(ACTS, max_size=10))
def test_so_does_a_directory_for_many_nodes(redis: RedisServer, history: list[Act]) -> None:
    redis.flush()
    with connected(redis) as server:
        compare_directories(MemoryDirectory(), ValkeyDirectory(server, Hour(), HandClock()), history)


def compare_directories(memory: Directory, other: Directory, history: list[Act]) -> None:
    for step in history:
        act(memory, step)
        act(other, step)
        assert known(memory) == known(other)
        assert run(memory.has_keys()) == run(other.has_keys())


@pytest.mark.process
def test_what_another_process_revokes_is_revoked_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lmdb_state, "BOOKS_BYTES", 8 << 20)
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    for directory, sessions in lmdb_world(tmp_path):
        run(directory.replace([a_card(1)], Edition("db", 1)))
        run(sessions.open(a_session(1)))
        process = context.Process(target=revoke, args=(tmp_path, theirs))
        process.start()
        assert ours.recv() == "revoked"
        assert run(directory.find(digest(1))).card.revoked_ms == 5
        assert run(sessions.find(digest(1), NOW)) is None
        process.join()


def revoke(folder: Path, line: Connection) -> None:
    """Revoke in a process of its own."""
    for directory, sessions in lmdb_world(folder):
        run(directory.put("db", a_card(1, 2, revoked_ms=5)))
        run(sessions.close_all("u1"))
        line.send("revoked")


# -- sessions -----------------------------------------------------------------------------------------------------

NOW = 1_700_000_000_000
DAY = 86_400_000


def a_session(number: int, user_id: str = "u1", created_ms: int = NOW, expires_ms: int = NOW + DAY) -> Session:
    return Session(
        digest(number),
        user_id,
        "team",
        ("use", "admin"),
        "csrf",
        created_ms,
        created_ms,
        expires_ms,
        "10.0.0.1",
        "curl",
    )


def test_a_session_is_found_until_it_runs_out(sessions: Sessions) -> None:
    run(sessions.open(a_session(1)))
    assert run(sessions.find(digest(1), NOW + DAY - 1)) == a_session(1)
    assert run(sessions.find(digest(1), NOW + DAY)) is None
    assert run(sessions.find(digest(2), NOW)) is None


def test_use_prolongs_it_and_never_shortens_it(sessions: Sessions) -> None:
    run(sessions.open(a_session(1)))
    assert run(sessions.prolong(digest(1), NOW + 10, NOW + 10 + DAY))
    assert run(sessions.prolong(digest(1), NOW + 5, NOW + 5 + DAY))  # another process was a little late
    expected = replace(a_session(1), used_ms=NOW + 10, expires_ms=NOW + 10 + DAY)
    assert run(sessions.find(digest(1), NOW + 10 + DAY - 1)) == expected


def test_what_ended_is_not_prolonged(sessions: Sessions) -> None:
    run(sessions.open(a_session(1)))
    run(sessions.open(a_session(2)))
    assert not run(sessions.prolong(digest(1), NOW + DAY, NOW + 2 * DAY))
    assert run(sessions.close(digest(2)))
    assert not run(sessions.prolong(digest(2), NOW, NOW + 2 * DAY))
    assert not run(sessions.prolong(digest(3), NOW, NOW + 2 * DAY))
    assert run(sessions.find(digest(1), NOW + DAY)) is None


def test_a_user_sees_their_own_live_sessions_newest_first(sessions: Sessions) -> None:
    run(sessions.open(a_session(1, created_ms=NOW)))
    run(sessions.open(a_session(2, created_ms=NOW + 5)))
    run(sessions.open(a_session(3, expires_ms=NOW + 10)))
    run(sessions.open(a_session(4, user_id="u2")))
    assert [session.digest for session in run(sessions.of_user("u1", NOW + 10))] == [digest(2), digest(1)]
    assert run(sessions.of_user("nobody", NOW)) == ()


def test_closing_ends_one_and_closing_all_ends_the_users_others(sessions: Sessions) -> None:
    for number in range(4):
        run(sessions.open(a_session(number)))
    run(sessions.open(a_session(9, user_id="u2")))
    assert run(sessions.close(digest(0)))
    assert not run(sessions.close(digest(0)))
    assert run(sessions.close_all("u1")) == 3
    assert run(sessions.close_all("u1")) == 0
    assert run(sessions.of_user("u1", NOW)) == ()
    assert run(sessions.find(digest(9), NOW)) is not None


def test_one_session_too_many_ends_the_one_that_was_used_least_recently(sessions: Sessions) -> None:
    for number in range(PER_USER_MAX):
        run(sessions.open(a_session(number, created_ms=NOW + number)))
    run(sessions.prolong(digest(0), NOW + 500, NOW + DAY))
    run(sessions.open(a_session(500, created_ms=NOW + 501)))
    run(sessions.open(a_session(501, user_id="u2")))
    assert len(run(sessions.of_user("u1", NOW + 501))) == PER_USER_MAX
    assert run(sessions.find(digest(0), NOW)) is not None
    assert run(sessions.find(digest(1), NOW)) is None


def test_opening_the_same_again_keeps_one(sessions: Sessions) -> None:
    for _ in range(PER_USER_MAX + 5):
        run(sessions.open(a_session(1)))
    assert len(run(sessions.of_user("u1", NOW))) == 1


def test_sweeping_deletes_what_ran_out_and_nothing_else(sessions: Sessions) -> None:
    for number in range(30):
        run(sessions.open(a_session(number, f"u{number}", expires_ms=NOW + number)))
    assert sum(run(sessions.sweep(NOW + 9, 7)) for _ in range(10)) == 10
    assert [run(sessions.find(digest(n), NOW)) is not None for n in range(30)] == [False] * 10 + [True] * 20
    assert run(sessions.of_user("u3", 0)) == ()
    assert run(sessions.of_user("u20", 0)) != ()


SESSION_ACTS = st.tuples(
    st.sampled_from(["open", "prolong", "close", "close_all", "sweep"]), st.integers(0, 3), st.integers(0, 4)
)


@settings(max_examples=60, deadline=None)
@given(st.lists(SESSION_ACTS, max_size=15))
def test_both_keep_the_same_sessions_after_any_history(history: list[tuple[str, int, int]]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lmdb_state, "BOOKS_BYTES", 1 << 20)
        memory = MemorySessions()
        for _, lmdb in lmdb_world(Path(folder)):
            compare_sessions(memory, lmdb, history)


@settings(max_examples=20, deadline=None)
@given(st.lists(SESSION_ACTS, max_size=15))
def test_so_does_a_server_for_many_nodes(redis: RedisServer, history: list[tuple[str, int, int]]) -> None:
    redis.flush()
    with connected(redis) as server:
        compare_sessions(MemorySessions(), ValkeySessions(server), history)


def compare_sessions(memory: Sessions, other: Sessions, history: list[tuple[str, int, int]]) -> None:
    for minute, step in enumerate(history):
        now_ms = NOW + minute
        assert session_act(memory, step, now_ms) == session_act(other, step, now_ms)
        for user_id in ("u0", "u1"):
            assert run(memory.of_user(user_id, now_ms)) == run(other.of_user(user_id, now_ms))


def session_act(sessions: Sessions, act: tuple[str, int, int], now_ms: int) -> object:
    name, number, span = act
    if name == "open":
        return run(sessions.open(a_session(number, f"u{number % 2}", now_ms, now_ms + span)))
    if name == "prolong":
        return run(sessions.prolong(digest(number), now_ms, now_ms + span))
    if name == "close":
        return run(sessions.close(digest(number))) and run(sessions.find(digest(number), 0))
    if name == "close_all":
        run(sessions.close_all(f"u{number % 2}"))
    else:
        run(sessions.sweep(now_ms, 100))
    return None
