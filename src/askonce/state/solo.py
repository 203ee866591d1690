"""Flights within one process.

Also used in production where there is one worker: nobody else can follow, so a log that is never read is a list.
The `Hangar` holds what an adapter over a store would share; each `SoloFlights` is one owner's view of it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from askonce.domain.answer import Piece
from askonce.domain.clock import Clock
from askonce.domain.ports import Landing, LeaderLost, Lease

LEASE_NS = 3_000_000_000  # three times the rhythm in which leaders renew
LINGER_NS = 5_000_000_000  # a landed flight stays readable so long, for followers that read slowly
WATCH_S = 0.25  # how often a follower looks whether its leader's lease ran out


class Aloft:
    """Hold one generation of a flight."""

    __slots__ = ("changed", "expires_ns", "generation", "landing", "owner", "pieces", "presence")

    def __init__(self, generation: int, owner: str, expires_ns: int) -> None:
        self.generation = generation
        self.owner = owner
        self.expires_ns = expires_ns
        self.pieces: list[Piece] = []
        self.landing: Landing | None = None
        self.presence: dict[str, int] = {}  # who follows, until when unless renewed
        self.changed: asyncio.Event | None = None  # made by the first follower

    def leads(self, now_ns: int) -> bool:
        """Say whether its lease runs."""
        return self.landing is None and self.expires_ns > now_ns

    def wake(self) -> None:
        """Let the followers look."""
        if self.changed is not None:
            self.changed.set()
            self.changed = None


class Hangar:
    """Hold all flights of the process, the landed ones for as long as they linger.

    `is_alone`: there is one owner, so that a flight which nobody boarded to follow until it landed has no followers.
    """

    def __init__(self, clock: Clock, *, is_alone: bool = False) -> None:
        self.clock = clock
        self.is_alone = is_alone
        self._aloft: dict[bytes, Aloft] = {}
        self._generation = 0
        self._sweep_at_ns = 0

    def find(self, flight: bytes, generation: int) -> Aloft | None:
        """Return the flight if that is still its generation."""
        aloft = self._aloft.get(flight)
        return aloft if aloft is not None and aloft.generation == generation else None

    def board(self, flight: bytes, owner: str) -> Lease:
        """Take the lease if it is free, expired or landed; otherwise note who will follow."""
        now_ns = self.clock.steady_ns()
        aloft = self._aloft.get(flight)
        if aloft is not None and aloft.landing is None and aloft.expires_ns > now_ns:
            aloft.presence[owner] = now_ns + LEASE_NS
            return Lease(False, aloft.generation)
        if aloft is not None:
            aloft.wake()
        if now_ns >= self._sweep_at_ns:
            self._sweep(now_ns)
        self._generation += 1
        self._aloft[flight] = Aloft(self._generation, owner, now_ns + LEASE_NS)
        return Lease(True, self._generation)

    def forget(self, flight: bytes) -> None:
        """Forget a flight at once."""
        self._aloft.pop(flight, None)

    def _sweep(self, now_ns: int) -> None:
        """Forget what ended or was lost long ago; once per lingering time, so that it costs little per flight."""
        self._sweep_at_ns = now_ns + LINGER_NS
        for flight in [key for key, aloft in self._aloft.items() if aloft.expires_ns + LINGER_NS <= now_ns]:
            del self._aloft[flight]


class SoloFlights:
    """Board, feed and follow flights as one owner among those of this process."""

    def __init__(self, hangar: Hangar, owner: str) -> None:
        self._hangar = hangar
        self._owner = owner

    async def board(self, flight: bytes) -> Lease:
        """Take the lease if it is free, expired or landed; otherwise say which generation is in the air."""
        return self._hangar.board(flight, self._owner)

    async def append(self, flight: bytes, generation: int, pieces: Sequence[Piece]) -> None:
        """Log pieces and prolong the lease; ignored when the generation leads no more."""
        now_ns = self._hangar.clock.steady_ns()
        aloft = self._hangar.find(flight, generation)
        if aloft is not None and aloft.leads(now_ns):
            aloft.pieces.extend(pieces)
            aloft.expires_ns = now_ns + LEASE_NS
            aloft.wake()

    async def renew(self, flight: bytes, generation: int) -> bool:
        """Prolong the lease; False if it was lost."""
        now_ns = self._hangar.clock.steady_ns()
        aloft = self._hangar.find(flight, generation)
        if aloft is None or not aloft.leads(now_ns):
            return False
        aloft.expires_ns = now_ns + LEASE_NS
        return True

    async def land(self, flight: bytes, generation: int, landing: Landing) -> None:
        """End the flight; followers still get everything for a few seconds."""
        aloft = self._hangar.find(flight, generation)
        if aloft is not None and aloft.landing is None:
            aloft.landing = landing
            aloft.expires_ns = self._hangar.clock.steady_ns()
            aloft.wake()
            if self._hangar.is_alone and not aloft.presence:
                self._hangar.forget(flight)

    async def followed(self, flight: bytes, generation: int) -> bool:
        """Say whether any other owner follows right now."""
        aloft = self._hangar.find(flight, generation)
        now_ns = self._hangar.clock.steady_ns()
        return aloft is not None and any(
            until_ns > now_ns for owner, until_ns in aloft.presence.items() if owner != self._owner
        )

    async def follow(self, flight: bytes, generation: int) -> AsyncIterator[Piece | Landing]:
        """Yield every piece from the first on, then the landing; raises `LeaderLost`. Closing it stops following."""
        clock, seen = self._hangar.clock, 0
        aloft = self._hangar.find(flight, generation)
        if aloft is None:
            raise LeaderLost
        try:
            while True:
                aloft.presence[self._owner] = clock.steady_ns() + LEASE_NS
                while seen < len(aloft.pieces):
                    seen += 1
                    yield aloft.pieces[seen - 1]
                if aloft.landing is not None:
                    yield aloft.landing
                    return
                if aloft.expires_ns <= clock.steady_ns():
                    raise LeaderLost
                await _change(aloft)
        finally:
            aloft.presence.pop(self._owner, None)


async def _change(aloft: Aloft) -> None:
    """Wait until something happens in the flight, or it is time to look after its lease."""
    if aloft.changed is None:
        aloft.changed = asyncio.Event()
    try:
        async with asyncio.timeout(WATCH_S):
            await aloft.changed.wait()
    except TimeoutError:
        return
