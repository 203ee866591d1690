"""A circuit breaker per provider and model: who fails again and again is left alone for a while.

    closed ── tripped ──▶ open ── waited ──▶ half-open ── recovered ──▶ closed
                                             half-open ── tripped ──▶ open

The table below is this drawing, which stands in docs/design.md too; a test holds them together. Time is given.
"""

from typing import Literal

State = Literal["closed", "open", "half-open"]
Event = Literal["tripped", "waited", "recovered"]

# Every move there is; what is not in the table changes nothing.
MOVES: dict[tuple[State, Event], State] = {
    ("closed", "tripped"): "open",
    ("open", "waited"): "half-open",
    ("half-open", "recovered"): "closed",
    ("half-open", "tripped"): "open",
}

# So many failures one after the other are no accident: single ones happen at every vendor, at most a few per hundred.
# A question that meets a broken endpoint makes two of them.
TRIP_AFTER = 10
# How long nobody asks: long enough that a restart may be over, doubled each time a trial fails, to a minute.
OPEN_S = 5.0
MAX_OPEN_S = 60.0


class Breaker:
    """Say whether a call may be made. Times are seconds of any steady clock."""

    def __init__(self) -> None:
        self.state: State = "closed"
        self._failures = 0
        self._openings = 0
        self._until_s = 0.0
        self._trial = False  # half-open: is the one trial under way?

    def wait_s(self, now_s: float) -> float:
        """Return in how many seconds a call may be tried; 0: now."""
        if self.state == "open":
            return max(0.0, self._until_s - now_s)
        return OPEN_S if self.state == "half-open" and self._trial else 0.0

    def begin(self, now_s: float) -> bool:
        """Note that a call is being made, which `wait_s` had allowed; say whether it is the trial."""
        if self.state == "open" and now_s >= self._until_s:
            self._move("waited")
        if self.state == "half-open" and not self._trial:
            self._trial = True
            return True
        return False

    def succeed(self) -> None:
        """Note that the endpoint answered, be it with a refusal of its own."""
        self._failures = 0
        if self.state == "half-open":
            self._openings = 0
            self._move("recovered")

    def fail(self, now_s: float, at_least_s: float = 0.0) -> None:
        """Note a failure; `at_least_s` is how long the vendor itself wants to be left alone."""
        self._failures += 1
        if self.state == "half-open" or (self.state == "closed" and self._failures >= TRIP_AFTER):
            self._openings += 1
            pause_s = min(OPEN_S * 2.0 ** min(self._openings - 1, 10), MAX_OPEN_S)
            self._until_s = now_s + min(max(pause_s, at_least_s), MAX_OPEN_S)
            self._move("tripped")

    def abandon_trial(self) -> None:
        """Note that the trial ended and tells nothing (its caller hung up): another call may be the trial."""
        self._trial = False

    def _move(self, event: Event) -> None:
        self.state = MOVES.get((self.state, event), self.state)
        self._trial = False
