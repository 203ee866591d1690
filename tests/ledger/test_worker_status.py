"""What gateways say of the worker, by its last word."""

from pathlib import Path

from askonce.ledger.worker_status import STALE_MS, WorkerStatus, trouble, write


def test_it_is_well_while_it_says_so(tmp_path: Path) -> None:
    write(tmp_path / "w", WorkerStatus(1000))
    assert trouble(tmp_path / "w", 1000 + STALE_MS) == ""
    assert "does not run" in trouble(tmp_path / "w", 1001 + STALE_MS)


def test_why_nothing_arrives_is_told_with_how_much_waits(tmp_path: Path) -> None:
    write(tmp_path / "w", WorkerStatus(1000, "The database is away: no route.", 12))
    assert trouble(tmp_path / "w", 1000) == "The database is away: no route. 12 records wait."


def test_one_that_never_ran_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert "has not been started" in trouble(tmp_path / "w", 0)
    (tmp_path / "w").write_text("{")
    assert "cannot be read" in trouble(tmp_path / "w", 0)
