"""The doors that look at what is stored and who answers, or forget some of it."""

from msgspec import Struct

from askonce.api.errands import Errand, Handler
from askonce.api.resources import CacheDoors, FleetDoors
from askonce.api.trail import Trail


def looks(cache: CacheDoors, fleet: FleetDoors, trail: Trail) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def drop(errand: Errand) -> Struct:
        dropped = await cache.drop(errand.caller, errand.key)
        await trail.note((errand.caller, errand.request), "cache.purged", errand.key, deleted=dropped.deleted)
        return dropped

    async def purge(errand: Errand) -> Struct:
        purged = await cache.purge(errand.caller, errand.query)
        chosen = {name: value for name, value in _fields(errand.query).items() if value not in ("", None)}
        who = (errand.caller, errand.request)
        await trail.note(who, "cache.purged", "", "notice", deleted=purged.deleted, chosen=chosen)
        return purged

    async def entry(errand: Errand) -> Struct:
        shown = await cache.entry(errand.caller, errand.key)
        await trail.note((errand.caller, errand.request), "cache.read", errand.key)
        return shown

    async def models(errand: Errand) -> Struct:
        return await fleet.models(errand.caller)

    async def providers(errand: Errand) -> Struct:
        return await fleet.providers()

    return {
        "cache_stats": lambda errand: cache.stats(errand.caller),
        "cache_entries": lambda errand: cache.entries(errand.caller, errand.query),
        "cache_entry": entry,
        "drop_entry": drop,
        "purge_cache": purge,
        "models": models,
        "providers": providers,
    }


def _fields(query: Struct) -> dict[str, object]:
    return {name: getattr(query, name) for name in query.__struct_fields__}
