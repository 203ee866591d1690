"""Write a model's files into a folder, and nowhere else. A model's word is not trusted, and neither is a server's."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from msgspec import Struct

from askonce.cli.exits import CommandFailed


class Produced(Struct, frozen=True):
    """Hold one file of an answer."""

    path: str
    content: str


def write_files(folder: Path, files: Iterable[Produced], replace: bool) -> list[Path]:
    """Write the files under `folder`, all or none of what can be known before. Raises `CommandFailed`.

    Refused: paths that leave the folder, links on the way, and, without `replace`, files that are there.
    """
    targets = [(_target(folder, one.path), one) for one in files]
    for target, _ in targets:
        if target.is_symlink() or (target.exists() and not (replace and target.is_file())):
            raise CommandFailed(f"{target} is there already; nothing was written. --force replaces files.")
    for target, one in targets:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Checked again after the folders were made, and never through a link that appeared meanwhile.
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if replace else os.O_EXCL)
        with open(os.open(target, flags, 0o644), "w", encoding="utf-8", newline="") as file:
            file.write(one.content if one.content.endswith("\n") else one.content + "\n")
    return [target for target, _ in targets]


def _target(folder: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    bad = not parts or name.startswith("/") or ".." in parts or "\\" in name or any(ord(letter) < 32 for letter in name)
    target = folder.joinpath(*parts)
    if bad or not target.parent.resolve().is_relative_to(folder.resolve()):
        raise CommandFailed(f"The answer names the file {name!r}, which is not inside {folder}; nothing was written.")
    return target
