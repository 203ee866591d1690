"""When the shared store is away, requests go on: uncached, and each process within its share of every limit.

A share is the limit divided by the number of processes, at least 1, so that all of them together let through no more
than the limit (or one each, where there are more processes than requests allowed).
"""

from msgspec.structs import replace

from askonce.domain.errors import StoreUnavailable
from askonce.domain.ports import Entered, Knock, Threshold, Verdict, Window, Windows


class Fallback:
    """Stand in front of a store (ports `Threshold` and `Windows`) and take over while it is away."""

    def __init__(self, threshold: Threshold, windows: Windows, own: Windows, processes: int) -> None:
        self._threshold = threshold
        self._windows = windows
        self._own = own
        self._processes = max(1, processes)
        self.away = False

    async def enter(self, knock: Knock) -> Entered:
        """Admit and look up; with the store away admit by the share and find nothing."""
        try:
            entered = await self._threshold.enter(knock)
        except StoreUnavailable:
            self.away = True
            return Entered(None if knock.window is None else await self._own.take(self._share(knock.window)), None)
        self.away = False
        return entered

    async def take(self, window: Window) -> Verdict:
        """Admit, by the share if the store is away."""
        try:
            verdict = await self._windows.take(window)
        except StoreUnavailable:
            self.away = True
            return await self._own.take(self._share(window))
        self.away = False
        return verdict

    async def peek(self, window: Window) -> Verdict:
        """Say what `take` would."""
        try:
            return await self._windows.peek(window)
        except StoreUnavailable:
            return await self._own.peek(self._share(window))

    def _share(self, window: Window) -> Window:
        return replace(window, limit=max(1, window.limit // self._processes))
