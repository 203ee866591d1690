"""What routing may look at: who is there, what they are called, and what they are known to have."""

from msgspec import Struct


class Member(Struct, frozen=True):
    """Hold one provider. `cure` tells how to configure it, where it is not ("set OPENAI_API_KEY").

    `models`: names that it is known to have. `open_ended`: it may have others, so a name that is asked for with this
    provider is passed on.
    """

    name: str
    title: str
    configured: bool
    cure: str = ""
    default_model: str = ""
    models: tuple[str, ...] = ()
    open_ended: bool = True


class Roster(Struct, frozen=True):
    """Hold all providers in order of preference, the aliases, and the owner's default model ("" for none)."""

    members: tuple[Member, ...] = ()
    aliases: dict[str, str] = {}
    default_model: str = ""

    def member(self, name: str) -> Member | None:
        """Find a provider by its name."""
        return next((member for member in self.members if member.name == name), None)

    @property
    def configured(self) -> tuple[Member, ...]:
        """Return those that can be asked."""
        return tuple(member for member in self.members if member.configured)
