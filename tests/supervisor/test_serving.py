"""The gateway's pulse: whose fault it is that the loop did not turn."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from askonce.supervisor.beating import Pulse
from askonce.supervisor.pulse import STUCK_S, Beat, last


class Times:
    """Be a clock that stands where it is put."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@contextmanager
def pulse(times: Times) -> Iterator[tuple[Pulse, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield Pulse(writing, times), reading
    os.close(reading)
    os.close(writing)


def test_a_loop_that_hangs_is_told_by_its_age() -> None:
    times = Times()
    with pulse(times) as (beats, heard):
        beats.enter("ready")
        for _ in range(24):
            times.now_s += 0.5
            beats.beat()
        assert last(os.read(heard, 4096)) == Beat("ready", 11.0)


def test_a_pause_of_the_whole_process_is_not_the_loops_fault() -> None:
    times = Times()
    with pulse(times) as (beats, heard):
        beats.enter("ready")
        beats.beat()
        times.now_s += 2 * STUCK_S
        beats.beat()
        assert last(os.read(heard, 4096)) == Beat("ready", 0.0)


def test_a_new_phase_shows_that_the_loop_turns() -> None:
    times = Times()
    with pulse(times) as (beats, heard):
        times.now_s += 2 * STUCK_S
        beats.enter("draining")
        assert last(os.read(heard, 4096)) == Beat("draining", 0.0)
