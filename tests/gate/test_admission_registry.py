"""Keys of the database and sessions at the first guard, and when a server counts as one with keys."""

import asyncio
import inspect
from collections.abc import Awaitable
from typing import TypeVar

import pytest
from msgspec.structs import replace
from tests.state.statefakes import HandClock

from askonce.domain import credentials
from askonce.domain.caller import ANONYMOUS_TENANT, Caller
from askonce.domain.credentials import key_digest, key_id, mint_key
from askonce.domain.errors import Forbidden, StoreUnavailable, Unauthorized
from askonce.domain.identity import Edition, Holder, KeyCard
from askonce.gate import admission, keyholders
from askonce.gate.admission import Admission, Approach, Registry
from askonce.gate.keyholders import Keyholders
from askonce.gate.logins import Logins
from askonce.state.memory_identity import MemoryDirectory, MemorySessions

PEPPER = b"p" * 32
KEY, OTHER = mint_key(), mint_key()
CARD = KeyCard(
    key_id(KEY),
    key_digest(PEPPER, KEY),
    KEY[:14],
    "ci",
    "team",
    "u1",
    ("use", "report"),
    addresses=("10.0.0.0/8",),
    version=1,
)
_T = TypeVar("_T")


def run(awaitable: Awaitable[_T]) -> _T:
    async def whole() -> _T:
        return await awaitable

    return asyncio.run(whole())


class World:
    def __init__(self, keys: tuple[tuple[str, str], ...] = (), *, open_to_all: bool = False) -> None:
        self.directory, self.clock = MemoryDirectory(), HandClock()
        logins = Logins(MemorySessions(), self.directory, self.clock)
        self.registry = Registry(Keyholders(self.directory, (PEPPER,), self.clock), logins)
        self.admission = Admission(keys, (), open_to_all, self.registry)

    def fill(self, *records: KeyCard | Holder) -> None:
        run(self.directory.replace(records, Edition("db", 1)))
        self.admission.note_keys(run(self.directory.has_keys()))

    def admit(self, approach: Approach, *, writes: bool = False) -> Caller:
        return run(self.admission.admit(approach, writes=writes))


def bearer(key: str, peer: str = "10.1.2.3") -> Approach:
    return Approach(peer, "gateway.example", authorization=f"Bearer {key}")


def test_a_key_of_the_database_says_who_asks_what_it_may_and_from_where() -> None:
    world = World()
    world.fill(CARD)
    for approach in (bearer(KEY), Approach("10.1.2.3", "x", api_key=KEY), replace_both(KEY)):
        caller = world.admit(approach)
        assert (caller.identity, caller.tenant, caller.key_id) == (f"key:{CARD.id}", "team", CARD.id)
        assert (caller.scopes, caller.user_id, caller.address) == (("use", "report"), "u1", "10.1.2.3")
        assert caller.standing is not None
        assert caller.standing.card == CARD
    with pytest.raises(Forbidden):
        world.admit(bearer(KEY, "11.0.0.1"))


def replace_both(key: str) -> Approach:
    approach = bearer(key)
    approach.api_key = key
    return approach


@pytest.mark.parametrize("configured", [(), (("a-configured-key", "acme"),)])
@pytest.mark.parametrize(
    "key",
    [OTHER, KEY[:-1], KEY + "x", "ask_", "ask_x", KEY.lower(), "x" + KEY],
    ids=["another", "shorter", "longer", "empty", "short", "lower case", "with more before it"],
)
def test_a_key_that_is_not_known_is_nobody_wherever_there_are_others(
    configured: tuple[tuple[str, str], ...], key: str
) -> None:
    world = World(configured)
    world.fill(CARD)
    with pytest.raises(Unauthorized):
        world.admit(bearer(key))


def test_two_different_keys_are_nobodys() -> None:
    world = World((("a-configured-key", "acme"),))
    world.fill(CARD)
    for authorization, api_key in ((KEY, OTHER), (KEY, "a-configured-key"), ("a-configured-key", KEY), (OTHER, KEY)):
        approach = bearer(authorization)
        approach.api_key = api_key
        with pytest.raises(Unauthorized):
            world.admit(approach)


def test_a_configured_key_is_known_without_looking_anything_up() -> None:
    world = World((("a-configured-key", "acme"), ("ask_not-of-ours-but-configured", "beta")))
    # The directory was never filled: whoever looked into it would be refused.
    assert world.admit(bearer("a-configured-key")).tenant == "acme"
    assert world.admit(bearer("ask_not-of-ours-but-configured")).tenant == "beta"
    assert world.admission.identify(bearer("a-configured-key")).scopes == ("use", "report")
    with pytest.raises(StoreUnavailable):
        world.admit(bearer(KEY))


def test_the_first_key_closes_the_server_to_those_without_any() -> None:
    world, nobody = World(), Approach("127.0.0.1", "localhost")
    world.fill()
    assert world.admit(nobody) == Caller("addr:127.0.0.1", ANONYMOUS_TENANT, scopes=("use", "report"))
    world.fill(replace(CARD, revoked_ms=1))  # even one that ended: who had keys does not fall open
    with pytest.raises(Unauthorized):
        world.admit(nobody)
    with pytest.raises(Unauthorized):
        world.admit(Approach("127.0.0.1", "localhost", api_key="askonce"))


def test_while_nobody_can_say_whether_there_are_keys_callers_without_one_wait() -> None:
    world, nobody = World(), Approach("127.0.0.1", "localhost")
    world.admission.note_keys(None)
    with pytest.raises(StoreUnavailable) as caught:
        world.admit(nobody)
    assert caught.value.retry_after_s == 1
    world.fill()
    assert world.admit(nobody).tenant == ANONYMOUS_TENANT
    configured = World((("a-configured-key", "acme"),))
    configured.admission.note_keys(False)  # keys of the configuration are enough
    with pytest.raises(Unauthorized):
        configured.admit(nobody)


def test_a_stranger_on_an_open_server_reads_no_reports() -> None:
    world = World(open_to_all=True)
    world.fill()
    assert world.admit(Approach("203.0.113.9", "x")).scopes == ("use",)


def test_no_part_of_a_key_decides_how_long_its_refusal_takes() -> None:
    """By structure: a configured key is found by its SHA-256, a stored one by its HMAC and then compared whole.

    Nowhere on the way is the text of a key compared with that of another.
    """
    assert "_callers.get(_digest(" in inspect.getsource(Admission.identify)
    assert "compare_digest" in inspect.getsource(keyholders.Keyholders._find)
    for module in (admission, keyholders):
        for line in inspect.getsource(module).splitlines():
            compared = "secret ==" in line or "key ==" in line or "== secret" in line
            assert not compared or "NO_KEY" in line, line
    looked_up: list[bytes] = []

    class Watched(MemoryDirectory):
        async def find(self, digest: bytes) -> None:
            looked_up.append(digest)

    holders = Keyholders(Watched(), (PEPPER, b"q" * 32), HandClock())
    near = KEY[:-7] + ("A" if KEY[-7] != "A" else "B")  # all but one letter right, its checksum made to fit
    for guess in (near + credentials._checksum(near), OTHER):
        looked_up.clear()
        with pytest.raises(Unauthorized):
            run(holders.standing(guess, ""))
        assert len(looked_up) == 2  # once for each pepper, however near the guess
