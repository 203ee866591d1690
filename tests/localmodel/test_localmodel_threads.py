from pathlib import Path

import pytest

from askonce.localmodel.threads import MOST_THREADS, _quota, usable_threads


@pytest.mark.parametrize(
    ("cores", "quota", "threads"),
    [
        (1, 8.0, 1),
        (2, 8.0, 1),
        (4, 8.0, 3),
        (64, 8.0, MOST_THREADS),
        (16, 2.0, 2),
        (16, 0.5, 1),
    ],
)
def test_one_core_stays_free_and_the_quota_is_kept(cores: int, quota: float, threads: int) -> None:
    assert usable_threads(cores, quota) == threads


def test_on_this_machine_there_is_at_least_one() -> None:
    assert 1 <= usable_threads() <= MOST_THREADS


@pytest.mark.parametrize(
    ("content", "cores"), [("max 100000\n", MOST_THREADS), ("150000 100000\n", 1.5), ("", MOST_THREADS)]
)
def test_the_containers_quota_is_read(tmp_path: Path, content: str, cores: float) -> None:
    (tmp_path / "cpu.max").write_text(content)
    assert _quota(tmp_path / "cpu.max") == cores
    assert _quota(tmp_path / "absent") == MOST_THREADS
