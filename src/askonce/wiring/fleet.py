"""The providers that are configured, and all that routing is to know of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from askonce.config.paths import status_path
from askonce.config.settings import Config, ProviderSettings
from askonce.domain.clock import SystemClock
from askonce.domain.errors import ConfigError
from askonce.domain.ports import Provider
from askonce.localmodel import status as local_status
from askonce.localmodel.resolve import OnDisk, presumed_name, resolve
from askonce.providers import catalog
from askonce.providers.chat import Address, ChatProvider, Endpoint, fixed
from askonce.providers.embeddings import OpenAIProvider
from askonce.providers.fleet import Berth, Fleet, LocalWord
from askonce.providers.gemini_embeddings import GoogleProvider
from askonce.providers.http import Http, Limits
from askonce.providers.messages import MessagesProvider
from askonce.providers.price_file import PriceFile
from askonce.providers.script import read_script
from askonce.providers.scripted import ScriptedProvider
from askonce.routing.capabilities import PURPOSES
from askonce.routing.health import Health
from askonce.routing.roster import Group, Preference, Roster, Share


def _row(settings: ProviderSettings) -> catalog.Vendor:
    """Return the catalog's row of a configured provider, moved to its address; a new row for a new name."""
    vendor = catalog.vendor_named(settings.name)
    try:
        if vendor is None:
            row = catalog.custom(settings.name, settings.base_url)
        else:
            row = catalog.at(vendor, settings.base_url) if settings.base_url else vendor
    except ValueError as error:
        raise ConfigError(f"[providers.{settings.name}]: {error}") from None
    return catalog.stated(row, settings.own_machine)


def providers_of(config: Config, http: Http) -> dict[str, tuple[Provider, ...]]:
    """Make a provider for every key of every configured row that can be asked."""
    deadlines = config.deadlines
    limits = Limits(deadlines.connect_s, deadlines.first_byte_s, deadlines.idle_s, deadlines.total_s)
    made: dict[str, tuple[Provider, ...]] = {}
    for settings in config.providers:
        row = _row(settings)
        if row.shape == "script":
            made[row.name] = (ScriptedProvider(read_script(Path(settings.script))),)
        elif row.base_url and (settings.api_key or not row.needs_key):
            make = _SPEAKERS[row.shape]
            made[row.name] = tuple(make(row, fixed(row.base_url, key), http, limits) for key in settings.keys)
    local = catalog.vendor_named(catalog.LOCAL)
    wanted = catalog.wants_local_model(config.local_model, (settings.name for settings in config.providers))
    if wanted and local is not None:
        made[local.name] = (ChatProvider(local, _local_endpoint(status_path(config.data_dir)), http, limits),)
    return made


# Who speaks a vendor's shape.
_SPEAKERS: dict[catalog.Shape, Callable[[catalog.Vendor, Endpoint, Http, Limits], Provider]] = {
    "openai": OpenAIProvider,
    "anthropic": MessagesProvider,
    "gemini": GoogleProvider,
}


def shapes_of(config: Config) -> dict[str, str]:
    """Return in which shape each provider is asked."""
    rows = {row.name: row for row in (*catalog.VENDORS, *map(_row, config.providers))}
    return {name: row.shape for name, row in rows.items()}


def places_of(config: Config) -> dict[str, int]:
    """Return how many calls this process may have in the air, where that is bounded: its share of the bound."""
    return {
        settings.name: settings.max_concurrency // config.askers
        for settings in config.providers
        if settings.max_concurrency is not None
    }


def _wishes(config: Config) -> Roster:
    """Write down what the owner wants of routing. Raises `ConfigError` for work that is not known."""
    unknown = next((work for work in config.routing.orchestrated if work not in PURPOSES), None)
    if unknown is not None:
        raise ConfigError(f"[routing.orchestrated] {unknown}: there is no such work; known are {', '.join(PURPOSES)}.")
    return Roster(
        aliases=config.aliases,
        default_model=config.default_model,
        groups={
            name: Group(tuple(Share(one.model, one.weight) for one in group.members), group.strategy)
            for name, group in config.groups.items()
        },
        pool=config.routing.models,
        orchestrated={work: Preference(row.priority, row.models) for work, row in config.routing.orchestrated.items()},
    )


def _local_endpoint(path: Path) -> Endpoint:
    """Wait for the embedded model's address: it may still be fetching its weights."""

    async def find(deadline_s: float) -> Address:
        status = await local_status.wait_ready(path, deadline_s)
        return Address(status.base_url, status.token)

    return find


def fleet_of(
    config: Config,
    providers: Mapping[str, tuple[Provider, ...]],
    prices: PriceFile,
    health: Health,
    clock: SystemClock,
) -> Fleet:
    """Make the fleet of all that are known, configured or not."""
    path = status_path(config.data_dir)
    return Fleet(berths_of(config, providers), prices, _wishes(config), lambda: _local_word(path), health, clock)


def berths_of(config: Config, providers: Mapping[str, tuple[Provider, ...]]) -> list[Berth]:
    """Return a place for each that is known, with whoever asks there."""
    told = {settings.name: settings for settings in config.providers}
    rows = [*catalog.VENDORS, *(_row(s) for s in config.providers if catalog.vendor_named(s.name) is None)]
    # The owner's own providers come before the embedded model, which is asked when there is nobody else.
    rows.sort(key=lambda row: row.name == catalog.LOCAL)
    berths = []
    for vendor in rows:
        settings = told.get(vendor.name)
        row = _row(settings) if settings is not None else vendor
        default = settings.default_model if settings is not None else ""
        if row.name == catalog.LOCAL:
            default = _local_name(config)
        berth = Berth(row, next(iter(providers.get(row.name, ())), None), default)
        if settings is not None:
            berth = replace(
                berth,
                models=settings.models,
                capabilities=settings.capabilities,
                room=places_of(config).get(row.name),
                windows=settings.context_windows,
            )
        berths.append(berth)
    return berths


def _local_name(config: Config) -> str:
    """Return the name of the embedded model before its process has told it."""
    if not catalog.wants_local_model(config.local_model, (settings.name for settings in config.providers)):
        return ""
    try:
        found = resolve(config.local_model, Path(config.models_dir))
    except ConfigError:  # its file went away since the start: its own process says so to whoever asks
        return presumed_name(config.local_model)
    return found.name if isinstance(found, OnDisk) else found[0].name


def _local_word(path: Path) -> LocalWord:
    status = local_status.read(path)
    reason = "" if status.state == "ready" else f"{status.state}: {status.detail}" if status.detail else status.state
    return LocalWord(reason, status.model, status.context_tokens, status.smoke_test)
