"""`askonce logs` prints JSON lines for people, filtered, and follows a file over its moves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from askonce.cli.exits import Misused
from askonce.cli.logs import Filter, _logs, _since, followed, pretty, printed

HIT = {
    "timestamp": "2026-11-24T02:35:09.447Z",
    "level": "info",
    "logger": "askonce",
    "event": "request",
    "request_id": "r-1",
    "door": "generate",
    "cache": "hit",
    "took_ms": 0.25,
}
CALL = HIT | {"event": "provider_call", "request_id": "r-2", "cache": None, "model": "gpt-4o", "took_ms": 812}
FAILED = HIT | {"level": "error", "event": "defect", "request_id": "r-3", "exception": "Traceback …\nValueError: x"}


def told(*lines: dict[str, Any] | str, wanted: Filter | None = None, as_json: bool = False) -> list[str]:
    raw = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    return list(printed([f"{one}\n" for one in raw], wanted or Filter(), as_json=as_json, coloured=False))


def test_a_line_for_people() -> None:
    assert told(HIT) == [
        "2026-11-24 02:35:09.447 info     request  request_id=r-1 door=generate cache=hit took_ms=0.25"
    ]


def test_a_traceback_stands_below_its_line() -> None:
    assert told(FAILED)[0].splitlines()[1:] == ["Traceback …", "ValueError: x"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(level="warning"), ["r-3"]),
        (Filter(equal={"event": "request"}), ["r-1"]),
        (Filter(equal={"model": "gpt-4o"}), ["r-2"]),
        (Filter(request_id="r-3"), ["r-3"]),
        (Filter(min_ms=500), ["r-2"]),
        (Filter(contains="VALUEERROR"), ["r-3"]),
        (Filter(since="2026-11-24T02:35:09.448Z"), []),
        (Filter(), ["r-1", "r-2", "r-3"]),
    ],
)
def test_filters(wanted: Filter, found: list[str]) -> None:
    lines = told(HIT, CALL, FAILED, wanted=wanted, as_json=True)
    assert [json.loads(line)["request_id"] for line in lines] == found


def test_what_is_no_json_is_shown_unless_something_is_filtered() -> None:
    assert told("  plain words", "{half", "[1]") == ["  plain words", "{half", "[1]"]
    assert told("plain words", wanted=Filter(level="info")) == []


def test_nothing_of_a_line_steers_the_terminal() -> None:
    assert "\x1b" not in pretty(HIT | {"event": "\x1b[2J", "model": "\x1b]0;x\x07", "exception": "\x1b[31m"})


def test_spans_and_moments() -> None:
    assert _since("15m", 1_000_000_000.5) == "2001-09-09T01:31:40.500Z"
    assert _since("2026-11-24T02:35Z", 0) == "2026-11-24T02:35:00.000Z"


def test_following_goes_on_in_the_file_that_comes_next(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("one\ntw")
    lines = followed(path, pause_s=0.001)
    assert next(lines) == "one\n"
    with path.open("a") as file:
        file.write("o\nthree\n")
    path.rename(tmp_path / "log.1")
    path.write_text("four\n")
    assert [next(lines) for _ in range(3)] == ["two\n", "three\n", "four\n"]


def test_a_pipe_is_read_and_wrong_levels_are_told() -> None:
    command = [sys.executable, "-m", "askonce", "logs", "--level", "error"]
    given = "\n".join(map(json.dumps, (HIT, FAILED)))
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "defect" in done.stdout
    assert "r-1" not in done.stdout
    with pytest.raises(Misused, match="debug, info, warning, error, critical"):
        _logs([], level="loud")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "askonce", "logs", str(tmp_path / "none")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{tmp_path / 'none'} cannot be read: No such file or directory." in done.stderr
