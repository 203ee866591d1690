"""All ports over Valkey or Redis, connected, kept up and closed together.

Nothing is kept in the process that another could need, but what the server has not got yet: endings, and settlements
of budgets, which wait for it.
"""

import asyncio
import logging
from collections.abc import Sequence

from askonce.domain.clock import Clock
from askonce.domain.errors import ConfigError, StoreUnavailable
from askonce.state.health import Health, crowded
from askonce.state.valkey import address as addresses
from askonce.state.valkey import server_health
from askonce.state.valkey.anchors import ValkeyAnchors
from askonce.state.valkey.answers import ValkeyAnswers
from askonce.state.valkey.bell import Bell
from askonce.state.valkey.books import Lost, ValkeyBooks
from askonce.state.valkey.budgets import ValkeyBudgets
from askonce.state.valkey.directory import ValkeyDirectory
from askonce.state.valkey.duty import ValkeyDuty
from askonce.state.valkey.flights import ValkeyFlights
from askonce.state.valkey.opening import server_of
from askonce.state.valkey.outbox import ValkeyOutbox
from askonce.state.valkey.promises import ValkeyPromises
from askonce.state.valkey.server import BOOKS, Hour, reason
from askonce.state.valkey.sessions import ValkeySessions
from askonce.state.valkey.threshold import ValkeyThreshold
from askonce.state.valkey.vendor_keys import ValkeyVendorKeys
from askonce.state.valkey.windows import ValkeyWindows

SWEEP_RECORDS = 500  # entries looked at each second: some milliseconds of the server
LOOK_BEATS = 10  # seconds between two looks at the server's memory
WORKER_MS = 10_000  # how long a worker's word holds
BEGIN_S, BEGIN_LOOK_S = 2.0, 0.1  # how long a start waits for a server that is away

_log = logging.getLogger("askonce.state")


class ValkeyState:
    """Give out the ports of one server, Sentinel or Cluster, and look after them.

    `owner` is `node/slot:incarnation` of this process, `deadline_s` for each call, `marks` what all nodes must
    have in common: of the secret in force, then of former ones. Raises `ConfigError` for an address that
    cannot be used.
    """

    def __init__(
        self,
        url: str,
        cache_bytes: int,
        clock: Clock,
        owner: str,
        deadline_s: float,
        marks: Sequence[bytes],
        lost: Lost,
    ) -> None:
        self._server = server = server_of(addresses.parse(url), deadline_s)
        self._clock = clock
        self._marks = tuple(marks)
        self._upkeep: asyncio.Task[None] | None = None
        self._beats = 0
        self._marked = False
        self._away = ""
        self._full = ""
        self._remarks: tuple[str, ...] = ()
        self._worker: bytes | None = None
        hour = Hour()
        self.answers = ValkeyAnswers(server, hour, clock, cache_bytes)
        self.promises = ValkeyPromises(server, hour, clock)
        self.windows = ValkeyWindows(server, hour)
        self.outbox = ValkeyOutbox(server)
        self.anchors = ValkeyAnchors(server)
        self.duty = ValkeyDuty(server, owner)
        self.bell = Bell(server)
        self.vendor_keys = ValkeyVendorKeys(server, hour)
        self.directory = ValkeyDirectory(server, hour, clock)
        self.sessions = ValkeySessions(server)
        self.budgets = ValkeyBudgets(server, hour, clock, owner)
        self.books = ValkeyBooks(server, self.answers, self.outbox, self.budgets, lost)
        self.threshold = ValkeyThreshold(server, hour, self.windows, self.answers)
        self.flights = ValkeyFlights(server, hour, owner)

    async def begin(self) -> None:
        """Connect, and see that this node is one of those whose state this is.

        A server that is away is no reason not to begin: everything goes on as when it goes away later. Raises
        `ConfigError` where the nodes have different secrets.
        """
        await self._server.open()
        for _ in range(round(BEGIN_S / BEGIN_LOOK_S)):
            try:
                await self._settle_in()
            except StoreUnavailable as error:
                self._away = reason(error)
            else:
                self._away = ""
                return
            await asyncio.sleep(BEGIN_LOOK_S)
        _log.warning("beginning without shared state: %s", self._away)

    async def release_slot(self, slot: int) -> None:
        """Free what earlier processes in this slot of the node had reserved, and have others lead their flights."""
        try:
            await self.flights.release_slot()
            await self.budgets.release_slot(slot)
        except StoreUnavailable as error:
            _log.warning("what a former process held runs out by itself: %s", error)

    async def end(self) -> None:
        """Send what waits a last time, and hang up."""
        if self._upkeep is not None:
            self._upkeep.cancel()
            await asyncio.gather(self._upkeep, return_exceptions=True)
        await self.books.close()
        await self.flights.close()
        await self.bell.close()
        await self._server.close()

    def beat(self) -> None:
        """Begin each second's upkeep of this process, unless that of the former is still under way."""
        if self._upkeep is None or self._upkeep.done():
            self._upkeep = asyncio.get_running_loop().create_task(self._keep_up(self._beats))
        self._beats += 1

    async def sweep(self, budget: int = SWEEP_RECORDS) -> None:
        """Delete some of what is dead. For one process of each node, each second; several are in nobody's way."""
        try:
            await self.answers.sweep(budget)
            await self.sessions.sweep(self._clock.wall_ms(), budget)
            await self.budgets.sweep(budget)
        except StoreUnavailable:
            return  # `health` says why

    async def tell_worker(self, packed: bytes, *, on_duty: bool) -> None:
        """Tell gateways of all nodes how the worker on duty is, for some seconds; how others are only without one."""
        await self._server.call("SET", BOOKS + b"worker", packed, "PX", WORKER_MS, *(() if on_duty else ("NX",)))

    def worker_word(self) -> bytes | None:
        """Return what a worker told last, as it was at the last beat; None where none runs."""
        return self._worker

    def health(self) -> Health:
        """Say what does not work and why, as it was at the last beat."""
        late = self.books.late
        parts = {
            "books": f"Valkey/Redis is away: {self._away}" if self._away else "",
            "cache": "" if self._away else self.answers.ailment,
            "late": f"{late} endings wait for shared state to come back" if late else "",
            "outbox": self._full,
        }
        return Health({part: why for part, why in parts.items() if why}, self._remarks)

    async def _keep_up(self, beat: int) -> None:
        try:
            if not self._marked:
                await self._settle_in()
            await self.answers.beat()
            await self.books.beat()
            self._worker = await self._server.call("GET", BOOKS + b"worker")
            if beat % LOOK_BEATS == 0:
                self._full = crowded(await self.outbox.fullness())
                self._remarks = await server_health.remarks(self._server)
            elif not await self._server.call("EXISTS", BOOKS + b"since"):
                await self._settle_in()  # it was emptied
        except (StoreUnavailable, ConfigError) as error:
            self._away = reason(error)
        else:
            self._away = ""

    async def _settle_in(self) -> None:
        """Note since when there is anything, and compare the mark of the secret."""
        await self.books.begin(self._clock.wall_ms())
        await self._server.call("SET", BOOKS + b"mark", self._marks[0], "NX")
        mark = await self._server.call("GET", BOOKS + b"mark")
        if mark in self._marks[1:]:
            await self._server.call("SET", BOOKS + b"mark", self._marks[0])
        elif mark != self._marks[0]:
            raise ConfigError(
                "STATE_URL: the other nodes that use it have another secret, so that this one could not read their "
                "keys. Set ASKONCE_SECRET to the same on all nodes; the first one's is in the file `secret` of its "
                "data folder."
            )
        self._marked = True
