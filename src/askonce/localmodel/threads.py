"""How many threads the engine may use without starving itself or its neighbours."""

import math
import os
from pathlib import Path

# Generation is bound by memory bandwidth: more threads than this only wait for each other.
MOST_THREADS = 8
CGROUP_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # "max 100000" or "<quota> <period>", in microseconds


def usable_threads(cores: int | None = None, quota: float | None = None) -> int:
    """Leave one core free and stay within the container's quota; at least 1.

    The engine's threads wait for each other busily, so one thread too many on a busy core costs not its share but
    most of the speed (63 to 8 tokens a second on two cores). `cores` and `quota` are read from the machine where
    they are not given.
    """
    mine = cores if cores is not None else _cores()
    allowed = quota if quota is not None else _quota(CGROUP_CPU_MAX)
    return max(1, min(mine - 1, math.floor(allowed), MOST_THREADS))


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quota(path: Path) -> float:
    """Return the cores that the control group grants, or `MOST_THREADS` where it sets no limit."""
    try:
        quota, period = path.read_text().split()
    except (OSError, ValueError):
        return MOST_THREADS
    return MOST_THREADS if quota == "max" else int(quota) / int(period)
