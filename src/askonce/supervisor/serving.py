"""Inside a gateway process: uvicorn on the inherited socket, the gateway's life, its pulse, and an orderly end.

    assignment ─▶ build ─▶ start ─▶ serve ─▶ SIGTERM: drain ─▶ stop

SIGTERM stops accepting; what is in flight may end within `drain_s`. The supervisor's death ends everything: on Linux at
once, by the kernel's SIGKILL; elsewhere within `_ORPHAN_S`, once the pipe on stdin has ended.
"""

import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import uvicorn
import uvloop

from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.supervisor import assignment, pulse
from askonce.supervisor.assignment import EXIT_FAILED, EXIT_HOPELESS, Assignment
from askonce.supervisor.lifeline import die_with_parent, watch_stdin
from askonce.supervisor.protocol import BoundedProtocol
from askonce.supervisor.pulse import Beat, Phase, Watch
from askonce.supervisor.sockets import BACKLOG
from askonce.telemetry import logs

KEEP_ALIVE_S = 75  # longer than the minute for which load balancers usually keep idle connections
_TURN_S = 1.0  # how often the loop shows that it turns
_ORPHAN_S = 5.0  # what an orphan may still take before it ends the hard way

# uvicorn's own types are private; an ASGI callable is whatever takes scope, receive and send.
AsgiApp = Callable[[Any, Any, Any], Awaitable[None]]
log = logs.get("askonce.gateway")


class Gateway(Protocol):
    """Serve requests; what the supervisor needs to know of `wiring`'s gateway."""

    @property
    def asgi(self) -> AsgiApp:
        """Return the application."""
        ...

    async def start(self) -> None:
        """Open what serving needs."""
        ...

    async def drain(self) -> None:
        """Refuse new work from now on."""
        ...

    async def stop(self) -> None:
        """Close everything."""
        ...

    def beat(self) -> None:
        """Do what is due every second."""
        ...


Build = Callable[[Config, int, int], Gateway]


class _Server(uvicorn.Server):
    """Serve without touching signals, which are handled here, and say when it has begun."""

    def __init__(self, config: uvicorn.Config, begun: Callable[[], None]) -> None:
        super().__init__(config)
        self._begun = begun

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self._begun()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Pulse:
    """Beat from a thread, so that a hanging loop is told from a frozen process. `steady` is a clock in seconds."""

    def __init__(self, fd: int, steady: Callable[[], float] = time.monotonic) -> None:
        self._phase: Phase = "starting"
        self._fd = fd
        self._steady = steady
        self._turned_s = steady()
        self._watch = Watch()
        os.set_blocking(fd, False)

    def turn(self) -> None:
        """Note that the loop turns; in the loop."""
        self._turned_s = self._steady()

    def enter(self, phase: Phase) -> None:
        """Tell the supervisor at once that another phase began; in the loop, which therefore turns."""
        self.turn()
        self._phase = phase
        self._tell()

    def beat(self) -> None:
        """Send what is due every `BEAT_S`. For a pause of the whole process its loop is not to blame."""
        if self._watch.lost_s(self._steady()):
            self.turn()
        self._tell()

    def run(self) -> None:
        """Beat for ever."""
        while True:
            self.beat()
            time.sleep(pulse.BEAT_S)

    def _tell(self) -> None:
        # A full pipe means that the supervisor does not read: nothing to do about it here.
        age_s = max(0.0, self._steady() - self._turned_s - _TURN_S)
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._fd, pulse.encode(Beat(self._phase, age_s)))


def run(build: Build) -> int:
    """Serve what stdin assigns until told to stop; return the exit code."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the supervisor, which tells us
    line = sys.stdin.buffer.readline()
    if not line:
        return EXIT_FAILED
    told = assignment.decode(line)
    logs.configure(told.config.log_level, told.config.log_format)
    beats = Pulse(told.pulse_fd)
    threading.Thread(target=beats.run, name="pulse", daemon=True).start()
    try:
        gateway = build(told.config, told.slot, told.incarnation)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(gateway, told, beats))
    except ConfigError as error:
        log.error(str(error))
        return EXIT_HOPELESS
    except Exception:  # the last frame of the process: what it dies of goes into the log, not to a bare stderr
        log.exception("the gateway failed")
        return EXIT_FAILED
    return 0


async def _serve(gateway: Gateway, told: Assignment, beats: Pulse) -> None:
    server = _Server(_uvicorn_config(gateway, told), begun=lambda: beats.enter("ready"))
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    watch_stdin(lambda: _orphaned(loop, stopping))
    await gateway.start()
    async with asyncio.TaskGroup() as group:
        turning = group.create_task(_turn(gateway, beats))
        group.create_task(_drain_when_told(stopping, gateway, server, beats))
        await server.serve(sockets=[_listener(told.listener_fd)])
        stopping.set()
        turning.cancel()
    await gateway.stop()


async def _turn(gateway: Gateway, beats: Pulse) -> None:
    while True:
        beats.turn()
        gateway.beat()
        await asyncio.sleep(_TURN_S)


async def _drain_when_told(stopping: asyncio.Event, gateway: Gateway, server: uvicorn.Server, beats: Pulse) -> None:
    await stopping.wait()
    beats.enter("draining")
    server.should_exit = True
    await gateway.drain()


def _orphaned(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """Stop because the supervisor is gone; in the lifeline's thread."""
    with contextlib.suppress(RuntimeError):  # the loop is closed already: the process is ending by itself
        loop.call_soon_threadsafe(stopping.set)
    time.sleep(_ORPHAN_S)
    os._exit(EXIT_FAILED)


def _listener(fd: int) -> socket.socket:
    listener = socket.socket(fileno=fd)
    listener.setblocking(False)
    return listener


def _uvicorn_config(gateway: Gateway, told: Assignment) -> uvicorn.Config:
    return uvicorn.Config(
        gateway.asgi,
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # who is behind a proxy is admission's decision
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=math.ceil(told.config.drain_s),
    )
