"""`askonce simulate`, as its user meets it."""

import json
import subprocess
import sys
from pathlib import Path

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
USAGE = {"prompt_tokens": 1000, "completion_tokens": 500}


def simulate(*arguments: str, standard_input: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "askonce", "simulate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, input=standard_input, check=False)


def log(*times: int) -> str:
    return "".join(json.dumps({"time": at, "body": CHAT, "usage": USAGE}) + "\n" for at in times)


def test_a_log_is_replayed_and_told(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(log(1_700_000_000, 1_700_000_100) + "rubbish\n")
    done = simulate(str(path), "--ttl", "1h", "--ttl", "10s")
    assert done.returncode == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["2", "requests"]
    assert [row[2] for row in rows if row[:1] in (["1h"], ["10s"])] == ["1", "0"]
    assert "1 of 3 lines are no requests" in done.stdout
    assert done.stderr == ""


def test_standard_input_as_json_for_programs() -> None:
    done = simulate("-", "--json", standard_input=log(1, 2, 3_000))
    told = json.loads(done.stdout)
    assert told["reading"]["requests"] == 3
    (plan,) = told["plans"]
    assert (plan["paid"], plan["hits"] + plan["coalesced"]) == (1, 2)
    assert plan["costNano"] * 2 == plan["savedExactNano"] + plan["savedCoalescedNano"] > 0


def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    missing = simulate(str(tmp_path / "none"))
    assert (missing.returncode, "cannot be read" in missing.stderr) == (1, True)
    empty = simulate("-", standard_input="")
    assert (empty.returncode, "It is empty" in empty.stderr) == (1, True)
    foreign = simulate("-", standard_input='{"foo": 1}\n')
    assert (foreign.returncode, "no request in it" in foreign.stderr) == (1, True)
    wrong = simulate("-", "--ttl", "soon", standard_input=log(1))
    assert (wrong.returncode, "--ttl" in wrong.stderr) == (2, True)
