"""What gateways say of the worker, by its last word."""

from pathlib import Path

from askonce.ledger.worker_status import STALE_MS, WorkerStatus, pack, read, trouble, trouble_with_executions, write


def test_it_is_well_while_it_says_so(tmp_path: Path) -> None:
    write(tmp_path / "w", pack(WorkerStatus(1000)))
    assert trouble(read(tmp_path / "w"), 1000 + STALE_MS) == ""
    assert "does not run" in trouble(read(tmp_path / "w"), 1001 + STALE_MS)


def test_why_nothing_arrives_is_told_with_how_much_waits() -> None:
    word = pack(WorkerStatus(1000, "The database is away: no route.", 12))
    assert trouble(word, 1000) == "The database is away: no route. 12 records wait."


def test_one_that_never_ran_or_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert "has not been started" in trouble(read(tmp_path / "w"), 0)
    (tmp_path / "w").write_text("{")
    assert "cannot be read" in trouble(read(tmp_path / "w"), 0)


def test_a_word_that_nodes_share_is_there_or_not_and_never_stale() -> None:
    assert trouble(pack(WorkerStatus(1000)), None) == ""
    assert "no worker runs" in trouble(None, None)
    assert trouble_with_executions(pack(WorkerStatus(1000, executions="Not now.")), None) == "Not now."
