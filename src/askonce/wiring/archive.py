"""What a gateway knows of executions: their store, read and connected at the first call that needs it."""

import asyncio
import importlib
from typing import TYPE_CHECKING

from askonce.config.settings import Config
from askonce.domain.clock import Clock
from askonce.domain.errors import DatabaseAway
from askonce.domain.executions import Executions

if TYPE_CHECKING:
    from askonce.wiring.shelves import Shelves

_SHELVES = "askonce.wiring.shelves"
STOPPING = "This process stops. Ask again."


class LateArchive:
    """Open the store once for a process (port `Archive`).

    All who ask meanwhile wait for the same try: a database that does not answer costs each of them one deadline.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._shelves: Shelves | None = None
        self._opening: asyncio.Task[Executions] | None = None

    async def open(self) -> Executions:
        """Return the store. Raises `DatabaseAway` until the database is there and the worker has made its tables."""
        if self._shelves is not None and self._shelves.prepared:
            return self._shelves.store
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if opening.cancelled():  # by us, not whoever asks
                raise DatabaseAway(STOPPING, retry_after_s=1) from None
            raise

    async def close(self) -> None:
        """Close its connections."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._shelves is not None:
            await self._shelves.close()

    async def _open(self) -> Executions:
        if self._shelves is None:
            # In a thread: reading that much code takes a third of a second, which nobody else should wait for.
            module = await asyncio.to_thread(importlib.import_module, _SHELVES)
            self._shelves = module.open_shelves(self._config, self._clock)
        return await self._shelves.prepare()

    def _opened(self, opening: asyncio.Task[Executions]) -> None:
        """Let the next one try anew; who waits hears of an error, and nobody may be left to."""
        self._opening = None
        if not opening.cancelled():
            opening.exception()
