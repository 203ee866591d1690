"""Flights over LMDB: leases and logs in the books, and one watch per process over what it follows.

LMDB tells nobody that something changed. So while anything is followed, one timer looks every few milliseconds at
the leases in question and wakes who has something to read; while nothing is followed there is no timer. Leases run
out on the clock that all processes share; an owner is `slot:incarnation`, so that the next process in a slot can
release at once what its predecessor held.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from askonce.domain.answer import Piece
from askonce.domain.clock import Clock
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Landing, LeaderLost, Lease
from askonce.domain.progress import Progress
from askonce.state import lmdb_log as log
from askonce.state.lmdb_desk import Desk
from askonce.state.lmdb_files import Txn

TICK_S = 0.005  # what following adds to a piece's way, at most; a tick costs some microseconds
PRESENCE_RENEWED_NS = 1_000_000_000  # a third of what a presence lasts


class LmdbFlights:
    """Board, feed and follow flights as one process among others."""

    def __init__(self, desk: Desk, clock: Clock, owner: str) -> None:
        self._desk = desk
        self._clock = clock
        self._owner = owner.encode()
        self._watch = Watch(desk, clock, self._owner)

    async def board(self, flight: bytes) -> Lease:
        """Take the lease if it is free, expired or landed; otherwise say who leads, and count as its follower."""
        return self._desk.write(lambda txn: self._board(txn, log.name(flight)))

    def _board(self, txn: Txn, flight: bytes) -> Lease:
        now_ns = self._clock.steady_ns()
        held = log.read_lease(txn, flight)
        if held is not None and held.leads(held.generation, now_ns):
            log.write_presence(txn, flight, held.generation, self._owner, now_ns + log.LEASE_NS)
            return Lease(False, held.generation)
        generation = max(now_ns, 0 if held is None else held.generation + 1)
        log.write_lease(txn, flight, log.LeaseRecord(generation, now_ns + log.LEASE_NS, 0, 0, 0, self._owner))
        return Lease(True, generation)

    async def append(self, flight: bytes, generation: int, pieces: Sequence[Piece]) -> None:
        """Log pieces and prolong the lease; ignored when the generation leads no more.

        Where the log is at its bound, or the books are crowded, it is cut: followers get the rest with the landing.
        """

        def act(txn: Txn) -> None:
            now_ns = self._clock.steady_ns()
            lease = log.read_lease(txn, name)
            if lease is not None and lease.leads(generation, now_ns):
                if self._desk.crowded:
                    lease = lease._replace(flags=lease.flags | log.CUT)
                lease = log.write_pieces(txn, name, lease, pieces)
                log.write_lease(txn, name, lease._replace(expires_ns=now_ns + log.LEASE_NS))

        name = log.name(flight)
        self._desk.write(act)

    async def renew(self, flight: bytes, generation: int) -> bool:
        """Prolong the lease; False if it was lost."""

        def act(txn: Txn) -> bool:
            now_ns = self._clock.steady_ns()
            lease = log.read_lease(txn, name)
            if lease is None or not lease.leads(generation, now_ns):
                return False
            log.write_lease(txn, name, lease._replace(expires_ns=now_ns + log.LEASE_NS))
            return True

        name = log.name(flight)
        return self._desk.write(act)

    async def land(self, flight: bytes, generation: int, landing: Landing) -> None:
        """End the flight; followers still get everything for a few seconds.

        A lease that ran out but was not taken by another still lands: the answer is there.
        """

        def act(txn: Txn) -> None:
            lease = log.read_lease(txn, name)
            if lease is not None and lease.generation == generation and not lease.flags & log.LANDED:
                if landing.cut:
                    lease = lease._replace(flags=lease.flags | log.CUT)
                log.write_landing(txn, name, lease, packed, self._clock.steady_ns())

        name = log.name(flight)
        try:
            packed = log.pack_landing(landing)
        except ValueError as error:
            raise StoreUnavailable("This answer is too large to be shared with others who ask the same.") from error
        self._desk.write(act)

    async def followed(self, flight: bytes, generation: int) -> bool:
        """Say whether any other process follows right now."""
        now_ns = self._clock.steady_ns()
        return self._desk.read(lambda txn: log.is_followed(txn, log.name(flight), generation, self._owner, now_ns))

    async def follow(self, flight: bytes, generation: int) -> AsyncIterator[Piece | Landing]:
        """Yield every piece from the first on, then the landing; raises `LeaderLost`. Closing it stops following."""
        name, seen, progress = log.name(flight), 0, Progress()
        changed = self._watch.join(name, generation)
        try:
            while True:
                changed.clear()
                view = self._read_on(name, generation, seen)
                seen = view.seen
                for piece in view.pieces:
                    progress.add(piece)
                    yield piece
                if view.landing is not None:
                    for piece in _rest(view, progress):
                        yield piece
                    yield view.landing
                    return
                if view.lost:
                    raise LeaderLost
                if not view.pieces:
                    await changed.wait()
        finally:
            self._watch.leave(name, generation, changed)

    def _read_on(self, name: bytes, generation: int, seen: int) -> log.View:
        now_ns = self._clock.steady_ns()
        return self._desk.read(lambda txn: log.read_on(txn, name, generation, seen, now_ns))

    def release_owner(self, owner: str) -> None:
        """Let go of all that a process held which is known to be dead, so that its followers learn at once."""
        gone = owner.encode()
        self._release(lambda other: other == gone)

    def release_slot(self, slot: int) -> None:
        """Let go of all that earlier processes in this slot held."""
        ours = b"%d:" % slot
        self._release(lambda other: other.startswith(ours) and other != self._owner)

    def _release(self, is_gone: Callable[[bytes], bool]) -> None:
        self._desk.write(lambda txn: log.release(txn, is_gone, self._clock.steady_ns()))

    def close(self) -> None:
        """Stop watching."""
        self._watch.close()


def _rest(view: log.View, progress: Progress) -> list[Piece]:
    """Return what a cut log left out of the landing's answer."""
    if not view.cut or view.landing is None or view.landing.entry is None:
        return []
    return progress.rest(view.landing.entry.open())


class Watch:
    """Wake the followers of this process when their flights change, and renew its presence among followers."""

    def __init__(self, desk: Desk, clock: Clock, owner: bytes) -> None:
        self._desk = desk
        self._clock = clock
        self._owner = owner
        self._followers: dict[tuple[bytes, int], list[asyncio.Event]] = {}
        self._states: dict[tuple[bytes, int], bytes | None] = {}
        self._renew_at_ns = 0
        self._timer: asyncio.Handle | None = None

    def join(self, flight: bytes, generation: int) -> asyncio.Event:
        """Return an event that is set whenever the flight may have changed."""
        followers = self._followers.setdefault((flight, generation), [])
        followers.append(asyncio.Event())
        if len(followers) == 1:
            self._renew_at_ns = 0
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_soon(self._tick)
        return followers[-1]

    def leave(self, flight: bytes, generation: int, changed: asyncio.Event) -> None:
        """Follow no more."""
        followers = self._followers[flight, generation]
        followers.remove(changed)
        if not followers:
            del self._followers[flight, generation]
            self._states.pop((flight, generation), None)
            try:
                self._desk.write(lambda txn: log.remove_presence(txn, flight, generation, self._owner))
            except StoreUnavailable:
                return  # it runs out by itself

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        if not self._followers:
            self._timer = None
            return
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._tick)
        try:
            self._renew_presence()
            changed = self._desk.read(self._find_changed)
        except StoreUnavailable:
            changed = list(self._followers)  # let them find out for themselves
        for flight in changed:
            for event in self._followers[flight]:
                event.set()

    def _find_changed(self, txn: Txn) -> list[tuple[bytes, int]]:
        now_ns = self._clock.steady_ns()
        changed = []
        for flight in self._followers:
            stored = txn.get(log.LEASE + flight[0])
            before = self._states.get(flight, b"")
            self._states[flight] = stored
            if stored != before or stored is None or log.parse_lease(stored).expires_ns <= now_ns:
                changed.append(flight)
        return changed

    def _renew_presence(self) -> None:
        now_ns = self._clock.steady_ns()
        if now_ns < self._renew_at_ns:
            return
        self._renew_at_ns = now_ns + PRESENCE_RENEWED_NS
        self._desk.write(self._write_presence)

    def _write_presence(self, txn: Txn) -> None:
        until_ns = self._clock.steady_ns() + log.LEASE_NS
        for flight, generation in self._followers:
            log.write_presence(txn, flight, generation, self._owner, until_ns)
