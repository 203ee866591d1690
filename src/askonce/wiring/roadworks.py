"""The road with everything along it, as each process builds it that asks providers: gateways, and the worker."""

import contextlib
import os
import random

import msgspec
from msgspec import Struct

from askonce.cache.policy import Policy
from askonce.config.paths import prices_path
from askonce.config.secret import Secret
from askonce.config.settings import Config
from askonce.domain.accounts import SecretChanged
from askonce.domain.call import Call
from askonce.domain.clock import SystemClock
from askonce.domain.content import text_of
from askonce.domain.errors import StoreUnavailable
from askonce.domain.handover import NEVER
from askonce.domain.ports import Flights, Observer
from askonce.domain.tracing import TraceOut, untraced
from askonce.domain.usage import Usage
from askonce.gate.answering import Answering
from askonce.gate.dispatch import Bills, Dispatch, Outlets
from askonce.gate.keeping import Keeper, Keeping
from askonce.gate.pipeline import Road
from askonce.gate.relay import Relay
from askonce.gate.settle import Settlement, Stores
from askonce.gate.treasury import Treasury
from askonce.providers.embeddings import input_tokens
from askonce.providers.http import Http
from askonce.providers.network import Network
from askonce.providers.price_file import PriceFile
from askonce.providers.tokens import estimate
from askonce.routing.health import Health
from askonce.routing.router import Router
from askonce.state.fallback import Fallback
from askonce.state.memory import MemoryWindows
from askonce.state.solo import Hangar, SoloFlights
from askonce.telemetry import logs
from askonce.wiring.fleet import berths_of, fleet_of, places_of, providers_of, shapes_of
from askonce.wiring.state import State

# How often endpoints of one's own are asked for their models; beats are seconds.
DISCOVER_BEATS = 60
IMPATIENT_BEATS = 3  # while one of them has not told yet

_log = logs.get("askonce.config")


class Site(Struct, frozen=True):
    """Hold what a process brings: its settings, its view of shared state, and the secret that opens what is sealed."""

    config: Config
    state: State
    secret: Secret
    clock: SystemClock
    observer: Observer
    trace_out: TraceOut = untraced


class Roadworks:
    """Build the road, and keep up what stands along it. To be closed."""

    def __init__(self, site: Site) -> None:
        config, clock = site.config, site.clock
        self._config = config
        self._state = site.state
        self._secret = site.secret
        self._clock = clock
        self._keys_stamp = NEVER
        self.prices = PriceFile(prices_path(config.data_dir), clock)
        # Proxies and certificates are the process's, not ours.
        self.http = Http(Network.from_environ(os.environ))
        self.providers = providers_of(config, self.http)
        self.health = Health(clock)
        self.fleet = fleet_of(config, self.providers, self.prices, self.health, clock)
        self.router = Router(self.fleet.roster(), self.fleet, self.health)
        self._own_windows = MemoryWindows(clock)
        self.threshold = Fallback(
            site.state.threshold, site.state.windows, self._own_windows, config.nodes * config.workers
        )
        self.answering, self.road = self._build(site)

    def beat(self) -> None:
        """Do what is due every second."""
        self._own_windows.sweep()
        self.prices.refresh()
        self.router.replace(self.fleet.roster())

    async def take_vendor_keys(self) -> None:
        """Use the keys of providers that the database has now. What cannot be opened, or was lost, changes nothing."""
        with contextlib.suppress(StoreUnavailable):  # /ready says why
            if await self._state.vendor_keys.stamp() not in (NEVER, self._keys_stamp):
                self._keys_stamp, packed = await self._state.vendor_keys.read()
                self._use(packed)

    async def discover(self, beat: int) -> None:
        """Ask endpoints of one's own for their models, when that is due."""
        if beat % (IMPATIENT_BEATS if self.fleet.is_waiting else DISCOVER_BEATS) == 0:
            await self.fleet.discover()
            self.router.replace(self.fleet.roster())

    def is_named(self, provider: str, model: str) -> bool:
        """Say whether a model's name is one that is known, and not one that a caller may have made up."""
        if self.prices.price(provider, model, "") is not None:
            return True
        members = [member for member in self.router.roster.members if member.name == provider]
        return any(model in (member.default_model, *member.models, *member.also) for member in members)

    async def close(self) -> None:
        """Hang up. What is in the air is to have landed, or been abandoned, by then."""
        await self.http.close()

    def _build(self, site: Site) -> tuple[Answering, Road]:
        config, state, clock = site.config, site.state, site.clock
        policy = Policy(config.cache, config.cache_ttl_s, shapes_of(config))
        flights: Flights = state.flights if config.shares_flights else SoloFlights(Hangar(clock, is_alone=True), "solo")
        outlets = Outlets(self.providers, places_of(config), site.trace_out)
        dispatch = Dispatch(
            outlets, Bills(self.prices, _TokenMeter()), config.deadlines.total_s, self.health, random.random
        )
        keeper = Keeper(state.outbox, Keeping(config.sample, config.log_texts), clock, random.random)
        stores = Stores(state.answers, state.promises, state.books, keeper)
        settlement = Settlement(stores, policy, clock, site.observer)
        treasury = Treasury(state.budgets, state.outbox, self.prices, clock)
        relay = Relay(flights, state.answers, dispatch, settlement, treasury)
        answering = Answering(relay, flights, dispatch, settlement, site.observer)
        return answering, Road(self.router, policy, self.threshold, answering, clock)

    def _use(self, packed: bytes) -> None:
        # Imported by who has such keys only: cryptography takes 60 ms.
        from askonce.wiring.vendor_keys import opened, with_keys  # noqa: PLC0415

        try:
            config = with_keys(self._config, opened(packed, self._secret))
        except (SecretChanged, msgspec.DecodeError) as error:
            _log.error(f"the providers' keys in shared state cannot be used: {error}")
            return
        made = providers_of(config, self.http)
        self.providers.clear()  # in place: everybody who asks has this very table
        self.providers.update(made)
        self.fleet.refit(berths_of(config, self.providers))
        self.router.replace(self.fleet.roster())


class _TokenMeter:
    """Count what an abandoned or broken call used. By length: a tokenizer is not worth its 60 MB for a guess."""

    async def usage(self, call: Call, model: str, text: str) -> Usage:
        """Return estimated tokens."""
        if call.kind == "embedding":
            return Usage(input_tokens(call), 0, estimated=True)
        *prompt, answer = estimate([*(text_of(message.content) for message in call.messages), text])
        return Usage(sum(prompt), answer, estimated=True)
