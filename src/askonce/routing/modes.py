"""The routing modes, one small class each: a wish and the roster become ordered candidates."""

from typing import Protocol

from askonce.domain.call import Candidate, RoutingMode, RoutingWish
from askonce.domain.errors import Detail, Invalid, RoutingModeUnavailable
from askonce.routing.resolve import at_member, by_default, by_name, named_provider
from askonce.routing.roster import Roster


class Mode(Protocol):
    """Choose who may answer."""

    def choose(self, wish: RoutingWish, roster: Roster) -> tuple[Candidate, ...]:
        """Return candidates in order of preference. Raises the routing errors of `domain.errors`."""
        ...


class SingleModel:
    """Ask the one model that is named, or the default."""

    def choose(self, wish: RoutingWish, roster: Roster) -> tuple[Candidate, ...]:
        """Return the one candidate."""
        if wish.active_provider:
            return (_at_active(wish, wish.active_provider, roster),)
        return (by_name(wish.model, roster) if wish.model else by_default(roster),)


class Manual:
    """Ask the provider that the caller chose, and no other."""

    def choose(self, wish: RoutingWish, roster: Roster) -> tuple[Candidate, ...]:
        """Return the one candidate. Raises `Invalid` without `activeProvider`."""
        if not wish.active_provider:
            message = "Routing mode 'manual' needs activeProvider, the name of the provider to ask."
            raise Invalid(message, details=[Detail("activeProvider", message)])
        return (_at_active(wish, wish.active_provider, roster),)


MODES: dict[RoutingMode, Mode] = {"single-model": SingleModel(), "manual": Manual()}


def resolve(wish: RoutingWish, roster: Roster) -> tuple[Candidate, ...]:
    """Choose candidates by the wished mode.

    Raises `RoutingModeUnavailable`, `Invalid`, `UnknownModel`, `ProviderNotConfigured`.
    """
    mode = MODES.get(wish.mode)
    if mode is None:
        there = ", ".join(repr(name) for name in MODES)
        raise RoutingModeUnavailable(
            f"Routing mode {wish.mode!r} is not available in this version; use one of {there}."
        )
    return mode.choose(wish, roster)


def _at_active(wish: RoutingWish, active: str, roster: Roster) -> Candidate:
    """Resolve the model at the active provider; a model that names another provider contradicts it."""
    member = named_provider(active, roster)
    name = roster.aliases.get(wish.model or "", wish.model or "")
    head, colon, rest = name.partition(":")
    if colon and head == member.name:
        name = rest
    elif colon and roster.member(head):
        message = f"The model {name!r} is {head}'s, but activeProvider is {member.name!r}: send one of the two."
        raise Invalid(message, details=[Detail("model", message)])
    return at_member(name, member, roster)
