"""Bring what gateways put into the outbox into the database: in order, nothing lost, nothing twice.

Each step copies before it deletes: a record leaves the outbox once the database or the spool has it, and the spool once
the database has it. So a death between two steps leaves it in two places, and whoever comes next finds out by its
number: the database skips what it has, the spool keeps one of each.

The spool is older than the outbox at any time; while there is anything in it, everything goes through it. An outbox
that nodes share has no spool: what one node had in it would come behind what another brings over.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

from askonce.domain.errors import StoreUnavailable
from askonce.domain.ledger import Batch, Ledger, LedgerUnavailable, Outbox

# Records at once: some 25 MB and half a second, when so many wait. A quarter of it takes nearly twice as long for each,
# because what they add to the same sums is added up first.
BATCH = 20_000
IDLE_S = 0.25  # how long a record waits at most before it is written, when there is little to do
MOVED_AT_ONCE = 100  # batches into the spool, before the database is tried again
FIRST_WAIT_S = 0.5  # after the first failure; doubled with every further one
LONGEST_WAIT_S = 30.0  # so that a database that is back is found soon, and not run over by all workers at once

Step = Literal["idle", "applied", "spooled", "stuck"]
_log = logging.getLogger("askonce.ledger")


class Backlog(Protocol):
    """Keep what the database cannot take yet. `Spool` does."""

    async def add(self, batch: Batch) -> None:
        """Keep a batch; again is once. Raises `LedgerUnavailable`."""
        ...

    async def head(self, size: int) -> Batch | None:
        """Return the oldest records of one source, without a gap. Raises `LedgerUnavailable`."""
        ...

    async def settle(self, batch: Batch) -> None:
        """Forget a batch. Raises `LedgerUnavailable`."""
        ...


class Drain:
    """Empty one outbox. `ailment` says why nothing reaches the database, "" while it does.

    `spools`: is what the database does not take moved into the spool? What is there already is written all the same.
    """

    def __init__(
        self,
        outbox: Outbox,
        ledger: Ledger,
        spool: Backlog,
        *,
        spools: bool = True,
        dice: Callable[[], float] = random.random,
        wait: Callable[[float, asyncio.Event], Awaitable[None]] | None = None,
    ) -> None:
        self._outbox = outbox
        self._ledger = ledger
        self._spool = spool
        self._spools = spools
        self._dice = dice
        self._wait = wait or _wait
        self._failures = 0
        self.ailment = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Go on until told to stop. If cancelled, nothing is lost: see the head of this file."""
        while not stop.is_set():
            match await self.step():
                case "applied":
                    self._failures = 0
                case "idle":
                    await self._wait(IDLE_S, stop)
                case "spooled" | "stuck":
                    self._failures += 1
                    await self._wait(self._pause_s(), stop)

    async def step(self) -> Step:
        """Bring the oldest batch on its way, and say how far it came.

        `spooled`: the database is away, and the outbox was emptied into the spool; `stuck`: shared state or the disk
        is away as well, or there is no spool, and everything stays where it is.
        """
        try:
            return await self._apply()
        except LedgerUnavailable as error:
            self._suffer(str(error))
        except StoreUnavailable as error:
            self._suffer(f"shared state is away: {error}")
            return "stuck"
        if not self._spools:
            return "stuck"
        try:
            for _ in range(MOVED_AT_ONCE):
                if not await self._move():
                    break
        except (LedgerUnavailable, StoreUnavailable) as error:
            self._suffer(str(error))
            return "stuck"
        return "spooled"

    async def _apply(self) -> Step:
        """Write the oldest batch, wherever it is."""
        waiting = await self._spool.head(BATCH)
        if waiting is not None:
            await self._ledger.apply(waiting)
            await self._spool.settle(waiting)
            if self._spools:
                await self._move()  # the outbox must not fill up while the spool is emptied
            self._recover()
            return "applied"
        batch = await self._outbox.head(BATCH)
        if batch is None:
            return "idle"
        await self._ledger.apply(batch)
        await self._outbox.settle(batch.last)
        self._recover()
        return "applied"

    async def _move(self) -> bool:
        """Move the oldest batch of the outbox into the spool; False where there was none."""
        batch = await self._outbox.head(BATCH)
        if batch is None:
            return False
        await self._spool.add(batch)
        await self._outbox.settle(batch.last)
        return True

    def _pause_s(self) -> float:
        """Return how long to wait after so many failures: somewhere between a half and the whole of the bound."""
        bound = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(self._failures - 1, 10))
        return bound * (0.5 + self._dice() / 2)

    def _suffer(self, reason: str) -> None:
        if not self.ailment:
            _log.error("nothing reaches the ledger, what happens is kept here: %s", reason)
        self.ailment = reason

    def _recover(self) -> None:
        if self.ailment:
            _log.warning("the ledger is written again")
        self.ailment = ""


async def _wait(seconds: float, stop: asyncio.Event) -> None:
    """Wait, but not longer than until told to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
