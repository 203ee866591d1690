"""What the worker is doing, told through one small file: it writes, gateways read for /ready."""

import os
from pathlib import Path

import msgspec
from msgspec import Struct

WRITE_EVERY_S = 2.0
STALE_MS = 10_000  # five words missed; a restart takes two seconds


class WorkerStatus(Struct, frozen=True):
    """Hold the worker's last word: "" or why nothing reaches the database, and how many records wait for it.

    `executions`: "" or why none are done. `updated_ms` is epoch milliseconds.
    """

    updated_ms: int
    ailment: str = ""
    waiting: int = 0
    executions: str = ""


def write(path: Path, status: WorkerStatus) -> None:
    """Replace the file whole. Raises `OSError`."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(msgspec.json.encode(status))
    os.replace(fresh, path)


def trouble(path: Path, now_ms: int) -> str:
    """Return why what happens does not reach the database, "" where it does."""
    status = _read(path, now_ms, "what happens waits")
    if isinstance(status, str):
        return status
    return f"{status.ailment} {status.waiting} records wait." if status.ailment else ""


def trouble_with_executions(path: Path, now_ms: int) -> str:
    """Return why no executions are done, "" where they are."""
    status = _read(path, now_ms, "executions wait")
    return status if isinstance(status, str) else status.executions


def _read(path: Path, now_ms: int, waits: str) -> WorkerStatus | str:
    """Return the last word, or why there is none."""
    try:
        status = msgspec.json.decode(path.read_bytes(), type=WorkerStatus)
    except FileNotFoundError:
        return f"the worker has not been started; {waits} for it"
    except (OSError, msgspec.DecodeError):
        return f"the worker's status file {path} cannot be read"
    if now_ms - status.updated_ms > STALE_MS:
        return f"the worker does not run; {waits} for it"
    return status
