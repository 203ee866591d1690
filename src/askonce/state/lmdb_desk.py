"""One atomic act at a time in the `books` environment, and what happens when it is full or fails.

Full: what is dead is swept and the act done once more. Otherwise failing: `StoreUnavailable`. What the limits then
do is their caller's decision.
"""

import logging
from collections.abc import Callable
from typing import TypeVar

import lmdb

from askonce.domain.clock import Clock
from askonce.state import lmdb_errors, lmdb_sweep
from askonce.state.lmdb_files import Room, Txn

CROWDED = 0.6  # of the map: from here on logs of flights, which can do without, leave the room to windows and sums
# Of the map: from here on no new window is written, because deleting needs free pages too, and sums come first.
TIGHT = 0.9
# Looking at every record takes up to half a second: full books are not looked through more often than this.
MAKE_ROOM_EVERY_NS = 1_000_000_000

_T = TypeVar("_T")
_log = logging.getLogger("askonce.state")


class Desk:
    """Open and close the transactions of the books."""

    def __init__(self, room: Room, clock: Clock) -> None:
        self._room = room
        self._clock = clock
        self._resume = b""  # where the sweeper goes on
        self._crowded_at = int(room.env.info()["map_size"] * CROWDED)
        self._tight_at = int(room.env.info()["map_size"] * TIGHT)
        self.crowded = False
        self.tight = False
        self._make_room_from_ns = 0
        self.ailment = ""  # why the books cannot be written or read; "" while they can

    def write(self, act: Callable[[Txn], _T]) -> _T:
        """Do one act in a write transaction; whatever it raises undoes it. Raises `StoreUnavailable`."""
        try:
            return self._write(act)
        except lmdb.MapFullError as error:
            if self._clock.steady_ns() < self._make_room_from_ns:
                self._suffer(error)
                raise lmdb_errors.unavailable(error) from error
            self._make_room_from_ns = self._clock.steady_ns() + MAKE_ROOM_EVERY_NS
            _log.warning("the books are full: sweeping")
        except lmdb.Error as error:
            self._suffer(error)
            raise lmdb_errors.unavailable(error) from error
        try:
            lmdb_sweep.make_room(self._room, self._clock.steady_ns())
            return self._write(act)
        except lmdb.Error as error:
            self._suffer(error)
            raise lmdb_errors.unavailable(error) from error

    def admit(self, act: Callable[[Txn], _T]) -> _T:
        """Do one act that writes a window, while there is room for more of them. Raises `StoreUnavailable`."""
        if self.tight:
            full = lmdb.MapFullError("")
            self._suffer(full)
            raise lmdb_errors.unavailable(full)
        return self.write(act)

    def read(self, act: Callable[[Txn], _T]) -> _T:
        """Do one act in a read transaction. Raises `StoreUnavailable`."""
        try:
            with self._room.env.begin() as txn:
                return act(txn)
        except lmdb.Error as error:
            self._suffer(error)
            raise lmdb_errors.unavailable(error) from error

    def beat(self) -> None:
        """See how full the books are, and forget readers that died."""
        try:
            self._room.env.reader_check()
            used = self._room.used_bytes()
            self.crowded = used > self._crowded_at
            self.tight = used > self._tight_at
        except lmdb.Error as error:
            self._suffer(error)

    def sweep(self, budget: int) -> bool:
        """Sweep the next `budget` records; False once the end is reached and the next time begins anew."""
        try:
            self._resume = lmdb_sweep.sweep(self._room, self._resume, budget, self._clock.steady_ns())
        except lmdb.Error as error:
            self._suffer(error)
            return False
        return bool(self._resume)

    def _write(self, act: Callable[[Txn], _T]) -> _T:
        with self._room.env.begin(write=True) as txn:
            result = act(txn)
        if self.ailment:
            self.ailment = ""
        return result

    def _suffer(self, error: lmdb.Error) -> None:
        if not self.ailment:
            _log.error("the books: %s", lmdb_errors.reason(error))
        self.ailment = lmdb_errors.reason(error)
