"""The data folder: made for its owner only, guarded so that one supervisor uses it, and of a known format.

A folder that holds other things is refused, so that a mistyped path never changes a foreign folder's permissions.
"""

import contextlib
import errno
import fcntl
import json
import os
from pathlib import Path
from typing import Self

from askonce.config.paths import RUN_FOLDER
from askonce.domain.errors import ConfigError

FORMAT = 1  # of the folder's layout; what lies in it has versions of its own
_MARK = "askonce.json"
_LOCK = "lock"
# What may lie in a folder before it is ours: what a file system puts there, and what commands that work without a
# server make first.
_DATABASES = tuple(f"{name}{end}" for name in ("ledger.db", "spool.db", "alerts.db") for end in ("", "-wal", "-shm"))
_HARMLESS = frozenset({"lost+found", ".DS_Store", _MARK, _LOCK, RUN_FOLDER, "secret", *_DATABASES})
_CURE = "choose another folder with --data-dir or ASKONCE_DATA_DIR"


class DataFolder:
    """Hold the guard of one data folder as long as this process lives; the kernel takes it back from the dead."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.run = path / RUN_FOLDER
        self._lock = lock

    @classmethod
    def claim(cls, path: Path) -> Self:
        """Make, check and guard the folder. Raises `ConfigError` with the cure."""
        try:
            _make(path)
            folder = cls(path, _guard(path))
            try:
                _check_format(path)
                folder.run.mkdir(mode=0o700, exist_ok=True)
            except (OSError, ConfigError):
                folder.release()
                raise
        except OSError as error:
            raise ConfigError(f"data_dir = {str(path)!r}: {error.strerror}; {_CURE}.") from error
        return folder

    @classmethod
    def prepare(cls, path: Path) -> None:
        """Make and check the folder without guarding it: for what works beside a server. Raises as `claim`."""
        try:
            _make(path)
            _check_format(path)
        except OSError as error:
            raise ConfigError(f"data_dir = {str(path)!r}: {error.strerror}; {_CURE}.") from error

    def release(self) -> None:
        """Let another supervisor have the folder."""
        os.close(self._lock)


def _make(path: Path) -> None:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    names = {entry.name for entry in path.iterdir()}
    if _MARK not in names and names - _HARMLESS:
        some = ", ".join(sorted(names - _HARMLESS)[:3])
        raise ConfigError(f"data_dir = {str(path)!r} holds other things ({some}); {_CURE}.")
    path.chmod(0o700)


def _guard(path: Path) -> int:
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.pread(lock, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        if error.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
            raise
        raise ConfigError(
            f"data_dir = {str(path)!r}: another askonce (pid {pid}) uses this folder; stop it, or {_CURE}."
        ) from error
    with contextlib.suppress(OSError):  # the number only helps people; a full disk is no reason not to serve hits
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    return lock


def _check_format(path: Path) -> None:
    mark = path / _MARK
    if not mark.exists() or not mark.stat().st_size:
        mark.write_text(json.dumps({"format": FORMAT}) + "\n")
        return
    try:
        found = json.loads(mark.read_bytes())["format"]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f'{mark} is damaged; restore it as {{"format": {FORMAT}}}, or {_CURE}.') from None
    if found != FORMAT:
        raise ConfigError(
            f"data_dir = {str(path)!r} has format {found}, this version reads {FORMAT}; "
            f"use the version that wrote it, or {_CURE}."
        )
