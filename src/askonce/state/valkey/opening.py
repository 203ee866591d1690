"""Which adapter speaks with the server that an address names."""

from typing import TYPE_CHECKING, TypeAlias

from askonce.state.valkey.address import Address
from askonce.state.valkey.single import SingleServer

if TYPE_CHECKING:
    from askonce.state.valkey.library import LibraryServer

AnyServer: TypeAlias = "SingleServer | LibraryServer"


def server_of(address: Address, deadline_s: float) -> AnyServer:
    """Make the adapter; nothing is connected yet. Raises `ConfigError` for files of TLS that are not good."""
    if address.kind == "single":
        return SingleServer(address, deadline_s)
    # Imported by who has a Sentinel or a Cluster only: it takes 100 ms.
    from askonce.state.valkey.library import LibraryServer  # noqa: PLC0415

    return LibraryServer(address, deadline_s)
