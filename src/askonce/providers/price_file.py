"""The price table of a running process: loaded when its file appears, and again when it was replaced."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from askonce.domain.clock import Clock
from askonce.domain.money import Price
from askonce.providers.prices import PriceBook, PriceTable, decode_table

POLL_S = 0.05
# The first start compiles the table in about two seconds; a call that ends earlier waits for its price.
PATIENCE_S = 10.0
# So long a process refuses to call a model unknown while there is no table; one that never comes must not keep it so.
NAMES_PATIENCE_S = 60.0


class PriceFile:
    """Look prices up in a file that another process writes (port `Prices`)."""

    def __init__(self, path: Path, clock: Clock, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._path = path
        self._clock = clock
        self._sleep = sleep
        self._seen = 0
        began_ns = clock.steady_ns()
        self._patient_until_ns = began_ns + int(PATIENCE_S * 1e9)
        self._names_until_ns = began_ns + int(NAMES_PATIENCE_S * 1e9)
        self.there = False
        self.book = PriceBook(PriceTable(), clock)
        self.refresh()

    def refresh(self) -> bool:
        """Read the file if it is new; say whether it was. Costs one `stat` otherwise."""
        try:
            changed = self._path.stat().st_mtime_ns
            if changed == self._seen:
                return False
            table = decode_table(self._path.read_bytes())
        except (OSError, msgspec.DecodeError):
            return False
        self._seen = changed
        self.there = True
        self.book = PriceBook(table, self._clock)
        return True

    @property
    def is_awaited(self) -> bool:
        """Say whether the first table, with the names of models, is still to be expected."""
        return not self.there and self._clock.steady_ns() < self._names_until_ns

    async def loaded(self) -> None:
        """Wait for the first table until this process is `PATIENCE_S` old; after that nobody waits for it again."""
        while not self.there and self._clock.steady_ns() < self._patient_until_ns:
            await self._sleep(POLL_S)
            self.refresh()

    def price(self, provider: str, model: str, version: str) -> Price | None:
        """Return the price of the vendor's version of a model, or of the model as asked for; None if unknown."""
        return self.book.price(provider, model, version)
