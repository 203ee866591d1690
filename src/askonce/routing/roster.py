"""What routing may look at: who is there, what they are called, what is known of them, and what the owner wants."""

from collections.abc import Collection
from typing import Literal, Protocol

from msgspec import Struct

from askonce.domain.call import Kind, Priority
from askonce.domain.money import Price

Strategy = Literal["weighted", "order"]


class Member(Struct, frozen=True):
    """Hold one provider. `cure` tells how to configure it, where it is not ("set OPENAI_API_KEY").

    `models`: names that it is known to have. `open_ended`: it may have others, so a name that is asked for with this
    provider is passed on. `stands_in`: may it answer where nobody was named and the preferred one fails?
    `also`: further names that it has, of models that may be of another kind than is asked for. `unfit`: names that
    are known to be of another kind, which are refused.
    """

    name: str
    title: str
    configured: bool
    cure: str = ""
    default_model: str = ""
    models: tuple[str, ...] = ()
    open_ended: bool = True
    stands_in: bool = True
    also: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()


class Share(Struct, frozen=True):
    """Hold one model of a group, by a name as callers use it, and its weight (above 0)."""

    model: str
    weight: float = 1.0


class Group(Struct, frozen=True):
    """Hold models that stand for one name. `weighted`: by weight, sticky; `order`: the first that can."""

    members: tuple[Share, ...]
    strategy: Strategy = "weighted"


class Preference(Struct, frozen=True):
    """Hold whom the owner wants for a kind of work: by priority, or these models in this order."""

    priority: Priority | None = None
    models: tuple[str, ...] = ()


class Roster(Struct, frozen=True):
    """Hold all providers in order of preference, and what the owner wants.

    `default_model` is "" for none. `pool`: whom the choosing modes choose among, where nobody is named. `orchestrated`:
    who does what kind of work. `kind`: what is asked for; `embedders`: the same providers, as they are for embeddings.
    """

    members: tuple[Member, ...] = ()
    aliases: dict[str, str] = {}
    default_model: str = ""
    groups: dict[str, Group] = {}
    pool: tuple[str, ...] = ()
    orchestrated: dict[str, Preference] = {}
    kind: Kind = "chat"
    embedders: tuple[Member, ...] = ()

    def of(self, kind: Kind) -> "Roster":
        """Return the roster for a kind of call. Nobody is wanted for embeddings unless named."""
        if kind == self.kind:
            return self
        return Roster(members=self.embedders, aliases=self.aliases, groups=self.groups, kind=kind)

    def member(self, name: str) -> Member | None:
        """Find a provider by its name."""
        return next((member for member in self.members if member.name == name), None)

    @property
    def configured(self) -> tuple[Member, ...]:
        """Return those that can be asked."""
        return tuple(member for member in self.members if member.configured)


class Lore(Protocol):
    """Tell what is known of models. All answers are from memory, once that is there."""

    async def loaded(self) -> None:
        """Wait, within a bound, until prices are known at all: a first start compiles them."""
        ...

    def price(self, provider: str, model: str, version: str) -> Price | None:
        """Return the price, None where it is not known."""
        ...

    @property
    def names_awaited(self) -> bool:
        """Say whether names of models are still to come, so that one that is unknown may be known in a moment."""
        ...

    def context_window(self, provider: str, model: str, features: Collection[str] = ()) -> int | None:
        """Return how many tokens a model can read with these experiments of its vendor, None where it is not known."""
        ...

    def abilities(self, provider: str, model: str) -> frozenset[str]:
        """Return what a model can do, in the words of `capabilities`."""
        ...

    def room(self, provider: str) -> int | None:
        """Return how many calls a provider may have in the air, None for any number."""
        ...
