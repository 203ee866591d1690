import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.supervisor import pulse
from askonce.supervisor.backoff import LONGEST_PAUSE_S
from askonce.supervisor.beating import Pulse
from askonce.supervisor.pulse import (
    PAUSED_S,
    SILENT_S,
    START_S,
    STUCK_S,
    Beat,
    Phase,
    Verdict,
    Watch,
    encode,
    judge,
    last,
)
from askonce.supervisor.serving import KEEP_ALIVE_S

READY, STARTING, DRAINING = Beat("ready"), Beat("starting"), Beat("draining")


@pytest.mark.parametrize(
    ("beat", "heard_s", "now_s", "verdict"),
    [
        (None, 0, 29, "alive"),
        (None, 0, 31, "never started"),
        (STARTING, 9, 10, "alive"),
        (STARTING, 5, 10, "frozen"),
        (STARTING, 31, 31, "never started"),
        (READY, 100, 101.9, "alive"),
        (READY, 100, 102.1, "frozen"),
        (Beat("ready", 9.9), 100, 100, "alive"),
        (Beat("ready", 10.1), 100, 100, "stuck"),
        (DRAINING, 100, 103, "frozen"),
        (Beat("draining", 11), 100, 100, "stuck"),
    ],
)
def test_judged_by_silence_and_by_the_age_of_the_loops_last_turn(
    beat: Beat | None, heard_s: float, now_s: float, verdict: Verdict
) -> None:
    assert judge(beat, 0.0, heard_s, now_s) == verdict


def test_a_look_that_comes_late_tells_how_long_nobody_watched() -> None:
    watch = Watch()
    assert [watch.lost_s(now_s) for now_s in (100.0, 100.25, 101.25, 105.25, 105.5)] == [0, 0, 0, 4.0, 0]
    assert PAUSED_S < SILENT_S


phases = st.sampled_from(["starting", "ready", "draining"])
beats = st.builds(Beat, phases, st.integers(0, 10_000).map(lambda hundredths: hundredths / 100))


@given(st.lists(beats, min_size=1), st.integers(0, 3))
def test_the_last_whole_beat_counts_whatever_the_pipe_held(sent: list[Beat], cut: int) -> None:
    data = b"".join(encode(beat) for beat in sent)
    assert last(data) == sent[-1]
    whole = [*sent[:-1]] if cut else sent
    assert last(data[: len(data) - cut]) == (whole[-1] if whole else None)


def test_nothing_heard_is_nothing() -> None:
    assert last(b"") is None
    phase: Phase = "ready"
    assert last(encode(Beat(phase))[:-1]) is None


def test_operations_tell_the_times_by_which_gateways_are_judged() -> None:
    told = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    for seconds in (SILENT_S, STUCK_S, START_S, KEEP_ALIVE_S, LONGEST_PAUSE_S):
        assert f" {seconds:g} s" in told


def test_a_sleep_that_fails_ends_no_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(seconds: float) -> None:
        raise OSError(22, "Invalid argument")

    class Enough(Exception):
        pass

    waits: list[float] = []

    def wait(*given: object) -> None:
        waits.append(given[3])  # type: ignore[arg-type]
        if len(waits) == 3:
            raise Enough

    reader, writer = os.pipe()
    try:
        monkeypatch.setattr("askonce.supervisor.beating.time.sleep", fail)
        monkeypatch.setattr("askonce.supervisor.beating.select.select", wait)
        with pytest.raises(Enough):
            Pulse(writer).run()
        assert waits == [pulse.BEAT_S] * 3
    finally:
        os.close(reader)
        os.close(writer)
