"""Providers' keys of the database: on their way to the gateways, and in use there without a restart."""

import asyncio
from pathlib import Path

import pytest
from tests.providers.upstream import Upstream, answer
from tests.wiring.test_administration import beaten
from tests.wiring.test_wiring import asked

from askonce.config.paths import prices_path
from askonce.config.secret import find_secret
from askonce.config.settings import Config, ProviderSettings
from askonce.domain.accounts import Revealed, SecretChanged
from askonce.domain.clock import SystemClock
from askonce.domain.handover import NEVER
from askonce.ledger.migrate import migrate
from askonce.ledger.vault import SqlProviderKeys
from askonce.providers.prices import PriceTable, encode_table
from askonce.wiring.gateway import Gateway
from askonce.wiring.vendor_keys import opened, pack, sealer_of, with_keys
from askonce.wiring.worker import Worker

SECRET, OTHER = "s" * 40, "o" * 40


def revealed(*keys: tuple[str, str]) -> list[Revealed]:
    return [Revealed(f"{number}", provider, secret) for number, (provider, secret) in enumerate(keys)]


def test_what_is_carried_is_sealed_and_opens_under_the_same_secret_only(tmp_path: Path) -> None:
    secret, other = find_secret(SECRET, tmp_path), find_secret(OTHER, tmp_path)
    packed = pack(revealed(("openai", "sk-one"), ("openai", "sk-two")), sealer_of(secret))
    assert b"sk-one" not in packed
    assert opened(packed, secret) == [("openai", "sk-one"), ("openai", "sk-two")]
    assert opened(packed, find_secret(f"{OTHER},{SECRET}", tmp_path)) == opened(packed, secret)
    with pytest.raises(SecretChanged):
        opened(packed, other)


@pytest.mark.parametrize(
    ("configured", "stored", "keys"),
    [
        ((), [("openai", "b"), ("openai", "c")], {"openai": ("b", "c")}),
        ((ProviderSettings("openai", api_key="a"),), [("openai", "b")], {"openai": ("a", "b")}),
        ((ProviderSettings("openai", api_key="a"),), [("openai", "a")], {"openai": ("a",)}),
        ((ProviderSettings("mine", base_url="http://x/v1"),), [("mine", "b")], {"mine": ("b",)}),
        ((ProviderSettings("openai", api_key="a"),), [], {"openai": ("a",)}),
        ((), [("nobody-knows", "b")], {}),
    ],
)
def test_stored_keys_stand_behind_those_of_the_settings(
    configured: tuple[ProviderSettings, ...], stored: list[tuple[str, str]], keys: dict[str, tuple[str, ...]]
) -> None:
    made = with_keys(Config(providers=configured), stored)
    assert {settings.name: settings.keys for settings in made.providers} == keys


@pytest.mark.parametrize(("setting", "expected"), [("auto", "on"), ("off", "off"), ("on", "on")])
def test_the_embedded_model_that_runs_stays(setting: str, expected: str) -> None:
    assert with_keys(Config(local_model=setting), [("openai", "b")]).local_model == expected


def test_the_worker_hands_keys_over_once_for_each_change(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    async def story() -> None:
        config = Config(data_dir=str(tmp_path), local_model="off", secret=SECRET)
        secret = find_secret(SECRET, tmp_path)
        worker = Worker(config, 1)
        await migrate(worker._engine)
        worker._prepared.set()
        carried = worker._state.vendor_keys
        vault = SqlProviderKeys(worker._engine, sealer_of(secret), SystemClock())
        await worker._hand_over_keys()
        assert await carried.stamp() == NEVER, "nothing is carried where there never was a key"
        key = await vault.add("openai", "main", "sk-first-secret")
        for secrets in (["sk-first-secret"], ["sk-second-secret"], []):
            before = await carried.stamp()
            for _ in range(3):
                await worker._hand_over_keys()
            stamp, packed = await carried.read()
            assert stamp == before + 1
            assert opened(packed, secret) == [("openai", text) for text in secrets]
            await (vault.rotate(key.id, "sk-second-secret") if secrets == ["sk-first-secret"] else vault.retire(key.id))
        await worker._close()

    asyncio.run(story())


def test_a_gateway_asks_with_the_keys_that_are_in_force_now(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    prices_path(str(tmp_path)).write_bytes(encode_table(PriceTable()))

    async def story() -> None:
        async with Upstream(answer("Hello")) as up:
            provider = ProviderSettings("mine", base_url=up.base_url, default_model="m", models=("m",))
            config = Config(
                data_dir=str(tmp_path), local_model="off", secret=SECRET, providers=(provider,), default_model="mine:m"
            )
            gateway = Gateway(config, 0, 1)
            carried, sealer = gateway._state.vendor_keys, sealer_of(find_secret(SECRET, tmp_path))
            gateway._admission.note_keys(False)
            used = []
            for number, keys in enumerate([None, ("sk-first",), ("sk-second",), ()]):
                if keys is not None:
                    await carried.put(pack(revealed(*(("mine", key) for key in keys)), sealer))
                await beaten(gateway)
                status, _ = await asked(gateway, f"question {number}")
                assert status == 200
                questions = [request for request in up.seen if request.method == "POST"]  # lists of models come late
                used.append(questions[-1].headers.get("authorization", ""))
            await carried.put(b"\x00 not what anybody sealed")
            await beaten(gateway)
            assert (await asked(gateway, "and on it goes"))[0] == 200
            await gateway.stop()
        assert used == ["", "Bearer sk-first", "Bearer sk-second", ""]

    asyncio.run(story())


def test_a_vendor_that_had_no_key_can_be_asked_once_it_has_one(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()

    async def story() -> None:
        gateway = Gateway(Config(data_dir=str(tmp_path), local_model="off", secret=SECRET), 0, 1)
        assert [member.name for member in gateway._works.router.roster.configured] == []
        packed = pack(revealed(("openai", "sk-first")), sealer_of(find_secret(SECRET, tmp_path)))
        await gateway._state.vendor_keys.put(packed)
        await beaten(gateway)
        assert [member.name for member in gateway._works.router.roster.configured] == ["openai"]
        await gateway.stop()

    asyncio.run(story())
