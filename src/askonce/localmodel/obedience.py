"""How the model's process learns that it has to end: SIGTERM, the end of its stdin, the death of its parent."""

import ctypes
import os
import signal
import sys
import threading
from types import FrameType

LINE_BYTES = 64 << 10  # settings are a few hundred bytes; more is not ours
STDIN = 0
PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Ended(BaseException):
    """Unwind whatever is going on, because the process was told to end. Not an error, so not an `Exception`."""


def first_line() -> bytes:
    """Read stdin to its first line end, unbuffered: a thread that waits in a buffer's lock hinders the exit."""
    line = b""
    while b"\n" not in line and len(line) < LINE_BYTES:
        piece = os.read(STDIN, 4096)
        if not piece:
            break
        line += piece
    return line


def obey(parent_pid: int) -> None:
    """Raise `Ended` in the main thread, once, as soon as the process has to end. Call it there, at the start.

    `parent_pid` 0 trusts whoever the parent is; otherwise a parent that is already gone counts too.
    """
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch_stdin, name="askonce-stdin", daemon=True).start()
    if sys.platform == "linux":
        # stdin ends with the parent too, unless the parent's other children inherited its other end.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if parent_pid and os.getppid() != parent_pid:
        os.kill(os.getpid(), signal.SIGTERM)


def _end(_signal: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second order must not disturb the unwinding
    raise Ended


def _watch_stdin() -> None:
    while os.read(STDIN, 4096):
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
