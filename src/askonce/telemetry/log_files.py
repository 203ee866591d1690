"""The log as a file that several processes write, and that is moved away when it is full.

Every process appends whole lines (O_APPEND) and looks before each whether the file is still the one it opened. Any of
them may move it away, one at a time: a lock beside it says whose turn it is, and its size is looked at again behind it.
"""

import contextlib
import fcntl
import os
from logging.handlers import WatchedFileHandler
from pathlib import Path

from msgspec import Struct


class LogFile(Struct, frozen=True):
    """Say where the log is, how long it gets (bytes), and how many full ones are kept, as `name.1` (the latest) to
    `name.N`; with 0 a full one is dropped."""

    path: str
    size: int
    keep: int


class LineFile(WatchedFileHandler):
    """Append to a log file. Raises `OSError` where it cannot be opened; later failures lose lines and nothing else."""

    def __init__(self, file: LogFile) -> None:
        Path(file.path).parent.mkdir(parents=True, exist_ok=True)
        super().__init__(file.path, encoding="utf-8", errors="backslashreplace")

    def write(self, line: str) -> None:
        """Append one line, to the file of that name as it is now."""
        self.reopenIfNeeded()
        if self.stream is not None:
            self.stream.write(f"{line}\n")
            self.flush()


def rotate(file: LogFile) -> bool:
    """Move the log away if it is full; say whether that was done. Does not raise."""
    path = Path(file.path)
    try:
        if path.stat().st_size < file.size:
            return False
        lock = os.open(f"{path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.stat().st_size < file.size:
            return False  # somebody else was quicker
        _move(path, file.keep)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _move(path: Path, keep: int) -> None:
    for number in range(keep, 0, -1):
        older = path if number == 1 else Path(f"{path}.{number - 1}")
        with contextlib.suppress(FileNotFoundError):
            older.replace(f"{path}.{number}")
    if not keep:
        path.unlink()
