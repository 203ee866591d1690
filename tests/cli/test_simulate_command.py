"""`askonce simulate`, as it is called: without a server, settings or a data folder."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from askonce.cli.exits import CommandFailed
from askonce.cli.simulate import app

USAGE = {"prompt_tokens": 1000, "completion_tokens": 1000}


def line(at_s: int, prompt: str, **more: Any) -> str:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": prompt}]}
    return json.dumps({"time": 1_767_225_600 + at_s, "duration_ms": 1000, "usage": USAGE, "body": body, **more}) + "\n"


LOG = line(0, "a") + line(0, "a") + line(10, "a") + line(20, "b") + line(4000, "a")


def simulate(folder: Path, *args: str, log: str = "") -> subprocess.CompletedProcess[str]:
    """Run it in an empty folder, with an environment that names nothing."""
    return subprocess.run(
        [sys.executable, "-m", "askonce", "simulate", *args],
        cwd=folder,
        input=log,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        check=False,
    )


def test_it_tells_what_would_have_been_saved_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(LOG + "nonsense\n")
    done = simulate(tmp_path, "log.jsonl", "--ttl", "1h", "--ttl", "1d")
    assert (done.returncode, done.stderr) == (0, "")
    rows = [row.split() for row in done.stdout.splitlines() if "2GiB" in row]
    assert [row[:4] for row in rows] == [["1h", "2GiB", "1", "1"], ["1d", "2GiB", "2", "1"]]
    assert "1 of 6 lines are no requests" in done.stdout
    assert "line 6: no JSON" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]


def test_programs_get_json_from_standard_input_too(tmp_path: Path) -> None:
    done = simulate(tmp_path, "-", "--json", "--size", "1MiB", "--limit", "1/60s", log=LOG)
    found = json.loads(done.stdout)
    (plan,) = found["plans"]
    assert found["reading"]["requests"] == 5
    assert (plan["refused"], plan["paid"], plan["hits"], plan["limit"]) == (3, 2, 0, 1)
    assert plan["costNano"] == 2 * (2_500_000 + 10_000_000)


def test_who_shares_answers_is_named_by_a_field(tmp_path: Path) -> None:
    log = line(0, "a", team="x") + line(5, "a", team="y") + line(9, "a", team="x")
    shared = json.loads(simulate(tmp_path, "-", "--json", log=log).stdout)["plans"][0]
    apart = json.loads(simulate(tmp_path, "-", "--json", "--tenant-field", "team", log=log).stdout)["plans"][0]
    assert (shared["hits"], apart["hits"]) == (2, 1)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("nowhere.jsonl",), 1, "nowhere.jsonl cannot be read"),
        ((".",), 1, "cannot be read"),
        ((os.devnull,), 1, "It is empty"),
        (("-", "--ttl", "soon"), 2, "--ttl"),
        (("-", "--size", "much"), 2, "--size"),
        (("-", "--limit", "some"), 2, "--limit"),
    ],
)
def test_errors_say_what_to_do(args: tuple[str, ...], code: int, said: str) -> None:
    failed = failure(*args)
    assert failed.exit_code == code
    assert said in failed.message


def test_a_file_of_something_else_is_told_by_its_first_lines(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    failed = failure(str(tmp_path / "table.csv"))
    assert "table.csv has no requests" in failed.message
    assert "line 1: no JSON" in failed.message


def test_the_command_says_it_to_people(tmp_path: Path) -> None:
    done = simulate(tmp_path, "nowhere.jsonl")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "askonce: nowhere.jsonl cannot be read: No such file or directory.\n"


def failure(*args: str) -> CommandFailed:
    """Call it in this process and return how it failed."""
    failed = CliRunner().invoke(app, args).exception
    assert isinstance(failed, CommandFailed)
    return failed
