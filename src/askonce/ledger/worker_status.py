"""What the worker is doing, told through one small file, or shared state: it writes, gateways read for /ready."""

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


def pack(status: WorkerStatus) -> bytes:
    """Write a word as bytes."""
    return msgspec.json.encode(status)


def write(path: Path, packed: bytes) -> None:
    """Replace the file whole. Raises `OSError`."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.write_bytes(packed)
    os.replace(fresh, path)


def read(path: Path) -> bytes | None:
    """Return what the file holds, None where there is none; what cannot be read is no word at all."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError:
        return b""


def trouble(packed: bytes | None, now_ms: int | None) -> str:
    """Return why what happens does not reach the database, "" where it does.

    `packed`: the last word, None where there is none. `now_ms` None: a word that is there is never stale.
    """
    status = _read(packed, now_ms, "what happens waits")
    if isinstance(status, str):
        return status
    return f"{status.ailment} {status.waiting} records wait." if status.ailment else ""


def trouble_with_executions(packed: bytes | None, now_ms: int | None) -> str:
    """Return why no executions are done, "" where they are."""
    status = _read(packed, now_ms, "executions wait")
    return status if isinstance(status, str) else status.executions


def is_stale(packed: bytes, now_ms: int) -> bool:
    """Say whether a worker that runs would have told something newer; what cannot be read was told by none."""
    try:
        return now_ms - msgspec.json.decode(packed, type=WorkerStatus).updated_ms > STALE_MS
    except msgspec.DecodeError:
        return True


def _read(packed: bytes | None, now_ms: int | None, waits: str) -> WorkerStatus | str:
    """Return the last word, or why there is none."""
    if packed is None:
        if now_ms is None:
            return f"no worker runs; {waits} for it"
        return f"the worker has not been started; {waits} for it"
    try:
        status = msgspec.json.decode(packed, type=WorkerStatus)
    except msgspec.DecodeError:
        return "the worker's status file cannot be read"
    if now_ms is not None and now_ms - status.updated_ms > STALE_MS:
        return f"the worker does not run; {waits} for it"
    return status
