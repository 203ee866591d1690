"""What people are shown: the page of settings is the code's own, and no secret is told."""

import re
from pathlib import Path

from askonce.cli.settings import VENDORS
from askonce.config.load import load
from askonce.config.reference import in_force, masked, reference
from askonce.config.settings import Config
from askonce.config.table import SETTINGS

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_of_settings_is_what_the_code_says() -> None:
    assert PAGE.read_text() == reference(VENDORS), "run `make docs`"


def test_the_example_keys_of_the_manual_would_start(tmp_path: Path) -> None:
    found = re.search(r"`ASKONCE_KEYS=(\S+)`", (PAGE.parent / "operations.md").read_text())
    assert found
    environ = {"ASKONCE_KEYS": found[1], "XDG_DATA_HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    keys = load({}, environ, None).config.keys
    assert [key.tenant for key in keys] == ["team-a", "team-a", "team-b"]
    assert min(len(key.secret) for key in keys) >= 20


def test_every_plain_field_of_the_configuration_is_a_setting() -> None:
    covered = {setting.field.partition(".")[0] for setting in SETTINGS} | {
        "aliases",
        "providers",
        "groups",
        "routing",
        "origins",
        "file",
    }
    assert covered == set(Config.__struct_fields__)


def test_what_is_in_force_masks_secrets(tmp_path: Path) -> None:
    environ = {
        "ASKONCE_KEYS": "team:sk-abcdefghijklmnop",
        "ASKONCE_SECRET": "a-long-and-secret-text",
        "OPENAI_API_KEY": "sk-proj-abcdefghijkl",
        "XDG_DATA_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path),
    }
    shown = {one.key: one for one in in_force(load({}, environ, None, VENDORS).config)}
    everything = " ".join(one.value for one in shown.values())
    assert not any(secret.partition(":")[2] in everything for secret in environ.values() if ":" in secret)
    assert "secret-text" not in everything
    assert "abcdefgh" not in everything
    assert shown["keys"].value == "team:sk-…op (key-32f4cf588c77)"
    assert shown["providers.openai"].origin == "environment OPENAI_API_KEY"


def test_a_short_secret_is_hidden_whole() -> None:
    assert masked("12345678") == "…"
    assert masked("sk-1234567890abcdef") == "sk-…ef"
