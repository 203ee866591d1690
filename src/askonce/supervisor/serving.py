"""Inside a gateway process: uvicorn on the inherited socket, the gateway's life, its pulse, and an orderly end.

    assignment ─▶ build ─▶ start ─▶ serve ─▶ SIGTERM: drain ─▶ stop

SIGTERM makes /ready say no and, after `drain_delay_s`, stops accepting; what is in flight may end within `drain_s`. The
supervisor's death ends everything: on Linux at once, by the kernel's SIGKILL; elsewhere within `ORPHAN_S`, once the
pipe on stdin has ended.
"""

import asyncio
import contextlib
import math
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Protocol

import uvicorn
import uvloop

from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.supervisor import assignment
from askonce.supervisor.assignment import EXIT_FAILED, EXIT_HOPELESS, Assignment
from askonce.supervisor.beating import TURN_S, Pulse
from askonce.supervisor.lifeline import die_with_parent, orphaned, watch_stdin
from askonce.supervisor.logging_out import log_as
from askonce.supervisor.protocol import BoundedProtocol
from askonce.supervisor.sockets import BACKLOG
from askonce.supervisor.telling import tell_crash
from askonce.telemetry import logs

KEEP_ALIVE_S = 75  # longer than the minute for which load balancers usually keep idle connections

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

    def leave(self) -> None:
        """Say at /ready from now on that others are to be asked; serve as before."""
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


def run(build: Build) -> int:
    """Serve what stdin assigns until told to stop; return the exit code."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the supervisor, which tells us
    line = sys.stdin.buffer.readline()
    if not line:
        return EXIT_FAILED
    told = assignment.decode(line)
    log_as(told.config)
    beats = Pulse(told.pulse_fd)
    threading.Thread(target=beats.run, name="pulse", daemon=True).start()
    try:
        gateway = build(told.config, told.slot, told.incarnation)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(gateway, told, beats))
    except ConfigError as error:
        log.error(str(error))
        return EXIT_HOPELESS
    except Exception as error:  # the last frame: what it dies of goes into the log, not to a bare stderr
        log.exception("the gateway failed")
        tell_crash(told.config, f"gateway-{told.slot}", error)
        return EXIT_FAILED
    return 0


async def _serve(gateway: Gateway, told: Assignment, beats: Pulse) -> None:
    server = _Server(_uvicorn_config(gateway, told), begun=lambda: beats.enter("ready"))
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    watch_stdin(lambda: orphaned(loop, stopping))
    await gateway.start()
    async with asyncio.TaskGroup() as group:
        turning = group.create_task(_turn(gateway, beats))
        group.create_task(_drain_when_told(stopping, gateway, server, beats, told.config.drain_delay_s))
        await server.serve(sockets=[_listener(told.listener_fd)])
        stopping.set()
        turning.cancel()
    await gateway.stop()


async def _turn(gateway: Gateway, beats: Pulse) -> None:
    while True:
        beats.turn()
        gateway.beat()
        await asyncio.sleep(TURN_S)


async def _drain_when_told(
    stopping: asyncio.Event, gateway: Gateway, server: uvicorn.Server, beats: Pulse, delay_s: float
) -> None:
    await stopping.wait()
    gateway.leave()
    # Who is served from now on comes back elsewhere; uvicorn makes each second's headers of these.
    last = (b"connection", b"close")
    server.config.encoded_headers.append(last)
    server.server_state.default_headers.append(last)
    await asyncio.sleep(delay_s)
    beats.enter("draining")
    server.should_exit = True
    await gateway.drain()


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
