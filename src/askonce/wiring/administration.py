"""The office: what administers reads the database, and is read and connected at the first call that needs it.

Most gateways never administer anything; what they do not load costs them neither memory nor time at the start. This is
the one place from which a gateway's process reaches SQLAlchemy.
"""

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec import Struct

from askonce.api.admin.office import Office
from askonce.config.secret import Secret
from askonce.domain.clock import Clock
from askonce.domain.identity import Directory
from askonce.domain.ledger import Anchors

if TYPE_CHECKING:
    from askonce.wiring.office import OpenOffice

_OFFICE = "askonce.wiring.office"


class Premises(Struct, frozen=True):
    """Hold what an office is opened with. `folder` is the data folder; `secret` is looked for when it is needed."""

    database_url: str
    folder: str
    secret: Callable[[], Secret]
    directory: Directory
    anchors: Anchors
    clock: Clock


class Administration:
    """Open the office once for a process (port `Offices`)."""

    def __init__(self, premises: Premises) -> None:
        self._premises = premises
        self._office: OpenOffice | None = None
        self._turn = asyncio.Lock()

    async def open(self) -> Office:
        """Return the office. Raises `LedgerUnavailable` until the database is there and has our tables."""
        async with self._turn:
            if self._office is None:
                # In a thread: reading that much code takes a third of a second, which nobody else should wait for.
                module = await asyncio.to_thread(importlib.import_module, _OFFICE)
                self._office = module.open_office(self._premises)
            await self._office.prepare()
            return self._office.ports

    async def close(self) -> None:
        """Close its connections."""
        if self._office is not None:
            await self._office.close()
