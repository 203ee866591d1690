"""Whether this worker is on duty: the one of all nodes that does what is to be done once for all of them.

That is to empty the outbox, close minutes, tell of alerts, watch the audit, delete what is old, hand over keys. Where
files are the state, the worker of a data folder is always on duty for that.

A worker that was frozen may go on for a moment with what it had begun. That does no harm: what it writes into the
database is numbered, and what it forgets in the outbox, too.
"""

import asyncio
import logging

from askonce.domain.clock import Clock
from askonce.domain.ledger import LEASE_MS, Batch, Duty, Outbox

LOOK_S = 1.0  # between two looks
AILING_NS = 10_000_000_000  # a worker that reaches no database for so long lets others try, for as long
STRANGER = (
    "STATE_URL: the workers of other nodes bring what happens into another database. Set DATABASE_URL to the same "
    "PostgreSQL on all nodes."
)

_log = logging.getLogger("askonce.worker")


class Shift:
    """Keep the duty as far as it can be had. `objection`: "" or why this worker may not have it."""

    def __init__(self, duty: Duty, clock: Clock) -> None:
        self._duty = duty
        self._clock = clock
        self._until_ns = 0
        self._well_ns = clock.steady_ns()
        self._rests_until_ns = 0
        self.objection = ""
        self.agreed = asyncio.Event()  # once it was seen that the database is that of the other nodes

    @property
    def on(self) -> bool:
        """Say whether this worker is on duty now."""
        return not self._duty.shared or self._clock.steady_ns() < self._until_ns

    async def look(self, ledger: str, *, ailing: bool = False) -> bool:
        """Take the duty or keep it, if nobody else has it; say whether it is ours.

        `ledger` names the database; `ailing`: it cannot be reached. Raises `StoreUnavailable`: then it lapses.
        """
        now_ns = self._clock.steady_ns()
        if not (ailing and self.on and self._duty.shared):
            self._well_ns = now_ns
        elif now_ns - self._well_ns >= AILING_NS:
            _log.warning("the database is not reached from here: workers of other nodes may try")
            self._rests_until_ns = now_ns + AILING_NS
            await self.leave()
        if now_ns < self._rests_until_ns:
            return False
        theirs = await self._duty.take(ledger)
        self._until_ns = 0 if theirs else now_ns + LEASE_MS * 1_000_000
        former, self.objection = self.objection, STRANGER if theirs and theirs != ledger else ""
        if not self.objection:
            self.agreed.set()
        elif not former:
            _log.error("the ledger cannot be used, what happens waits for the other nodes: %s", STRANGER)
        return not theirs

    async def leave(self) -> None:
        """Let others have the duty now. Raises `StoreUnavailable`: then they have it when it lapses."""
        self._until_ns = 0
        await self._duty.leave()


class DutyOutbox:
    """Be an outbox, which is empty for a worker that is not on duty."""

    def __init__(self, outbox: Outbox, shift: Shift) -> None:
        self._outbox = outbox
        self._shift = shift
        self.append = outbox.append
        self.settle = outbox.settle

    async def head(self, size: int) -> Batch | None:
        """Return the oldest records."""
        return await self._outbox.head(size) if self._shift.on else None
