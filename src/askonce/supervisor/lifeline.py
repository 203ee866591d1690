"""What ties a child to its supervisor: on Linux the kernel's word, everywhere a pipe on stdin that ends with it."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

ORPHAN_S = 5.0  # what an orphan may still take before it ends the hard way
_EXIT_ORPHAN = 1
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent's thread ends. Does nothing where there is no such thing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)


def watch_stdin(ended: Callable[[], None]) -> None:
    """Call `ended` once, in a thread of its own, when stdin closes: the supervisor is gone."""

    def wait() -> None:
        while os.read(0, 4096):
            pass  # the supervisor says nothing more; only the end counts
        ended()

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def orphaned(loop: asyncio.AbstractEventLoop, stopping: asyncio.Event) -> None:
    """Stop because the supervisor is gone; in the lifeline's thread."""
    with contextlib.suppress(RuntimeError):  # the loop is closed already: the process is ending by itself
        loop.call_soon_threadsafe(stopping.set)
    time.sleep(ORPHAN_S)
    os._exit(_EXIT_ORPHAN)
