"""Files of an answer stay in their folder, whatever they are called."""

import errno
import os
from pathlib import Path

import pytest

from askonce.cli.exits import CommandFailed
from askonce.cli.files import Produced, write_files


@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "", ".", "a\\b", "a\x00b", "link/x", "a\x9bb", "\ud800"]
)
def test_a_path_that_leaves_the_folder_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(CommandFailed):
        write_files(folder, [Produced("fine.py", "x"), Produced(name, "x")], replace=True)
    assert [path.name for path in folder.iterdir()] == ["link"]


@pytest.mark.parametrize("name", [".git/config", "a/.GIT/hooks/x", ".git./config", ".git", "GIT~1/config"])
def test_nothing_is_planted_in_a_repository(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandFailed, match="Git"):
        write_files(tmp_path / "made", [Produced("fine.py", "x"), Produced(name, "x")], replace=True)
    assert not (tmp_path / "made").exists()
    with pytest.raises(CommandFailed, match="Git"):
        write_files(tmp_path / ".git" / "hooks", [Produced("post-checkout", "x")], replace=True)
    (tmp_path / "alias").symlink_to(tmp_path / ".git", target_is_directory=True)
    with pytest.raises(CommandFailed, match="Git"):
        write_files(tmp_path / "alias", [Produced("config", "x")], replace=True)


def test_a_link_in_a_files_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "a.py").symlink_to(target)
    with pytest.raises(CommandFailed):
        write_files(tmp_path / "made", [Produced("a.py", "x")], replace=True)
    assert target.read_text() == "precious"


def test_files_are_written_with_their_folders_and_a_last_newline(tmp_path: Path) -> None:
    written = write_files(tmp_path, [Produced("a/b/c.py", "x"), Produced("d", "y\n")], replace=False)
    assert [path.read_text() for path in written] == ["x\n", "y\n"]


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("a", "a/b"), "'a' as a file and as a folder"),
        (("x/a/b", "x/a"), "'x/a' as a file and as a folder"),
        (("a", "./a"), "'a' twice"),
        (("a/b", "a//b"), "'a/b' twice"),
    ],
)
@pytest.mark.parametrize("replace", [False, True])
def test_names_in_each_others_way_are_refused_and_nothing_is_written(
    tmp_path: Path, names: tuple[str, ...], says: str, replace: bool
) -> None:
    with pytest.raises(CommandFailed, match=says):
        write_files(tmp_path / "made", [Produced(name, "x") for name in names], replace)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", ["a", "a/b/c", "link"])
@pytest.mark.parametrize("replace", [False, True])
def test_what_stands_in_the_way_is_found_and_everything_is_taken_back(
    tmp_path: Path, there: str, replace: bool
) -> None:
    """Of `a/b/c` the last part is a file, and a folder is to be there; of the others the first."""
    folder = tmp_path / "made"
    obstacle = folder / there
    obstacle.parent.mkdir(parents=True)
    if there == "link":
        obstacle.symlink_to(tmp_path)
    else:
        obstacle.write_text("precious")
    before = sorted(folder.rglob("*"))
    with pytest.raises(CommandFailed, match="nothing was written"):
        write_files(folder, [Produced("new/x", "x"), Produced(f"{there}/y", "y")], replace)
    assert sorted(folder.rglob("*")) == before
    assert sorted(tmp_path.iterdir()) == [folder]
    if there != "link":
        assert obstacle.read_text() == "precious"


def test_one_file_that_is_there_keeps_all_others_out(tmp_path: Path) -> None:
    (tmp_path / "b").write_text("precious")
    with pytest.raises(CommandFailed, match="--force"):
        write_files(tmp_path, [Produced("a", "x"), Produced("b", "y"), Produced("c/d", "z")], replace=False)
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_text() == "precious"


def test_replacing_keeps_the_mode(tmp_path: Path) -> None:
    script = tmp_path / "run.sh"
    script.write_text("old")
    script.chmod(0o755)
    write_files(tmp_path, [Produced("run.sh", "new")], replace=True)
    assert script.read_text() == "new\n"
    assert script.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("name", ["n" * 300, "d" * 300 + "/x", "/".join("d" * 300)])
def test_what_the_system_refuses_is_a_sentence_and_nothing_stays(tmp_path: Path, name: str) -> None:
    files = [Produced("fine/x", "x"), Produced(name, "y")]
    with pytest.raises(CommandFailed, match="nothing was written"):
        write_files(tmp_path / "made", files, replace=False)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_appears_meanwhile_leads_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "made"
    outside.mkdir()
    make = os.mkdir

    def make_and_be_replaced(name: str, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        make(name, mode, dir_fd=dir_fd)
        if name == "a":
            os.rmdir(name, dir_fd=dir_fd)
            os.symlink(outside, name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "mkdir", make_and_be_replaced)
    with pytest.raises(CommandFailed, match="is a link"):
        write_files(folder, [Produced("a/x", "x")], replace=True)
    assert list(outside.iterdir()) == []


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = [2]
    open_ = os.open

    def fill(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT:
            left[0] -= 1
            if left[0] < 0:
                raise OSError(errno.ENOSPC, "No space left on device", path)
        return open_(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", fill)
    with pytest.raises(CommandFailed, match="No space left"):
        write_files(tmp_path / "made", [Produced("a", "x"), Produced("b/c", "y")], replace=False)
    assert list(tmp_path.iterdir()) == []


def test_half_a_character_is_no_reason_to_break(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, [Produced("a", "x\ud800")], replace=False)
    assert path.read_text() == "x?\n"
