"""Which key goes to which server: what merely lies in the working folder is not trusted with the user's keys."""

from pathlib import Path

import pytest

from askonce.cli.client import Server
from askonce.cli.exits import Misused
from askonce.cli.servers import find_server

ELSEWHERE = 'host = "evil.example"\nopen = true\n'


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


@pytest.mark.parametrize("environ", [{"ASKONCE_KEY": "sk-12345678"}, {"ASKONCE_KEYS": "sk-12345678"}])
def test_no_key_goes_to_another_machine_that_the_working_folder_names(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("askonce.toml").write_text(ELSEWHERE)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Misused, match=r"evil\.example.*not sent there.*--url") as refused:
        find_server(None, None)
    assert "12345678" not in refused.value.message
    assert find_server("http://evil.example:3001", "sk-12345678").key == "sk-12345678"


@pytest.mark.parametrize(
    "host",
    ['"127.0.0.1"', '"::1"', '"localhost"', '"0.0.0.0"', '"127.0.0.1:80@evil.example"', '"127.0.0.1.evil.example"'],
)
def test_this_machine_is_known_by_what_is_asked_in_the_end(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("askonce.toml").write_text(f"host = {host}\n")
    monkeypatch.setenv("ASKONCE_KEYS", "sk-12345678")
    if "evil" in host:
        with pytest.raises(Misused):
            find_server(None, None)
    else:
        assert find_server(None, None).key == "sk-12345678"


def test_the_files_own_key_goes_to_the_files_own_host() -> None:
    Path("askonce.toml").write_text(ELSEWHERE + 'keys = ["sk-12345678"]\n')
    assert find_server(None, None) == Server("http://evil.example:3001", "sk-12345678")
    with pytest.raises(Misused):
        find_server(None, "sk-of-mine")


def test_without_a_key_there_is_nothing_to_protect() -> None:
    Path("askonce.toml").write_text(ELSEWHERE)
    assert find_server(None, None) == Server("http://evil.example:3001", "")


def test_a_file_that_was_named_or_is_the_users_own_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASKONCE_KEY", "sk-12345678")
    Path("askonce.toml").write_text(ELSEWHERE)
    monkeypatch.setenv("ASKONCE_CONFIG", "askonce.toml")
    assert find_server(None, None).key == "sk-12345678"
    monkeypatch.delenv("ASKONCE_CONFIG")
    (tmp_path / "home" / "askonce").mkdir(parents=True)
    Path("askonce.toml").rename(tmp_path / "home" / "askonce" / "askonce.toml")
    assert find_server(None, None).key == "sk-12345678"
