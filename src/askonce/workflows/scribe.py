"""What a worker writes of an execution, with patience: a database that is away for a while fails no node.

What was paid is promised in shared state for a day (`cache.promise`), so that giving up here costs nothing: whoever
takes the work up again is told the same answers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from askonce.domain.errors import DatabaseAway
from askonce.domain.executions import Execution, NewEvent, NodeRun, Turn, WorkerExecutions

T = TypeVar("T")

# A restart or a failover of the database takes minutes at the most; by then somebody else had better try.
DATABASE_PATIENCE_S = 600.0
FIRST_WAIT_S, LONGEST_WAIT_S = 0.1, 5.0


class Scribe:
    """Write to the store. All but `glance` raise `DatabaseAway` after ten minutes.

    If cancelled, what was begun may stand.
    """

    def __init__(self, store: WorkerExecutions) -> None:
        self._store = store

    async def begin(self, id: str, round: int, now_ms: int) -> Execution | None:
        """Take an execution up (see `WorkerExecutions.begin`)."""
        return await _patiently(lambda: self._store.begin(id, round, now_ms))

    async def find(self, id: str) -> Execution | None:
        """Return an execution as it stands."""
        return await _patiently(lambda: self._store.find(id, None))

    async def glance(self, id: str) -> Execution | None:
        """Return an execution as it stands, without any patience; None where the database is away, too."""
        try:
            return await self._store.find(id, None)
        except DatabaseAway:
            return None

    async def nodes(self, id: str) -> dict[str, NodeRun]:
        """Return what became of its nodes, by their ids."""
        return {run.node: run for run in await _patiently(lambda: self._store.nodes(id))}

    async def keep(self, turn: Turn, run: NodeRun, events: Sequence[NewEvent], progress: int) -> None:
        """Write what became of a node. Raises `TurnOver`."""
        await _patiently(lambda: self._store.keep(turn, run, events, progress))

    async def tell(self, turn: Turn, events: Sequence[NewEvent]) -> None:
        """Write events alone. Raises `TurnOver`."""
        await _patiently(lambda: self._store.tell(turn, events))

    async def end(self, execution: Execution, events: Sequence[NewEvent]) -> bool:
        """Write the end of a round; False where its turn was over."""
        return await _patiently(lambda: self._store.end(execution, events))


async def _patiently(act: Callable[[], Awaitable[T]]) -> T:
    loop = asyncio.get_running_loop()
    until = loop.time() + DATABASE_PATIENCE_S
    pause_s = FIRST_WAIT_S
    while True:
        try:
            return await act()
        except DatabaseAway:
            if loop.time() + pause_s > until:
                raise
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_WAIT_S)
