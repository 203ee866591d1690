"""Inside the worker's process: its life, its pulse, and an orderly end.

    errand ─▶ lock ─▶ build ─▶ run ─▶ SIGTERM: the last rows ─▶ stop

One worker per data folder: whoever holds `run/worker.lock`. Another waits for it, or is refused where a person started
it. The supervisor's death ends it as it ends gateways.
"""

import asyncio
import fcntl
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec
import uvloop

from askonce.config.paths import RUN_FOLDER
from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.supervisor.assignment import EXIT_FAILED, EXIT_HOPELESS, WorkerAssignment
from askonce.supervisor.beating import TURN_S, Pulse
from askonce.supervisor.lifeline import die_with_parent, orphaned, watch_stdin
from askonce.supervisor.logging_out import log_as
from askonce.supervisor.telling import tell_crash
from askonce.telemetry import logs

LOCK_NAME = "worker.lock"

log = logs.get("askonce.worker")


class Worker(Protocol):
    """What is needed to know of `wiring`'s worker."""

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop."""
        ...

    def beat(self) -> None:
        """Do what is due every second."""
        ...


Build = Callable[[Config, int, Callable[[str], None] | None], Worker]


def run(build: Build) -> int:
    """Work as stdin says until told to stop; return the exit code."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the supervisor, which tells us
    line = sys.stdin.buffer.readline()
    if not line:
        return EXIT_FAILED
    told = msgspec.json.decode(line, type=WorkerAssignment)
    log_as(told.config)
    beats = Pulse(told.pulse_fd)
    threading.Thread(target=beats.run, name="pulse", daemon=True).start()
    greet = None if told.word_fd < 0 else lambda word: _pass_on(told.word_fd, word)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_work(build, told, beats, greet))
    except ConfigError as error:
        log.error(str(error))
        return EXIT_HOPELESS
    except Exception as error:  # the last frame: what it dies of goes into the log, not to a bare stderr
        log.exception("the worker failed")
        tell_crash(told.config, "worker", error)
        return EXIT_FAILED
    return 0


def work_alone(build: Build, config: Config, incarnation: int) -> None:
    """Work without a supervisor, until SIGTERM or Ctrl-C. Raises `ConfigError` where another one works already."""
    lock = _open_lock(config)
    try:
        if not _take(lock):
            raise ConfigError(
                f"Another worker serves {config.data_dir}: that of `askonce serve`, unless ledger_worker = off, or "
                "another `askonce worker`."
            )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_alone(build, config, incarnation))
    finally:
        os.close(lock)


async def _alone(build: Build, config: Config, incarnation: int) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    worker = build(config, incarnation, None)
    async with asyncio.TaskGroup() as group:
        turning = group.create_task(_turn(worker, None))
        await worker.run(stopping)
        turning.cancel()


async def _work(build: Build, told: WorkerAssignment, beats: Pulse, greet: Callable[[str], None] | None) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    watch_stdin(lambda: orphaned(loop, stopping))
    lock = _open_lock(told.config)
    beats.enter("ready")
    try:
        async with asyncio.TaskGroup() as group:
            turning = group.create_task(_turn(None, beats))
            await _await_turn(lock, stopping)
            turning.cancel()
        if stopping.is_set():
            return
        worker = build(told.config, told.incarnation, greet)
        async with asyncio.TaskGroup() as group:
            turning = group.create_task(_turn(worker, beats))
            await worker.run(stopping)
            turning.cancel()
    finally:
        os.close(lock)


async def _turn(worker: Worker | None, beats: Pulse | None) -> None:
    while True:
        if beats is not None:
            beats.turn()
        if worker is not None:
            worker.beat()
        await asyncio.sleep(TURN_S)


async def _await_turn(lock: int, stopping: asyncio.Event) -> None:
    """Wait until nobody else works here, or until told to stop."""
    said = False
    while not stopping.is_set() and not _take(lock):
        if not said:
            log.warning("another worker serves this data folder: waiting until it ends")
        said = True
        await asyncio.sleep(TURN_S)


def _open_lock(config: Config) -> int:
    folder = Path(config.data_dir) / RUN_FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        return os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"data_dir = {config.data_dir!r}: {error.strerror}; correct its owner.") from error


def _take(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pass_on(fd: int, word: str) -> None:
    """Give the supervisor a link's word; it is short enough for any pipe."""
    try:
        os.write(fd, word.encode() + b"\n")
    except OSError:
        log.warning("the first administrator's link cannot be shown; `askonce users link` makes another")
