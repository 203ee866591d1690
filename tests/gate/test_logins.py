"""A session may never do more than its key or user may do now, and nobody chooses its id."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from msgspec.structs import replace
from tests.state.statefakes import HandClock

from askonce.domain.accounts import User
from askonce.domain.credentials import token_digest
from askonce.domain.errors import Forbidden, StoreUnavailable, Unauthorized
from askonce.domain.identity import Edition, Holder, KeyCard, Scope, Session, Standing
from askonce.gate.logins import PROLONG_EVERY_MS, SPAN_MS, Logins, require_word
from askonce.state.memory_identity import MemoryDirectory, MemorySessions

USER = User("u1", "team", "ada@example.org", scopes=("use", "admin"))
HOLDER = Holder("user:u1", version=1, scopes=USER.scopes)
CARD = KeyCard("k1", b"d" * 32, "ask_k1", "ci", "team", scopes=("use", "report"), version=1)

_T = TypeVar("_T")


def run(awaitable: Awaitable[_T]) -> _T:
    async def whole() -> _T:
        return await awaitable

    return asyncio.run(whole())


@dataclass
class World:
    clock: HandClock = field(default_factory=HandClock)
    directory: MemoryDirectory = field(default_factory=MemoryDirectory)
    sessions: MemorySessions = field(default_factory=MemorySessions)

    def __post_init__(self) -> None:
        self.logins = Logins(self.sessions, self.directory, self.clock)
        run(self.directory.replace([HOLDER, CARD], Edition("db", 1)))

    def use(self, session_id: str, address: str = "10.0.0.1") -> Session:
        return run(self.logins.use(session_id, address))

    def change(self, record: Holder | KeyCard) -> None:
        run(self.directory.put("db", replace(record, version=2)))


def test_a_session_is_known_by_its_id_only_and_only_its_hash_is_kept() -> None:
    world = World()
    opened = run(world.logins.open_for_user(USER, "10.0.0.1", "x" * 1000))
    session = world.use(opened.id)
    assert (session.user_id, session.tenant, session.scopes, len(session.agent)) == ("u1", "team", USER.scopes, 200)
    assert session.digest == token_digest(opened.id)
    assert opened.id not in repr(opened) + str(world.sessions._sessions)
    for wrong in ("", "chosen-by-me", opened.id[:-1], session.digest.hex()):
        with pytest.raises(Unauthorized):
            world.use(wrong)


def test_every_login_has_a_new_id_and_a_new_word() -> None:
    world = World()
    several = [run(world.logins.open_for_user(USER)) for _ in range(20)]
    assert len({opened.id for opened in several} | {opened.session.csrf for opened in several}) == 40


def test_use_prolongs_by_a_day_but_writes_once_a_minute_only() -> None:
    world = World()
    opened = run(world.logins.open_for_user(USER))
    begun = world.clock.wall
    world.clock.wall += PROLONG_EVERY_MS - 1
    assert world.use(opened.id).expires_ms == begun + SPAN_MS
    world.clock.wall += 1
    assert world.use(opened.id).expires_ms == world.clock.wall + SPAN_MS
    world.clock.wall += SPAN_MS - 1
    assert world.use(opened.id).expires_ms == world.clock.wall + SPAN_MS
    world.clock.wall += SPAN_MS
    with pytest.raises(Unauthorized):
        world.use(opened.id)


def test_a_session_that_was_closed_is_gone() -> None:
    world = World()
    opened = run(world.logins.open_for_user(USER))
    assert run(world.logins.close(opened.id))
    assert not run(world.logins.close(opened.id))
    with pytest.raises(Unauthorized):
        world.use(opened.id)


@pytest.mark.parametrize(
    "record",
    [replace(HOLDER, disabled_ms=5), Holder("tenant:team", disabled_ms=5)],
)
def test_a_disabled_user_or_tenant_has_no_sessions(record: Holder) -> None:
    world = World()
    opened = run(world.logins.open_for_user(USER))
    world.change(record)
    with pytest.raises(Unauthorized, match="disabled"):
        world.use(opened.id)


def test_a_user_whom_the_database_does_not_know_has_no_sessions() -> None:
    world = World()
    opened = run(world.logins.open_for_user(replace(USER, id="u2")))
    with pytest.raises(Unauthorized):
        world.use(opened.id)
    run(world.directory.forget())
    with pytest.raises(StoreUnavailable):
        world.use(opened.id)


def test_a_keys_session_ends_with_the_key() -> None:
    world = World()
    opened = run(world.logins.open_for_key(Standing(CARD)))
    session = world.use(opened.id)
    assert (session.user_id, session.scopes) == ("key:k1", ("use", "report"))
    world.change(replace(CARD, revoked_ms=world.clock.wall))
    with pytest.raises(Unauthorized, match="revoked"):
        world.use(opened.id)
    run(world.directory.replace([HOLDER], Edition("db", 9)))
    with pytest.raises(Unauthorized):
        world.use(opened.id)


def test_a_keys_session_is_bound_to_the_keys_addresses() -> None:
    world = World()
    opened = run(world.logins.open_for_key(Standing(CARD), "10.0.0.1"))
    world.change(replace(CARD, addresses=("10.0.0.0/8",)))
    world.use(opened.id)
    with pytest.raises(Forbidden, match=r"11\.0\.0\.1"):
        world.use(opened.id, "11.0.0.1")


@pytest.mark.parametrize(
    ("now", "effective"),
    [
        (("use",), ("use",)),
        ((), ()),
        (("use", "admin", "root"), ("use", "admin")),
        (("root",), ()),
    ],
)
def test_rights_that_are_taken_go_at_once_and_those_that_are_given_need_a_new_login(
    now: tuple[Scope, ...], effective: tuple[Scope, ...]
) -> None:
    world = World()
    opened = run(world.logins.open_for_user(USER))
    world.change(replace(HOLDER, scopes=now))
    assert world.use(opened.id).scopes == effective


def test_what_writes_needs_the_sessions_word() -> None:
    session = Session(b"d", "u1", "team", (), "the-word", 0, 0, 0)
    require_word(session, "the-word")
    for wrong in (None, "", "the-wor", "the-word ", "THE-WORD", "\udce4"):
        with pytest.raises(Forbidden, match="CSRF"):
            require_word(session, wrong)
