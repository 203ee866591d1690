"""Give up on bodies that trickle in: one look per second over all readers, instead of a timer per request."""

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from askonce.api.asgi import Receive
from askonce.domain.errors import BodyTimeout


class SlowBodies:
    """Watch tasks that wait for a body, each for at most `patience_s` seconds (a second more at the worst)."""

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._readers: dict[asyncio.Task[Any], float] = {}
        self._expired: set[asyncio.Task[Any]] = set()

    async def receive(self, receive: Receive, since: float) -> MutableMapping[str, Any]:
        """Wait for the next message of a request that began at `since` (time.monotonic()). Raises `BodyTimeout`."""
        task = asyncio.current_task()
        if task is None:
            return await receive()
        self._readers[task] = since
        try:
            return await receive()
        except asyncio.CancelledError:
            if task not in self._expired:
                raise
            task.uncancel()
            seconds = f"{self._patience_s:g}"
            raise BodyTimeout(f"The body did not arrive within {seconds} seconds. Send it again.") from None
        finally:
            del self._readers[task]
            self._expired.discard(task)

    def sweep(self) -> None:
        """Wake up those who have waited too long. Call it each second."""
        limit = time.monotonic() - self._patience_s
        for task, since in list(self._readers.items()):
            if since < limit and task not in self._expired:
                self._expired.add(task)
                task.cancel()
