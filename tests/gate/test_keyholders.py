"""A key's text becomes its holder, or a refusal that says which of the ways it failed."""

import asyncio
import hmac
import inspect
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace
from tests.state.statefakes import HandClock

from askonce.domain.credentials import key_digest, mint_key
from askonce.domain.errors import Forbidden, StoreUnavailable, Unauthorized
from askonce.domain.identity import Edition, Holder, KeyCard, Standing
from askonce.gate import keyholders
from askonce.gate.keyholders import Keyholders
from askonce.state.memory_identity import MemoryDirectory

PEPPER, FORMER = b"p" * 32, b"f" * 32


def a_card(key: str, pepper: bytes = PEPPER, networks: tuple[str, ...] = ()) -> KeyCard:
    return KeyCard(key[4:14], key_digest(pepper, key), key[:14], "ci", "team", addresses=networks, version=1)


@dataclass
class World:
    directory: MemoryDirectory = field(default_factory=MemoryDirectory)
    clock: HandClock = field(default_factory=HandClock)

    def __post_init__(self) -> None:
        self.keyholders = Keyholders(self.directory, (PEPPER, FORMER), self.clock)

    def know(self, *records: KeyCard | Holder) -> None:
        asyncio.run(self.directory.replace(records, Edition("db", 1)))

    def standing(self, key: str, address: str = "10.0.0.1") -> Standing:
        return asyncio.run(self.keyholders.standing(key, address))


def test_a_key_leads_to_its_holders() -> None:
    world, key = World(), mint_key()
    world.know(a_card(key), Holder("tenant:team", version=1))
    assert world.standing(key) == Standing(a_card(key), None, Holder("tenant:team", version=1))


def test_keys_of_a_former_secret_are_still_known() -> None:
    world, key = World(), mint_key()
    world.know(a_card(key, FORMER))
    assert world.standing(key).card.id == key[4:14]


def test_what_is_remembered_is_forgotten_at_any_change() -> None:
    world, key = World(), mint_key()
    world.know(a_card(key))
    assert world.standing(key) is world.standing(key)
    asyncio.run(world.directory.put("db", replace(a_card(key), revoked_ms=5, version=2)))
    with pytest.raises(Unauthorized, match="revoked"):
        world.standing(key)


def test_what_is_remembered_still_expires_and_is_still_bound_to_its_addresses() -> None:
    world, key = World(), mint_key()
    card = replace(a_card(key, networks=("10.0.0.0/8",)), expires_ms=world.clock.wall + 1000)
    world.know(card)
    assert world.standing(key).card == card
    with pytest.raises(Forbidden):
        world.standing(key, "11.0.0.1")
    world.clock.pass_s(1)
    with pytest.raises(Unauthorized, match="expired"):
        world.standing(key)


def test_the_memory_is_bounded_and_holds_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyholders, "REMEMBERED", 3)
    world, keys = World(), [mint_key() for _ in range(8)]
    world.know(*(a_card(key) for key in keys))
    for key in keys:
        assert world.standing(key).card.id == key[4:14]
    remembered = world.keyholders._remembered
    assert len(remembered) <= 3
    assert not any(key.encode() in remembered for key in keys)
    with pytest.raises(Unauthorized):
        world.standing(mint_key())
    assert len(remembered) <= 3


def test_a_change_while_finding_is_not_remembered_wrongly() -> None:
    world, key = World(), mint_key()
    world.know(a_card(key))

    class Revoking(MemoryDirectory):
        async def find(self, digest: bytes) -> Standing | None:
            found = await super().find(digest)
            await self.put("db", replace(a_card(key), revoked_ms=5, version=2))
            return found

    revoking = Revoking()
    asyncio.run(revoking.replace([a_card(key)], Edition("db", 1)))
    held = Keyholders(revoking, (PEPPER,), world.clock)
    asyncio.run(held.standing(key, ""))  # it was found in the instant before
    with pytest.raises(Unauthorized, match="revoked"):
        asyncio.run(held.standing(key, ""))


def test_a_typing_error_is_told_without_a_look_up() -> None:
    world = World()  # not filled: any look-up raises
    with pytest.raises(Unauthorized, match="mistyped"):
        world.standing(mint_key()[:-1] + "!")


def test_an_unknown_key_is_told_from_one_that_cannot_be_looked_up() -> None:
    world = World()
    with pytest.raises(StoreUnavailable):
        world.standing(mint_key())
    world.know()
    with pytest.raises(Unauthorized, match="not known"):
        world.standing(mint_key())


def test_a_known_key_from_a_foreign_address_is_forbidden() -> None:
    world, key = World(), mint_key()
    world.know(a_card(key, networks=("192.168.0.0/16",)))
    with pytest.raises(Forbidden, match=r"10\.0\.0\.1"):
        world.standing(key)


def test_keys_are_looked_up_by_digest_and_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # Structure, not wall time: what reaches the store is 32 bytes of a keyed hash, whatever was sent, and what it
    # returns is trusted only after compare_digest over the whole digest.
    world, key = World(), mint_key()
    world.know(a_card(key))
    asked: list[bytes] = []
    compared: list[tuple[bytes, bytes]] = []

    class Watched(MemoryDirectory):
        async def find(self, digest: bytes) -> Standing | None:
            asked.append(digest)
            return await world.directory.find(digest)

    def compare(first: bytes, second: bytes) -> bool:
        compared.append((first, second))
        return False  # whatever the store says

    monkeypatch.setattr(hmac, "compare_digest", compare)
    with pytest.raises(Unauthorized):
        asyncio.run(Keyholders(Watched(), (PEPPER,), HandClock()).standing(key, ""))
    digest = key_digest(PEPPER, key)
    assert asked == [digest]
    assert compared == [(digest, digest)]
    assert "== digest" not in inspect.getsource(keyholders.Keyholders)
