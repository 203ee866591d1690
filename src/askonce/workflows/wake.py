"""A tap on the worker's shoulder: one empty datagram to a socket in the data folder says that there is work.

Nothing depends on it: the worker looks by itself too, a little later.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

SOCKET = "worker.sock"  # in the run folder
# The longest path of a Unix socket on Linux; in a folder that is deeper the worker only looks by itself.
_LONGEST = 107


class Waker:
    """Tap. Never waits and never raises."""

    def __init__(self, run_folder: Path) -> None:
        self._path = str(run_folder / SOCKET)
        self._socket: socket.socket | None = None

    def wake(self) -> None:
        """Tell the worker of this data folder to look now."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(OSError):  # nobody listens, or does not keep up: then it is awake
            self._socket.sendto(b"", self._path)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class WakeListener:
    """Hear taps. Where the socket cannot be had, there are none."""

    def __init__(self, run_folder: Path, heard: Callable[[], None]) -> None:
        self._path = run_folder / SOCKET
        self._heard = heard
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Begin to listen, in place of whoever did before."""
        if len(str(self._path).encode()) > _LONGEST:
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._path.unlink(missing_ok=True)
            listening.bind(str(self._path))
        except OSError:
            listening.close()
            return
        self._socket = listening
        asyncio.get_running_loop().add_reader(listening.fileno(), self._drain, listening)

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)

    def _drain(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                listening.recv(1)
        self._heard()
