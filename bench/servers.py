"""Start, watch and stop what the benchmarks measure: Askonce, the bare yardstick, and a vendor that costs nothing.

Servers run on one core, whoever asks them on the other. CPU times are the kernel's own (nanoseconds that a process was
running), so they hold also where the machine is shared; requests per second do not.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

HERE = Path(__file__).parent
SERVER_CORE, LOAD_CORE, ANY_CORE = "0", "1", "0-1"
START_S = 60.0
STOP_S = 40.0  # longer than a server may drain
TRUSTED = 'trusted_proxies = ["127.0.0.1/32"]'  # so that X-Forwarded-For makes many callers of one
_WORKER = b"askonce.supervisor.gateway"
_SCRIBE = b"askonce.supervisor.worker"


class Server(Struct, frozen=True):
    """Hold a running Askonce: its address, and its supervisor's process."""

    url: str
    port: int
    pid: int

    def workers(self) -> list[int]:
        """List the gateway processes."""
        return self._children(_WORKER)

    def scribe(self) -> int:
        """Return the process that writes the ledger, and does executions."""
        return self._children(_SCRIBE)[0]

    def _children(self, kind: bytes) -> list[int]:
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [int(pid) for pid in children if kind in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def stats(self) -> dict[str, Any]:
        """Read the cache's sums."""
        stats: dict[str, Any] = get_json(f"{self.url}/llm/cache/stats")
        return stats


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pinned(core: str, command: Sequence[str]) -> list[str]:
    """Bind a command to a core."""
    return ["taskset", "-c", core, *command]


@contextlib.contextmanager
def on_core(core: str) -> Iterator[None]:
    """Keep this process itself on a core meanwhile."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(core)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def wait_for(url: str, process: subprocess.Popen[bytes], holds: Callable[[bytes], bool] = lambda _: True) -> None:
    """Wait until the address answers, and what it answers holds."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}; its log is above")
        try:
            with urllib.request.urlopen(url, timeout=1) as reply:
                if holds(reply.read()):
                    return
        except urllib.error.HTTPError:
            return
        except OSError:
            pass
        time.sleep(0.02)
    raise SystemExit(f"{url} was not ready within {START_S} s")


@contextlib.contextmanager
def running(command: Sequence[str], log: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, with its errors in a file or before our eyes, and end it, and only it, afterwards."""
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(log.open("ab")) if log else None
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
    try:
        yield process
    except SystemExit:
        if log:
            print(log.read_text())  # the folder is gone in a moment
        raise
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def askonce(folder: Path, settings: str, core: str = SERVER_CORE) -> Iterator[Server]:
    """Run one supervisor over `folder`, with the prices known when it is yielded. `settings` is TOML.

    Logs as by default, a line for every call that is paid, to a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (folder / "askonce.toml").write_text(
        f'port = {port}\ndata_dir = "{folder}/data"\nlocal_model = "off"\n{settings}\n'
    )
    command = [sys.executable, "-m", "askonce", "serve", "--config", str(folder / "askonce.toml")]
    with running(pinned(core, command), folder / "askonce.log") as process:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/ready", process, lambda body: json.loads(body)["parts"]["prices"]["status"] == "ok")
        yield Server(url, port, process.pid)


def scripted(folder: Path, answer: str, settings: str = TRUSTED) -> str:
    """Write settings for a gateway whose provider plays one answer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "script.toml").write_text(f"[[play]]\ntext = {json.dumps(answer)}\n")
    return f'{settings}\n[providers.scripted]\nscript = "{folder}/script.toml"\n'


def at_vendor(port: int, settings: str = TRUSTED) -> str:
    """Write settings for a gateway whose OpenAI listens on a port of this machine."""
    return f'{settings}\n[providers.openai]\napi_key = "bench"\nbase_url = "http://127.0.0.1:{port}/v1"\n'


@contextlib.contextmanager
def vendor(*arguments: str, core: str = LOAD_CORE) -> Iterator[int]:
    """Run the vendor of vendor.py; yield its port."""
    port = free_port()
    command = [sys.executable, str(HERE / "vendor.py"), "--port", str(port), *arguments]
    with running(pinned(core, command)) as process:
        wait_for(f"http://127.0.0.1:{port}/calls", process)
        yield port


@contextlib.contextmanager
def valkey(folder: Path, core: str = LOAD_CORE) -> Iterator[tuple[str, int]]:
    """Run a Valkey or Redis that keeps nothing on the disk; yield its address and process."""
    program = next((found for name in ("valkey-server", "redis-server") if (found := shutil.which(name))), None)
    if program is None:
        raise SystemExit("This benchmark needs redis-server or valkey-server (package redis-server).")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with running(pinned(core, command)) as process:
        _wait_until_open(port, process)
        yield f"redis://127.0.0.1:{port}", process.pid


@contextlib.contextmanager
def relay(vendor_port: int) -> Iterator[tuple[int, int]]:
    """Run the yardstick that passes the vendor's streams on; yield its port and process."""
    port = free_port()
    command = [sys.executable, str(HERE / "relay.py"), str(port), str(vendor_port)]
    with running(pinned(SERVER_CORE, command)) as process:
        _wait_until_open(port, process)
        yield port, process.pid


@contextlib.contextmanager
def crowd(waiters: int, body_bytes: int) -> Iterator[int]:
    """Run the yardstick that answers so many at once; yield its port."""
    port = free_port()
    command = [sys.executable, str(HERE / "crowd.py"), str(port), str(waiters), str(body_bytes)]
    with running(pinned(ANY_CORE, command)) as process:
        _wait_until_open(port, process)
        yield port


def _wait_until_open(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise SystemExit(f"{process.args!r} did not listen within {START_S} s")


@contextlib.contextmanager
def bare(folder: Path, headers: Sequence[tuple[str, str]], body: bytes) -> Iterator[tuple[str, int]]:
    """Run the yardstick that answers with these bytes; yield its address and process."""
    kept = [[name, value] for name, value in headers if name.lower() != "date"]  # uvicorn sets the date
    (folder / "reply.json").write_text(json.dumps({"headers": kept, "body": body.decode()}))
    port = free_port()
    command = [sys.executable, str(HERE / "bare.py"), str(port), str(folder / "reply.json")]
    with running(pinned(SERVER_CORE, command)) as process:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield f"http://127.0.0.1:{port}", process.pid


class Spent(Struct, frozen=True):
    """Hold for how long a process has been running and waiting for its turn to, in nanoseconds.

    A server that had to wait shared its core with others.
    """

    ran_ns: int
    waited_ns: int
    at_ns: int

    def since(self, earlier: "Spent") -> "Spent":
        """Return the difference; `at_ns` is then how long it took."""
        return Spent(self.ran_ns - earlier.ran_ns, self.waited_ns - earlier.waited_ns, self.at_ns - earlier.at_ns)


def spent(pid: int) -> Spent:
    """Sum up all threads of a process."""
    tasks = [task.read_text().split() for task in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return Spent(sum(int(task[0]) for task in tasks), sum(int(task[1]) for task in tasks), time.monotonic_ns())


def memory_kb(pid: int, kind: str = "RssAnon") -> int:
    """Return a line of a process's status, in kB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(f"{kind}:"))


def post(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, list[tuple[str, str]], bytes]:
    """POST once; return status, headers and body."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **(headers or {})})
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            return reply.status, reply.getheaders(), reply.read()
    except urllib.error.HTTPError as error:
        return error.code, list(error.headers.items()), error.read()


def get_json(url: str) -> Any:
    """GET once and decode."""
    with urllib.request.urlopen(url, timeout=60) as reply:
        return json.load(reply)
