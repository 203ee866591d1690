"""A glance at what nodes share on Valkey or Redis: for commands that work beside running servers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from askonce.domain.budget import Account, Statement
from askonce.domain.clock import Clock
from askonce.domain.ledger import Anchor
from askonce.state.valkey.address import parse
from askonce.state.valkey.anchors import ValkeyAnchors
from askonce.state.valkey.budgets import ValkeyBudgets
from askonce.state.valkey.opening import AnyServer, server_of
from askonce.state.valkey.server import Hour

DEADLINE_S = 2.0  # people have more patience than requests
_NOBODY = "glance"  # an owner that reserves nothing


class ValkeyGlance:
    """Look at the accounts there, and note the end of the audit. All methods raise `StoreUnavailable`."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._address = parse(url)
        self._clock = clock

    async def read(self) -> Anchor | None:
        """Return the noted end of the audit's chain, None where none was noted."""
        async with self._server() as server:
            return await ValkeyAnchors(server).read()

    async def note(self, anchor: Anchor) -> None:
        """Note another end."""
        async with self._server() as server:
            await ValkeyAnchors(server).note(anchor)

    async def statement(self, account: Account) -> Statement:
        """Tell how an account stands on all nodes together."""
        async with self._server() as server:
            return await ValkeyBudgets(server, Hour(), self._clock, _NOBODY).statement(account)

    @asynccontextmanager
    async def _server(self) -> AsyncIterator[AnyServer]:
        server = server_of(self._address, DEADLINE_S)
        await server.open()
        try:
            yield server
        finally:
            await server.close()
