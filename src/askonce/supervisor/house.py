"""The supervisor: one thread and one loop that waits for beats, deaths and signals.

    claim the folder ─▶ listen ─▶ start everybody ─▶ tend ─▶ drain ─▶ stop

The first SIGTERM or SIGINT drains: sockets are closed, gateways finish what is in flight within `drain_s`, then the
rest is stopped. A second one ends everything at once. SIGHUP stops a server whose terminal went away; otherwise it is
remarked on and changes nothing, as settings are read at the start only.
"""

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from msgspec import Struct

from askonce.config.settings import Config
from askonce.providers.network import Network
from askonce.supervisor import sockets
from askonce.supervisor.assignment import EXIT_FAILED
from askonce.supervisor.children import python
from askonce.supervisor.folder import DataFolder
from askonce.supervisor.helpers import local_model_post, price_errand
from askonce.supervisor.posts import Errand, GatewayPost, Post, WatchedPost, WorkerPost
from askonce.supervisor.preflight import preflight
from askonce.supervisor.pulse import Watch
from askonce.supervisor.screen import Screen
from askonce.supervisor.telling import Teller
from askonce.telemetry import logs

log = logs.get("askonce.supervisor")

_TICK_S = 0.25  # silence is judged at this grain
_LAST_WORDS_S = 5.0  # beyond drain_s: for closing stores and exiting
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Commands(Struct, frozen=True):
    """Name the programs of the children, so that tests can put stand-ins there."""

    gateway: tuple[str, ...] = python("askonce.supervisor.gateway")
    worker: tuple[str, ...] = python("askonce.supervisor.worker")
    local_model: tuple[str, ...] = python("askonce.localmodel.server")
    prices: tuple[str, ...] = python("askonce.supervisor.prices")


PROGRAMS = Commands()


def serve(config: Config, screen: Screen, commands: Commands = PROGRAMS) -> int:
    """Serve until told to stop; return the exit code. Raises `ConfigError` before anything was started."""
    Network.from_environ(os.environ).check()  # the gateways will read the same: proxies are the process's, not ours
    preflight(config)
    folder = DataFolder.claim(Path(config.data_dir))
    try:
        listeners = sockets.listen(config.host, config.port, config.workers)
        with _signals() as (woken, told):
            return _House(config, screen, commands, folder).live(listeners, woken, told)
    finally:
        folder.release()


class _House:
    def __init__(self, config: Config, screen: Screen, commands: Commands, folder: DataFolder) -> None:
        self._config = config
        self._screen = screen
        self._commands = commands
        self._folder = folder
        self._gateways: list[GatewayPost] = []
        self._others: list[Post] = []
        self._errand: Errand | None = None
        self._worker: WorkerPost | None = None
        self._hired = False
        self._watch = Watch()
        self._teller = Teller(config)
        self._ends_s: float | None = None  # when draining is over

    def live(self, listeners: Sequence[socket.socket], woken: socket.socket, told: list[signal.Signals]) -> int:
        """Start, tend and end everybody."""
        self._gateways = [
            GatewayPost(slot, listener, self._config, self._commands.gateway) for slot, listener in enumerate(listeners)
        ]
        local_model = local_model_post(self._config, self._folder, self._commands.local_model)
        self._tend()
        while not self._over():
            self._wait(woken)
            while told:
                self._hear(told.pop(0))
            self._tend()
            if self._ends_s is None and any(post.ready for post in self._gateways):
                port = _port(listeners, self._config.port)
                self._hire(local_model)
                self._screen.ready(self._config, port)
                self._hire_worker(port)
                self._screen.weights(self._folder.run)
        self._screen.close()
        self._teller.close()
        return EXIT_FAILED if all(post.given_up for post in self._gateways) else 0

    def _tend(self) -> None:
        now_s = time.monotonic()
        self._forgive(now_s)
        for post in (*self._gateways, *self._others):
            post.tend(now_s)
            while post.deaths:
                self._teller.died(post.name, post.deaths.pop(0))
        if self._ends_s is None and all(post.given_up for post in self._gateways):
            log.error("no gateway can run: stopping", cure="see the errors above; `askonce doctor` looks for causes")
            self._drain()
        if self._ends_s is not None:
            self._end(now_s)

    def _forgive(self, now_s: float) -> None:
        """After a pause of ours judge nobody by it: whoever stopped us has probably stopped them too."""
        lost_s = self._watch.lost_s(now_s)
        if lost_s:
            log.warning("was stopped", for_s=round(lost_s, 1))
            for post in self._watched():
                post.forgive(now_s, lost_s)

    def _wait(self, woken: socket.socket) -> None:
        """Wait for a beat, a signal or the next tick. Children come and go, so the set is made anew."""
        with selectors.DefaultSelector() as selector:
            selector.register(woken, selectors.EVENT_READ)
            for post in self._watched():
                if post.pulse_fd is not None:
                    selector.register(post.pulse_fd, selectors.EVENT_READ)
            selector.select(_TICK_S)
        with contextlib.suppress(BlockingIOError):
            woken.recv(4096)

    def _hear(self, number: signal.Signals) -> None:
        if number == signal.SIGHUP and not sys.stdout.isatty():
            log.warning("SIGHUP changes nothing: settings are read at the start; restart to apply them")
        elif self._ends_s is None:
            self._drain()
        else:
            log.warning("second signal: stopping at once")
            self._ends_s = 0.0

    def _drain(self) -> None:
        within_s = self._config.drain_delay_s + self._config.drain_s
        log.info("draining", within_s=within_s)
        self._ends_s = time.monotonic() + within_s + _LAST_WORDS_S
        for post in (*self._gateways, *self._others):
            post.retire()
        for post in self._gateways:
            post.signal(signal.SIGTERM)

    def _end(self, now_s: float) -> None:
        """Once the gateways are gone end the rest: until then they may need it."""
        if self._ends_s is not None and now_s >= self._ends_s:
            for post in (*self._gateways, *self._others):
                post.signal(signal.SIGKILL)
        elif all(post.empty() for post in self._gateways):
            for post in self._others:
                post.signal(signal.SIGTERM)
            # The worker's own calls may land too, in what is left of the time.
            if not self._config.workflows:
                self._ends_s = min(self._ends_s or 0.0, now_s + _LAST_WORDS_S)

    def _watched(self) -> Iterator[WatchedPost]:
        yield from self._gateways
        if self._worker is not None:
            yield self._worker

    def _over(self) -> bool:
        return self._ends_s is not None and all(post.empty() for post in (*self._gateways, *self._others))

    def _hire(self, local_model: Post | None) -> None:
        """Take on the others once a gateway serves: their start would slow down its."""
        if not self._hired:
            self._hired = True
            self._errand = price_errand(self._config, self._folder, self._commands.prices)
            self._others = [post for post in (self._errand, local_model) if post is not None]

    def _hire_worker(self, port: int) -> None:
        """Take on the worker after the errand: the first answer waits for prices, the database's rows do not hurry.

        With a database that others may have filled it comes at once: nobody knows yet whether there are keys.
        """
        if self._worker is not None or not self._config.ledger_worker:
            return
        errand = self._errand
        if self._config.database_url or errand is None or errand.done or errand.given_up:
            self._worker = WorkerPost(
                self._config, self._commands.worker, lambda word: self._screen.login(self._config, port, word)
            )
            self._others.append(self._worker)


def _port(listeners: Sequence[socket.socket], asked: int) -> int:
    return next((int(one.getsockname()[1]) for one in listeners if one.fileno() >= 0), asked)


@contextlib.contextmanager
def _signals() -> Iterator[tuple[socket.socket, list[signal.Signals]]]:
    """Collect signals in a list and wake the loop for each; put everything back at the end."""
    told: list[signal.Signals] = []
    woken, waker = socket.socketpair()
    woken.setblocking(False)
    waker.setblocking(False)

    def hear(number: int, _frame: FrameType | None) -> None:
        if number != signal.SIGCHLD:
            told.append(signal.Signals(number))

    before: dict[signal.Signals, Callable[[int, FrameType | None], object] | int | None] = {}
    old_fd = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    try:
        for number in _SIGNALS:
            before[number] = signal.signal(number, hear)
        yield woken, told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        signal.set_wakeup_fd(old_fd)
        woken.close()
        waker.close()
