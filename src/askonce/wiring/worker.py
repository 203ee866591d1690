"""The worker of one data folder: it brings what happened into the database, and what changed there into force here.

    outbox ─▶ (alerts noted) ─▶ database        counters, each minute ─▶ outbox
                  └─▶ webhook                    database's keys ─▶ directory
    executions ─▶ done (`labour`)

Open: while the database is away, or refused, gateways go on, and what happens is kept in a file; `ailment` says why.
What nodes share is brought over by one worker of all of them at a time (`shift`); then it waits in shared state.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import DecodeError, Raw
from sqlalchemy.exc import SQLAlchemyError

from askonce.config.paths import worker_path
from askonce.config.secret import AUDIT_CHAIN, KEY_HASHES, WEBHOOKS, Secret, find_secret
from askonce.config.settings import Config
from askonce.domain.accounts import SecretChanged
from askonce.domain.clock import SystemClock
from askonce.domain.errors import AskonceError, ConfigError, StoreUnavailable
from askonce.domain.handover import NEVER
from askonce.domain.ledger import AuditRow, Batch, LedgerUnavailable, Stock
from askonce.ledger import worker_status
from askonce.ledger.alerts import AlertBox, NotingOutbox
from askonce.ledger.audit import ANCHOR_EVERY_S, Sealer, Watch, claim_chain
from askonce.ledger.drain import Drain
from askonce.ledger.engine import Bounds, open_engine
from askonce.ledger.herald import Herald
from askonce.ledger.key_feed import SqlFeed, follow
from askonce.ledger.keys import SqlKeys
from askonce.ledger.migrate import migrate
from askonce.ledger.retention import Ages, sweep_minutes
from askonce.ledger.retention import sweep as sweep_old
from askonce.ledger.spool import Spool
from askonce.ledger.users import SqlLoginLinks
from askonce.ledger.vault import SqlProviderKeys
from askonce.ledger.worker_status import WRITE_EVERY_S, WorkerStatus
from askonce.ledger.writer import SqlLedger
from askonce.providers.http import Http, Limits, Request
from askonce.providers.network import Network
from askonce.telemetry import catalog
from askonce.wiring.roadworks import Site
from askonce.wiring.shift import LOOK_S, DutyOutbox, Shift
from askonce.wiring.state import open_state
from askonce.wiring.vendor_keys import pack, sealer_of
from askonce.wiring.watching import Watchers

if TYPE_CHECKING:
    from askonce.wiring.labour import Labour

# Of the processes that share a data folder; gateways have the small numbers.
SLOT = 1_000_000
MINUTE_MS = 60_000
ROLL_S = 5.0  # so long what was counted waits at most
HAND_OVER_S = 2.0  # so long a provider's key that was added or changed is not known to gateways
QUEUES_S = 15.0  # between two counts of what waits: as often as Prometheus usually looks
SWEEP_S = 3_600.0
FIRST_SWEEP_S = 300.0  # a server that was just started has better things to do
FIRST_LOOK_S = 3.0  # by then what a start tells the audit is in it, and its end can be noted
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0  # between two tries at a database that cannot be prepared
PREPARE_S = 5.0  # so long nothing is drained while the database's tables are made
FINISH_S = 2.0  # for the batch that is being written, and again for the last rows: the supervisor waits for five
RELIEF_S = 0.05  # between two tries to do the last rows while another worker is at them
LINK_MS = 3_600_000  # how long the first administrator's link holds
CONNECTIONS = 4  # writing, following keys, watching the audit, deleting what is old
UNREACHED = "The database has not been reached yet."
_WEBHOOK = Limits(connect_s=5.0, first_byte_s=10.0, idle_s=5.0, total_s=15.0)
_TAKEN = range(200, 300)

_log = logging.getLogger("askonce.worker")


class Worker:
    """Hold the worker's parts and their life. Build it in the process that runs it; raises `ConfigError`.

    `greet` is given the word of the first administrator's link, where there is no administrator yet.
    """

    def __init__(self, config: Config, incarnation: int, greet: Callable[[str], None] | None = None) -> None:
        folder = Path(config.data_dir)
        self._config = config
        self._greet = greet
        self._clock = SystemClock()
        self._prepared = asyncio.Event()
        self._ledger_name = ""  # of the database, once it is prepared
        self._refusal = UNREACHED
        secret = find_secret(config.secret, folder)
        self._sealer = sealer_of(secret)
        self._handed_over = -1  # the version of the providers' keys that gateways have
        self._carries = False  # did these go into shared state?
        self._peppers, self._seals = secret.subkeys(KEY_HASHES), secret.subkeys(AUDIT_CHAIN)
        self._engine = open_engine(config.database_url, folder, Bounds(CONNECTIONS, name="askonce worker"))
        self._watchers = Watchers("worker", config, self._clock, self._is_named)
        self._measures, self._observer = self._watchers.measures, self._watchers.observer
        self._beats = 0
        self._state = open_state(config, SLOT, incarnation, secret, self._clock, self._observer)
        self._labour = self._begin_labour(secret)
        self._spool = Spool(folder)
        self._box = AlertBox(folder, self._clock, wanted=bool(config.webhook_url))
        self._notary = Sealer(self._seals[0], self._clock)
        self._ledger = SqlLedger(self._engine, self._notary.seal_rows)
        duty = self._state.duty
        self._shift = Shift(duty, self._clock)
        outbox = NotingOutbox(DutyOutbox(self._state.outbox, self._shift), self._box)
        self._drain = Drain(outbox, self, self._spool, spools=not duty.shared)
        self._watch = Watch(self._engine, self._seals, self._state.anchors, self._clock)
        self._http = Http(Network.from_environ(os.environ))
        self._herald = Herald(self._box, self._send, secret.subkeys(WEBHOOKS), self._clock)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop, then bring over what can be within `FINISH_S`.

        If cancelled, or killed, nothing is lost: what was begun is done again by the next worker.
        """
        try:
            await self._state.begin()
            async with asyncio.TaskGroup() as group:
                draining = group.create_task(self._drained(stop))
                others = [group.create_task(each) for each in self._tasks()]
                await self._laboured(stop)  # what it books at its end is brought over, too
                await stop.wait()
                for task in others:
                    task.cancel()
                await asyncio.wait([draining], timeout=FINISH_S)
                draining.cancel()
            await self._finish()
        finally:
            await self._close()

    def beat(self) -> None:
        """Do what is due every second."""
        self._state.beat()
        self._watchers.beat(self._beats)
        self._beats += 1
        if self._labour is not None:
            self._labour.beat()

    async def apply(self, batch: Batch) -> None:
        """Write a batch once the database is prepared (port `Ledger`). Raises `LedgerUnavailable`."""
        if not self._prepared.is_set():
            raise LedgerUnavailable(self._refusal)
        began_ns = time.perf_counter_ns()
        meters = self._measures.meters
        try:
            await self._ledger.apply(batch)
        except LedgerUnavailable:
            meters.count(catalog.LEDGER_FAILURES)
            raise
        meters.observe(catalog.LEDGER_TIME, (time.perf_counter_ns() - began_ns) // 1000)
        meters.count(catalog.LEDGER_RECORDS, by=len(batch.records))

    def _tasks(self) -> tuple[Coroutine[None, None, None], ...]:
        return (
            self._prepare(),
            self._every(LOOK_S, self._look_for_duty),
            self._follow(),
            self._every(HAND_OVER_S, self._hand_over_keys),
            self._every(ROLL_S, self._roll),
            self._every(ANCHOR_EVERY_S, self._look_at_the_audit, first_s=FIRST_LOOK_S),
            self._every(SWEEP_S, self._sweep, first_s=FIRST_SWEEP_S),
            self._every(WRITE_EVERY_S, self._tell),
            self._every(QUEUES_S, self._count_queues, first_s=FIRST_LOOK_S),
            self._herald.run(),
        )

    async def _prepare(self) -> None:
        """Bring the database's tables up to date, and see whether it is ours, until that succeeds."""
        pause_s = FIRST_WAIT_S
        while True:
            try:
                step = await migrate(self._engine)
                await SqlKeys(self._engine, self._state.directory, self._peppers, self._clock).check_secret()
                begun = await claim_chain(self._engine, self._notary, self._seals, self._loaded())
                self._ledger_name = (await SqlFeed(self._engine, self._clock).edition()).source
            except (LedgerUnavailable, ConfigError) as error:
                self._refuse(str(error))
            except SQLAlchemyError as error:
                self._refuse(f"The database refused to make its tables ({type(error).__name__}): {error}")
            else:
                break
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_WAIT_S)
        self._prepared.set()
        _log.debug("the database is ready", extra={"step": step})
        with contextlib.suppress(StoreUnavailable, LedgerUnavailable):
            await self._look_for_duty()
            await self._tell()
        await self._welcome(begun)

    def _refuse(self, reason: str) -> None:
        if reason != self._refusal:
            _log.error("the ledger cannot be used, what happens is kept here: %s", reason)
        self._refusal = reason

    def _loaded(self) -> AuditRow:
        """Say which settings are in force."""
        told = Raw(msgspec.json.encode({"set": _settings_of(self._config)}))
        return AuditRow(self._clock.wall_ms(), "system", "config.loaded", "", details=told)

    async def _welcome(self, noted: bool) -> None:
        """Note which settings are in force unless `noted`, and ask for the first administrator's link if need be."""
        try:
            if not noted:
                await self._state.outbox.append(self._loaded())
        except StoreUnavailable as error:
            _log.warning("not in the audit (%s): the settings that are in force", error.message)
        if self._greet is None:
            return
        expires_ms = self._clock.wall_ms() + LINK_MS
        try:
            word = await SqlLoginLinks(self._engine, self._clock).first_administrator(expires_ms)
            if word:
                told = Raw(b'{"expiresMs":%d}' % expires_ms)
                at_ms, subject = self._clock.wall_ms(), "first administrator"
                row = AuditRow(at_ms, "system", "link.issued", subject, severity="warning", details=told)
                await self._state.outbox.append(row)
                self._greet(word)
        except (LedgerUnavailable, StoreUnavailable) as error:
            _log.warning("no link for a first administrator, `askonce users link` makes one: %s", error)

    async def _drained(self, stop: asyncio.Event) -> None:
        """Empty the outbox; the first try at the database comes before, so that a start makes no noise."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PREPARE_S):
                await self._prepared_or(stop)
        await self._drain.run(stop)

    async def _laboured(self, stop: asyncio.Event) -> None:
        """Do executions once the database is known to be ours, until told to stop."""
        await self._prepared_or(stop)
        if self._labour is not None and self._prepared.is_set():
            await self._labour.run(stop)

    async def _prepared_or(self, stop: asyncio.Event) -> None:
        """Wait until the database is prepared, or until told to stop."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._prepared, stop)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _look_for_duty(self) -> None:
        await self._prepared.wait()
        await self._shift.look(self._ledger_name, ailing=bool(self._drain.ailment))

    async def _follow(self) -> None:
        """Keep the directory up to date; on duty or not, for revocations must not wait until somebody is."""
        await self._prepared.wait()
        await self._shift.agreed.wait()
        await follow(SqlFeed(self._engine, self._clock), self._state.directory)

    async def _hand_over_keys(self) -> None:
        """Put the providers' keys into shared state, sealed, whenever they changed or were lost, and at every start.

        Keys that another secret sealed stay as they are there, and gateways go on with what they have.
        """
        await self._prepared.wait()
        if not self._shift.on:
            self._handed_over = -1
            return
        vault = SqlProviderKeys(self._engine, self._sealer, self._clock)
        version, stamp = await vault.version(), await self._state.vendor_keys.stamp()
        if version == self._handed_over and not (self._carries and stamp == NEVER):
            return
        try:
            keys = await vault.reveal()
        except SecretChanged as error:
            _log.error("the providers' keys cannot be opened: %s", error)
        else:
            if keys or stamp != NEVER:
                await self._state.vendor_keys.put(pack(keys, self._sealer))
            self._carries = bool(keys)
        self._handed_over = version

    async def _roll(self) -> None:
        """Bring over what was counted; while the database takes it, also in the minute that is not over."""
        if self._shift.on:
            minute = self._clock.wall_ms() // MINUTE_MS
            await self._state.outbox.roll(minute if self._drain.ailment else -1)

    async def _look_at_the_audit(self) -> None:
        await self._prepared.wait()
        if self._shift.on:
            await self._watch.round()

    async def _sweep(self) -> None:
        await self._prepared.wait()
        if not self._shift.on:
            return
        config = self._config
        ages = Ages(config.keep_calls_days, config.keep_samples_days, config.keep_counts_days, config.keep_texts_days)
        deleted = await sweep_old(self._engine, ages, self._clock.wall_ms())
        await sweep_minutes(self._engine, self._clock.wall_ms())
        if deleted:
            _log.info("deleted %d rows that were too old", deleted)

    async def _tell(self) -> None:
        """Write the status. A disk that takes no such file is no reason to stop working."""
        ailment = self._refusal
        if self._prepared.is_set():
            ailment = self._shift.objection or self._drain.ailment
        stock = await self._state.outbox.stock()
        self._measure(stock)
        waiting = stock.next - stock.first + (await self._spool.count() if ailment else 0)
        with contextlib.suppress(OSError, StoreUnavailable):
            executions = self._labour.ailment if self._labour is not None else ""
            status = WorkerStatus(self._clock.wall_ms(), ailment, waiting, ailment or executions)
            packed = worker_status.pack(status)
            worker_status.write(worker_path(self._config.data_dir), packed)
            await self._state.tell_worker(packed, on_duty=self._shift.on)

    def _is_named(self, provider: str, model: str) -> bool:
        return self._labour is not None and self._labour.is_named(provider, model)

    def _measure(self, stock: Stock) -> None:
        meters, name = self._measures.meters, self._measures.meters.process
        meters.gauge(catalog.OUTBOX, stock.next - stock.first, name)
        meters.gauge(catalog.OUTBOX_BYTES, stock.bytes, name)
        meters.gauge(catalog.OUTBOX_DROPPED, stock.dropped, name)
        meters.gauge(catalog.ON_DUTY, self._shift.on, name)

    async def _count_queues(self) -> None:
        """Measure how many executions wait. On duty only: they are the same for all nodes."""
        if self._labour is None or not self._shift.on:
            return
        meters, name = self._measures.meters, self._measures.meters.process
        now_ms = self._clock.wall_ms()
        for queue in await self._labour.queues():
            for state, depth in (("queued", queue.queued), ("delayed", queue.delayed), ("running", queue.running)):
                meters.gauge(catalog.QUEUE, depth, name, queue.name, state)
            waits_ms = max(0, now_ms - queue.oldest_ms) if queue.oldest_ms else 0
            meters.gauge(catalog.QUEUE_WAIT, waits_ms / 1000, name, queue.name)

    async def _every(self, span_s: float, act: Callable[[], Awaitable[None]], first_s: float = 0.0) -> None:
        """Do something again and again; what is away only for a while is tried the next time."""
        trouble = ""
        await asyncio.sleep(first_s)
        while True:
            try:
                await act()
            except (LedgerUnavailable, StoreUnavailable, SQLAlchemyError, DecodeError) as error:
                if not trouble:
                    _log.warning("%s", error)
                trouble = str(error) or type(error).__name__
            else:
                trouble = ""
            await asyncio.sleep(span_s)

    async def _send(self, body: bytes, headers: tuple[tuple[str, str], ...]) -> str:
        request = Request("POST", self._config.webhook_url, headers, body, "The webhook")
        try:
            async with self._http.exchange(request, _WEBHOOK) as reply:
                return "" if reply.status in _TAKEN else f"it answered {reply.status}"
        except AskonceError as error:
            return error.message

    async def _finish(self) -> None:
        """Bring over what is left, the counters of the open minute too: nobody counts any more."""
        if self._refusal == UNREACHED and not self._prepared.is_set():
            return  # stopped before it really began: everything is where it was
        try:
            async with asyncio.timeout(FINISH_S):
                await self._state.outbox.roll(-1)
                if self._prepared.is_set() and not await self._relieved():
                    return
                while await self._drain.step() == "applied":
                    pass
                await self._tell()
                await self._shift.leave()
        except TimeoutError:
            _log.warning("what the database has not got yet is kept for the next start")
        except (LedgerUnavailable, StoreUnavailable) as error:
            _log.warning("what the database has not got yet is kept for the next start: %s", error)

    async def _relieved(self) -> bool:
        """Wait until the duty is ours for a last time; False where nothing is left to do."""
        while not await self._shift.look(self._ledger_name):
            stock = await self._state.outbox.stock()
            if stock.first == stock.next:
                return False
            await asyncio.sleep(RELIEF_S)
        return True

    def _begin_labour(self, secret: Secret) -> "Labour | None":
        if not self._config.workflows:
            return None
        # Here, because the engine takes half a second and 60 MB, which nobody spends who has no workflows.
        from askonce.wiring.labour import Labour  # noqa: PLC0415

        return Labour(
            Site(self._config, self._state, secret, self._clock, self._observer, self._watchers.trace_out), SLOT
        )

    async def _close(self) -> None:
        if self._labour is not None:
            await self._labour.close()
        await self._watchers.close()
        await self._http.close()
        await self._box.close()
        await self._spool.close()
        await self._engine.dispose()
        await self._state.end()


def _settings_of(config: Config) -> list[str]:
    """Name the settings that are not as they come; never what they are."""
    usual = Config()
    return [name for name in config.__struct_fields__ if getattr(config, name) != getattr(usual, name)]
