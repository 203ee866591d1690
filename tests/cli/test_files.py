"""Files of an answer stay in their folder, whatever they are called."""

from pathlib import Path

import pytest

from askonce.cli.exits import CommandFailed
from askonce.cli.files import Produced, write_files


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "", ".", "a\\b", "a\x00b", "link/x"])
def test_a_path_that_leaves_the_folder_is_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(CommandFailed):
        write_files(folder, [Produced("fine.py", "x"), Produced(name, "x")], replace=True)
    assert [path.name for path in folder.iterdir()] == ["link"]


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
