"""What the supervisor tells a gateway or the worker at its start: a JSON line on stdin; all can see arguments."""

import msgspec
from msgspec import Struct

from askonce.config.settings import Config

# Exit codes of the children, and of `askonce serve`.
EXIT_HOPELESS = 3  # trying again cannot help
EXIT_FAILED = 1


class Assignment(Struct, frozen=True):
    """Hold a gateway's configuration, its place, and the descriptors that it inherits.

    `slot` counts from 0; `incarnation` is different, and greater, at every start. stdin stays open as long as the
    supervisor lives.
    """

    config: Config
    slot: int
    incarnation: int
    listener_fd: int
    pulse_fd: int


class WorkerAssignment(Struct, frozen=True):
    """Hold the worker's configuration, the number of this start, and where it beats.

    `word_fd`: where it writes the word of the first administrator's link; -1 where nobody asks for one.
    """

    config: Config
    incarnation: int
    pulse_fd: int
    word_fd: int = -1


def encode(assignment: Assignment | WorkerAssignment) -> bytes:
    """Write the line."""
    return msgspec.json.encode(assignment) + b"\n"


def decode(line: bytes) -> Assignment:
    """Read the line."""
    return msgspec.json.decode(line, type=Assignment)
