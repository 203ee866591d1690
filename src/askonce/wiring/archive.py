"""What a gateway knows of executions: their store, read and connected at the first call that needs it."""

import asyncio
import importlib
from typing import TYPE_CHECKING

from askonce.config.settings import Config
from askonce.domain.clock import Clock
from askonce.domain.executions import Executions

if TYPE_CHECKING:
    from askonce.wiring.shelves import Shelves

_SHELVES = "askonce.wiring.shelves"


class LateArchive:
    """Open the store once for a process (port `Archive`)."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._shelves: Shelves | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> Executions:
        """Return the store. Raises `DatabaseAway` until the database is there and the worker has made its tables."""
        if self._shelves is not None and self._shelves.prepared:
            return self._shelves.store
        async with self._turn:
            if self._shelves is None:
                # In a thread: reading that much code takes a third of a second, which nobody else should wait for.
                module = await asyncio.to_thread(importlib.import_module, _SHELVES)
                self._shelves = module.open_shelves(self._config, self._clock)
            return await self._shelves.prepare()

    async def close(self) -> None:
        """Close its connections."""
        if self._shelves is not None:
            await self._shelves.close()
