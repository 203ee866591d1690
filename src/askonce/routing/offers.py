"""Which names a caller may send as `model`: a plain name where it means the model, else with its provider. Pure."""

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from askonce.domain.call import Kind
from askonce.domain.errors import Invalid, UnknownModel
from askonce.domain.fleet import ModelInfo, Offer
from askonce.routing.resolve import MAX_NAME_CHARS, VERSION, by_name, leads, nearest
from askonce.routing.roster import Roster

OURS = "askonce"  # who owns the names that stand in the settings


def offered(models: Iterable[ModelInfo], roster: Roster) -> tuple[Offer, ...]:
    """Return the names of all models that can be asked, then the aliases and groups that lead to somebody.

    Their order is that of the models; of models with the same name the preferred one has it plain.
    """
    first = {kind: _first(roster.of(kind)) for kind in _KINDS}
    offers = {}
    for model in models:
        plain = first[model.kind].get(model.model) == model.provider and _is_free(model.model, roster)
        name = model.model if plain else f"{model.provider}:{model.model}"
        offers[name] = Offer(name, model.provider, model.model, model.kind, model.context_window)
    for name in (*roster.aliases, *roster.groups):
        kind = next((kind for kind in _KINDS if _leads(name, roster.of(kind))), None)
        if kind is not None:
            offers[name] = Offer(name, OURS, name, kind, leads_to=by_name(name, roster.of(kind)).candidates)
    return tuple(offers.values())


def offer_named(name: str, offers: Sequence[Offer]) -> Offer:
    """Find what a name stands for, however it may be written. Raises `UnknownModel` with the nearest."""
    by_any = {f"{offer.owner}:{offer.model}": offer for offer in offers if offer.owner != OURS}
    by_any |= {offer.name: offer for offer in offers}
    found = by_any.get(name) or by_any.get(VERSION.sub("", name))
    if found is None:
        near = nearest(name, by_any)
        hint = f" The nearest is {near!r}." if near else ""
        raise UnknownModel(f"There is no model {name[:MAX_NAME_CHARS]!r}.{hint} GET /v1/models lists what there is.")
    return found if found.name == name else replace(found, name=name)


_KINDS: tuple[Kind, ...] = ("chat", "embedding")


def _first(roster: Roster) -> dict[str, str]:
    """Return who is meant by each plain name: the first configured provider that has it (see `routing.resolve`)."""
    found: dict[str, str] = {}
    for member in roster.configured:
        for name in (*member.models, *member.also, member.default_model):
            found.setdefault(name, member.name)
    return found


def _is_free(name: str, roster: Roster) -> bool:
    """Say whether a name is neither an alias nor a group, nor begins with a provider's name and a colon."""
    head, colon, _ = name.partition(":")
    return not (name in roster.aliases or name in roster.groups or (colon and roster.member(head)))


def _leads(name: str, roster: Roster) -> bool:
    try:
        return leads(name, roster)
    except Invalid:
        return False
