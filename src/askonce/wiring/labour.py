"""The worker's second half: executions, done on a road of its own.

    rows of executions ─▶ dispatcher ─▶ engine ─▶ nodes ─▶ road ─▶ providers
          ▲   taps of gateways ─┘                   └─▶ rows, events

Open: while the database is away nothing is begun, and what runs waits for it; the ledger's half goes on meanwhile.
"""

import asyncio
import contextlib
import logging
import os
import random
from functools import partial
from pathlib import Path

from sqlalchemy import Engine as SyncEngine
from sqlalchemy.exc import SQLAlchemyError

from askonce.config.paths import RUN_FOLDER
from askonce.config.secret import WEBHOOKS
from askonce.config.settings import Config
from askonce.domain.errors import ConfigError, StoreUnavailable
from askonce.domain.executions import QUEUES, QueueState
from askonce.domain.ledger import LedgerUnavailable
from askonce.ledger.address import SqliteFile, parse
from askonce.ledger.engine import Bounds, open_beside
from askonce.ledger.executions.notices import SqlNotices
from askonce.ledger.executions.store import SqlExecutions
from askonce.ledger.executions.tables import FILE, WORKFLOWS
from askonce.ledger.migrate import LATEST, migrate
from askonce.providers.network import Network
from askonce.wire.codecs import CODECS
from askonce.wire.native_answer import NATIVE
from askonce.wiring.posting import Poster
from askonce.wiring.roadworks import Roadworks, Site
from askonce.workflows.asking import Asking
from askonce.workflows.deliveries import Deliveries, Post
from askonce.workflows.dispatcher import Dispatcher, Limit, Terms
from askonce.workflows.engine.database import postgres_connection, postgres_engine, sqlite_engine
from askonce.workflows.engine.durable import DurableEngine
from askonce.workflows.engine.port import Tenure
from askonce.workflows.engine.tenure import AloneTenure, PostgresTenure
from askonce.workflows.making import Tools
from askonce.workflows.quality.inspector import Inspector
from askonce.workflows.reach import RoutedReach
from askonce.workflows.run import House, Runs
from askonce.workflows.savings import BookedSavings
from askonce.workflows.scribe import Scribe
from askonce.workflows.submitters import Submitters
from askonce.workflows.trades import Trades
from askonce.workflows.wake import WakeListener

ENGINE_FILE = "engine.db"  # beside the ledger's
# Claiming, wishes, tending and events of many nodes side by side; a file has one writer anyway.
BOUNDS = Bounds(connections=8, name="askonce worker executions")
DRAIN_S = 1.0  # for what is about to end; the rest is left where it is, and goes on at the next start
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0  # between two tries at a database that cannot be prepared

_log = logging.getLogger("askonce.worker")


class Labour:
    """Do executions, as one process of a data folder. To be closed."""

    def __init__(self, site: Site, slot: int) -> None:
        config = site.config
        self._config = config
        self._state = site.state
        self._clock = site.clock
        self._slot = slot
        self._beats = 0
        self._upkeep: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._observer = site.observer
        self._rows = open_beside(config.database_url, Path(config.data_dir), FILE, BOUNDS)
        self._store = SqlExecutions(self._rows, site.clock)
        self._works = Roadworks(site)
        database, tenure = _engine_of(config)
        self._dispatcher = Dispatcher(self._store, DurableEngine(database), tenure, _terms(config), site.clock)
        self._runs = self._hire()
        self._poster = Poster(Network.from_environ(os.environ), config.webhook_hosts)
        post = Post(self._poster.send, tuple(site.secret.subkeys(WEBHOOKS)), config.webhook_hosts)
        self._deliveries = Deliveries(SqlNotices(self._rows), self._store, post, site.clock)
        self.ailment = "The database has not been reached yet."

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop. If cancelled, or killed, nothing is lost: whoever comes next goes on with it."""
        await self._state.release_slot(self._slot)
        await self._works.answering.start()
        await self._works.take_vendor_keys()
        self._works.beat()
        taps = WakeListener(Path(self._config.data_dir) / RUN_FOLDER, self._dispatcher.wake)
        try:
            if await self._prepared(stop):
                taps.open()
                self._state.bell.listen(self._dispatcher.wake)
                await self._labours(stop)
        finally:
            taps.close()
            # Nodes have left their calls; what these bring is promised, and told again to whoever goes on.
            await self._works.answering.stop(self._config.drain_s if stop.is_set() else 0.0)

    def beat(self) -> None:
        """Do what is due every second."""
        self._works.beat()
        if self._renewal is None or self._renewal.done():  # apart from what may take longer than a lease holds
            self._renewal = asyncio.get_running_loop().create_task(self._renew())
            self._renewal.add_done_callback(self._report)
        if self._upkeep is None or self._upkeep.done():
            self._upkeep = asyncio.get_running_loop().create_task(self._keep_up(self._beats))
            self._upkeep.add_done_callback(self._report)
        self._beats += 1

    async def close(self) -> None:
        """Let calls in the air land as far as they do at once, abandon the others, and close everything."""
        await self._works.answering.stop(0.0)
        for task in (self._upkeep, self._renewal):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._works.close()
        await self._poster.close()
        await self._rows.dispose()

    def is_named(self, provider: str, model: str) -> bool:
        """Say whether a model's name is one that is known."""
        return self._works.is_named(provider, model)

    async def queues(self) -> tuple[QueueState, ...]:
        """Tell how the queues are; none until the database was reached. Raises `LedgerUnavailable`."""
        return () if self.ailment else await self._store.queues(self._clock.wall_ms())

    async def _labours(self, stop: asyncio.Event) -> None:
        """Do executions until told to stop, and tell webhooks how they ended."""
        async with asyncio.TaskGroup() as group:
            delivering = group.create_task(self._deliveries.run())
            await self._dispatcher.run(self._runs, stop)
            delivering.cancel()

    def _hire(self) -> Runs:
        clock, observer, works = self._clock, self._observer, self._works
        asking = Asking(works.road, Submitters(self._state.directory, clock), clock, random.random)
        tools = Tools(asking, Trades(Inspector()), RoutedReach(works.router, works.fleet), NATIVE)
        savings = BookedSavings(self._state.books, clock, observer)
        timeout_s = self._config.execution_timeout_s
        return Runs(House(Scribe(self._store), tools, CODECS, savings, clock, observer, timeout_s))

    async def _prepared(self, stop: asyncio.Event) -> bool:
        """Bring the tables up to date, until that succeeds; False where we are to stop before."""
        pause_s = FIRST_WAIT_S
        while not stop.is_set():
            try:
                await migrate(self._rows, LATEST, WORKFLOWS)
            except (LedgerUnavailable, ConfigError) as error:
                self._ail(str(error))
            except SQLAlchemyError as error:
                self._ail(f"The database refused to make its tables ({type(error).__name__}): {error}")
            else:
                self.ailment = ""
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stop.wait()
            pause_s = min(pause_s * 2, LONGEST_WAIT_S)
        return False

    def _ail(self, reason: str) -> None:
        if reason != self.ailment:
            _log.error("executions cannot be done, they wait: %s", reason)
        self.ailment = reason

    async def _renew(self) -> None:
        """Say that this process lives, and learn which keys of providers are in force."""
        with contextlib.suppress(StoreUnavailable):  # /ready says why
            await self._state.budgets.renew()
        await self._works.take_vendor_keys()

    async def _keep_up(self, beat: int) -> None:
        await self._works.discover(beat)

    def _report(self, upkeep: asyncio.Task[None]) -> None:
        if not upkeep.cancelled() and (error := upkeep.exception()) is not None:
            self._observer.defect(error)


def _engine_of(config: Config) -> tuple[SyncEngine, Tenure]:
    """Return the engine's database, and how workers know of each other there. Raises `ConfigError`."""
    address = parse(config.database_url, Path(config.data_dir))
    if isinstance(address, SqliteFile):
        return sqlite_engine(address.path.with_name(ENGINE_FILE)), AloneTenure()
    server = address
    connect = partial(postgres_connection, server.dsn, pooled=server.pooled, connect_s=server.connect_s)
    return postgres_engine(server.dsn, pooled=server.pooled, connect_s=server.connect_s), PostgresTenure(connect)


def _terms(config: Config) -> Terms:
    rate = config.queue_limit
    limit = Limit(config.queue_concurrency)
    if rate is not None:
        limit = Limit(config.queue_concurrency, rate.requests, round(1000 * rate.span_s))
    return Terms(dict.fromkeys(QUEUES, limit), 1000 * config.keep_done_s, 1000 * config.keep_failed_s, DRAIN_S)
