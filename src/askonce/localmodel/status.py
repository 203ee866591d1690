"""What the embedded model is doing, told through one small file: its process writes, everybody else reads.

The file holds the token of the model's port, so it is for its owner only. It is replaced whole, never changed. A
process that died without a word is seen by its pid: its last word then reads as `stopped`.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from askonce.domain.clock import Clock, SystemClock
from askonce.domain.errors import ModelLoading, ModelUnavailable

State = Literal["absent", "fetching", "loading", "ready", "failed", "stopped"]

POLL_FIRST_S = 0.05  # a model that is about to be ready is seen at once
POLL_MOST_S = 0.25  # one that is not costs a reader four looks a second
GONE_GRACE_S = 10.0  # longer than the supervisor's first respawns; after that nobody is coming
ANSWER_S = 1.0  # one that lives takes a millisecond
RETRY_FETCHING_S = 15
RETRY_LOADING_S = 2


class Status(Struct, frozen=True):
    """Hold the model's last word.

    `model` is the name it answers to. `context_tokens` is what one call may use, prompt and answer together.
    `base_url` ends in `/v1` and, like `token`, is set when `ready`. `done` and `total` are bytes of the weights.
    `detail` is a sentence for people. `permanent` marks a failure that trying again does not cure, or that was given
    up. `updated_ms` is epoch milliseconds.
    """

    state: State
    model: str = ""
    context_tokens: int = 0
    base_url: str = ""
    token: str = ""
    done: int = 0
    total: int = 0
    detail: str = ""
    permanent: bool = False
    smoke_test: bool = False
    pid: int = 0
    updated_ms: int = 0


ABSENT = Status(state="absent", detail="The embedded model has not been started.")


def read(path: Path) -> Status:
    """Return the last word of the model's process, or one that says that it is absent or gone."""
    try:
        status = msgspec.json.decode(path.read_bytes(), type=Status)
    except FileNotFoundError:
        return ABSENT
    except (OSError, msgspec.DecodeError):
        return msgspec.structs.replace(ABSENT, detail=f"The embedded model's status file {path} cannot be read.")
    if status.state in ("fetching", "loading", "ready") and not _alive(status.pid):
        gone = "The embedded model's process ended without a word."
        return msgspec.structs.replace(status, state="stopped", base_url="", token="", detail=gone)
    return status


def write(path: Path, status: Status) -> None:
    """Replace the file whole; a reader sees the old word or the new one. Only its owner can read it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        file.write(msgspec.json.encode(status))
    os.replace(fresh, path)


def give_up(path: Path, reason: str, clock: Clock | None = None) -> None:
    """Mark the model as failed for good, in the supervisor's name, so that nobody waits for it any longer."""
    last = read(path)
    now = (clock or SystemClock()).wall_ms()
    write(
        path,
        msgspec.structs.replace(
            last, state="failed", base_url="", token="", detail=reason, permanent=True, updated_ms=now
        ),
    )


async def answers(base_url: str) -> bool:
    """Say whether a model's process answers at all: a killed one's pid and port are there a moment longer than it."""
    address = urlsplit(base_url)
    try:
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                return bool(await reader.read(1))
            finally:
                writer.close()
    except TimeoutError:
        return True  # busy, which the dead are not
    except OSError:
        return False


async def wait_ready(
    path: Path,
    deadline_s: float,
    *,
    clock: Clock | None = None,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    answers: Callable[[str], Awaitable[bool]] = answers,
) -> Status:
    """Wait until the model serves, for at most `deadline_s` seconds, and return its status with address and token.

    Raises `ModelUnavailable` as soon as there is nothing to wait for, `ModelLoading` at the deadline. Cancelled, it
    leaves nothing behind.
    """
    clock = clock or SystemClock()
    end_ns, pause_s = clock.steady_ns() + int(deadline_s * 1e9), POLL_FIRST_S
    seen_ns = clock.steady_ns()  # when somebody was last at work, or when we came
    while True:
        status = read(path)
        if status.state == "ready":
            if await answers(status.base_url):
                return status
            status = msgspec.structs.replace(status, state="stopped", detail="Its process has just ended.")
        now_ns = clock.steady_ns()
        if status.state not in ("absent", "stopped"):
            seen_ns = now_ns
        _give_up_if_hopeless(status, (now_ns - seen_ns) / 1e9)
        if now_ns >= end_ns:
            raise _loading(status)
        await sleep(min(pause_s, (end_ns - now_ns) / 1e9))
        pause_s = min(pause_s * 2, POLL_MOST_S)


def _give_up_if_hopeless(status: Status, gone_s: float) -> None:
    if status.state == "failed" and status.permanent:
        raise ModelUnavailable(f"The embedded model is not available: {status.detail}")
    if gone_s >= GONE_GRACE_S:
        raise ModelUnavailable(f"The embedded model is not running: {status.detail}")


def _loading(status: Status) -> ModelLoading:
    name = f"The embedded model {status.model}" if status.model else "The embedded model"
    if status.state == "fetching":
        percent = 100 * status.done // status.total if status.total else 0
        sentence = f"{name} is being fetched ({percent} % of {status.total / 1e6:.0f} MB); ask again later."
        return ModelLoading(sentence, retry_after_s=RETRY_FETCHING_S)
    if status.state == "loading":
        return ModelLoading(f"{name} is being loaded; ask again in a moment.", retry_after_s=RETRY_LOADING_S)
    return ModelLoading(f"{name} is being started again: {status.detail}", retry_after_s=RETRY_LOADING_S)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it lives, as somebody else
        return True
    return True
