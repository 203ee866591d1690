"""Write a model's files into a folder, and nowhere else. A model's word is not trusted, and neither is a server's.

    names ─▶ folders, opened one below the other ─▶ contents, under names of ours ─▶ names reserved ─▶ moved in place

Folders are held by descriptors, so that a link that appears meanwhile leads nowhere. Until the last step every failure,
an interruption too, takes back what was made. Only files that `replace` has already replaced stay so.
"""

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Self

from msgspec import Struct

from askonce.cli.exits import CommandFailed
from askonce.cli.terminal import CONTROLS
from askonce.wire.fence_paths import MAX_PATH_BYTES, reaches_git

Parts = tuple[str, ...]
Undo = Callable[[], None]
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FRESH = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Produced(Struct, frozen=True):
    """Hold one file of an answer."""

    path: str
    content: str


def write_files(folder: Path, files: Sequence[Produced], replace: bool) -> list[Path]:
    """Write the files under `folder`, all or none. Raises `CommandFailed`.

    Refused: paths that leave the folder or stand in each other's way, links on the way, a repository's own folder (what
    lies there is run by Git), and, without `replace`, files that are there.
    """
    if any(reaches_git(part) for part in folder.resolve().parts):
        raise CommandFailed(f"{folder} lies in a repository's own folder, where Git runs what it finds.")
    wanted = [_parts(folder, one.path) for one in files]
    _check_apart(wanted)
    with _at(folder), _Tree.under(folder) as tree:
        staged = [tree.stage(parts, one.content, replace) for parts, one in zip(wanted, files, strict=True)]
        for one in staged:
            tree.place(one)
        tree.keep()
    return [folder.joinpath(*parts) for parts in wanted]


def _parts(folder: Path, name: str) -> Parts:
    parts = PurePosixPath(name).parts
    strange = "\\" in name or any(ord(letter) in CONTROLS or "\ud800" <= letter <= "\udfff" for letter in name)
    if not parts or strange or name.startswith("/") or ".." in parts:
        raise CommandFailed(f"The answer names the file {name!r}, which is not inside {folder}; nothing was written.")
    if len(os.fsencode(name)) > MAX_PATH_BYTES:  # each folder on the way is held open
        raise CommandFailed(f"The answer names a file by more than {MAX_PATH_BYTES} bytes; nothing was written.")
    if any(reaches_git(part) for part in parts):
        raise CommandFailed(f"The answer names the file {name!r}, from which Git runs programs; nothing was written.")
    return parts


def _check_apart(wanted: Sequence[Parts]) -> None:
    """Refuse a name that stands there twice, or that another one needs for a folder."""
    folders = {parts[:depth] for parts in wanted for depth in range(1, len(parts))}
    seen: set[Parts] = set()
    for parts in wanted:
        name = "/".join(parts)
        if parts in seen:
            raise CommandFailed(f"The answer names the file {name!r} twice; nothing was written.")
        if parts in folders:
            raise CommandFailed(f"The answer names {name!r} as a file and as a folder; nothing was written.")
        seen.add(parts)


@contextlib.contextmanager
def _at(folder: Path) -> Iterator[None]:
    """Translate what the system refuses."""
    try:
        yield
    except OSError as error:
        where = folder / os.fsdecode(error.filename) if error.filename else folder
        raise CommandFailed(f"{where}: {error.strerror}; nothing was written.") from error


class _Staged(Struct, frozen=True):
    """Hold a file that lies written under a name of ours, in the folder whose descriptor is `at`."""

    at: int
    temporary: str
    name: str


class _Tree:
    """Hold a folder and those below it open, and how to take back what was made in them."""

    def __init__(self, folder: Path, handles: ExitStack, undo: ExitStack) -> None:
        self._folder = folder
        self._handles = handles
        self._undo = undo
        self._open: dict[Parts, int] = {(): self._hold(os.open(folder, _FOLDER))}
        self._count = 0

    @classmethod
    @contextlib.contextmanager
    def under(cls, folder: Path) -> Iterator[Self]:
        """Make the folder where it is missing. Unless `keep` was called, everything is taken back at the end."""
        with ExitStack() as handles, ExitStack() as undo:
            missing = [path for path in (folder, *folder.parents) if not path.exists()]
            for path in reversed(missing):
                path.mkdir()
                undo.callback(_quietly(path.rmdir))
            yield cls(folder, handles, undo)

    def stage(self, parts: Parts, content: str, replace: bool) -> _Staged:
        """Write a file under a name of ours, and see to it that its own name is free or may be replaced."""
        at, name = self._enter(parts[:-1]), parts[-1]
        path = self._folder.joinpath(*parts)
        self._count += 1
        temporary = f".askonce-{os.getpid()}-{self._count}"
        mode = self._replaceable(at, name, path) if replace else None
        text = content if content.endswith("\n") else content + "\n"
        with open(os.open(temporary, _FRESH, 0o666, dir_fd=at), "wb") as file:
            self._undo.callback(_quietly(lambda: os.unlink(temporary, dir_fd=at)))
            file.write(text.encode(errors="replace"))  # half of a surrogate pair is no text
            if mode is not None:
                os.fchmod(file.fileno(), mode)
        if mode is None:
            self._reserve(at, name, path)
        return _Staged(at, temporary, name)

    def place(self, staged: _Staged) -> None:
        """Move a file to its own name, where now lies what was reserved or may be replaced."""
        os.replace(staged.temporary, staged.name, src_dir_fd=staged.at, dst_dir_fd=staged.at)

    def keep(self) -> None:
        """Let everything stay."""
        self._undo.pop_all()

    def _enter(self, parts: Parts) -> int:
        """Open a folder below ours through those above it, making what is missing and following no link."""
        for depth in range(1, len(parts) + 1):
            here, above, name = parts[:depth], self._open[parts[: depth - 1]], parts[depth - 1]
            if here not in self._open:
                self._make(name, above)
                try:
                    handle = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
                except NotADirectoryError:  # so says Linux of a link, too
                    path = self._folder.joinpath(*here)
                    raise CommandFailed(f"{path} is a link or no folder; nothing was written.") from None
                self._open[here] = self._hold(handle)
        return self._open[parts]

    def _make(self, name: str, above: int) -> None:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=above)
            self._undo.callback(_quietly(lambda: os.rmdir(name, dir_fd=above)))

    def _reserve(self, at: int, name: str, path: Path) -> None:
        try:
            os.close(os.open(name, _FRESH, 0o666, dir_fd=at))
        except FileExistsError:
            raise CommandFailed(f"{path} is there already; nothing was written. --force replaces files.") from None
        self._undo.callback(_quietly(lambda: os.unlink(name, dir_fd=at)))

    def _replaceable(self, at: int, name: str, path: Path) -> int | None:
        """Return the mode of the file that is to be replaced, None if there is none."""
        try:
            there = os.stat(name, dir_fd=at, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(there.st_mode):
            raise CommandFailed(f"{path} is a link or no file; nothing was written.")
        return stat.S_IMODE(there.st_mode)

    def _hold(self, handle: int) -> int:
        self._handles.callback(os.close, handle)
        return handle


def _quietly(undo: Undo) -> Undo:
    """Let a step back that is not possible, or not needed any more, not hinder the others."""

    def step() -> None:
        with contextlib.suppress(OSError):
            undo()

    return step
