"""How a gateway says that it is alive, and when its silence means that it is not. No I/O, no clock.

A thread of the gateway writes a beat every half second: its phase, and for how long its event loop has not turned.
A process that is stopped, or hangs in native code, cannot beat; one whose loop hangs beats and says so. Who was stopped
itself (a paused machine stops everybody) heard nothing and has no right to judge: time that one did not watch is lost.
"""

from typing import Literal

from msgspec import Struct

Phase = Literal["starting", "ready", "draining"]
Verdict = Literal["alive", "never started", "frozen", "stuck"]

BEAT_S = 0.5
# A frozen process may hold the lock of the store's writers: four missed beats, and it is ended.
SILENT_S = 2.0
# A loop that hangs holds no lock over processes, but its connections; nothing of ours may take so long.
STUCK_S = 10.0
# The first start reads everything from a cold disk.
START_S = 30.0
# Who looks twice a second or more, and did not for so long, was itself stopped. Under SILENT_S, else one kills first.
PAUSED_S = 1.0

_LETTERS: dict[Phase, bytes] = {"starting": b"s", "ready": b"r", "draining": b"d"}
_PHASES: dict[bytes, Phase] = {letter: phase for phase, letter in _LETTERS.items()}


class Beat(Struct, frozen=True):
    """Hold one sign of life; `loop_age_s` is how long ago the event loop last turned."""

    phase: Phase
    loop_age_s: float = 0.0


class Watch:
    """Notice, by the times of one's own looks, that one was stopped in between."""

    def __init__(self) -> None:
        self._last_s: float | None = None

    def lost_s(self, now_s: float) -> float:
        """Note a look, and return how long one was stopped before it; 0 for what is usual."""
        gap_s = 0.0 if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        return gap_s if gap_s > PAUSED_S else 0.0


def encode(beat: Beat) -> bytes:
    """Write a beat as one line, short enough to be atomic in a pipe."""
    return _LETTERS[beat.phase] + b"%.2f\n" % beat.loop_age_s


def last(data: bytes) -> Beat | None:
    """Read the last whole beat out of what a pipe held; None if there is none."""
    lines = data.rpartition(b"\n")[0].rsplit(b"\n", 1)
    line = lines[-1]
    return Beat(_PHASES[line[:1]], float(line[1:])) if line else None


def judge(beat: Beat | None, born_s: float, heard_s: float, now_s: float) -> Verdict:
    """Judge a gateway by its last beat (None: not one yet), when it was started and last heard. Seconds, steady."""
    if beat is None or beat.phase == "starting":
        too_late = now_s - born_s > START_S
        frozen = beat is not None and now_s - heard_s > SILENT_S
        return "never started" if too_late else "frozen" if frozen else "alive"
    if now_s - heard_s > SILENT_S:
        return "frozen"
    return "stuck" if beat.loop_age_s > STUCK_S else "alive"
