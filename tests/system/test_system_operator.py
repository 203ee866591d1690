"""What an operator sees: the log, and the command with the real server."""

import json
import os
import pty
import signal
import subprocess
import sys
from typing import Any

import pytest
from tests.system.clients import post_now, request_now
from tests.system.houses import USAGE, Build, House, eventually, script

pytestmark = pytest.mark.process
KEY = "sk-operator-0123456789abcdef"
PROMPT = "a prompt that is nobody's business"
BEARER = {"Authorization": f"Bearer {KEY}"}
CODE = '```python src/a.py\nprint("answered text")\n```\n'
PLAYS = script(
    "contains = 'refuse me'\nerror = { status = 500, message = 'upstream is down' }",
    f"chunk_ms = 20\ntext = '''{CODE}'''\n{USAGE}",
)


def command(house: House, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command against the house."""
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(house.folder),
        "ASKONCE_URL": house.url,
        "ASKONCE_KEY": KEY,
        **env,
    }
    whole = [sys.executable, "-m", "askonce", *arguments]
    return subprocess.run(whole, cwd=house.folder, env=environ, capture_output=True, text=True, timeout=60)


def test_the_log_is_json_tells_what_was_paid_and_no_secret_and_no_prompt(build: Build) -> None:
    house = build(f'workers = 2\nkeys = ["{KEY}"]', PLAYS).start()
    paid = post_now(house.port, {"prompt": PROMPT}, {**BEARER, "X-Request-Id": "mine-1"})
    assert (paid.status, paid.headers["x-request-id"]) == (200, "mine-1")
    for _ in range(5):
        assert post_now(house.port, {"prompt": PROMPT}, BEARER).cache == "hit"
    failed = post_now(house.port, {"prompt": f"refuse me, {PROMPT}"}, BEARER)
    assert failed.status == 502
    assert post_now(house.port, {"prompt": PROMPT}, {"Authorization": "Bearer wrong-secret-0123456789"}).status == 401
    assert post_now(house.port, {"promt": PROMPT}, BEARER).status == 400
    # One that answered; one that was refused, and refused again: a 500 is tried once more.
    eventually(lambda: sum(line["event"] == "provider_call" for line in house.log()) == 3, "all calls are told")
    house.workers()[0].kill()
    eventually(lambda: any(line["event"] == "ended unexpectedly" for line in house.log()), "the death is told")
    house.await_workers()
    assert house.stop() == 0

    lines = house.log()
    for line in lines:
        assert set(line) >= {"event", "level", "logger", "timestamp"}
        assert line["timestamp"].endswith("Z")
    calls = {line["request_id"]: line for line in lines if line["event"] == "provider_call"}
    assert set(calls) == {"mine-1", failed.headers["x-request-id"]}
    assert calls["mine-1"]["level"] == "info"
    assert calls["mine-1"]["cost_nano"] == paid.json()["metadata"]["costNano"]
    told = calls[failed.headers["x-request-id"]]
    assert (told["level"], told["ending"], told["code"]) == ("warning", "failed", "provider_error")
    # Hits, refusals and unknown keys leave no line: five of the first kind or five thousand. What fails by our fault or
    # a vendor's may.
    # Of a machine that is too busy it tells as well whom it had to kill for being silent.
    told_of = {line["event"] for line in lines} - {"request_failed", "killed"}
    assert told_of == {"provider_call", "ended unexpectedly", "draining"}
    failures = [line["request_id"] for line in lines if line["event"] == "request_failed"]
    assert set(failures) <= {failed.headers["x-request-id"]}
    everything = (house.folder / "log").read_text() + house.screen()
    for hidden in (KEY, PROMPT, "wrong-secret", "answered text", "promt"):
        assert hidden not in everything


def test_the_command_asks_counts_lists_and_looks_for_causes(build: Build) -> None:
    house = build(f'workers = 2\nkeys = ["{KEY}"]', PLAYS).start(with_prices=True)
    first, second = command(house, "ask", PROMPT), command(house, "ask", PROMPT, "--json")
    assert (first.returncode, first.stdout) == (0, 'print("answered text")\n'), first.stderr
    assert first.stderr.startswith("[miss] scripted:demo")
    answer: Any = json.loads(second.stdout)
    assert answer["metadata"]["cache"] == "hit"
    assert len(house.calls()) == 1

    stats = command(house, "stats")
    assert (stats.returncode, "hit rate  50" in stats.stdout) == (0, True), stats.stdout
    models = command(house, "models", "list")
    assert (models.returncode, "scripted:demo" in models.stdout) == (0, True)
    doctor = command(house, "doctor", "--config", "askonce.toml")
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    shown = command(house, "config", "--config", "askonce.toml")
    assert (shown.returncode, KEY in shown.stdout + shown.stderr) == (0, False)
    assert "workers" in shown.stdout


def test_the_commands_exit_code_says_what_went_wrong(build: Build) -> None:
    house = build(f'keys = ["{KEY}"]\nlimit_llm = "2/60s"', PLAYS).start()
    assert command(house, "ask", PROMPT, ASKONCE_KEY="unknown-key-0123456789").returncode == 4
    assert command(house, "ask", PROMPT, "--model", "no-such-model").returncode == 4
    assert command(house, "ask", "refuse me").returncode == 1  # not refused: it failed
    assert command(house, "ask", PROMPT).returncode == 0
    limited = command(house, "ask", PROMPT)
    assert (limited.returncode, "Too many LLM requests" in limited.stderr) == (4, True), limited.stderr
    assert command(house, "ask").returncode == 2
    assert command(house, "stats", "--no-such-option").returncode == 2
    assert command(house, "stats", "--url", "http://127.0.0.1:1").returncode == 3
    again = command(house, "serve", "--config", "askonce.toml", "--port", str(house.port))
    assert again.returncode == 2
    assert "another askonce" in again.stderr


def test_on_a_terminal_the_answer_appears_as_it_comes(build: Build) -> None:
    house = build(
        "", script('chunks = ["first ", { text = "second ", after_ms = 400 }, { text = "third", after_ms = 400 }]')
    )
    house.start()
    ours, its = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "HOME": str(house.folder), "ASKONCE_URL": house.url, "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "askonce", "ask", "go on"], env=environ, stdout=its, stderr=subprocess.DEVNULL
    )
    os.close(its)
    seen, stages = "", set()
    while True:
        try:
            piece = os.read(ours, 4096).decode()
        except OSError:  # the terminal's other side was closed
            break
        if not piece:
            break
        seen += piece
        stages.add(tuple(word for word in ("first", "second", "third") if word in seen))
    os.close(ours)
    assert process.wait(20) == 0
    assert ("first",) in stages
    assert ("first", "second", "third") in stages


def test_a_second_signal_ends_everything_at_once(build: Build) -> None:
    house = build("workers = 2", script("hang = true")).start()
    asking = subprocess.Popen(
        [sys.executable, "-m", "askonce", "ask", "never", "--url", house.url],
        cwd=house.folder,
        env={"PATH": os.environ["PATH"], "HOME": str(house.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    eventually(house.calls, "the call is made")
    assert house.process is not None
    house.process.send_signal(signal.SIGTERM)
    eventually(lambda: any(line["event"] == "draining" for line in house.log()), "it drains")
    assert house.process.poll() is None
    house.process.send_signal(signal.SIGTERM)
    assert house.process.wait(5) == 0
    assert not house.family()
    assert asking.wait(20) in (1, 3)  # it broke off, or was told that the server stops
    house.start()
    assert request_now(house.port, "/llm/cache/stats").status == 200
