"""What can be asked, and how its parts are: for those who look before they ask."""

from typing import Literal, Protocol

from msgspec import Struct

from askonce.domain.call import Candidate, Kind
from askonce.domain.money import Price

PartStatus = Literal["ok", "degraded", "down", "off"]


class ModelInfo(Struct, frozen=True):
    """Describe a model that can be asked now. `context_window` in tokens, None where not known."""

    provider: str
    model: str
    default: bool = False
    context_window: int | None = None
    price: Price | None = None
    capabilities: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    note: str = ""
    kind: Kind = "chat"


class Offer(Struct, frozen=True):
    """Name what a caller may send as `model`. `owner` is the provider, or `askonce` for an alias or a group.

    `model` is the name at its provider. `context_window` in tokens, None where not known. `leads_to` are those for
    whom an alias or a group stands now.
    """

    name: str
    owner: str
    model: str
    kind: Kind = "chat"
    context_window: int | None = None
    leads_to: tuple[Candidate, ...] = ()


class ProviderInfo(Struct, frozen=True):
    """Describe a provider. `healthy` is None where nobody looked; `reason` says why it is not configured or healthy."""

    name: str
    title: str
    configured: bool
    healthy: bool | None = None
    reason: str = ""
    default_model: str = ""
    base_url: str = ""
    breaker: Literal["closed", "open", "half-open"] = "closed"


class PartHealth(Struct, frozen=True):
    """Describe one part of this process; `needed` parts that are down make it not ready."""

    name: str
    status: PartStatus
    detail: str = ""
    needed: bool = False


class Fleet(Protocol):
    """Show providers and models. Never makes a paid call."""

    async def models(self) -> tuple[ModelInfo, ...]:
        """List what can be asked now."""
        ...

    async def offers(self) -> tuple[Offer, ...]:
        """List the names that callers may send as `model` now."""
        ...

    async def providers(self) -> tuple[ProviderInfo, ...]:
        """List all providers of the catalog and the configuration."""
        ...


class Parts(Protocol):
    """Look at every part that exists."""

    async def look(self) -> tuple[PartHealth, ...]:
        """Return each part's health; never raises, never waits longer than a probe's deadline."""
        ...
