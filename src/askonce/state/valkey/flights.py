"""Flights over Valkey/Redis: a lease and a log per generation, read by followers on any node.

All of it runs out by itself. A generation is the microsecond in which it boarded, so that none comes twice. Followers
are told by a message to their process (`ear`) that there is something to read, and look by themselves now and then.

What a server that was away for a moment did not get is mended while the lease can still run: a landing is told again,
and a lease that was perhaps taken, though nobody here knows, is given back. So those who wait elsewhere do not wait for
it to run out. Who has heard a part already waits such a moment too, rather than throw it away.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from askonce.domain.answer import Piece
from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Landing, LeaderLost, Lease
from askonce.domain.progress import Progress
from askonce.state.lmdb_log import LEASE_NS, name, pack_landing, unpack_landing, unpack_pieces
from askonce.state.valkey import flight_scripts as scripts
from askonce.state.valkey.ear import BEGUN, Ear
from askonce.state.valkey.server import PREFIX, Hour, Script, Server, Unsent, Word, away

WATCH_S = 0.25  # how often a follower looks by itself
PATIENCE_S = 1.0  # a follower that has heard a part bears with a server that is away so long
MEND_S = 0.05  # between two tries
MENDED_MAX = 256  # at once: whole answers wait for it


class ValkeyFlights:
    """Board, feed and follow flights as one process among those of all nodes: `owner` is its name."""

    def __init__(self, server: Server, hour: Hour, owner: str) -> None:
        self._server = server
        self._hour = hour
        self._owner = owner.encode()
        self._ear = Ear(server, self._owner)
        self._tries = itertools.count(1)
        self._mending: set[asyncio.Task[None]] = set()

    async def board(self, flight: bytes) -> Lease:
        """Take the lease if it is free, expired or landed; otherwise say who leads, and count as its follower."""
        attempt = next(self._tries)
        try:
            led, generation = await self._act(scripts.BOARD, flight, self._owner, attempt)
        except Unsent:
            raise
        except StoreUnavailable:
            self._mend(scripts.GIVE_BACK, flight, self._owner, attempt, name(flight))
            raise
        return Lease(bool(led), int(generation))

    async def append(self, flight: bytes, generation: int, pieces: Sequence[Piece]) -> None:
        """Log pieces and prolong the lease; ignored when the generation leads no more.

        Where the log is at its bound it is cut: followers get the rest with the landing.
        """
        await self._act(scripts.APPEND, flight, generation, name(flight), msgspec.msgpack.encode(pieces))

    async def renew(self, flight: bytes, generation: int) -> bool:
        """Prolong the lease; False if it was lost."""
        return bool(await self._act(scripts.RENEW, flight, generation))

    async def land(self, flight: bytes, generation: int, landing: Landing) -> None:
        """End the flight; followers still get everything for a few seconds.

        Where this raises `StoreUnavailable` it is tried again for as long as the lease may run.
        """
        try:
            packed = pack_landing(landing)
        except ValueError as error:
            raise away("this answer is too large to be shared with others who ask the same") from error
        words = (generation, name(flight), packed, int(landing.cut))
        try:
            await self._act(scripts.LAND, flight, *words)
        except StoreUnavailable:
            self._mend(scripts.LAND, flight, *words)
            raise

    async def followed(self, flight: bytes, generation: int) -> bool:
        """Say whether any other process follows right now."""
        return bool(await self._act(scripts.FOLLOWED, flight, generation, self._owner))

    async def follow(self, flight: bytes, generation: int) -> AsyncIterator[Piece | Landing]:
        """Yield every piece from the first on, then the landing; raises `LeaderLost`. Closing it stops following.

        With pieces heard, it bears with a server that is away for up to `PATIENCE_S`.
        """
        seen, progress, patience = 0, Progress(), _Patience()
        changed = self._ear.join(name(flight))
        try:
            while True:
                changed.clear()
                try:
                    words = (flight, generation, self._owner, seen)
                    records, landing, cut, lost, owner = await self._act(scripts.READ, *words)
                except StoreUnavailable:
                    if not seen or patience.is_over():
                        raise
                    await asyncio.sleep(MEND_S)
                    continue
                patience.renew()
                seen += len(records)
                for record in records:
                    for piece in unpack_pieces(record):
                        progress.add(piece)
                        yield piece
                if landing:
                    end = unpack_landing(landing)
                    if cut and end.entry is not None:
                        for piece in progress.rest(end.entry.open()):
                            yield piece
                    yield end
                    return
                if not records and self._ear.is_dead(owner):
                    await self._act(scripts.GIVE_BACK, flight, owner, "", name(flight))
                    raise LeaderLost
                if lost and not records:
                    raise LeaderLost
                if not records:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(WATCH_S):
                            await changed.wait()
        finally:
            self._ear.leave(name(flight), changed)
            with contextlib.suppress(StoreUnavailable):  # it runs out by itself
                await self._server.call("ZREM", _base(flight) + b"w%d" % generation, self._owner)

    async def release_slot(self) -> None:
        """Let followers everywhere know that earlier processes in this slot of the node are dead.

        So they do not wait for leases to run out. Who does not hear it does.
        """
        await self._server.call("PUBLISH", BEGUN, self._owner)

    async def close(self) -> None:
        """Listen no more, and mend no more."""
        for task in self._mending:
            task.cancel()
        await asyncio.gather(*self._mending, return_exceptions=True)
        await self._ear.close()

    def _mend(self, script: Script, flight: bytes, *words: Word) -> None:
        """Do again, in the background, what failed. Idempotent scripts only."""
        if len(self._mending) < MENDED_MAX:
            task = asyncio.get_running_loop().create_task(self._try_again(script, flight, *words))
            self._mending.add(task)
            task.add_done_callback(self._mending.discard)

    async def _try_again(self, script: Script, flight: bytes, *words: Word) -> None:
        for _ in range(round(LEASE_NS / 1e9 / MEND_S)):
            await asyncio.sleep(MEND_S)
            with contextlib.suppress(StoreUnavailable):
                await self._act(script, flight, *words)
                return

    async def _act(self, script: Script, flight: bytes, *words: Word) -> Any:
        return await self._server.act(script, [_base(flight)], [self._hour.told(), *words])


class _Patience:
    """Know how long a server has been away."""

    def __init__(self) -> None:
        self._since: float | None = None

    def renew(self) -> None:
        """Note that it answered."""
        self._since = None

    def is_over(self) -> bool:
        """Say whether it has been away for too long."""
        now = asyncio.get_running_loop().time()
        if self._since is None:
            self._since = now
        return now - self._since >= PATIENCE_S


def _base(flight: bytes) -> bytes:
    return PREFIX + b"{f" + name(flight).hex().encode() + b"}"
