"""Time, as something that is given."""

import time
from typing import Protocol

# CLOCK_BOOTTIME runs on while the machine sleeps and is the same for all processes; not every platform has it.
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Tell the time twice: steady for windows and leases, wall for people and for what outlives a boot."""

    def steady_ns(self) -> int:
        """Return nanoseconds since boot, sleep included; the same for all processes of the machine."""
        ...

    def wall_ms(self) -> int:
        """Return epoch milliseconds."""
        ...


class SystemClock:
    """Tell the machine's time."""

    def steady_ns(self) -> int:
        """Return CLOCK_BOOTTIME in nanoseconds."""
        return time.clock_gettime_ns(_BOOT)

    def wall_ms(self) -> int:
        """Return the machine's wall time."""
        return time.time_ns() // 1_000_000
