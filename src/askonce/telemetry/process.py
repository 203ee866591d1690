"""What a process uses, for its gauges. Linux; elsewhere what cannot be read is left out."""

import contextlib
import os
import resource
import time
from pathlib import Path

from askonce.telemetry import catalog
from askonce.telemetry.meters import Meters

_STARTED_S = time.time()
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STATM, _FDS = Path("/proc/self/statm"), "/proc/self/fd"


def measure(meters: Meters) -> None:
    """Set the gauges of this process."""
    name = meters.process
    used = resource.getrusage(resource.RUSAGE_SELF)
    meters.gauge(catalog.CPU, used.ru_utime + used.ru_stime, name)
    meters.gauge(catalog.STARTED, _STARTED_S, name)
    with contextlib.suppress(OSError, ValueError, IndexError):
        meters.gauge(catalog.MEMORY, int(_STATM.read_bytes().split()[1]) * _PAGE, name)
    with contextlib.suppress(OSError):
        meters.gauge(catalog.FILES, len(os.listdir(_FDS)), name)
