"""The command against a small server that speaks the contract: what is printed where, and the exit codes."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from askonce.cli.client import refusal
from askonce.cli.stats import table

ANSWER = {
    "code": "print('hi')",
    "files": [{"path": "src/hi.py", "language": "python", "content": "print('hi')"}],
    "metadata": {
        "cached": True,
        "cache": "hit",
        "provider": "openai",
        "model": "gpt-4o",
        "usage": {"promptTokens": 5, "completionTokens": 7, "totalTokens": 12},
        "cost": "$0.0000",
        "saved": "$0.0013",
        "latencyMs": 1,
    },
}
STATS = {"hits": 15, "misses": 5, "hitRate": 75, "estimatedSavings": "$0.15", "advice": "Good."}
MODELS = {
    "models": [
        {
            "id": "openai:gpt-4o",
            "default": True,
            "contextWindow": 128000,
            "prices": {"input": "2.5", "output": "10"},
            "aliases": ["good"],
            "note": "",
        },
        {"id": "mine:x", "default": False, "contextWindow": None, "prices": None, "aliases": [], "note": ""},
    ]
}
LIMITED = {
    "error": "Rate limit exceeded",
    "message": "Too many LLM requests, please wait before trying again.",
    "code": "rate_limited",
    "requestId": "r",
}
BROKEN = {"error": "Provider error", "message": "The provider failed.", "code": "provider_error", "requestId": "r"}
NO_KEY = {"error": "Unauthorized", "message": "A key is needed.", "code": "unauthorized", "requestId": "r"}
WARNING = "Refused the path '.git/config': it reaches into a Git repository. Its block is not among the files."
WARNED = {"metadata": ANSWER["metadata"] | {"warnings": [WARNING]}}  # type: ignore[operator]
CHANGES: dict[str, dict[str, Any]] = {
    "evil": {"files": [{"path": "../../evil", "content": "x"}]},
    "some": WARNED,
    "all": WARNED | {"files": []},
    "none": {"files": []},
}


class Handler(BaseHTTPRequestHandler):
    """Answer as the contract says; prompts choose how."""

    heard: list[tuple[str, dict[str, Any], str]] = []  # noqa: RUF012 - the server makes the instances

    def do_GET(self) -> None:
        self.heard.append((self.path, {}, self.headers.get("Authorization", "")))
        found = {"/llm/cache/stats": STATS, "/llm/models": MODELS, "/ready": {}, "/ours/ready": {"parts": {}}}
        self._reply(200 if self.path in found else 404, json.dumps(found.get(self.path, {})).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append((self.path, body, self.headers.get("Authorization", "")))
        refusals = {"limited": (429, LIMITED), "502": (502, BROKEN), "nokey": (401, NO_KEY)}
        if body["prompt"] in refusals:
            status, error = refusals[body["prompt"]]
            self._reply(status, json.dumps(error).encode())
            return
        if body["prompt"] == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"event: start\ndata: {}\n\nevent")
            self.close_connection = True
            return
        events = b'event: start\ndata: {}\n\n: keep-alive\n\nevent: delta\ndata: {"text": "```python\\nprint"}\n\n'
        if body["prompt"] == "fails":
            events += b"event: error\ndata: " + json.dumps(BROKEN).encode() + b"\n\n"
        elif body["prompt"] == "stops":
            events += b"event: error\ndata: " + json.dumps(LIMITED).encode() + b"\n\n"
        elif body["prompt"] != "breaks":
            answer = ANSWER | CHANGES.get(body["prompt"], {})
            events += b"event: done\ndata: " + json.dumps(answer).encode() + b"\n\n"
        self._reply(200, events, "text/event-stream")

    def _reply(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.heard.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def askonce(folder: Path, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder)} | environ
    command = [sys.executable, "-m", "askonce.cli.main", *arguments]
    return subprocess.run(command, env=environ, cwd=folder, input=stdin, capture_output=True, text=True, timeout=60)


def test_ask_prints_the_code_alone_and_its_price_on_the_side(tmp_path: Path, server: str) -> None:
    done = askonce(tmp_path, "ask", "say hi", ASKONCE_URL=server, ASKONCE_KEY="sk-12345678")
    assert done.returncode == 0
    assert done.stdout == "print('hi')\n"
    assert done.stderr == "[hit] openai:gpt-4o, 5 + 7 tokens, saved $0.0013, 1 ms\n"
    assert Handler.heard == [("/llm/generate", {"prompt": "say hi", "stream": True}, "Bearer sk-12345678")]


@pytest.mark.parametrize(
    ("options", "sent"),
    [
        (["--no-cache"], {"cache": {"mode": "off"}}),
        (["--refresh"], {"cache": {"mode": "refresh"}}),
        (["--model", "openai:gpt-4o", "--system", "Be brief."], {"model": "openai:gpt-4o", "system": "Be brief."}),
    ],
)
def test_options_reach_the_server(tmp_path: Path, server: str, options: list[str], sent: dict[str, Any]) -> None:
    assert askonce(tmp_path, "ask", "q", *options, "--url", server).returncode == 0
    assert Handler.heard[0][1] == {"prompt": "q", "stream": True} | sent


def test_the_prompt_may_come_through_a_pipe(tmp_path: Path, server: str) -> None:
    assert askonce(tmp_path, "ask", "-", "--url", server, stdin="from a pipe\n").returncode == 0
    assert Handler.heard[0][1]["prompt"] == "from a pipe\n"
    assert askonce(tmp_path, "ask", "-", "--url", server, stdin=" \n").returncode == 2
    assert askonce(tmp_path, "ask", "--url", server, stdin="hi\n").returncode == 0
    assert Handler.heard[1][1]["prompt"] == "hi\n"


def test_the_whole_answer_as_json(tmp_path: Path, server: str) -> None:
    assert json.loads(askonce(tmp_path, "ask", "q", "--json", "--url", server).stdout) == ANSWER


def test_files_are_written_into_the_folder_and_nothing_is_replaced_unasked(tmp_path: Path, server: str) -> None:
    arguments = ("ask", "q", "--out", "made", "--url", server)
    assert askonce(tmp_path, *arguments).returncode == 0
    assert (tmp_path / "made" / "src" / "hi.py").read_text() == "print('hi')\n"
    again = askonce(tmp_path, *arguments)
    assert again.returncode == 1
    assert "--force" in again.stderr
    assert askonce(tmp_path, *arguments, "--force").returncode == 0


def test_files_that_were_refused_are_told_and_without_any_other_it_is_a_failure(tmp_path: Path, server: str) -> None:
    some = askonce(tmp_path, "ask", "some", "--out", "made", "--url", server)
    assert some.returncode == 0
    assert f"warning: {WARNING}" in some.stderr
    assert (tmp_path / "made" / "src" / "hi.py").exists()
    refused = askonce(tmp_path, "ask", "all", "--out", "other", "--url", server)
    assert refused.returncode == 1
    assert WARNING in refused.stderr
    nothing = askonce(tmp_path, "ask", "none", "--out", "other", "--url", server)
    assert nothing.returncode == 1
    assert "its code is printed" in nothing.stderr
    assert not (tmp_path / "other").exists()


def test_no_file_leaves_the_folder(tmp_path: Path, server: str) -> None:
    done = askonce(tmp_path, "ask", "evil", "--out", "deep/made", "--url", server)
    assert done.returncode == 1
    assert "not inside" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("prompt", "exit_code", "says"),
    [
        ("limited", 4, "Rate limit exceeded: Too many LLM requests"),
        ("fails", 1, "The provider failed. (provider_error)"),
        ("stops", 4, "Too many LLM requests, please wait before trying again. (rate_limited)"),
        ("breaks", 1, "broke off"),
        ("cut", 1, "broke off"),
        ("502", 1, "The provider failed. (502 provider_error)"),
        ("nokey", 4, "Send a key with --key or ASKONCE_KEY."),
    ],
)
def test_what_goes_wrong_has_its_own_exit_code(
    tmp_path: Path, server: str, prompt: str, exit_code: int, says: str
) -> None:
    done = askonce(tmp_path, "ask", prompt, "--url", server)
    assert done.returncode == exit_code
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "environ", "exit_code", "says"),
    [
        (["ask", "q", "--url", "http://127.0.0.1:1"], {}, 3, "askonce serve"),
        (["stats"], {"ASKONCE_PORT": "1"}, 3, "http://127.0.0.1:1"),
        (["ask", "q", "--no-cache", "--refresh"], {}, 2, "exclude"),
        (["ask", "q", "--url", "http://127.0.0.1:1"], {}, 3, "(connection refused)"),
        (["ask", "q", "--url", "ftp://x"], {}, 2, "no address such as http://"),
        (["stats"], {"ASKONCE_URL": "foo"}, 2, "'foo' is no address such as http://"),
        (["stats"], {"ASKONCE_URL": "http://[::1"}, 2, "correct --url or ASKONCE_URL"),
        (["ask"], {}, 2, "The prompt is empty"),
        (["models", "pull", "nope"], {}, 2, "No embedded model is called 'nope'; there are qwen2.5-coder-0.5b"),
        (["nonsense"], {}, 2, "No such command"),
        (["config"], {"ASKONCE_PORT": "x"}, 2, "port = 'x' (environment ASKONCE_PORT)"),
        (["config", "--set", "port"], {}, 2, "KEY=VALUE"),
        (["serve"], {"ASKONCE_PROT": "1"}, 2, "did you mean ASKONCE_PORT?"),
        (["serve", "--host", "0.0.0.0"], {}, 2, "ASKONCE_KEYS"),
        (["models", "pull", "qwen"], {}, 2, "qwen2.5-coder"),
    ],
)
def test_misuse_is_refused_before_anything_happens(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], exit_code: int, says: str
) -> None:
    done = askonce(tmp_path, *arguments, **environ)
    assert done.returncode == exit_code, done.stderr
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_stats_and_models_are_laid_out_for_people(tmp_path: Path, server: str) -> None:
    stats = askonce(tmp_path, "stats", "--url", server).stdout
    assert "hit rate  75 %" in stats
    assert "Good." in stats
    first, second = askonce(tmp_path, "models", "list", "--url", server).stdout.splitlines()
    assert first.split(maxsplit=1) == [
        "openai:gpt-4o",
        "128000 tokens; $2.5 in, $10 out per million tokens; default; good",
    ]
    assert second == "mine:x"
    assert json.loads(askonce(tmp_path, "stats", "--json", "--url", server).stdout) == STATS


def test_the_sums_for_people_say_that_not_all_that_was_spent_is_known() -> None:
    assert "spent  $0.0100\n" in table({"spent": "$0.0100", "unpriced": 0})
    assert "spent  $0.0100, and 3 calls without a known price\n" in table({"spent": "$0.0100", "unpriced": 3})


def test_config_shows_values_origins_and_no_secret(tmp_path: Path) -> None:
    shown = askonce(tmp_path, "config", "--set", "port=5", ASKONCE_KEYS="team:sk-abcdefghijklmnop").stdout
    assert "port                 5                                        command line" in shown
    assert "environment ASKONCE_KEYS" in shown
    assert "abcdefgh" not in shown
    origins = {one["key"]: one["origin"] for one in json.loads(askonce(tmp_path, "config", "--json").stdout)}
    assert origins["port"] == "default"


def test_the_settings_own_key_goes_to_the_settings_own_server_only(tmp_path: Path, server: str) -> None:
    port = server.rpartition(":")[2]
    askonce(tmp_path, "stats", ASKONCE_KEYS="team:sk-12345678", ASKONCE_PORT=port)
    askonce(tmp_path, "stats", "--url", server, ASKONCE_KEYS="team:sk-12345678")
    assert [key for _, _, key in Handler.heard] == ["Bearer sk-12345678", ""]


def test_version_and_help(tmp_path: Path) -> None:
    assert askonce(tmp_path, "--version").stdout == "0.1.0\n"
    text = askonce(tmp_path, "--help").stdout
    assert all(command in text for command in ("serve", "ask", "stats", "models", "config", "doctor"))


def test_the_doctor_finds_a_sound_machine_sound(tmp_path: Path) -> None:
    done = askonce(tmp_path, "doctor", "--offline", "--set", "port=0")
    assert done.returncode == 0, done.stdout
    assert "✗" not in done.stdout
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"ASKONCE_PORT": "x"}, "✗ settings"),
        ({"ASKONCE_LOCAL_MODEL": "off"}, "✗ providers"),
        ({"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"}, "✗ openai"),
        ({"SSL_CERT_FILE": "/nonexistent/ca.pem"}, "✗ network          SSL_CERT_FILE='/nonexistent/ca.pem'"),
    ],
)
def test_the_doctor_finds_what_is_broken(tmp_path: Path, environ: dict[str, str], says: str) -> None:
    done = askonce(tmp_path, "doctor", **environ)
    assert done.returncode == 1
    assert says in done.stdout


def test_the_doctor_takes_no_key_where_the_working_folder_sends_it(tmp_path: Path) -> None:
    (tmp_path / "askonce.toml").write_text('[providers.openai]\nbase_url = "http://nowhere.invalid/v1"\n')
    found_here = askonce(tmp_path, "doctor", "--set", "port=0", OPENAI_API_KEY="sk-1")
    assert "• openai" in found_here.stdout
    assert "not asked" in found_here.stdout
    assert found_here.returncode == 0, found_here.stdout
    named = askonce(tmp_path, "doctor", "--set", "port=0", "--config", "askonce.toml", OPENAI_API_KEY="sk-1")
    assert "✗ openai" in named.stdout
    same_hand = askonce(
        tmp_path, "doctor", OPENAI_API_KEY="sk-1", OPENAI_BASE_URL="http://nowhere.invalid/v1", ASKONCE_PORT="0"
    )
    assert "✗ openai" in same_hand.stdout


def test_the_doctor_tells_a_foreign_server_on_the_port(tmp_path: Path, server: str) -> None:
    done = askonce(tmp_path, "doctor", "--offline", ASKONCE_PORT="1" if os.geteuid() else server.rpartition(":")[2])
    assert "✗ port" in done.stdout


@pytest.mark.parametrize(
    ("path", "code", "says"),
    [("", 1, "✗ server           what answers at"), ("/x:y", 1, "✗ server"), ("/ours", 0, "✓ server")],
)
def test_the_doctor_looks_at_the_server_that_is_named(
    tmp_path: Path, server: str, path: str, code: int, says: str
) -> None:
    done = askonce(tmp_path, "doctor", "--offline", ASKONCE_URL=server + path)
    assert says in done.stdout, done.stdout
    assert done.returncode == code
    assert "port  " not in done.stdout


def test_a_server_that_makes_no_sense_is_named_so() -> None:
    assert refusal(500, b"<html>") == "The server answered 500 without saying why."
    details = b'{"error":"E","message":"M","code":"c","details":[{"field":"prompt","problem":"is blank"}]}'
    assert refusal(400, details) == "E: M (400 c)\n  prompt: is blank"
