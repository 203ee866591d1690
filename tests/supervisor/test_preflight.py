"""What is found before a port is opened: by the function, and by the three commands that ask it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from askonce.config.settings import Config, ProviderSettings
from askonce.domain.errors import ConfigError
from askonce.supervisor.preflight import doubts, preflight, problems

TERA = 10**12


def found(**settings: object) -> dict[str, str]:
    config = Config(**({"local_model": "off", "data_dir": "/tmp"} | settings))  # type: ignore[arg-type]
    return {problem.subject: problem.text for problem in problems(config)}


@pytest.mark.parametrize("setting", ["gpt9", "/nope.gguf", "ollama:nobody", "hub:no/body"])
def test_an_embedded_model_that_is_not_there_is_found_with_key_and_value(setting: str, tmp_path: Path) -> None:
    text = found(local_model=setting, models_dir=str(tmp_path))["embedded model"]
    assert text.startswith(f"ASKONCE_LOCAL_MODEL={setting}: ")


def test_a_sound_configuration_has_no_problem(tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text('[[play]]\ntext = "x"')
    scripted = ProviderSettings("scripted", script=str(tmp_path / "s.toml"))
    assert found(local_model="auto", providers=(scripted,), data_dir=str(tmp_path / "not" / "yet")) == {}
    assert found(local_model="qwen2.5-coder-0.5b") == {}
    preflight(Config(data_dir=str(tmp_path)))


@pytest.mark.parametrize("url", ["mysql://u:hidden@h/d", "sqlite://", "nonsense"])
def test_an_address_that_is_no_database_of_ours_is_found_and_not_repeated(url: str) -> None:
    text = found(database_url=url)["database"]
    assert text.startswith("DATABASE_URL ")
    assert "hidden" not in text


def test_a_secret_that_is_too_short_is_found_and_none_is_made(tmp_path: Path) -> None:
    assert "at least 32 are needed" in found(secret="short", data_dir=str(tmp_path))["secret"]
    assert found(data_dir=str(tmp_path)) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_others_may_read_is_found(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s" * 40)
    (tmp_path / "secret").chmod(0o644)
    assert "others may read" in found(data_dir=str(tmp_path))["secret"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read"),
        ("", "play"),
        ("play = 3", "play: must be a list"),
        ('[[play]]\nhang = true\ntext = ""', "exactly one"),
    ],
)
def test_a_script_that_cannot_be_played_is_found(tmp_path: Path, content: str | None, says: str) -> None:
    script = tmp_path / "s.toml"
    if content is not None:
        script.write_text(content)
    text = found(providers=(ProviderSettings("scripted", script=str(script), source="askonce.toml"),))["scripted"]
    assert text.startswith(f"[providers.scripted] of askonce.toml: script {script}: ")
    assert says in text


def test_a_cache_larger_than_its_disk_is_found_but_not_the_default_on_a_small_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(total=1 << 30))
    assert found(data_dir=str(tmp_path)) == {}
    text = found(data_dir=str(tmp_path), cache_size_bytes=100 * TERA)["cache"]
    assert "ASKONCE_CACHE_SIZE" in text
    assert "1 GB altogether" in text


def test_a_cache_that_no_process_can_map_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(total=1 << 62))
    text = found(data_dir=str(tmp_path), cache_size_bytes=1 << 60)["cache"]
    assert text.startswith("cache_size = 1048576TiB: finds no room")
    assert "ASKONCE_CACHE_SIZE" in text


def test_the_first_problem_is_raised() -> None:
    with pytest.raises(ConfigError, match="ASKONCE_LOCAL_MODEL=gpt9"):
        preflight(Config(data_dir="/tmp", local_model="gpt9", cache_size_bytes=1 << 60))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("opnai:gpt-4o", "there is no provider 'opnai'; did you mean 'openai'?"),
        ("groq:x", "groq is not configured"),
        ("openai:gpt-4o", ""),
        ("mine:x", ""),
        ("local:x", ""),
        ("llama3.2:1b", ""),
        ("gpt-4o", ""),
        ("", ""),
    ],
)
def test_names_of_models_are_doubted_where_their_provider_is_not_there(name: str, says: str) -> None:
    providers = (ProviderSettings("openai"), ProviderSettings("mine", "http://x"))
    for config in (Config(default_model=name, providers=providers), Config(aliases={"a": name}, providers=providers)):
        (doubted,) = list(doubts(config)) or [""]
        assert says in doubted
        assert bool(doubted) == bool(says)


def askonce(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "ASKONCE_PORT": "0"} | environ
    command = [sys.executable, "-m", "askonce", *arguments]
    return subprocess.run(command, env=environ, cwd=folder, capture_output=True, text=True, timeout=60)


BAD = [
    ({"ASKONCE_LOCAL_MODEL": "gpt9"}, "", "ASKONCE_LOCAL_MODEL=gpt9"),
    ({"ASKONCE_LOCAL_MODEL": "/nope.gguf"}, "", "ASKONCE_LOCAL_MODEL=/nope.gguf"),
    ({"ASKONCE_CACHE_SIZE": "900000TB"}, "", "ASKONCE_CACHE_SIZE"),
    ({"OPENAI_API_KEY": "a b"}, "", "OPENAI_API_KEY"),
    ({"OPENAI_API_KEY": "sk-1\nsk-2"}, "", "OPENAI_API_KEY"),
    ({"OPENAI_BASE_URL": "notaurl"}, "", "OPENAI_BASE_URL"),
    ({"OPENAI_BASE_URL": "http://user:pass@x/v1"}, "", "credentials"),
    ({"ASKONCE_KEYS": ","}, "", "ASKONCE_KEYS"),
    ({}, '[providers.scripted]\nscript = "none.toml"', "none.toml: cannot be read"),
]


@pytest.mark.process
@pytest.mark.parametrize(("environ", "toml", "says"), BAD)
def test_every_command_tells_it_and_no_port_is_opened(
    tmp_path: Path, environ: dict[str, str], toml: str, says: str
) -> None:
    if toml:
        (tmp_path / "askonce.toml").write_text(toml)
    served, shown = askonce(tmp_path, "serve", **environ), askonce(tmp_path, "config", **environ)
    looked = askonce(tmp_path, "doctor", "--offline", **environ)
    assert (served.returncode, shown.returncode, looked.returncode) == (2, 2, 1)
    assert says in served.stderr
    assert "answers at" not in served.stdout
    assert says in shown.stderr
    assert any(line.startswith("✗") and says in line for line in looked.stdout.splitlines())
    assert not (tmp_path / ".local").exists()


@pytest.mark.process
def test_config_shows_the_settings_and_what_is_wrong_with_them(tmp_path: Path) -> None:
    done = askonce(tmp_path, "config", "--json", ASKONCE_LOCAL_MODEL="gpt9", ASKONCE_DEFAULT_MODEL="opnai:x")
    assert {one["key"]: one["value"] for one in json.loads(done.stdout)}["local_model"] == "gpt9"
    assert "did you mean 'openai'?" in done.stderr
    assert "askonce: ASKONCE_LOCAL_MODEL=gpt9" in done.stderr
