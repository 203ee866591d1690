"""One gateway process: its parts, put together, and their life."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from askonce.api.admin.desks import admin_handlers
from askonce.api.admin.office import Clerk
from askonce.api.admin.performance import performance_handlers
from askonce.api.admin.screens import Screens
from askonce.api.admin.settings import settings_handlers
from askonce.api.admin.watching import watching_handlers
from askonce.api.app import App, LimitRule, Services
from askonce.api.asking import AskDoor, Desk, Intake
from askonce.api.counting import CountDoor
from askonce.api.crossing import Crossing
from askonce.api.doors import DOORS
from askonce.api.errands import Handler
from askonce.api.login import login_handlers
from askonce.api.metrics import MetricsDoor
from askonce.api.model_lists import ModelDoors
from askonce.api.oidc import Foyer, oidc_handlers
from askonce.api.pages import Pages
from askonce.api.resources import CacheDoors, FleetDoors
from askonce.api.sessions import SessionDoors
from askonce.api.slow_bodies import SlowBodies
from askonce.api.trail import Trail
from askonce.api.voices import voice_of
from askonce.api.workflows.desk import NoArchive, WorkDesk
from askonce.api.workflows.desks import work_askings, work_handlers
from askonce.api.workflows.hub import Hub
from askonce.cache.policy import Unsaid
from askonce.config.paths import RUN_FOLDER, status_path, worker_path
from askonce.config.secret import KEY_HASHES, LOGINS, Secret, find_secret
from askonce.config.settings import Config, RateLimit
from askonce.domain.admittance import read_rule
from askonce.domain.call import Ask, Candidate
from askonce.domain.caller import Caller
from askonce.domain.clock import SystemClock
from askonce.domain.credentials import token_digest
from askonce.domain.errors import StoreUnavailable
from askonce.domain.fleet import PartHealth
from askonce.gate.admission import NOT_KNOWN_YET, STATIC_SCOPES, Admission, Registry
from askonce.gate.keyholders import Keyholders
from askonce.gate.logins import Logins
from askonce.gate.pipeline import allowed
from askonce.ledger import worker_status
from askonce.ledger.address import SqliteFile, parse
from askonce.localmodel import status as local_status
from askonce.providers import catalog
from askonce.providers.messages import Counter
from askonce.providers.named import doubt
from askonce.routing.wishes import unanswered
from askonce.telemetry import catalog as catalog_of_metrics
from askonce.telemetry import logs
from askonce.telemetry.meters import Meters
from askonce.web.site import Site as Dashboard
from askonce.wire.anthropic_door import MESSAGES
from askonce.wire.native_answer import NATIVE
from askonce.wire.openai_door import CHAT
from askonce.wire.openai_embeddings import EMBEDDINGS
from askonce.wire.responses_door import RESPONSES
from askonce.wiring.administration import Administration, LateProvider, Premises
from askonce.wiring.archive import LateArchive
from askonce.wiring.performance import Performing
from askonce.wiring.roadworks import Roadworks, Site
from askonce.wiring.state import open_state
from askonce.wiring.watching import Watchers
from askonce.workflows.wake import Waker

_log = logs.get("askonce.config")

BREAKER_STATES = ("closed", "half-open", "open")  # by their number in the metric
NANO_PER_S = 1_000_000_000
# How long a gateway without configured keys waits at its start to hear whether the database has any.
LEAVING = "shutting down; ask another"
KEYS_WAIT_S, KEYS_LOOK_S = 3.0, 0.05
TIMES_BEATS = 5  # between two tellings of how long hits took


class Gateway:
    """Hold one gateway process's parts and their life. Build it in the process that runs it."""

    def __init__(self, config: Config, slot: int, incarnation: int) -> None:
        self._config = config
        self._slot = slot
        self._clock = SystemClock()
        self._watchers = Watchers(f"gateway-{slot}", config, self._clock, self._is_named)
        self._measures, self._observer = self._watchers.measures, self._watchers.observer
        self._beats = 0
        self._is_leaving = False
        self._names_due = slot == 0  # one of the workers says it
        self._upkeep: asyncio.Task[None] | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._secret = find_secret(config.secret, Path(config.data_dir))
        self._state = open_state(config, slot, incarnation, self._secret, self._clock, self._observer)
        self._works = Roadworks(
            Site(config, self._state, self._secret, self._clock, self._observer, self._watchers.trace_out)
        )
        self._slow_bodies = SlowBodies(config.body_timeout_s)
        self._logins = self._log_in()
        self._admission = self._admit()
        self._knows_keys = config.require_keys
        self._admission.note_keys(config.require_keys)
        self._trail = Trail(self._state.outbox, self._state.outbox, self._clock)
        self._administration = self._administer()
        self._archive = LateArchive(config, self._clock) if config.workflows else NoArchive()
        self._hub = Hub(self._archive.open, self._observer.defect)
        self._screens = Screens(self._observer.defect)
        self._waker = Waker(Path(config.data_dir) / RUN_FOLDER)
        self._app = App(self._services(), DOORS)
        self._measures.add(self._measure)

    @property
    def asgi(self) -> Callable[..., Awaitable[None]]:
        """Return the ASGI application."""
        return self._app

    async def start(self) -> None:
        """Free what a dead predecessor held, and begin to look after flights."""
        await self._state.begin()
        await self._state.release_slot(self._slot)
        await self._works.answering.start()
        await self._note_keys()
        await self._works.take_vendor_keys()
        self._works.beat()
        patience = round(KEYS_WAIT_S / KEYS_LOOK_S)
        while patience and not self._knows_keys:
            patience -= 1
            await asyncio.sleep(KEYS_LOOK_S)
            await self._note_keys()

    def leave(self) -> None:
        """Say at /ready from now on that others are to be asked; serve as before."""
        self._is_leaving = True

    async def drain(self) -> None:
        """Refuse new questions and let those in the air land, within the configured bound."""
        await self._hub.close()  # whoever follows an execution goes on elsewhere
        await self._screens.close()
        await self._works.answering.stop(self._config.drain_s)

    async def stop(self) -> None:
        """Abandon what is left, and close everything."""
        await self._works.answering.stop(0.0)
        for task in (self._upkeep, self._renewal):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._trail.flush()
        await self._tell_times()
        await self._hub.close()
        await self._screens.close()
        await self._administration.close()
        await self._archive.close()
        self._waker.close()
        await self._works.close()
        await self._watchers.close()
        await self._state.end()

    def beat(self) -> None:
        """Do what is due every second."""
        self._state.beat()
        self._works.beat()
        self._slow_bodies.sweep()
        self._remark_on_names()
        self._watchers.beat(self._beats)
        if self._renewal is None or self._renewal.done():  # apart from what may take longer than a lease holds
            self._renewal = asyncio.get_running_loop().create_task(self._renew())
            self._renewal.add_done_callback(self._report)
        if self._upkeep is None or self._upkeep.done():
            self._upkeep = asyncio.get_running_loop().create_task(self._keep_up(self._beats))
            self._upkeep.add_done_callback(self._report)
        self._beats += 1

    def _remark_on_names(self) -> None:
        """Say once, as soon as all lists of models are there, which names of the settings nobody would answer to."""
        if not self._names_due or not self._works.prices.there or self._works.fleet.is_waiting:
            return
        self._names_due = False
        configured = [settings.name for settings in self._config.providers]
        for key, name, why in unanswered(self._works.router.roster):
            if not doubt(name, configured):  # that was said at the start
                _log.warning(f"{key} = {name!r}: {why}")

    async def look(self) -> tuple[PartHealth, ...]:
        """Look at every part (port `Parts`)."""
        return (
            *((PartHealth("server", "down", LEAVING, needed=True),) if self._is_leaving else ()),
            *self._state_parts(),
            self._ledger_part(),
            *self._workflow_parts(),
            *self._provider_parts(),
            self._price_part(),
        )

    async def _renew(self) -> None:
        """Learn what is in force, and say that this process lives."""
        await self._note_keys()
        with contextlib.suppress(StoreUnavailable):  # /ready says why
            await self._state.budgets.renew()
        await self._works.take_vendor_keys()

    async def _keep_up(self, beat: int) -> None:
        """Do what takes longer than a moment. Workers take turns in sweeping, so that none of them is needed for it."""
        await self._trail.flush(self._clock.wall_ms())
        if beat % TIMES_BEATS == 0:
            await self._tell_times()
        if beat % self._config.workers == self._slot:
            await self._state.sweep()
        await self._works.discover(beat)

    async def _tell_times(self) -> None:
        """Bring over how long answers from the store took. What cannot be brought over is left out."""
        rows = self._watchers.timing.take()
        if rows:
            with contextlib.suppress(StoreUnavailable):
                await self._state.outbox.append(*rows)

    def _report(self, upkeep: asyncio.Task[None]) -> None:
        if not upkeep.cancelled() and (error := upkeep.exception()) is not None:
            self._observer.defect(error)

    def _services(self) -> Services:
        config, state, clock = self._config, self._state, self._clock
        intake = Intake(config.body_limit_bytes, self._slow_bodies)
        unsaid = Unsaid(frozenset(config.cache_off_doors), frozenset(config.cache_off_keys))
        desk = Desk(self._works.road, clock, self._observer, intake, unsaid, self._trail)
        models = ModelDoors(self._works.fleet, self._works.threshold, clock)
        works = self._work_desk(intake)
        return Services(
            admission=self._admission,
            windows=self._works.threshold,
            asking={
                "generate": AskDoor("generate", NATIVE, desk),
                "chat_completions": AskDoor("chat_completions", CHAT, desk, voice_of("/v1/chat/completions")),
                "responses": AskDoor("responses", RESPONSES, desk, voice_of("/v1/responses")),
                "messages": AskDoor("messages", MESSAGES, desk, voice_of("/v1/messages")),
                "embeddings": AskDoor("embeddings", EMBEDDINGS, desk, voice_of("/v1/embeddings")),
                "count_tokens": self._count_door(desk.intake),
                "model_list": models,
                "model_object": models,
                **work_askings(works),
            },
            cache=CacheDoors(state.answers, state.promises, state.books, clock),
            fleet=FleetDoors(self._works.fleet, self),
            pages=Pages(DOORS, f"{config.host}:{config.port}", Dashboard()),
            limits=_limits(config),
            clock=clock,
            observer=self._observer,
            trail=self._trail,
            slow_bodies=self._slow_bodies,
            more=self._more_doors() | work_handlers(works),
            crossing=Crossing(config.cors_origins),
            metrics=MetricsDoor(self._page_of_metrics, self._admission, config.metrics),
        )

    def _work_desk(self, intake: Intake) -> WorkDesk:
        config = self._config
        return WorkDesk(
            self._archive,
            self._hub,
            self._works.threshold,
            self._clock,
            intake,
            self._trail,
            self._preferred,
            self._wake_workers,
            config.webhook_hosts,
            config.execution_timeout_s,
        )

    def _wake_workers(self) -> None:
        """Tell the worker of this data folder, and those of other nodes, that there is work."""
        self._waker.wake()
        self._state.bell.ring()

    def _more_doors(self) -> dict[str, Handler]:
        """Return the handlers of the doors that log in and administer."""
        sessions = SessionDoors(self._logins, self._admission, self._administration, self._trail)
        clerk = Clerk(self._administration, self._trail, self._state.budgets, self._clock)
        rules = tuple(map(read_rule, self._config.oidc_admit))
        key = self._secret.subkey(LOGINS)
        foyer = Foyer(self._identity_provider(), key, rules, self._administration, sessions, self._clock)
        performing = Performing(self._measures, self._clock)
        login = login_handlers(self._config.oidc_issuer) | oidc_handlers(foyer)
        watching = performance_handlers(performing.look) | settings_handlers(self._config)
        watching |= watching_handlers(clerk, self._screens)
        return sessions.handlers() | login | admin_handlers(clerk) | watching

    def _identity_provider(self) -> LateProvider | None:
        config = self._config
        if not config.oidc_issuer:
            return None
        return LateProvider(config.oidc_issuer, config.oidc_client_id, config.oidc_client_secret, self._clock)

    def _log_in(self) -> Logins:
        static = {token_digest(key.secret): STATIC_SCOPES for key in self._config.keys}
        return Logins(self._state.sessions, self._state.directory, self._clock, static)

    def _admit(self) -> Admission:
        config, directory = self._config, self._state.directory
        keyholders = Keyholders(directory, self._secret.subkeys(KEY_HASHES), self._clock)
        keys = [(key.secret, key.tenant) for key in config.keys]
        registry = Registry(keyholders, self._logins)
        return Admission(keys, config.trusted_proxies, config.open, registry, config.cors_origins)

    def _administer(self) -> Administration:
        state, config = self._state, self._config
        return Administration(
            Premises(
                config.database_url, config.data_dir, self._find_secret, state.directory, state.anchors, self._clock
            )
        )

    def _find_secret(self) -> Secret:
        return self._secret

    async def _note_keys(self) -> None:
        """See whether there are keys: the first one that is made closes the server to those without."""
        if self._config.require_keys:
            return  # it is closed, whatever there is
        try:
            there = await self._state.directory.has_keys()
        except StoreUnavailable:
            return  # as before
        if there is None and (self._knows_keys or self._may_have_keys()):
            if not self._knows_keys:
                self._admission.note_keys(None)
            return
        self._knows_keys = True
        self._admission.note_keys(bool(there))

    def _may_have_keys(self) -> bool:
        """Say whether there is a database at all; of one that was never made everything is known."""
        address = parse(self._config.database_url, Path(self._config.data_dir))
        return not isinstance(address, SqliteFile) or address.path.exists()

    def _count_door(self, intake: Intake) -> CountDoor:
        counter = Counter(self._works.providers, self._config.deadlines.total_s)
        return CountDoor(counter, self._preferred, self._works.threshold, intake, self._clock)

    def _preferred(self, ask: Ask, caller: Caller) -> Candidate:
        """Return who would be asked first, of those whom the caller may ask."""
        return allowed(caller, self._works.router.route(ask)).candidates[0]

    def _is_named(self, provider: str, model: str) -> bool:
        return self._works.is_named(provider, model)

    def _measure(self, meters: Meters) -> None:
        """Set the gauges of this process."""
        name, health = meters.process, self._works.health
        meters.gauge(catalog_of_metrics.IN_FLIGHT, self._app.in_flight, name)
        meters.gauge(catalog_of_metrics.FLIGHTS, self._works.answering.in_flight, name)
        meters.gauge(catalog_of_metrics.STORE_AWAY, self._works.threshold.away, name)
        for member in self._works.router.roster.configured:
            state = BREAKER_STATES.index(health.breaker_state(member.name))
            meters.gauge(catalog_of_metrics.BREAKER, state, name, member.name)
            meters.gauge(catalog_of_metrics.PROVIDER_LOAD, health.load(member.name), name, member.name)

    async def _page_of_metrics(self, accept: str) -> tuple[bytes, str]:
        parts = await self.look()
        return await asyncio.to_thread(self._measures.page, parts, accept)

    def _state_parts(self) -> list[PartHealth]:
        health = self._state.health()
        parts = {"books": PartHealth("books", "ok", " ".join(health.notes)), "cache": PartHealth("cache", "ok")}
        parts |= {name: PartHealth(name, "degraded", why) for name, why in health.degraded.items()}
        return list(parts.values())

    def _ledger_part(self) -> PartHealth:
        problem = worker_status.trouble(*self._worker_word())
        if self._admission.is_unsure:
            return PartHealth("ledger", "down", f"{NOT_KNOWN_YET} {problem}".strip(), needed=True)
        return PartHealth("ledger", "degraded" if problem else "ok", problem)

    def _workflow_parts(self) -> list[PartHealth]:
        if not self._config.workflows:
            return []
        problem = worker_status.trouble_with_executions(*self._worker_word())
        return [PartHealth("workflows", "degraded" if problem else "ok", problem)]

    def _worker_word(self) -> tuple[bytes | None, int | None]:
        """Return the worker's last word, and the time by which it may be stale; what nodes share goes by itself."""
        if self._config.state_url:
            return self._state.worker_word(), None
        return worker_status.read(worker_path(self._config.data_dir)), self._clock.wall_ms()

    def _provider_parts(self) -> list[PartHealth]:
        configured = self._works.router.roster.configured
        if not configured:
            return [PartHealth("providers", "down", "no provider is configured", needed=True)]
        names = ", ".join(member.name for member in configured)
        parts = [PartHealth("providers", "ok", names)]
        if any(member.name == catalog.LOCAL for member in configured):
            parts.append(_local_part(status_path(self._config.data_dir), alone=len(configured) == 1))
        return parts

    def _price_part(self) -> PartHealth:
        if self._works.prices.there:
            return PartHealth("prices", "ok")
        if self._works.fleet.names_awaited:  # without it names of models are not known yet
            return PartHealth("prices", "down", "the names and prices of models are still being compiled", needed=True)
        return PartHealth("prices", "degraded", "the price table is still being compiled")


def build(config: Config, slot: int, incarnation: int) -> Gateway:
    """Make the gateway of one process. Raises `ConfigError`."""
    return Gateway(config, slot, incarnation)


def _limits(config: Config) -> dict[str, LimitRule]:
    def rule(limit: RateLimit, **more: Any) -> LimitRule:
        return LimitRule(limit.requests, limit.span_s * NANO_PER_S, **more)

    rules = {}
    if config.limit_llm is not None:
        rules["llm"] = rule(config.limit_llm, message=config.limit_message)
    if config.limit_standard is not None:
        rules["standard"] = rule(config.limit_standard)
    if config.limit_refused is not None:
        rules["refused"] = rule(config.limit_refused)
    return rules


def _local_part(path: Path, *, alone: bool) -> PartHealth:
    status = local_status.read(path)
    if status.state == "ready":
        return PartHealth("local_model", "ok", status.model)
    hopeless = status.state == "failed" and status.permanent
    return PartHealth(
        "local_model", "down" if hopeless else "degraded", f"{status.state}: {status.detail}", needed=alone
    )
