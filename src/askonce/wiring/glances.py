"""Where commands look that work beside running servers: this machine's books, or what all nodes share."""

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from askonce.config.settings import Config
from askonce.domain.clock import Clock
from askonce.state.lmdb_glance import Glance

if TYPE_CHECKING:
    from askonce.state.valkey.glance import ValkeyGlance

AnyGlance: TypeAlias = "Glance | ValkeyGlance"


def glance_of(config: Config, clock: Clock) -> AnyGlance:
    """Return where to look. Raises `ConfigError` for a `STATE_URL` that cannot be used."""
    if not config.state_url:
        return Glance(Path(config.data_dir), clock)
    # Imported by who has such a server only: the client takes 100 ms.
    from askonce.state.valkey.glance import ValkeyGlance  # noqa: PLC0415

    return ValkeyGlance(config.state_url, clock)
