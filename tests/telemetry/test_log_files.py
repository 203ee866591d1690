"""Several processes write one log file, and it is moved away when it is full; no line is lost or torn."""

import io
import json
import logging
import multiprocessing
from pathlib import Path

import pytest

from askonce.telemetry import logs
from askonce.telemetry.log_files import LineFile, LogFile, rotate

WRITERS, LINES = 3, 400


def write_lines(path: str, writer: int) -> None:
    """Write and rotate, as a process does."""
    file = LogFile(path, 4096, 1000)
    handler = LineFile(file)
    for number in range(LINES):
        handler.write(json.dumps({"event": "x", "writer": writer, "number": number}))
        if number % 7 == 0:
            rotate(file)
    handler.close()


def test_no_line_is_lost_or_torn_while_several_write_and_rotate(tmp_path: Path) -> None:
    path = tmp_path / "askonce.log"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=write_lines, args=(str(path), number)) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    files = [one for one in tmp_path.glob("askonce.log*") if not one.name.endswith(".lock")]
    lines = [json.loads(line) for one in files for line in one.read_text().splitlines()]
    assert len(files) > 3
    assert sorted((line["writer"], line["number"]) for line in lines) == [
        (writer, number) for writer in range(WRITERS) for number in range(LINES)
    ]


def test_so_many_full_ones_are_kept_and_the_latest_is_the_first(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), 1, 2)
    handler = LineFile(file)
    for number in range(5):
        handler.write(str(number))
        assert rotate(file)
    handler.close()
    assert {one.name: one.read_text() for one in tmp_path.glob("log.[0-9]")} == {"log.1": "4\n", "log.2": "3\n"}


def test_a_full_one_is_dropped_where_none_is_kept(tmp_path: Path) -> None:
    file = LogFile(str(tmp_path / "log"), 1, 0)
    handler = LineFile(file)
    handler.write("x")
    handler.close()
    assert rotate(file)
    assert not rotate(file)
    assert not (tmp_path / "log").exists()


def test_loggers_of_all_kinds_write_there_in_json(tmp_path: Path) -> None:
    path = tmp_path / "new" / "askonce.log"
    logs.configure("info", "auto", file=LogFile(str(path), 1 << 20, 1))
    try:
        logs.get("askonce.test").info("ours", model="m")
        logging.getLogger("askonce.other").warning("theirs")
        path.rename(path.with_suffix(".moved"))
        logs.get("askonce.test").info("after the move")
        logging.getLogger("askonce.other").warning("also after it")
    finally:
        logs.configure("info", "json", io.StringIO())
    read = [json.loads(line)["event"] for line in path.with_suffix(".moved").read_text().splitlines()]
    assert read == ["ours", "theirs"]
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["after the move", "also after it"]


def test_a_file_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        LineFile(LogFile(str(tmp_path / "file" / "log"), 1, 1))
