import asyncio
import time
from pathlib import Path

from askonce.domain.call import Candidate
from askonce.domain.errors import ProviderFailed
from askonce.domain.usage import Usage
from askonce.providers.catalog import LOCAL, Vendor, vendor_named
from askonce.providers.fleet import Berth, Fleet, LocalWord
from askonce.providers.price_data import compile_table
from askonce.providers.price_file import PriceFile
from askonce.providers.prices import encode_table
from askonce.providers.script import Play, Script
from askonce.providers.scripted import ScriptedProvider
from askonce.routing.breaker import TRIP_AFTER
from askonce.routing.health import Health, Target
from askonce.routing.roster import Group, Roster, Share


class Clock:
    def steady_ns(self) -> int:
        return 0

    def wall_ms(self) -> int:
        return 1_700_000_000_000


def vendor(name: str) -> Vendor:
    found = vendor_named(name)
    assert found is not None
    return found


def make(tmp_path: Path) -> tuple[Fleet, Health]:
    health = Health(Clock())
    provider = ScriptedProvider(Script((Play(text="x"),)))
    berths = (
        Berth(vendor("openai"), provider, models=("gpt-4o",), capabilities=("long-context",), room=3),
        Berth(vendor("groq")),
        Berth(vendor(LOCAL), provider),
    )
    wishes = Roster(
        aliases={"quick": "gpt-4o"}, groups={"code": Group((Share("openai:gpt-4o"), Share("x")))}, default_model="quick"
    )
    prices = PriceFile(tmp_path / "none.json", Clock())
    return Fleet(berths, prices, wishes, lambda: LocalWord("", "tiny", 4096), health, Clock()), health


def test_the_roster_is_what_is_configured_and_what_the_owner_wants(tmp_path: Path) -> None:
    roster = make(tmp_path)[0].roster()
    assert [(m.name, m.configured, m.stands_in) for m in roster.members] == [
        ("openai", True, True),
        ("groq", False, True),
        (LOCAL, True, False),
    ]
    assert (roster.default_model, list(roster.groups)) == ("quick", ["code"])


def test_what_is_known_of_models_comes_from_vendor_name_and_owner(tmp_path: Path) -> None:
    fleet, _ = make(tmp_path)
    assert {"streaming", "tools", "vision", "long-context"} <= fleet.abilities("openai", "gpt-4o")
    assert "local" in fleet.abilities(LOCAL, "tiny")
    assert fleet.abilities("nobody", "unheard-of") == frozenset()
    assert (fleet.context_window(LOCAL, "tiny"), fleet.context_window("openai", "gpt-4o")) == (4096, None)
    assert (fleet.room("openai"), fleet.room("groq"), fleet.room("nobody")) == (3, None, None)
    (row,) = [m for m in asyncio.run(fleet.models()) if m.model == "gpt-4o"]
    assert row.aliases == ("quick", "code")


def test_models_that_make_embeddings_are_told_apart(tmp_path: Path) -> None:
    now_s = int(time.time())
    path = tmp_path / "prices.json"
    path.write_bytes(encode_table(compile_table((vendor("openai"), vendor("anthropic")), {}, now_s)))
    provider = ScriptedProvider(Script((Play(text="x"), Play(model="bge-m3", text="x"), Play(model="odd", text="x"))))
    berths = (
        Berth(vendor("openai"), provider),
        Berth(vendor("anthropic"), provider),
        Berth(vendor("ollama"), provider),
        Berth(vendor(LOCAL), provider),
    )
    prices = PriceFile(path, Clock())
    fleet = Fleet(berths, prices, Roster(), lambda: LocalWord("", "tiny", 4096), Health(Clock()), Clock())
    asyncio.run(fleet.discover())
    roster = fleet.roster()
    openai, anthropic, ollama, local = roster.members
    assert "text-embedding-3-small" in openai.unfit
    assert "text-embedding-3-small" not in openai.models
    assert (ollama.default_model, ollama.models, ollama.unfit) == ("odd", ("odd",), ("bge-m3",))
    openai, anthropic, ollama, local = roster.of("embedding").members
    assert "text-embedding-3-small" in openai.models
    assert {"gpt-4o", "gpt-5-mini"} <= {*openai.unfit}
    assert (anthropic.models, "claude-haiku-4-5" in anthropic.unfit) == ((), True)
    assert (ollama.models, ollama.also, ollama.unfit) == (("bge-m3",), ("odd",), ())
    assert (local.models, local.unfit, local.open_ended) == ((), ("tiny",), False)
    rows = {info.model: info for info in asyncio.run(fleet.models())}
    small = rows["text-embedding-3-small"]
    assert (small.kind, small.capabilities) == ("embedding", ("embeddings",))
    assert small.price is not None
    assert (small.price.cost_nano(Usage(1_000_000, 0)), rows["gpt-4o"].kind) == (20_000_000, "chat")
    assert rows["bge-m3"].capabilities == ("embeddings", "local")


def test_a_providers_breaker_is_shown(tmp_path: Path) -> None:
    fleet, health = make(tmp_path)
    for _ in range(TRIP_AFTER):
        health.fail(Target(Candidate("openai", "gpt-4o"), 0), ProviderFailed("down"))
    shown = {info.name: info.breaker for info in asyncio.run(fleet.providers())}
    assert shown == {"openai": "open", "groq": "closed", LOCAL: "closed"}


def priced(tmp_path: Path) -> Path:
    path = tmp_path / "prices.json"
    path.write_bytes(encode_table(compile_table((vendor("anthropic"),), {}, int(time.time()))))
    return path


def test_names_are_awaited_until_the_first_table_of_somebody_who_can_be_asked(tmp_path: Path) -> None:
    prices = PriceFile(tmp_path / "prices.json", Clock())
    provider = ScriptedProvider(Script((Play(text="x"),)))
    alone, asked = (
        Fleet((berth,), prices, Roster(), lambda: LocalWord(""), Health(Clock()), Clock())
        for berth in (Berth(vendor("anthropic")), Berth(vendor("anthropic"), provider))
    )
    assert (alone.names_awaited, asked.names_awaited) == (False, True)
    before = asked.roster()
    assert asked.roster() is before
    priced(tmp_path)
    assert prices.refresh()
    assert asked.names_awaited is False
    assert asked.roster() is not before
    assert "claude-sonnet-4-6" in asked.roster().members[0].models
    assert asked.roster() is asked.roster()


def test_names_that_never_come_are_not_awaited_for_ever(tmp_path: Path) -> None:
    class Later(Clock):
        at_ns = 0

        def steady_ns(self) -> int:
            return self.at_ns

    clock = Later()
    prices = PriceFile(tmp_path / "none.json", clock)
    assert prices.is_awaited
    clock.at_ns = 3600 * 10**9
    assert not prices.is_awaited


def test_the_owners_windows_count_first_and_the_long_contexts_experiment_lifts_anthropics(tmp_path: Path) -> None:
    provider = ScriptedProvider(Script((Play(text="x"),)))
    berths = (
        Berth(vendor("anthropic"), provider, windows={"claude-haiku-4-5": 7}),
        Berth(vendor("openai"), provider, windows={"mine": 9}),
    )
    prices = PriceFile(priced(tmp_path), Clock())
    fleet = Fleet(berths, prices, Roster(), lambda: LocalWord(""), Health(Clock()), Clock())
    long = ("context-1m-2025-08-07",)
    assert [fleet.context_window("anthropic", "claude-sonnet-4-5", given) for given in ((), long)] == [200_000, 10**6]
    assert fleet.context_window("anthropic", "claude-sonnet-4-6") == 10**6
    assert fleet.context_window("anthropic", "claude-haiku-4-5", long) == 7
    assert (fleet.context_window("openai", "mine"), fleet.context_window("openai", "x", long)) == (9, None)
