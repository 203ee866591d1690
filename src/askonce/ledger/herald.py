"""Tell a webhook of alerts: one after the other, signed, again and again until it says that it has them."""

import asyncio
import logging
import random
import sqlite3
from collections.abc import Awaitable, Callable, Sequence

from askonce.domain.clock import Clock
from askonce.ledger.alerts import GIVE_UP_MS, AlertBox, Parcel
from askonce.wire.signature import signed_headers

LOOK_S = 1.0  # so long an alert waits at most, when the receiver takes it
FIRST_WAIT_MS = 5_000  # after the first failure; doubled with every further one
LONGEST_WAIT_MS = 3_600_000
OUTAGE_S = 30.0  # between two tries at a file that fails

# Sends a body with these headers; returns "" or why it was not taken.
Send = Callable[[bytes, tuple[tuple[str, str], ...]], Awaitable[str]]
_log = logging.getLogger("askonce.alerts")


class Herald:
    """Deliver what an alert box holds. `keys` sign, that in force first."""

    def __init__(
        self,
        box: AlertBox,
        send: Send,
        keys: Sequence[bytes],
        clock: Clock,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._box = box
        self._send = send
        self._keys = tuple(keys)
        self._clock = clock
        self._dice = dice

    async def run(self) -> None:
        """Go on until cancelled; then an alert that is just being sent may come once more."""
        while True:
            try:
                while await self.step():
                    pass
            except sqlite3.Error as error:
                _log.error("alerts cannot be read: %s", error)
                await asyncio.sleep(OUTAGE_S)
            await asyncio.sleep(LOOK_S)

    async def step(self) -> bool:
        """Try the alert that has been due longest; False where none is. Raises `sqlite3.Error`."""
        now_ms = self._clock.wall_ms()
        parcel = await self._box.due(now_ms)
        if parcel is None:
            return False
        problem = await self._send(parcel.body, signed_headers(self._keys, now_ms // 1000, parcel.body))
        if not problem:
            await self._box.end(parcel)
        elif now_ms - parcel.made_ms > GIVE_UP_MS:
            _log.error("an alert could not be delivered for three days and is given up: %s", problem)
            await self._box.end(parcel)
        else:
            _log.warning("an alert could not be delivered, and will be sent again: %s", problem)
            await self._box.postpone(parcel, now_ms + self._pause_ms(parcel))
        return True

    def _pause_ms(self, parcel: Parcel) -> int:
        bound = min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** min(parcel.tries, 20))
        return int(bound * (0.5 + self._dice() / 2))
