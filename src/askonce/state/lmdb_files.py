"""The files of shared state under `<data_dir>/state/`: who may use them, whose they are, whether they can be trusted.

    askonce-state     says that the files beside it are ours; its absence beside a file that is there means foreign
    opening.lock      held (flock) while a process opens or closes, so that processes that start at once take turns
    users.lock        held shared by everyone who has the files open; who gets it exclusively is alone
    cache/ books/     two LMDB environments; each carries a mark: format, boot, whether it was closed cleanly
    counters.json     the sums as of some seconds ago, synced: what is left of the books after a power cut

Nothing is synced while running (a killed process loses nothing, the kernel has it); so what another boot wrote is
trusted only if it was closed cleanly. Only a process that is alone rebuilds or moves files.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import lmdb
import msgspec
from msgspec import Struct

from askonce.domain.errors import ConfigError, StoreUnavailable
from askonce.state import lmdb_errors

FORMAT = 2
MARK_KEY = b"m"
MAGIC = b"askonce\0"  # what stands before the mark; a file with records and without it is not ours
BADGE = "askonce-state"
OPENING_WAIT_S = 30.0  # opening takes milliseconds; who holds the lock longer is frozen and will be killed
READERS_MAX = 1024  # one slot per process and read transaction
_LOCK_BYTES = 96 << 10  # LMDB's lock file for so many readers (64 bytes each, and a head), with room to spare

Txn: TypeAlias = "lmdb.Transaction[bytes]"

_log = logging.getLogger("askonce.state")


class Mark(Struct, frozen=True):
    """Say what a file is: its format, the boot that wrote it last, whether it was closed cleanly, since when."""

    format: int
    boot: str
    clean: bool
    since_ms: int


class Plan(Struct, frozen=True):
    """Say how an environment is opened. `preallocate`: take the map's disk space at once, and write through it."""

    name: str
    map_bytes: int
    preallocate: bool


class Room:
    """Hold one opened environment. `plain` says that its disk space could not be taken at once."""

    __slots__ = ("db", "env", "path", "plain")

    def __init__(self, env: lmdb.Environment, path: Path, plain: bool) -> None:
        self.env = env
        self.path = path
        self.plain = plain
        self.db = env.open_db(None)

    def used_bytes(self) -> int:
        """Return how many bytes of pages hold records; constant time."""
        stat = self.env.stat()
        return (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]

    def read_mark(self) -> Mark | None:
        """Return the mark, or None where there is none of ours."""
        with self.env.begin() as txn:
            stored = txn.get(MARK_KEY)
        if stored is None or not stored.startswith(MAGIC):
            return None
        try:
            return msgspec.msgpack.decode(stored[len(MAGIC) :], type=Mark)
        except msgspec.DecodeError:
            return None

    def write_mark(self, mark: Mark) -> None:
        """Write the mark and wait until everything is on the disk."""
        with self.env.begin(write=True) as txn:
            put_mark(txn, mark)
        self.env.sync(True)

    def is_empty(self) -> bool:
        """Say whether there is not a single record."""
        return self.env.stat()["entries"] == 0


class Premises:
    """Guard the folder: one opening at a time, and knowing who is alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._opening = -1
        self._users = -1
        self.alone = False

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the folder while opening or closing; raises `StoreUnavailable` if another does not let go."""
        self._opening = _open_lock(self.folder / "opening.lock")
        try:
            deadline = time.monotonic() + OPENING_WAIT_S
            while not _flock(self._opening, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise StoreUnavailable("Another process has been opening the state files for too long.")
                time.sleep(0.01)
            yield
        finally:
            os.close(self._opening)

    def arrive(self) -> None:
        """Become a user, and learn whether there is no other. Only within a turn."""
        self._users = _open_lock(self.folder / "users.lock")
        self.alone = _flock(self._users, fcntl.LOCK_EX)

    def settle(self) -> None:
        """Let others in, after what only one may do. Only within a turn."""
        if not _flock(self._users, fcntl.LOCK_SH):
            raise StoreUnavailable("The state files are locked by another process.")

    def is_last(self) -> bool:
        """Say whether all other users have left. Only within a turn."""
        return _flock(self._users, fcntl.LOCK_EX)

    def leave(self) -> None:
        """Be a user no more."""
        if self._users >= 0:
            os.close(self._users)
            self._users = -1

    def take_over(self) -> None:
        """Put up our badge, or refuse a folder with files that are not ours."""
        badge = self.folder / BADGE
        if badge.exists():
            return
        for name in ("cache", "books"):
            data = self.folder / name / "data.mdb"
            if data.exists() and data.stat().st_size:
                raise foreign(data)
        badge.write_text("The files beside this one belong to Askonce; delete them together, while it is stopped.\n")


def put_mark(txn: Txn, mark: Mark) -> None:
    """Write the mark."""
    txn.put(MARK_KEY, MAGIC + msgspec.msgpack.encode(mark))


def enter_room(folder: Path, plan: Plan, alone: bool) -> tuple[Room, Mark | None]:
    """Open an environment and read its mark; None means that it is new.

    A damaged file of ours is moved aside, which only a process that is alone may do. Raises `ConfigError` for a
    foreign file or one that the system does not let us use, `StoreUnavailable` for a damaged one in use.
    """
    path = folder / plan.name
    path.mkdir(mode=0o700, exist_ok=True)
    try:
        return _enter(path, plan, alone)
    except lmdb_errors.BROKEN as error:
        if not alone:
            raise StoreUnavailable(f"The state file {plan.name} is damaged and in use by other processes.") from error
        move_aside(path, lmdb_errors.reason(error))
        path.mkdir(mode=0o700)
        return _enter(path, plan, alone)
    except lmdb.MemoryError as error:
        raise too_large(plan) from error
    except lmdb.Error as error:
        raise ConfigError(
            f"ASKONCE_DATA_DIR: {path} cannot be used: {error}. Free disk space, correct its owner and permissions, "
            "or choose another folder."
        ) from error


def move_aside(path: Path, why: str) -> Path:
    """Rename an environment so that it can be looked at, and say so in the log."""
    number = 1
    while (aside := path.with_name(f"{path.name}.broken-{number}")).exists():
        number += 1
    path.rename(aside)
    _log.warning("state file %s could not be used (%s): moved to %s and begun anew", path.name, why, aside.name)
    return aside


def empty_room(room: Room, plan: Plan) -> Room:
    """Delete an environment's files and open new ones. Only for a process that is alone."""
    room.env.close()
    for name in ("data.mdb", "lock.mdb"):
        (room.path / name).unlink(missing_ok=True)
    return _enter(room.path, plan, alone=True)[0]


def too_large(plan: Plan) -> ConfigError:
    """Make the refusal of a file that finds no room in this process's memory map."""
    return ConfigError(
        f"ASKONCE_CACHE_SIZE: {plan.map_bytes} bytes of {plan.name} find no room in the address space of a process; "
        "set a smaller size, or raise its limit (ulimit -v)."
    )


def foreign(path: Path) -> ConfigError:
    """Make the refusal of a file that somebody else wrote."""
    return ConfigError(
        f"ASKONCE_DATA_DIR: {path} was not written by Askonce and is left alone. "
        "Choose another data folder, or move that file away."
    )


def newer(path: Path, format_number: int) -> ConfigError:
    """Make the refusal of a file that a later version wrote."""
    return ConfigError(
        f"ASKONCE_DATA_DIR: {path} has format {format_number}, written by a newer Askonce; this one knows {FORMAT}. "
        "Start the newer version, or choose another data folder."
    )


def boot_id() -> str:
    """Name this boot of the machine; where the kernel does not, by when it began, to ten minutes."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return f"began-{int(time.time() - time.monotonic()) // 600}"


def _enter(path: Path, plan: Plan, alone: bool) -> tuple[Room, Mark | None]:
    data = path / "data.mdb"
    size = data.stat().st_size if data.exists() else 0  # before anything makes it longer
    plain = plan.preallocate and not _is_allocated(data, plan.map_bytes)
    if plain and alone:
        plain = not _allocate(path, plan.map_bytes)
    if alone:
        _reserve(path / "lock.mdb", _LOCK_BYTES)  # it is written through a map, always
    env = lmdb.open(
        str(path),
        map_size=max(plan.map_bytes, size if plan.preallocate else 0),
        metasync=False,
        sync=False,
        mode=0o600,
        readahead=False,
        writemap=plan.preallocate and not plain,
        max_readers=READERS_MAX,
        max_spare_txns=1,
    )
    try:
        # Beside others the file may have grown since it was measured; they looked when they were alone.
        if alone and size and (env.info()["last_pgno"] + 1) * env.stat()["psize"] > size:
            raise lmdb.CorruptedError(f"{data} is shorter than it says")
        room = Room(env, path, plain)
        mark = room.read_mark()
        if mark is None and not room.is_empty():
            raise foreign(data)
    except BaseException:
        env.close()
        raise
    return room, mark


def _is_allocated(data: Path, size: int) -> bool:
    if not data.exists():
        return False
    status = data.stat()
    return status.st_size >= size and status.st_blocks * 512 >= size


def _allocate(path: Path, size: int) -> bool:
    """Take the disk space of the whole map; False if there is none to take."""
    data = path / "data.mdb"
    if not data.exists() or data.stat().st_size == 0:
        lmdb.open(str(path), map_size=size, mode=0o600).close()  # LMDB makes a new file only where there is none
    try:
        _reserve(data, size)
    except OSError as error:
        _log.warning("state file %s: no disk space could be reserved (%s); it is written plainly", path.name, error)
        return False
    return True


def _reserve(file: Path, size: int) -> None:
    """Take the disk space of a file that is written through a map, where a hole on a full disk is a SIGBUS.

    Only while no environment has the file open: closing any descriptor of it would give up LMDB's locks.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, size)
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _flock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
