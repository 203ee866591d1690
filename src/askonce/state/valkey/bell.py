"""A bell over Valkey or Redis: it tells the workers of all nodes that there is work.

Nothing depends on it: workers look by themselves too, a little later.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine

from askonce.domain.errors import StoreUnavailable
from askonce.state.valkey.ear import CHANNEL, Ear
from askonce.state.valkey.server import BOOKS, Script, Server

_NAME = b"work"  # a channel beside those of processes, in whose names is a slash
_RING = Script(f"return redis.call('PUBLISH', '{(CHANNEL + _NAME).decode()}', '{_NAME.decode()}')")


class Bell:
    """Ring, and hear it ring."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._ear = Ear(server, _NAME)
        self._tasks: set[asyncio.Task[None]] = set()

    def ring(self) -> None:
        """Tell all who listen that there is work. Never waits and never raises."""
        self._keep(self._ring())

    def listen(self, heard: Callable[[], None]) -> None:
        """Call `heard` whenever it may have rung, until closed."""
        self._keep(self._listen(heard))

    async def close(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._ear.close()

    def _keep(self, act: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(act)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ring(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._server.act(_RING, [BOOKS])

    async def _listen(self, heard: Callable[[], None]) -> None:
        event = self._ear.join(_NAME)
        while True:
            await event.wait()
            event.clear()
            heard()
