"""The real process around the smallest real model, spoken to as a gateway would."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import msgspec
import pytest

from askonce.localmodel import status
from askonce.localmodel.server import EXIT_ENDED, EXIT_NEVER, EXIT_TRY_AGAIN, Launch
from askonce.localmodel.status import Status

pytestmark = pytest.mark.process

PATIENCE_S = 60.0  # two shared cores; ends at once when the condition holds
direct = build_opener(ProxyHandler({}))


def start(launch: Launch) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-m", "askonce.localmodel.server"], stdin=subprocess.PIPE)
    assert process.stdin
    process.stdin.write(msgspec.json.encode(launch) + b"\n")
    process.stdin.flush()
    return process


@contextmanager
def running(launch: Launch) -> Iterator[subprocess.Popen[bytes]]:
    process = start(launch)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(path: Path, holds: Callable[[Status], bool]) -> Status:
    end = time.monotonic() + PATIENCE_S
    while not holds(seen := status.read(path)):
        assert time.monotonic() < end, seen
        time.sleep(0.01)
    return seen


@pytest.fixture(scope="module")
def serving(smollm2_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Status]:
    path = tmp_path_factory.mktemp("run") / "localmodel.json"
    launch = Launch(
        model="smollm2-135m",
        models_dir=str(smollm2_path.parent),
        status_path=str(path),
        context_tokens=512,
        hub=False,
        parent_pid=os.getpid(),
    )
    with running(launch):
        yield until(path, lambda seen: seen.state in ("ready", "failed"))


def request(serving: Status, body: dict[str, object] | None = None, token: str | None = None) -> Request:
    headers = {"Authorization": f"Bearer {serving.token if token is None else token}"}
    if body is None:
        return Request(f"{serving.base_url}/models", headers=headers)
    headers["Content-Type"] = "application/json"
    return Request(f"{serving.base_url}/chat/completions", json.dumps(body).encode(), headers)


def ask(serving: Status, body: dict[str, object]) -> Any:
    with direct.open(request(serving, body), timeout=PATIENCE_S) as response:
        return json.load(response)


def refusal(wanted: Request) -> tuple[int, Any]:
    with pytest.raises(HTTPError) as refused:
        direct.open(wanted, timeout=PATIENCE_S)
    with refused.value as answer:
        return answer.code, json.load(answer)["error"]


HELLO: dict[str, object] = {
    "model": "any name is accepted",
    "messages": [{"role": "user", "content": "Say hello."}],
    "max_tokens": 12,
    "temperature": 0,
}


def test_ready_tells_who_serves_and_where(serving: Status) -> None:
    assert (serving.state, serving.model, serving.context_tokens) == ("ready", "smollm2-135m", 512)
    assert serving.smoke_test
    assert "a smoke-test model" in serving.detail
    assert "HuggingFaceTB" in serving.detail
    assert "Apache-2.0" in serving.detail
    assert serving.base_url.startswith("http://127.0.0.1:")
    with direct.open(request(serving), timeout=PATIENCE_S) as response:
        assert json.load(response)["data"][0]["id"] == "smollm2-135m"


def test_a_plain_answer_has_text_usage_and_our_model_name(serving: Status) -> None:
    answer = ask(serving, HELLO)
    assert answer["choices"][0]["message"]["content"].strip()
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert answer["model"] == "smollm2-135m"
    assert answer["usage"]["prompt_tokens"] > 0
    assert 0 < answer["usage"]["completion_tokens"] <= 12


def test_the_same_question_at_temperature_0_has_the_same_answer(serving: Status) -> None:
    first, second = (ask(serving, HELLO)["choices"][0]["message"]["content"] for _ in range(2))
    assert first == second


def test_a_streamed_answer_is_the_plain_one_in_pieces_with_usage_at_the_end(serving: Status) -> None:
    plain = ask(serving, HELLO)
    streamed = {**HELLO, "stream": True, "stream_options": {"include_usage": True}}
    with direct.open(request(serving, streamed), timeout=PATIENCE_S) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        lines = [line.decode().strip() for line in response if line.strip()]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == plain["choices"][0]["message"]["content"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == plain["usage"]["completion_tokens"]


@pytest.mark.parametrize("token", ["", "wrong"])
@pytest.mark.parametrize("body", [None, HELLO])
def test_nobody_without_the_token_is_served(serving: Status, token: str, body: dict[str, object] | None) -> None:
    code, error = refusal(request(serving, body, token))
    assert (code, error["type"]) == (401, "authentication_error")


def test_too_long_a_prompt_is_refused_by_name(serving: Status) -> None:
    body: dict[str, object] = {"messages": [{"role": "user", "content": "word " * 600}], "stream": True}
    code, error = refusal(request(serving, body))
    assert (code, error["type"], error["n_ctx"]) == (400, "exceed_context_size_error", 512)
    assert error["n_prompt_tokens"] > 600


def test_no_page_of_the_web_may_read_the_answers(serving: Status) -> None:
    wanted = request(serving)
    wanted.add_header("Origin", "http://evil.example")
    with direct.open(wanted, timeout=PATIENCE_S) as response:
        assert not response.headers["Access-Control-Allow-Origin"]


@pytest.fixture
def launch(smollm2_path: Path, tmp_path: Path) -> Launch:
    return Launch(
        model=str(smollm2_path),
        models_dir=str(tmp_path / "models"),
        status_path=str(tmp_path / "localmodel.json"),
        context_tokens=256,
        hub=False,
    )


@pytest.mark.parametrize("order", ["end of stdin", "SIGTERM"])
def test_it_ends_when_told_so_and_says_that_it_stopped(launch: Launch, order: str) -> None:
    path = Path(launch.status_path)
    with running(launch) as process:
        assert until(path, lambda seen: seen.state == "ready").model == "smollm2-135m-instruct-q4_1"
        process.send_signal(signal.SIGINT)  # Ctrl-C at the terminal is the supervisor's to judge
        assert process.stdin
        if order == "SIGTERM":
            process.send_signal(signal.SIGTERM)
        else:
            process.stdin.close()
        assert process.wait(timeout=PATIENCE_S) == EXIT_ENDED
    assert status.read(path).state == "stopped"


def test_it_ends_at_once_while_it_still_answers(launch: Launch) -> None:
    with running(launch) as process:
        seen = until(Path(launch.status_path), lambda seen: seen.state == "ready")
        with direct.open(request(seen, {**HELLO, "stream": True, "max_tokens": 200}), timeout=PATIENCE_S) as response:
            assert response.readline()
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE_S) == EXIT_ENDED
            assert time.monotonic() - began < 25  # the engine itself would wait 30 seconds for the stream


def test_it_ends_while_it_fetches_and_leaves_no_file(
    launch: Launch, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the connection, and never says a word
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{silent.getsockname()[1]}/simple")
        with running(msgspec.structs.replace(launch, model="auto")) as process:
            seen = until(Path(launch.status_path), lambda seen: seen.state == "fetching")
            assert (seen.model, seen.total) == ("qwen2.5-coder-0.5b", 491_400_064)
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=PATIENCE_S) == EXIT_ENDED
    assert status.read(Path(launch.status_path)).state == "stopped"
    assert [path.name for path in Path(launch.models_dir).iterdir() if not path.name.startswith(".")] == []


def test_a_parent_that_is_gone_already_is_noticed(launch: Launch) -> None:
    with running(msgspec.structs.replace(launch, parent_pid=1 << 22)) as process:
        assert process.wait(timeout=PATIENCE_S) == EXIT_ENDED


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"<html>not a model</html>", "is not a GGUF file"), (b"GGUF" + bytes(100), "The engine cannot load")],
)
def test_a_file_that_is_no_model_will_never_work(launch: Launch, tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "wrong.gguf").write_bytes(content)
    with running(msgspec.structs.replace(launch, model=str(tmp_path / "wrong.gguf"))) as process:
        assert process.wait(timeout=PATIENCE_S) == EXIT_NEVER
    seen = status.read(Path(launch.status_path))
    assert (seen.state, seen.permanent) == ("failed", True)
    assert sentence in seen.detail


@pytest.mark.usefixtures("index")
def test_weights_that_nobody_has_right_now_may_come_another_time(launch: Launch) -> None:
    with running(msgspec.structs.replace(launch, model="auto")) as process:
        assert process.wait(timeout=PATIENCE_S) == EXIT_TRY_AGAIN
    seen = status.read(Path(launch.status_path))
    assert (seen.state, seen.permanent) == ("failed", False)
    assert "qwen2.5-coder-0.5b could not be fetched" in seen.detail


def test_settings_that_make_no_sense_are_refused() -> None:
    process = subprocess.run(
        [sys.executable, "-m", "askonce.localmodel.server"], input=b'{"model": 1}\n', stderr=subprocess.PIPE
    )
    assert process.returncode == EXIT_NEVER
    assert b"the settings on stdin are wrong" in process.stderr


def test_a_status_file_that_cannot_be_written_is_said_on_stderr(launch: Launch, tmp_path: Path) -> None:
    settings = msgspec.json.encode(msgspec.structs.replace(launch, status_path=str(tmp_path / "no" / "such.json")))
    process = subprocess.run(
        [sys.executable, "-m", "askonce.localmodel.server"], input=settings + b"\n", stderr=subprocess.PIPE
    )
    assert process.returncode in (EXIT_TRY_AGAIN, EXIT_ENDED)
    assert b"such.json cannot be written" in process.stderr
