"""The places in the house: each is filled by a child, or waits for its next start, or was given up.

empty ──start──▶ filled ──death──▶ waiting ──pause over──▶ filled
                    └──death──▶ given up (loudly; the reason stays)
"""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count

from askonce.config.settings import Config
from askonce.supervisor import assignment
from askonce.supervisor.assignment import EXIT_HOPELESS, Assignment, WorkerAssignment
from askonce.supervisor.backoff import LONGEST_PAUSE_S, MAX_FAILED_STARTS, Backoff
from askonce.supervisor.children import Child, Watched
from askonce.telemetry import logs

log = logs.get("askonce.supervisor")
_WORD_BYTES = 512  # more than a link's word has
_WAS_READY_S = 5.0  # a child without a pulse that lived so long counts as having worked


class Post:
    """Keep one place filled. `hatch` makes the child; `on_loss` hears the reason when the place is given up."""

    def __init__(self, name: str, hatch: Callable[[], Child], max_failed_starts: int = MAX_FAILED_STARTS) -> None:
        self.name = name
        self.child: Child | None = None
        self.given_up = ""
        self.deaths: list[str] = []  # how its children ended that should not have, for whoever tells of it
        self.retired = False
        self._hatch = hatch
        self._backoff = Backoff(max_failed_starts)
        self._due_s: float | None = 0.0

    def tend(self, now_s: float) -> None:
        """Reap the dead, and start who is due."""
        if self.child is not None:
            code = self.child.exit_code()
            if code is not None:
                self._bury(self.child, code)
        elif self._due_s is not None and now_s >= self._due_s:
            self._start_child(now_s)

    def retire(self) -> None:
        """Start nobody any more; who is there stays."""
        self.retired = True
        self._due_s = None

    def empty(self) -> bool:
        """Say whether nobody is there."""
        return self.child is None

    def signal(self, number: signal.Signals) -> None:
        """Send the child a signal, if there is one."""
        if self.child is not None:
            self.child.signal(number)

    def _start_child(self, now_s: float) -> None:
        self._due_s = None
        try:
            self.child = self._hatch()
        except OSError as error:  # no memory, no more processes or descriptors: the machine's trouble, not the child's
            log.error("cannot be started", process=self.name, reason=error.strerror, next_start_s=LONGEST_PAUSE_S)
            self._due_s = now_s + LONGEST_PAUSE_S
        else:
            log.debug("started", process=self.name, pid=self.child.pid)

    def _bury(self, child: Child, code: int) -> None:
        child.close()
        self.child = None
        if self.retired or self._finished(code):
            return
        self.deaths.append(_ending(code))
        pause_s = self._backoff.after_death(child.age_s(), self._worked(child), hopeless=code == EXIT_HOPELESS)
        if pause_s is None:
            self.given_up = f"given up: {_ending(code)}" + ("" if code == EXIT_HOPELESS else ", again and again")
            log.error("given up", process=self.name, ended=_ending(code))
            return
        log.warning("ended unexpectedly", process=self.name, pid=child.pid, ended=_ending(code), next_start_s=pause_s)
        self._due_s = time.monotonic() + pause_s

    def _finished(self, code: int) -> bool:
        return False

    def _worked(self, child: Child) -> bool:
        return child.age_s() >= _WAS_READY_S


class WatchedPost(Post):
    """Keep a child running that beats, and end it when it does not live any more: it may hold locks."""

    _killed: Child | None = None

    @property
    def ready(self) -> bool:
        """Say whether a child is there that works."""
        return isinstance(self.child, Watched) and self.child.was_ready

    @property
    def pulse_fd(self) -> int | None:
        """Return the pipe that its beats come through."""
        return self.child.pulse_fd if isinstance(self.child, Watched) else None

    def tend(self, now_s: float) -> None:
        """Also hear the pulse, and kill who does not live. A killed process gives its locks back."""
        if isinstance(self.child, Watched):
            self.child.listen(now_s)
            verdict = self.child.verdict(now_s)
            if verdict != "alive" and self._killed is not self.child:  # it may take a moment to be gone
                self._killed = self.child
                log.error("killed", process=self.name, pid=self.child.pid, because=verdict)
                self.child.signal(signal.SIGKILL)
        super().tend(now_s)

    def forgive(self, now_s: float, lost_s: float) -> None:
        """Do not blame the child for a time in which the supervisor itself was stopped. Call it before `tend`."""
        if isinstance(self.child, Watched):
            self.child.forgive(now_s, lost_s)

    def _worked(self, child: Child) -> bool:
        return isinstance(child, Watched) and child.was_ready


class GatewayPost(WatchedPost):
    """Keep one gateway running on its socket."""

    def __init__(self, slot: int, listener: socket.socket, config: Config, command: Sequence[str]) -> None:
        super().__init__(f"gateway {slot}", self._start)
        self.slot = slot
        self._listener = listener
        self._config = config
        self._command = command

    def retire(self) -> None:
        """Also stop listening: whoever comes now is told at once that nobody is there."""
        super().retire()
        self._listener.close()

    def _start(self) -> Child:
        reading, writing = os.pipe()
        told = Assignment(self._config, self.slot, next_incarnation(), self._listener.fileno(), writing)
        return Watched(self._command, assignment.encode(told), [told.listener_fd], (reading, writing))

    def _bury(self, child: Child, code: int) -> None:
        super()._bury(child, code)
        if self.given_up:
            self.retire()


class WorkerPost(WatchedPost):
    """Keep the worker running, however often it dies. `show` gets the first administrator's word, once."""

    def __init__(self, config: Config, command: Sequence[str], show: Callable[[str], None]) -> None:
        super().__init__("worker", self._start, sys.maxsize)
        self._config = config
        self._command = command
        self._show: Callable[[str], None] | None = show
        self._words = -1  # the pipe through which a word comes

    def tend(self, now_s: float) -> None:
        """Also show a word that came."""
        self._listen()
        super().tend(now_s)

    def _start(self) -> Child:
        reading, writing = os.pipe()
        word_reading, word_writing = os.pipe()
        wanted = -1 if self._show is None else word_writing
        told = WorkerAssignment(self._config, next_incarnation(), writing, wanted)
        try:
            child = Watched(self._command, assignment.encode(told), [word_writing], (reading, writing))
        except OSError:
            os.close(word_reading)
            raise
        finally:
            os.close(word_writing)
        os.set_blocking(word_reading, False)
        self._words = word_reading
        return child

    def _listen(self) -> None:
        if self._words < 0 or self._show is None:
            return
        with contextlib.suppress(BlockingIOError):
            word = os.read(self._words, _WORD_BYTES).decode().strip()
            if word:
                self._show(word)
                self._show = None

    def _bury(self, child: Child, code: int) -> None:
        self._listen()
        os.close(self._words)
        self._words = -1
        super()._bury(child, code)


class Errand(Post):
    """Run a child once, to its good end."""

    done = False

    def _finished(self, code: int) -> bool:
        self.done = code == 0
        return self.done


_counted = count()


def next_incarnation() -> int:
    """Return a number that no gateway had before: epoch milliseconds, moved on by each start.

    Greater than all earlier ones also over restarts, as long as nobody turns the clock back.
    """
    return time.time_ns() // 1_000_000 + next(_counted)


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
