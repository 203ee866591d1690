"""Places in the house whose children cannot be started, or ended while nobody is to be started any more."""

import os
import sys
import time

import pytest

from askonce.supervisor.backoff import LONGEST_PAUSE_S
from askonce.supervisor.children import Child, Watched
from askonce.supervisor.posts import Post, next_incarnation
from askonce.supervisor.pulse import SILENT_S, START_S, Beat, encode


def ended(child: Child) -> None:
    deadline = time.monotonic() + 10
    while child.exit_code() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_machine_without_room_for_a_process_is_asked_again_later() -> None:
    refusals = [OSError(11, "no more processes")]

    def hatch() -> Child:
        if refusals:
            raise refusals.pop()
        return Child([sys.executable, "-c", ""], b"")

    post = Post("it", hatch)
    post.tend(100.0)
    post.tend(100.0 + LONGEST_PAUSE_S / 2)
    assert post.empty()
    post.tend(100.0 + LONGEST_PAUSE_S)
    assert post.child is not None
    ended(post.child)
    post.child.close()


def test_a_retired_post_is_not_filled_again() -> None:
    post = Post("it", lambda: Child([sys.executable, "-c", ""], b""))
    post.tend(0.0)
    assert post.child is not None
    ended(post.child)
    post.retire()
    post.tend(0.0)
    assert post.empty()
    post.tend(time.monotonic() + 100)
    assert post.empty()
    assert not post.given_up


def test_a_start_that_fails_leaves_no_descriptor_open() -> None:
    pipe = os.pipe()
    with pytest.raises(FileNotFoundError):
        Watched(["/nonexistent/program"], b"", [], pipe)
    for descriptor in pipe:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)


def test_a_gateway_is_not_blamed_for_a_time_in_which_nobody_watched() -> None:
    reading, writing = os.pipe()
    beats = os.dup(writing)
    child = Watched([sys.executable, "-c", ""], b"", [], (reading, writing))
    now_s = time.monotonic()
    assert child.verdict(now_s + START_S + 1) == "never started"
    child.forgive(now_s + 40, lost_s=40)
    assert child.verdict(now_s + START_S + 1) == "alive"
    os.write(beats, encode(Beat("ready")))
    child.listen(now_s + 50)
    assert child.verdict(now_s + 54) == "frozen"
    child.forgive(now_s + 54, lost_s=4)
    assert child.verdict(now_s + 54) == "alive"
    assert child.verdict(now_s + 54 + SILENT_S + 0.1) == "frozen"
    ended(child)
    child.close()
    os.close(beats)


def test_incarnations_only_grow() -> None:
    numbers = [next_incarnation() for _ in range(1000)]
    assert numbers == sorted(set(numbers))
