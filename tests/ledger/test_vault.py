"""Providers' keys: encrypted where they lie, masked where they are listed, and a changed secret told by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.ledger.identityworld import FORMER, PEPPER, Stage, World

from askonce.config.sealing import Sealer
from askonce.domain.accounts import SecretChanged
from askonce.domain.credentials import fingerprint
from askonce.domain.errors import Invalid, NotFound
from askonce.ledger import vault as vault_module
from askonce.ledger.vault import SqlProviderKeys, hint

SECRET = "sk-proj-0123456789abcdefghijklmnop"
OTHER = "sk-proj-zyxwvutsrqponmlkjihgfedcba"


@given(st.text(), st.text())
def test_what_is_sealed_opens_in_its_place_only(secret: str, place: str) -> None:
    sealer = Sealer((PEPPER,))
    sealed = sealer.seal(secret, place)
    assert sealer.open(sealed, place) == secret
    with pytest.raises(SecretChanged):
        sealer.open(sealed, place + "x")


@given(st.integers(0, 11), st.integers(0, 49), st.integers(1, 255))
def test_whatever_is_altered_is_told(in_nonce: int, in_text: int, flip: int) -> None:
    sealer = Sealer((PEPPER,))
    sealed = sealer.seal(SECRET, "here")
    assert len(sealed.text) == len(SECRET) + 16
    nonce, text = bytearray(sealed.nonce), bytearray(sealed.text)
    nonce[in_nonce] ^= flip
    text[in_text] ^= flip
    for altered in (replace(sealed, nonce=bytes(nonce)), replace(sealed, text=bytes(text))):
        with pytest.raises(SecretChanged, match="altered"):
            sealer.open(altered, "here")


def test_a_changed_secret_is_told_by_name_and_a_former_one_still_opens() -> None:
    sealed = Sealer((FORMER,)).seal(SECRET, "here")
    with pytest.raises(SecretChanged, match=f"{fingerprint(FORMER)}.*{fingerprint(PEPPER)}"):
        Sealer((PEPPER,)).open(sealed, "here")
    assert Sealer((PEPPER, FORMER)).open(sealed, "here") == SECRET
    assert Sealer((PEPPER, FORMER)).seal(SECRET, "here").seal == fingerprint(PEPPER)


def test_the_same_secret_is_never_sealed_alike() -> None:
    sealer = Sealer((PEPPER,))
    assert len({sealer.seal(SECRET, "here").text for _ in range(50)}) == 50


@pytest.mark.parametrize(
    ("secret", "shown"), [(SECRET, "sk-p…mnop"), ("short-secret", "…"), ("x" * 23, "…"), ("x" * 24, "xxxx…xxxx")]
)
def test_a_hint_tells_little(secret: str, shown: str) -> None:
    assert hint(secret) == shown


def test_keys_are_listed_masked_and_revealed_in_the_clear(stage: Stage) -> None:
    async def play(world: World) -> None:
        first = await world.vault.add("openai", "main", f" {SECRET}\n")
        world.clock.pass_s(1)
        second = await world.vault.add("openai", "spare", OTHER)
        assert await world.vault.list() == (second, first)
        assert (first.hint, first.created_ms) == ("sk-p…mnop", world.clock.wall - 1000)
        revealed = await world.vault.reveal()
        assert [(one.id, one.provider, one.secret) for one in revealed] == [
            (first.id, "openai", SECRET),
            (second.id, "openai", OTHER),
        ]
        assert SECRET not in repr(revealed)
        stored = str(await world.sql("SELECT * FROM {provider_keys}"))
        assert SECRET not in stored
        assert SECRET[8:20] not in stored

    stage(play)


def test_rotating_and_retiring_destroy_the_former_key(stage: Stage) -> None:
    async def play(world: World) -> None:
        first = await world.vault.add("openai", "main", SECRET)
        before = await world.sql("SELECT sealed FROM {provider_keys}")
        rotated = await world.vault.rotate(first.id, OTHER)
        assert rotated == replace(first, hint=hint(OTHER))
        assert [one.secret for one in await world.vault.reveal()] == [OTHER]
        assert await world.sql("SELECT sealed FROM {provider_keys}") != before
        retired = await world.vault.retire(first.id)
        assert retired.retired_ms == world.clock.wall
        assert await world.vault.retire(first.id) == retired
        assert await world.vault.reveal() == ()
        assert await world.vault.list() == (retired,)
        assert [bytes(row[0]) for row in await world.sql("SELECT sealed FROM {provider_keys}")] == [b""]
        with pytest.raises(Invalid, match="retired"):
            await world.vault.rotate(first.id, SECRET)
        for missing in (world.vault.retire("nobody"), world.vault.rotate("nobody", SECRET)):
            with pytest.raises(NotFound):
                await missing

    stage(play)


def test_every_change_raises_the_version(stage: Stage) -> None:
    async def play(world: World) -> None:
        versions = [await world.vault.version()]
        key = await world.vault.add("openai", "main", SECRET)
        versions.append(await world.vault.version())
        await world.vault.rotate(key.id, OTHER)
        versions.append(await world.vault.version())
        await world.vault.retire(key.id)
        versions.append(await world.vault.version())
        assert versions == sorted(set(versions))

    stage(play)


def test_a_key_does_not_open_in_another_row(stage: Stage) -> None:
    async def play(world: World) -> None:
        await world.vault.add("openai", "main", SECRET)
        evil = await world.vault.add("evil", "main", OTHER)
        await world.sql(
            "UPDATE {provider_keys} SET sealed = (SELECT sealed FROM {provider_keys} WHERE provider = 'openai'), "
            "nonce = (SELECT nonce FROM {provider_keys} WHERE provider = 'openai') WHERE id = :id",
            id=evil.id,
        )
        with pytest.raises(SecretChanged, match="provider key evil"):
            await world.vault.reveal()

    stage(play)


def test_resealing_lets_the_former_secret_go(stage: Stage) -> None:
    async def play(world: World) -> None:
        await SqlProviderKeys(world.engine, Sealer((FORMER,)), world.clock).add("openai", "main", SECRET)
        with pytest.raises(SecretChanged):
            await world.vault.reveal()
        both = SqlProviderKeys(world.engine, Sealer((PEPPER, FORMER)), world.clock)
        assert await both.reseal() == 1
        assert await both.reseal() == 0
        assert [one.secret for one in await world.vault.reveal()] == [SECRET]

    stage(play)


@pytest.mark.parametrize("secret", ["", "short", "with space inside", "naïve-secret", "x" * 4097, "tab\tinside"])
def test_what_can_be_no_key_is_refused_without_being_shown(stage: Stage, secret: str) -> None:
    async def play(world: World) -> None:
        with pytest.raises(Invalid) as caught:
            await world.vault.add("openai", "main", secret)
        assert [detail.field for detail in caught.value.details] == ["secret"]
        assert not secret or secret not in caught.value.message

    stage(play)


def test_there_is_room_for_so_many(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault_module, "KEYS_MAX", 1)

    async def play(world: World) -> None:
        await world.vault.add("openai", "main", SECRET)
        with pytest.raises(Invalid, match="no room"):
            await world.vault.add("openai", "more", OTHER)

    stage(play)
