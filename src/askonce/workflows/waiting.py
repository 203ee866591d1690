"""What a node waits for, what it tries again, and how long: pure; time and dice are given.

    room in a budget, shared state       until the execution's time is over
    providers busy, left alone, loading  `PROVIDER_PATIENCE_S` in all
    other failures that pass             as often as the node may be tried, after 1, 2 and 4 seconds
    all else                             not at all: no retry changes it

Room that comes only after the execution's time is not waited for; the error says when it would come.
"""

from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct

from askonce.domain.errors import (
    AskonceError,
    Draining,
    FlightLost,
    ModelLoading,
    OverBudget,
    ProviderBusy,
    ProviderUnavailable,
    StoreUnavailable,
)

ROOM = (OverBudget, StoreUnavailable)
PASSING = (ProviderBusy, ProviderUnavailable, ModelLoading, Draining, FlightLost)

# A provider that asks for patience has it for two minutes in all; by then it is down, and the node should say so.
PROVIDER_PATIENCE_S = 120.0
# Between two looks at what nobody named a time for: doubled each time, so that many nodes do not hammer.
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 8.0
# Before the second, third, … try (contract); more tries than that wait as long as the last.
RETRY_S = (1.0, 2.0, 4.0)
# Up to so much longer, by the dice, so that those who wait for the same do not come at the same moment.
JITTER = 0.25


class Pause(Struct, frozen=True):
    """Hold how long to wait (seconds). `retries`: the failed try counts, and the next one is another."""

    seconds: float
    retries: bool


class Patience:
    """Decide what follows each failure of one call. `dice`: uniform from 0 to 1; `until_ms`: epoch milliseconds."""

    def __init__(self, tries: int, until_ms: int, dice: Callable[[], float]) -> None:
        self._tries_left = tries - 1
        self._retried = 0
        self._until_ms = until_ms
        self._dice = dice
        self._looks = 0
        self._waited_s = 0.0

    def after(self, error: AskonceError, now_ms: int) -> Pause:
        """Return the pause before asking again. Raises what the node fails with where it is not to be asked again."""
        left_s = (self._until_ms - now_ms) / 1000
        if isinstance(error, ROOM):
            return self._for_room(error, left_s)
        if isinstance(error, PASSING):
            return self._for_provider(error, left_s)
        if not error.retryable or self._tries_left <= 0:
            raise error
        seconds = RETRY_S[min(self._retried, len(RETRY_S) - 1)]
        if seconds >= left_s:
            raise error
        self._tries_left -= 1
        self._retried += 1
        return Pause(seconds, retries=True)

    def _for_room(self, error: AskonceError, left_s: float) -> Pause:
        least_s = error.retry_after_s or 0
        if least_s >= left_s:
            raise _too_late(error, self._until_ms)
        return Pause(min(self._wait_s(least_s), left_s), retries=False)

    def _for_provider(self, error: AskonceError, left_s: float) -> Pause:
        least_s = error.retry_after_s or 0
        patience_s = min(PROVIDER_PATIENCE_S - self._waited_s, left_s)
        if least_s >= patience_s:
            raise error
        seconds = min(self._wait_s(least_s), patience_s)
        self._waited_s += seconds
        return Pause(seconds, retries=False)

    def _wait_s(self, least_s: float) -> float:
        longest = min(FIRST_WAIT_S * 2.0 ** min(self._looks, 16), LONGEST_WAIT_S)
        self._looks += 1
        return float(max(least_s, longest)) * (1 + JITTER * self._dice())


def _too_late(error: AskonceError, until_ms: int) -> AskonceError:
    """Return the error with the reason why it was not waited for."""
    if not isinstance(error, OverBudget):
        return error
    until = datetime.fromtimestamp(until_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    words = f"{error.message} That is after the end of this execution's time, {until}."
    return OverBudget(words, details=error.details, retry_after_s=error.retry_after_s)
