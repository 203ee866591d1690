"""All ports over LMDB files that the processes of one machine share, opened, kept up and closed together.

Each process opens after it was started (never before a fork), beats every second, and one of them sweeps. Killing any
of them at any moment loses nothing that was written: the kernel has it. What a loss of power leaves is decided at the
next opening, by the marks of `lmdb_files`.
"""

import asyncio
import contextlib
import logging
import threading
from pathlib import Path

import lmdb

from askonce.domain.clock import Clock
from askonce.domain.errors import ConfigError, StoreUnavailable
from askonce.state import lmdb_errors
from askonce.state import lmdb_files as files
from askonce.state import lmdb_snapshot as snapshots
from askonce.state.anchors import LmdbAnchors
from askonce.state.bell import SilentBell
from askonce.state.duty import AloneDuty
from askonce.state.health import Health, crowded
from askonce.state.lmdb_answers import TOUCHED_MAX, LmdbAnswers
from askonce.state.lmdb_books import LmdbBooks, LmdbThreshold, LmdbWindows
from askonce.state.lmdb_budgets import LmdbBudgets
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_directory import LmdbDirectory
from askonce.state.lmdb_flights import LmdbFlights
from askonce.state.lmdb_outbox import LmdbOutbox
from askonce.state.lmdb_promises import LmdbPromises
from askonce.state.lmdb_sessions import LmdbSessions
from askonce.state.vendor_keys import LmdbVendorKeys

# Half for windows of some 150,000 identities at once, or a few long flights; a quarter for the outbox (its own bound);
# a quarter for keys (20,000 take 6 MiB), logins and budgets. Disk space is taken at once, memory only for what is used.
BOOKS_BYTES = 128 << 20
CACHE_BYTES_MIN = 1 << 20
SNAPSHOT_EVERY_NS = 10_000_000_000  # what a loss of power may cost of the sums
SWEEP_RECORDS = 2_000  # of each file and second: some milliseconds, and a million entries in under ten minutes
SWEEP_SLICE = 200  # records looked at before others get their turn: well under a millisecond

_log = logging.getLogger("askonce.state")


class LmdbState:
    """Open the files, give out the ports, look after both.

    `owner` is `slot:incarnation` of this process. `boot` names this boot of the machine.
    """

    answers: LmdbAnswers
    promises: LmdbPromises
    windows: LmdbWindows
    books: LmdbBooks
    outbox: LmdbOutbox
    anchors: LmdbAnchors
    duty: AloneDuty
    bell: SilentBell
    vendor_keys: LmdbVendorKeys
    directory: LmdbDirectory
    sessions: LmdbSessions
    budgets: LmdbBudgets
    threshold: LmdbThreshold
    flights: LmdbFlights

    def __init__(self, data_dir: Path, cache_bytes: int, clock: Clock, owner: str, boot: str = "") -> None:
        self._premises = files.Premises(data_dir / "state")
        self._cache_plan = files.Plan("cache", max(cache_bytes, CACHE_BYTES_MIN), preallocate=False)
        self._books_plan = files.Plan("books", BOOKS_BYTES, preallocate=True)
        self._clock = clock
        self._owner = owner
        self._boot = boot or files.boot_id()
        self._rooms: list[files.Room] = []
        self._sweep_cache_at = b""
        self._snapshot_at_ns = 0
        self._saving = threading.Lock()  # a save may outlive the cancelled sweep that began it
        self._unsaved = ""
        self._since_ms = 0

    def open(self) -> None:
        """Open or create the files and make the parts.

        Raises `ConfigError` for files that are foreign, newer, or refused by the system; `StoreUnavailable` where
        other processes are in the way.
        """
        try:
            self._premises.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._premises.turn():
                self._premises.take_over()
                self._premises.arrive()
                try:
                    self._open_rooms()
                    self._premises.settle()
                except BaseException:
                    self._abandon()
                    raise
        except (OSError, lmdb.Error) as error:
            raise ConfigError(
                f"ASKONCE_DATA_DIR: {self._premises.folder} cannot be used: {error}. Free disk space, correct its "
                "owner and permissions, or choose another folder."
            ) from error
        books, cache = self._rooms
        self._desk = Desk(books, self._clock)
        self.answers = LmdbAnswers(cache, self._clock)
        self.promises = LmdbPromises(cache, self._clock, self.answers)
        self.windows = LmdbWindows(self._desk, self._clock)
        self.outbox = LmdbOutbox(self._desk)
        self.anchors = LmdbAnchors(self._desk)
        self.duty = AloneDuty()
        self.bell = SilentBell()
        self.vendor_keys = LmdbVendorKeys(self._desk)
        self.directory = LmdbDirectory(self._desk)
        self.sessions = LmdbSessions(self._desk)
        self.budgets = LmdbBudgets(self._desk, self._clock, self._owner, self.outbox.put_in)
        self.books = LmdbBooks(self._desk, self.answers, self._since_ms, self.outbox, self.budgets)
        self.threshold = LmdbThreshold(self._desk, self._clock, self.answers)
        self.flights = LmdbFlights(self._desk, self._clock, self._owner)

    def close(self, *, clean: bool = True) -> None:
        """Close the files; the last process to do so cleanly syncs them and marks them as trusted."""
        if not self._rooms:
            return
        self.flights.close()
        try:
            if clean:
                self.answers.beat(TOUCHED_MAX)
                with self._premises.turn():
                    if self._premises.is_last():
                        self._seal()
        finally:
            self._abandon()

    async def begin(self) -> None:
        """Begin to be used: nothing is left to do."""

    async def release_slot(self, slot: int) -> None:
        """Free what earlier processes in this slot held."""
        self.flights.release_slot(slot)
        with contextlib.suppress(StoreUnavailable):  # then it lapses
            await self.budgets.release_slot(slot)

    async def end(self) -> None:
        """Close the files."""
        self.close()

    def beat(self) -> None:
        """Do each second's upkeep of this process: note uses, forget dead readers, see how full the books are."""
        self.answers.beat()
        self._desk.beat()

    async def sweep(self, budget: int = SWEEP_RECORDS) -> None:
        """Delete some of what is dead and, every few seconds, save the sums. For one process, each second.

        Looks at about `budget` records of each file, in slices, so that requests are answered in between.
        If cancelled, the saving goes on in its thread and is complete or not at all.
        """
        for sweep in (self._sweep_cache, self.promises.sweep, self._desk.sweep):
            for _ in range(0, budget, SWEEP_SLICE):
                if not sweep(min(budget, SWEEP_SLICE)):
                    break
                await asyncio.sleep(0)
        try:
            await self._sweep_accounts(budget)
        except StoreUnavailable:
            return  # `health` says why
        now_ns = self._clock.steady_ns()
        if now_ns >= self._snapshot_at_ns:
            self._snapshot_at_ns = now_ns + SNAPSHOT_EVERY_NS
            try:
                snapshot = self._desk.read(lambda txn: snapshots.draw(txn, self._since_ms))
            except StoreUnavailable:
                return  # `health` says why
            await asyncio.to_thread(self._save, snapshot)

    async def tell_worker(self, packed: bytes, *, on_duty: bool) -> None:
        """Tell gateways how the worker is: those of this folder read its file."""

    def worker_word(self) -> bytes | None:
        """Return how the worker is: here nothing, its file tells."""
        return None

    def health(self) -> Health:
        """Say what does not work and why, for /ready."""
        parts = {
            "books": self._desk.ailment,
            "cache": self.answers.ailment,
            "snapshot": self._unsaved,
            "outbox": self._outbox_ailment(),
        }
        notes = []
        if self._rooms and self._rooms[0].plain:
            notes.append("The books could not reserve their disk space; they are written plainly, which is slower.")
        return Health({part: why for part, why in parts.items() if why}, tuple(notes))

    def _sweep_cache(self, budget: int) -> bool:
        """Sweep a little; False once the end is reached and the next time begins anew."""
        self._sweep_cache_at = self.answers.sweep(self._sweep_cache_at, budget)
        return bool(self._sweep_cache_at)

    async def _sweep_accounts(self, budget: int) -> None:
        """Delete logins that ran out and meters of old periods, looking at about `budget` records of each."""
        for _ in range(0, budget, SWEEP_SLICE):
            await self.sessions.sweep(self._clock.wall_ms(), SWEEP_SLICE)
            await self.budgets.sweep(SWEEP_SLICE)
            await asyncio.sleep(0)

    def _outbox_ailment(self) -> str:
        try:
            return crowded(self.outbox.fullness())
        except StoreUnavailable:
            return ""  # the books say why

    def _save(self, snapshot: snapshots.Snapshot) -> None:
        try:
            with self._saving:
                snapshots.write(self._premises.folder, snapshot)
        except OSError as error:
            self._unsaved = f"the sums could not be saved: {error.strerror}"
            _log.warning("%s", self._unsaved)
        else:
            self._unsaved = ""

    def _open_rooms(self) -> None:
        """Open both environments; alone, first decide what can be trusted.

        The books come first: where they are of a newer version, the start is refused and the cache left as it is.
        """
        for plan, trust in ((self._books_plan, self._trust_books), (self._cache_plan, self._trust_cache)):
            room, mark = files.enter_room(self._premises.folder, plan, self._premises.alone)
            if not self._premises.alone:
                self._rooms.append(room)
                self._agree(mark, is_books=plan is self._books_plan)
                continue
            try:
                room = trust(room, mark, plan)
            except lmdb_errors.BROKEN as error:
                room.env.close()
                files.move_aside(room.path, lmdb_errors.reason(error))
                room = trust(*files.enter_room(self._premises.folder, plan, alone=True), plan)
            self._rooms.append(room)

    def _agree(self, mark: files.Mark | None, *, is_books: bool) -> None:
        """Join the processes that have the files open already."""
        if mark is None or mark.format != files.FORMAT or mark.boot != self._boot:
            raise StoreUnavailable("The state files are in use by another version of Askonce.")
        if is_books:
            self._since_ms = mark.since_ms

    def _trust_cache(self, room: files.Room, mark: files.Mark | None, plan: files.Plan) -> files.Room:
        """Keep the cache if nothing can have been lost of it, else begin a new one."""
        if mark is not None and mark.format > files.FORMAT:
            raise files.newer(room.path, mark.format)
        if mark is not None and (mark.format != files.FORMAT or not self._is_sound(mark)):
            _log.info("the cache begins anew: it was last used under another boot or by another version")
            room = files.empty_room(room, plan)
            mark = None
        fresh = self._mark(self._clock.wall_ms())
        try:
            room.write_mark(fresh)
        except lmdb.DiskError:
            _log.warning("the disk is full: the cache begins anew, which frees its space")
            room = files.empty_room(room, plan)
            room.write_mark(fresh)
        return room

    def _trust_books(self, room: files.Room, mark: files.Mark | None, plan: files.Plan) -> files.Room:
        """Keep the books of this boot; of another, what outlives its clock: all of that, or the sums if power was lost.

        What is kept of sound books never leaves them, so that a death meanwhile loses nothing.
        """
        if mark is not None and mark.format > files.FORMAT:
            raise files.newer(room.path, mark.format)
        if mark is not None and mark.boot != self._boot and mark.clean:
            self._since_ms = mark.since_ms
            with room.env.begin(write=True) as txn:
                snapshots.end_boot(txn)
                files.put_mark(txn, self._mark(self._since_ms))
            room.env.sync(True)
        elif mark is None or mark.boot != self._boot:
            if mark is not None:
                room = files.empty_room(room, plan)
            snapshot = snapshots.read(self._premises.folder) or snapshots.Snapshot(self._clock.wall_ms())
            self._since_ms = snapshot.since_ms
            with room.env.begin(write=True) as txn:  # one act: records without a mark would be foreign
                snapshots.restore(txn, snapshot)
                files.put_mark(txn, self._mark(self._since_ms))
            room.env.sync(True)
        else:
            with room.env.begin() as txn:
                snapshots.draw(txn, mark.since_ms)  # can they be read?
            self._since_ms = mark.since_ms
            room.write_mark(self._mark(self._since_ms))
        return room

    def _is_sound(self, mark: files.Mark) -> bool:
        return mark.clean or mark.boot == self._boot

    def _mark(self, since_ms: int, *, clean: bool = False) -> files.Mark:
        return files.Mark(files.FORMAT, self._boot, clean, since_ms)

    def _seal(self) -> None:
        """Put everything on the disk and say so in the marks."""
        books, cache = self._rooms
        try:
            with books.env.begin() as txn:
                snapshot = snapshots.draw(txn, self._since_ms)
            self._save(snapshot)
            for room in (cache, books):
                room.write_mark(self._mark(self._since_ms, clean=True))
        except lmdb.Error as error:
            _log.warning("the state files could not be closed cleanly: %s", lmdb_errors.reason(error))

    def _abandon(self) -> None:
        for room in self._rooms:
            room.env.close()
        self._rooms.clear()
        self._premises.leave()
