"""Which shared state a process has: files of the data folder, or what `STATE_URL` names."""

import os
import socket
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from askonce.config.secret import STATE_MARK, Secret
from askonce.config.settings import Config
from askonce.domain.clock import Clock
from askonce.domain.ports import Observer
from askonce.state import lmdb_files
from askonce.state.lmdb_state import LmdbState

if TYPE_CHECKING:
    from askonce.state.valkey.state import ValkeyState

State: TypeAlias = "LmdbState | ValkeyState"

_MARK = b"one installation"


def open_state(config: Config, slot: int, incarnation: int, secret: Secret, clock: Clock, observer: Observer) -> State:
    """Open the state as one process of this node; a server is not yet connected. Raises `ConfigError`."""
    owner = f"{slot}:{incarnation}"
    if config.state_url:
        # Imported by who has such a server only: the client takes 100 ms and 10 MB.
        from askonce.state.valkey.state import ValkeyState  # noqa: PLC0415

        keys = secret.subkeys(STATE_MARK)
        marks = tuple(blake2b(_MARK, key=key, digest_size=16).hexdigest().encode() for key in keys)
        owner = f"{node_name(config.data_dir)}/{owner}"
        size, deadline_s = config.cache_size_bytes, config.state_timeout_s
        return ValkeyState(config.state_url, size, clock, owner, deadline_s, marks, observer.unbooked)
    state = LmdbState(Path(config.data_dir), config.cache_size_bytes, clock, owner)
    state.open()
    return state


def node_name(data_dir: str) -> str:
    """Name this node: the machine, and what tells data folders and boots apart.

    The same for all processes of a data folder until the machine is started anew, and never that of another node,
    even of one that was copied from this one.
    """
    place = Path(data_dir).absolute()
    status = place.stat() if place.exists() else None
    inode = (status.st_dev, status.st_ino) if status is not None else (0, 0)
    what = f"{lmdb_files.boot_id()} {place} {inode} {os.getuid()}".encode()
    return f"{socket.gethostname()}-{blake2b(what, digest_size=6).hexdigest()}"
