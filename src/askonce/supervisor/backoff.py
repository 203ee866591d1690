"""When a dead child is started again. No I/O, no clock.

| it died | then |
| --- | --- |
| saying that it will never work | it is given up |
| before it was ever ready, for the sixth time in a row | it is given up |
| within 30 s of its start | after twice the last pause, at most 5 s |
| later | after 0.1 s |
"""

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
CALM_S = 30.0  # who lived so long starts with a clean slate
MAX_FAILED_STARTS = 6  # in a row; with the pauses about six seconds, enough for a disk or an address to come back


class Backoff:
    """Count one child's deaths and say how long to wait."""

    def __init__(self, max_failed_starts: int = MAX_FAILED_STARTS) -> None:
        self._max_failed_starts = max_failed_starts
        self._failed_starts = 0
        self._pause_s = 0.0

    def after_death(self, lived_s: float, was_ready: bool, hopeless: bool = False) -> float | None:
        """Return the seconds to wait before the next start, or None to give up."""
        self._failed_starts = 0 if was_ready else self._failed_starts + 1
        if hopeless or self._failed_starts >= self._max_failed_starts:
            return None
        calm = lived_s >= CALM_S or not self._pause_s
        self._pause_s = FIRST_PAUSE_S if calm else min(self._pause_s * 2, LONGEST_PAUSE_S)
        return self._pause_s
