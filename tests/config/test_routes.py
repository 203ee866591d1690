from pathlib import Path

import pytest

from askonce.config.load import load
from askonce.config.reference import in_force
from askonce.config.settings import Config, GroupMember, GroupSettings, PreferenceSettings, RoutingSettings
from askonce.config.vendors import VendorVariables
from askonce.domain.errors import ConfigError

VENDORS = (VendorVariables("openai", ("OPENAI_API_KEY",), "OPENAI_BASE_URL"),)


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "given.toml"
    path.write_text(text)
    return load({}, {"XDG_DATA_HOME": str(tmp_path), **environ}, path, VENDORS).config


def test_groups_and_their_strategies(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        [groups.code]
        members = [{ model = "openai:gpt-4o", weight = 3 }, "mistral:codestral-latest"]
        [groups.ladder]
        members = ["a", "b"]
        strategy = "order"
        """,
    )
    assert config.groups == {
        "code": GroupSettings((GroupMember("openai:gpt-4o", 3.0), GroupMember("mistral:codestral-latest", 1.0))),
        "ladder": GroupSettings((GroupMember("a"), GroupMember("b")), "order"),
    }


def test_whom_to_choose_among_and_for_what(tmp_path: Path) -> None:
    config = read(
        tmp_path,
        """
        [routing]
        models = ["openai:gpt-4o", "code"]
        [routing.orchestrated]
        plan = "openai:gpt-4o"
        docs = { priority = "cost" }
        build = { models = ["a", "b"] }
        """,
    )
    assert config.routing == RoutingSettings(
        ("openai:gpt-4o", "code"),
        {
            "plan": PreferenceSettings(models=("openai:gpt-4o",)),
            "docs": PreferenceSettings("cost"),
            "build": PreferenceSettings(models=("a", "b")),
        },
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[groups.code]\nmembers = []", "must be 1 to 32"),
        ("[groups.code]\nmember = ['a']", "no setting member .did you mean members"),
        ("[groups.code]", "missing required field `members`"),
        ("[groups.code]\nmembers = ['a', 'a']", "twice"),
        ("[groups.code]\nmembers = [{model = 'a', weight = 0}]", "above 0"),
        ("[groups.code]\nmembers = [{model = 'a', wieght = 1}]", "wieght"),
        ("[groups.code]\nmembers = ['a']\nstrategy = 'random'", "random"),
        ("[groups.'a:b']\nmembers = ['a']", "name it with"),
        ("[groups.code]\nmembers = ['a']\n[aliases]\ncode = 'x'", "alias of that name"),
        ("[groups.one]\nmembers = ['two']\n[groups.two]\nmembers = ['a']", "is a group itself"),
        ("[groups]\ncode = 3", "code"),
        ("groups = 3", "must be a table"),
        ("[routing]\nmodel = ['a']", "no setting model .did you mean models"),
        ("[routing]\nmodels = ['']", "empty"),
        ("[routing.orchestrated]\nplan = {}", "give it `models`"),
        ("[routing.orchestrated]\nplan = { priority = 'best' }", "best"),
        ("[providers.openai]\napi_key = 'a'\napi_keys = ['b']", "both"),
        ("[providers.openai]\nmax_concurrency = 0", "from 1 to 100000"),
        (
            "workers = 4\n[providers.openai]\nmax_concurrency = 3",
            "each of the 4 workers, and what runs workflows, needs at least one place",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_cure(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "environ", "keys"),
    [
        ('[providers.openai]\napi_keys = ["a", "b", "a"]', {}, ("a", "b")),
        ('[providers.openai]\napi_key = "a"', {}, ("a",)),
        ("", {"OPENAI_API_KEY": "a, b,,c"}, ("a", "b", "c")),
        ('[providers.openai]\napi_keys = ["x", "y"]', {"OPENAI_API_KEY": "a"}, ("a",)),
        ("", {"OPENAI_BASE_URL": "http://127.0.0.1:1"}, ("",)),
    ],
)
def test_a_provider_may_have_several_keys(
    tmp_path: Path, text: str, environ: dict[str, str], keys: tuple[str, ...]
) -> None:
    (openai,) = read(tmp_path, text, **environ).providers
    assert openai.keys == keys
    assert openai.api_key == keys[0]


def test_what_is_in_force_shows_routes_and_no_key(tmp_path: Path) -> None:
    path = tmp_path / "given.toml"
    path.write_text(
        """
        [providers.openai]
        api_keys = ["sk-aaaaaaaaaaaaaaaaaaaa", "sk-bbbbbbbbbbbbbbbbbbbb"]
        max_concurrency = 8
        [groups.code]
        members = [{ model = "m", weight = 2.5 }]
        [routing]
        models = ["m"]
        orchestrated = { docs = { priority = "cost" } }
        """
    )
    shown = {one.key: one.value for one in in_force(load({}, {"XDG_DATA_HOME": str(tmp_path)}, path, VENDORS).config)}
    assert shown["groups.code"] == "weighted: m × 2.5"
    assert shown["routing.models"] == "m"
    assert shown["routing.orchestrated.docs"] == "by cost"
    assert shown["providers.openai"] == "key sk-…aa, key sk-…bb at most 8 calls"
    assert "aaaa" not in "".join(shown.values())
