"""The listening sockets: made by the supervisor, one per gateway, and kept open by it.

On Linux each gateway has a socket of its own (SO_REUSEPORT) and the kernel spreads connections over them. As the
supervisor keeps them open, connections that wait for a gateway that died are served by its successor. Elsewhere
SO_REUSEPORT does not spread, so that all gateways accept from one socket.
"""

import errno
import socket
import sys

from askonce.domain.errors import ConfigError

BACKLOG = 2048  # connections that wait while a gateway is replaced; the kernel cuts it to its own maximum
_SPREADS = sys.platform == "linux"

_CURES = {
    errno.EADDRINUSE: "the port is in use; stop what listens there, or choose another with --port or ASKONCE_PORT",
    errno.EACCES: "ports below 1024 need privileges; choose another with --port or ASKONCE_PORT",
    errno.EADDRNOTAVAIL: "this machine does not have that address; correct --host or ASKONCE_HOST",
}


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """Listen on host and port with `count` sockets (where that spreads; else with `count` handles of one).

    Port 0 takes a free one, the same for all. Raises `ConfigError` if the address cannot be had.
    """
    family, address = _resolve(host, port)
    try:
        _probe(family, address)
        first = _listener(family, address)
        if not _SPREADS:
            return [first, *(first.dup() for _ in range(count - 1))]
        bound = first.getsockname()
        return [first, *(_listener(family, bound) for _ in range(count - 1))]
    except OSError as error:
        cure = _CURES.get(error.errno or 0, error.strerror or "it cannot be listened on")
        raise ConfigError(f"host = {host!r}, port = {port}: {cure}.") from error


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, tuple[str, int]]:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"host = {host!r} is no address of this machine; correct --host or ASKONCE_HOST.") from error
    found.sort(key=lambda one: one[0] != socket.AF_INET)
    return found[0][0], (str(found[0][4][0]), port)


def _probe(family: socket.AddressFamily, address: tuple[str, int]) -> None:
    """Bind without sharing: SO_REUSEPORT alone would silently join another server's port."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def _listener(family: socket.AddressFamily, address: tuple[str, int]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if _SPREADS:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
