"""The data folder: who may use it, in which state, and what is refused in which words."""

import os
from pathlib import Path

import pytest

from askonce.domain.errors import ConfigError
from askonce.supervisor.folder import DataFolder


def test_it_is_made_for_its_owner_only(tmp_path: Path) -> None:
    folder = DataFolder.claim(tmp_path / "deep" / "data")
    assert folder.path.stat().st_mode & 0o777 == 0o700
    assert folder.run.is_dir()
    folder.release()


def test_it_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    first = DataFolder.claim(tmp_path)
    with pytest.raises(ConfigError, match=rf"another askonce \(pid {os.getpid()}\) uses this folder"):
        DataFolder.claim(tmp_path)
    first.release()
    DataFolder.claim(tmp_path).release()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds other things \(thesis.tex\)"):
        DataFolder.claim(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_commands_make_without_a_server_is_no_other_thing(tmp_path: Path) -> None:
    for name in ("secret", "ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (tmp_path / name).write_text("")
    DataFolder.claim(tmp_path).release()


def test_our_own_folder_may_hold_anything_and_is_closed_again(tmp_path: Path) -> None:
    DataFolder.claim(tmp_path).release()
    (tmp_path / "cache").mkdir()
    tmp_path.chmod(0o755)
    DataFolder.claim(tmp_path).release()
    assert tmp_path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("mark", "says"),
    [('{"format": 99}', "has format 99, this version reads 1"), ("{", "is damaged"), ("[]", "is damaged")],
)
def test_a_format_is_refused_and_never_guessed(tmp_path: Path, mark: str, says: str) -> None:
    (tmp_path / "askonce.json").write_text(mark)
    with pytest.raises(ConfigError, match=says):
        DataFolder.claim(tmp_path)
    (tmp_path / "askonce.json").unlink()
    DataFolder.claim(tmp_path).release()


def test_a_crash_while_it_was_made_does_not_spoil_it(tmp_path: Path) -> None:
    (tmp_path / "askonce.json").write_text("")
    DataFolder.claim(tmp_path).release()
    DataFolder.claim(tmp_path).release()


def test_a_file_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(ConfigError, match="--data-dir"):
        DataFolder.claim(tmp_path / "data")
