"""A glance at the books from outside: for commands that work beside a running server, or while none runs.

Nothing is made, moved, begun anew or marked as used: that is for those who serve. The folder's turn is held while the
file is open, some milliseconds, so that nobody opens or replaces it meanwhile, and no last one closes it unsynced.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from askonce.domain.budget import Account, Statement
from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import Anchor
from askonce.limits import budget as rule
from askonce.limits import meters
from askonce.state import lmdb_errors
from askonce.state import lmdb_files as files
from askonce.state.anchors import LmdbAnchors
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_state import BOOKS_BYTES


class NoBooks(StoreUnavailable):
    """Tell that this data folder has no books that can be believed: no server has run here, or not since the boot."""


class Glance:
    """Look at one data folder's books, and note the end of the audit there. All methods raise `StoreUnavailable`."""

    def __init__(self, data_dir: Path, clock: Clock, boot: str = "") -> None:
        self._folder = data_dir / "state"
        self._clock = clock
        self._boot = boot or files.boot_id()

    async def read(self) -> Anchor | None:
        """Return the noted end of the audit's chain, None where none was noted. Raises `NoBooks`."""
        with self._desk(write=False) as desk:
            return await LmdbAnchors(desk).read()

    async def note(self, anchor: Anchor) -> None:
        """Note another end, and wait until it is on the disk. Raises `NoBooks`."""
        with self._desk(write=True) as desk:
            await LmdbAnchors(desk).note(anchor)

    async def statement(self, account: Account) -> Statement:
        """Tell how an account stands on this machine. Raises `NoBooks`, also for books of an earlier boot."""
        plan = meters.make_plan((account,), self._clock.wall_ms())
        with self._desk(write=False, this_boot=True) as desk:
            return desk.read(lambda txn: rule.tell(txn, plan))[0]

    @contextmanager
    def _desk(self, *, write: bool, this_boot: bool = False) -> Iterator[Desk]:
        data = self._folder / "books" / "data.mdb"
        if not (self._folder / files.BADGE).exists() or not data.exists():
            raise NoBooks("No server has run with this data folder.")
        premises = files.Premises(self._folder)
        try:
            with premises.turn():
                room = _open_to_write(self._folder) if write else _open(data.parent, data.stat().st_size)
                try:
                    self._check(room, this_boot)
                    yield Desk(room, self._clock)
                    if write:
                        room.env.sync(True)
                finally:
                    room.env.close()
        except (OSError, lmdb.Error) as error:
            why = lmdb_errors.reason(error) if isinstance(error, lmdb.Error) else error.strerror
            raise StoreUnavailable(f"The books of this data folder cannot be used: {why}.") from error

    def _check(self, room: files.Room, this_boot: bool) -> None:
        mark = room.read_mark()
        if mark is None or mark.format != files.FORMAT:
            raise StoreUnavailable("The books of this data folder are not of this version of Askonce.")
        if this_boot and mark.boot != self._boot:
            raise NoBooks("No server has run with this data folder since this machine was started.")


def _open(path: Path, size: int) -> files.Room:
    """Open the environment for reading, with the map as large as the file."""
    env = lmdb.open(
        str(path), map_size=size, readonly=True, create=False, readahead=False, max_readers=files.READERS_MAX
    )
    return files.Room(env, path, plain=True)


def _open_to_write(folder: Path) -> files.Room:
    """Open it as those do who serve: all must write in the same way."""
    return files.enter_room(folder, files.Plan("books", BOOKS_BYTES, preallocate=True), alone=False)[0]
