"""What one work does in this process, from its beginning to its end or to its being left."""

import asyncio
from collections.abc import Coroutine
from typing import Literal


class Life:
    """Do one work. `suspect`: it may be what its workers died of."""

    def __init__(self) -> None:
        self.wish: Literal["", "cancelled", "left"] = ""
        self.suspect = False
        self._doing: asyncio.Task[None] | None = None
        self._begun = False

    async def go(self, work: Coroutine[None, None, None]) -> None:
        """Do it; raises what it raises, and `CancelledError` where it was ended."""
        doing = self._doing = asyncio.get_running_loop().create_task(self._do(work))
        if self.wish == "left":
            doing.cancel()
        try:
            await doing
        finally:
            doing.cancel()
            work.close()  # where it was cancelled before it began

    def end(self, wish: Literal["cancelled", "left"]) -> None:
        """Cancel it. One that has not begun yet begins if it is cancelled: it sees that, and writes its end."""
        if self.wish in (wish, "left"):
            return
        self.wish = wish
        if self._doing is not None and (self._begun or wish == "left"):
            self._doing.cancel()

    async def _do(self, work: Coroutine[None, None, None]) -> None:
        self._begun = True
        await work
