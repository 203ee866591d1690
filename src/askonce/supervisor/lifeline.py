"""What ties a child to its supervisor: on Linux the kernel's word, everywhere a pipe on stdin that ends with it."""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable

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
