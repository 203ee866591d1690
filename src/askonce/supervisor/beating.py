"""How a gateway and the worker beat: from a thread of their own. `pulse` says what a beat is."""

import contextlib
import os
import select
import time
from collections.abc import Callable

from askonce.supervisor import pulse
from askonce.supervisor.pulse import Beat, Phase, Watch

TURN_S = 1.0  # how often the loop shows that it turns


class Pulse:
    """Beat from a thread, so that a hanging loop is told from a frozen process. `steady` is a clock in seconds."""

    def __init__(self, fd: int, steady: Callable[[], float] = time.monotonic) -> None:
        self._phase: Phase = "starting"
        self._fd = fd
        self._steady = steady
        self._turned_s = steady()
        self._watch = Watch()
        os.set_blocking(fd, False)

    def turn(self) -> None:
        """Note that the loop turns; in the loop."""
        self._turned_s = self._steady()

    def enter(self, phase: Phase) -> None:
        """Tell the supervisor at once that another phase began; in the loop, which therefore turns."""
        self.turn()
        self._phase = phase
        self._tell()

    def beat(self) -> None:
        """Send what is due every `BEAT_S`. For a pause of the whole process its loop is not to blame."""
        if self._watch.lost_s(self._steady()):
            self.turn()
        self._tell()

    def run(self) -> None:
        """Beat for ever."""
        while True:
            self.beat()
            try:
                time.sleep(pulse.BEAT_S)
            except OSError:
                # It sleeps until a moment, and a library that fakes the clock can make that one which never comes
                # (EINVAL). A thread that ended of it would have a sound process killed; this waits for a span.
                select.select([], [], [], pulse.BEAT_S)

    def _tell(self) -> None:
        # A full pipe means that the supervisor does not read: nothing to do about it here.
        age_s = max(0.0, self._steady() - self._turned_s - TURN_S)
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._fd, pulse.encode(Beat(self._phase, age_s)))
