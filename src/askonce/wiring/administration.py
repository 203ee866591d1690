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
from askonce.api.oidc import Travelling
from askonce.config.secret import Secret
from askonce.domain.clock import Clock
from askonce.domain.identity import Directory
from askonce.domain.ledger import Anchors

if TYPE_CHECKING:
    from askonce.gate.openid import Begun, IdentityProvider, Proved
    from askonce.wiring.office import OpenOffice

_OFFICE, _OPENID = "askonce.wiring.office", "askonce.gate.openid"


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


class LateProvider:
    """Know an identity provider (port `Provider`); what speaks with it is read at the first login there."""

    def __init__(self, issuer: str, client_id: str, client_secret: str, clock: Clock) -> None:
        self._settings = (issuer, client_id, client_secret, clock)
        self._provider: IdentityProvider | None = None
        self._turn = asyncio.Lock()

    async def begin(self, back_to: str) -> "Begun":
        """Begin a login. Raises `LoginUnavailable`."""
        return await (await self._open()).begin(back_to)

    async def finish(self, code: str, begun: Travelling, back_to: str) -> "Proved":
        """Return who logged in. Raises `Unauthorized`, `LoginUnavailable`."""
        return await (await self._open()).finish(code, begun.nonce, begun.verifier, back_to)

    async def _open(self) -> "IdentityProvider":
        async with self._turn:
            if self._provider is None:
                module = await asyncio.to_thread(importlib.import_module, _OPENID)
                self._provider = module.IdentityProvider(*self._settings)
            return self._provider
