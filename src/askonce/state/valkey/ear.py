"""One subscription per process, by which it hears that a flight it follows has changed.

It is opened with the first follower, opened anew whenever it was lost, and never needed: who waits looks by itself
now and then. Messages are names of flights; what happened is read where it is kept. On a second channel each process
that begins says its name: all earlier ones in its place are dead.

A connection over which nothing comes is tried now and then: one whose server froze, or whose other end is gone without
a word, would else be listened to for ever.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from redis.exceptions import RedisError

from askonce.state.lmdb_log import LEASE_NS
from askonce.state.valkey.server import PREFIX, Server

CHANNEL = PREFIX + b"ear:"  # what follows it is the name of a process
BEGUN = PREFIX + b"begun"
FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 2.0  # between two tries to subscribe
SUBSCRIBED_S = 1.0  # a try may take so long
QUIET_S = 5.0  # without any message for so long, the connection is tried; so long again, and it is given up

_log = logging.getLogger("askonce.state")


class Ear:
    """Wake those who wait for flights."""

    def __init__(self, server: Server, owner: bytes) -> None:
        self._server = server
        self._channel = CHANNEL + owner
        self._waiting: dict[bytes, set[asyncio.Event]] = {}
        self._begun: dict[bytes, tuple[int, float]] = {}  # by place: the incarnation, and when it was heard of
        self._listening: asyncio.Task[None] | None = None

    def join(self, flight: bytes) -> asyncio.Event:
        """Return an event that is set whenever the flight may have changed."""
        event = asyncio.Event()
        self._waiting.setdefault(flight, set()).add(event)
        if self._listening is None or self._listening.done():
            self._listening = asyncio.get_running_loop().create_task(self._listen())
        return event

    def leave(self, flight: bytes, event: asyncio.Event) -> None:
        """Wait no more."""
        waiting = self._waiting.get(flight)
        if waiting is not None:
            waiting.discard(event)
            if not waiting:
                del self._waiting[flight]

    def is_dead(self, owner: bytes) -> bool:
        """Say whether a process is known to be dead, since another began in its place a moment ago.

        Longer ago is not remembered: by then its leases have run out, and clocks may have been turned back.
        """
        place, incarnation = _split(owner)
        successor, heard_at = self._begun.get(place, (0, 0.0))
        return incarnation < successor and asyncio.get_running_loop().time() - heard_at < LEASE_NS / 1e9

    async def close(self) -> None:
        """Hang up."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
            self._listening = None

    async def _listen(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            subscription: Any = self._server.subscriber()
            try:
                async with asyncio.timeout(SUBSCRIBED_S):
                    await subscription.subscribe(self._channel, BEGUN)
                self._wake_all()
                async for message in _messages(subscription):
                    wait_s = FIRST_WAIT_S
                    if message["type"] != "message":
                        continue
                    if message["channel"] == BEGUN:
                        self._note(message["data"])
                    else:
                        self._wake(message["data"])
            except (RedisError, OSError, TimeoutError) as error:
                _log.debug("not hearing of flights for a moment: %s", error)
            finally:
                with contextlib.suppress(RedisError, OSError, TimeoutError):
                    await subscription.aclose()
            self._wake_all()  # what came meanwhile was not heard
            await asyncio.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    def _note(self, owner: bytes) -> None:
        place, incarnation = _split(owner)
        now = asyncio.get_running_loop().time()
        self._begun = {place: told for place, told in self._begun.items() if now - told[1] < LEASE_NS / 1e9}
        self._begun[place] = incarnation, now
        self._wake_all()

    def _wake(self, flight: bytes) -> None:
        for event in self._waiting.get(flight, ()):
            event.set()

    def _wake_all(self) -> None:
        for flight in self._waiting:
            self._wake(flight)


def _split(owner: bytes) -> tuple[bytes, int]:
    """Return the place of a process, and which of those that were in it this is."""
    place, _, incarnation = owner.rpartition(b":")
    return place, int(incarnation) if incarnation.isdigit() else 0


async def _messages(subscription: Any) -> AsyncIterator[dict[str, Any]]:
    """Yield what comes. Raises `TimeoutError` where the other side answers no more."""
    tried = False
    while True:
        message = await subscription.get_message(timeout=QUIET_S)
        if message is not None:
            tried = False
            yield message
        elif tried:
            raise TimeoutError("the subscription is not answered any more")
        else:
            tried = True
            await subscription.ping()
