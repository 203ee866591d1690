"""What is told while it changes, to all who follow it from this process: one reading for everybody.

    database ◀─ one look each two seconds for each view that anybody has open ─▶ the latest ─▶ readers, at their pace

Readers hold a number, not a queue: who reads slowly goes on with what is still held. Nobody follows: nothing is read. A
stream ends after ten minutes, so that whoever may not look any more does not for long; browsers come again by
themselves.

Database away: open. Readers wait, and are told when it is back.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Sequence
from contextlib import suppress

from msgspec import Struct

from askonce.domain.ledger import LedgerUnavailable

LOOK_S = 2.0
KEEP_ALIVE_S = 15.0  # proxies close what is silent for a minute, some for half of that
LIFE_S = 600.0
STILL_HERE = b": still here\n\n"

# Returns the events that came since it was called last, in order.
Look = Callable[[], Awaitable[Sequence[bytes]]]


class View(Struct, frozen=True):
    """Name what is followed, and say how. `held`: of how many events late readers are told at the most.

    `from_now`: is whoever comes told only what comes after, or what is held as well?
    """

    name: Hashable
    look: Look
    held: int = 1
    from_now: bool = False


class _Followed:
    """Hold a view's latest events; `number` counts all that there were."""

    def __init__(self, view: View) -> None:
        self.look = view.look
        self.number = 0
        self.readers = 0
        self.turn = asyncio.Lock()
        self.bell = asyncio.Event()
        self._held: deque[bytes] = deque(maxlen=view.held)

    def add(self, events: Sequence[bytes]) -> None:
        """Hold the next events, and wake whoever waits for them."""
        if events:
            self._held.extend(events)
            self.number += len(events)
            self.ring()

    def behind(self, number: int) -> bytes:
        """Return the events behind a number, as far as they are still held."""
        return b"".join(list(self._held)[-(self.number - number) :]) if number < self.number else b""

    def ring(self) -> None:
        """Wake whoever waits."""
        bell, self.bell = self.bell, asyncio.Event()
        bell.set()


class Screens:
    """Tell views. `defect` is told what should never happen."""

    def __init__(self, defect: Callable[[BaseException], None], look_s: float = LOOK_S, life_s: float = LIFE_S) -> None:
        self._defect = defect
        self._look_s = look_s
        self._life_s = life_s
        self._followed: dict[Hashable, _Followed] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def follow(self, view: View) -> AsyncGenerator[bytes, None]:
        """Yield a view's events as they come; a comment where none came for 15 seconds."""
        followed = self._followed.get(view.name)
        if followed is None:
            followed = self._followed[view.name] = _Followed(view)
        followed.readers += 1
        try:
            yield STILL_HERE
            if not followed.number:
                await self._once(followed)
            self._look_on()
            seen = followed.number if view.from_now else 0
            end = time.monotonic() + self._life_s
            while (left := end - time.monotonic()) > 0:
                bell = followed.bell
                if events := followed.behind(seen):
                    seen = followed.number
                    yield events
                if self._closed:
                    return
                try:
                    async with asyncio.timeout(min(KEEP_ALIVE_S, left)):
                        await bell.wait()
                except TimeoutError:
                    yield STILL_HERE
        finally:
            followed.readers -= 1
            if not followed.readers:
                self._followed.pop(view.name, None)

    async def close(self) -> None:
        """Let all readers end, and look no more."""
        self._closed = True
        for followed in self._followed.values():
            followed.ring()
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    def _look_on(self) -> None:
        if not self._closed and (self._looking is None or self._looking.done()):
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        """Look at each view in turn, while anybody follows one."""
        while self._followed and not self._closed:
            await asyncio.sleep(self._look_s)
            for followed in list(self._followed.values()):
                await self._once(followed)

    async def _once(self, followed: _Followed) -> None:
        async with followed.turn:
            try:
                followed.add(await followed.look())
            except LedgerUnavailable:
                return
            except Exception as error:
                self._defect(error)
