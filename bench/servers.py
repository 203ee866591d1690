"""Start and stop what the benchmarks measure: Askonce with a scripted provider, and the bare yardstick."""

import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SERVER_CORE, LOAD_CORE = "0", "1"
START_S = 30.0


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(core: str, command: Sequence[str]) -> list[str]:
    """Bind a command to a core."""
    return ["taskset", "-c", core, *command]


def wait_for(url: str, process: subprocess.Popen[bytes]) -> float:
    """Wait until the address answers 200; return how many seconds that took."""
    started = time.monotonic()
    while time.monotonic() - started < START_S:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return time.monotonic() - started
        except urllib.error.HTTPError:
            return time.monotonic() - started
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"{url} did not answer within {START_S} s")


@contextlib.contextmanager
def running(command: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process and end it, and only it, afterwards."""
    process = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def askonce(
    folder: Path, script: str, settings: str = "", env: Mapping[str, str] | None = None, core: str = SERVER_CORE
) -> Iterator[str]:
    """Run one supervisor over `folder` with the scripted provider; yield its base URL. `settings` is TOML."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "script.toml").write_text(script)
    (folder / "askonce.toml").write_text(
        f'port = {port}\ndata_dir = "{folder}/data"\nlocal_model = "off"\nlog_level = "error"\n{settings}\n'
        f'[providers.scripted]\nscript = "{folder}/script.toml"\n'
    )
    command = [sys.executable, "-m", "askonce", "serve", "--config", str(folder / "askonce.toml")]
    with running(pinned(core, command), env) as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", process)
        yield url


def post(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
    """POST once; return status, headers and body."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.getheaders(), reply.read()
    except urllib.error.HTTPError as error:
        return error.code, list(error.headers.items()), error.read()


def wrk(url: str, body: str, connections: int = 32, seconds: int = 5, script: str = "hits.lua") -> dict[str, Any]:
    """Load an address from the other core; return requests per second, latencies in µs, and what went wrong."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / script), url]
    env = {**os.environ, "BENCH_BODY": body}
    out = subprocess.run(pinned(LOAD_CORE, command), env=env, capture_output=True, text=True, check=True).stdout
    line = next(line for line in out.splitlines() if line.startswith("RESULT "))
    result: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return result


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)
