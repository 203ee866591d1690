"""A whole server for a test: the supervisor and its processes over a folder of the test's, on a port of its own."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from tests.system.clients import Answered, post_now, request_now

from askonce.gate.admission import NOT_KNOWN_YET

DEADLINE_S = 30.0
WORKER, MODEL = "askonce.supervisor.gateway", "askonce.localmodel.server"
SCRIBE = "askonce.supervisor.worker"  # who brings what happened into the database
# A call costs (prompt + completion) tokens times 1,000 nano-dollars at these prices.
PRICES = 'prices = { demo = { input = "1", output = "1" } }'
USAGE = "usage = { prompt_tokens = 100, completion_tokens = 23 }"
COST_NANO = 123_000


def eventually(true: Callable[[], object], what: str, within_s: float = DEADLINE_S) -> float:
    """Wait until something holds; return how many seconds that took."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < within_s, f"not within {within_s} s: {what}"
        time.sleep(0.02)
    return time.monotonic() - began


def lives(process: psutil.Process) -> bool:
    """Say whether a process runs; one that is dead and waits to be reaped by whoever adopted it does not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def script(*plays: str) -> str:
    """Write a script whose calls are counted."""
    return 'count_file = "calls"\n' + "".join(f"[[play]]\n{play}\n" for play in plays)


ECHO = script(f'text = "Answer to {{prompt}}"\n{USAGE}')


class House:
    """Hold a server that may be stopped, killed and started again over the same folder."""

    def __init__(
        self, folder: Path, settings: str = "", playing: str = ECHO, env: dict[str, str] | None = None
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = 0
        self.key = ""  # that is sent with everything that is asked
        self.process: subprocess.Popen[bytes] | None = None
        self._env = {"PATH": os.environ["PATH"], "HOME": str(folder), **(env or {})}
        (folder / "script.toml").write_text(playing)
        provider = (
            f'[providers.scripted]\nscript = "script.toml"\nmodels = ["demo"]\ndefault_model = "demo"\n{PRICES}\n'
        )
        local = "" if "local_model" in settings else 'local_model = "off"'
        (folder / "askonce.toml").write_text(f'data_dir = "data"\n{local}\n{settings}\n{provider if playing else ""}')

    @property
    def url(self) -> str:
        """Return the server's address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """Return what says who asks."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def run_command(self, *arguments: str) -> str:
        """Run one of askonce's commands over this server's settings; return what it printed."""
        command = [sys.executable, "-m", "askonce", *arguments, "--config", "askonce.toml"]
        done = subprocess.run(command, cwd=self.folder, env=self._env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def start(self, *arguments: str, with_prices: bool = False) -> "House":
        """Start, on the port of before if there was one, and wait until every worker serves."""
        self.launch(*arguments)
        return self.start_up(with_prices=with_prices)

    def start_up(self, *, with_prices: bool = False) -> "House":
        """Wait until every worker of a server that was launched serves."""
        eventually(self._answers, "the first screen")
        self.port = int(self.screen().rpartition(" answers at ")[2].split()[0].rpartition(":")[2])
        if with_prices:
            self.await_workers('"prices":{"status":"ok"')
        else:
            self.await_workers()
        return self

    def launch(self, *arguments: str) -> None:
        """Start, and wait for nothing."""
        command = [sys.executable, "-m", "askonce", "serve", "--port", str(self.port), *arguments]
        with (self.folder / "screen").open("wb") as screen, (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, env=self._env, stdout=screen, stderr=log)

    def await_workers(self, each_says: str = "") -> set[str]:
        """Wait until every worker serves (and says so at /ready); return their names, as request ids begin."""
        seen: set[str] = set()

        def look() -> bool:
            reply = request_now(self.port, "/ready")
            if each_says in reply.text and NOT_KNOWN_YET not in reply.text:
                seen.add(reply.worker)
            return len(seen) >= self.worker_count()

        eventually(look, f"{self.worker_count()} workers serve, {each_says}")
        return seen

    def worker_count(self) -> int:
        """Return how many workers were configured."""
        lines = (self.folder / "askonce.toml").read_text().splitlines()
        return int(next((line.partition("=")[2] for line in lines if line.startswith("workers")), "1"))

    def workers(self) -> list[psutil.Process]:
        """Return the gateway processes that are alive now."""
        return self._children(WORKER)

    def model(self) -> psutil.Process | None:
        """Return the embedded model's process."""
        return next(iter(self._children(MODEL)), None)

    def scribe(self) -> psutil.Process | None:
        """Return the process that brings what happened into the database."""
        return next(iter(self._children(SCRIBE)), None)

    def family(self) -> list[psutil.Process]:
        """Return every process of this server but the supervisor."""
        return self._children("")

    def owner(self, local_port: int) -> int:
        """Return the pid of the worker that serves the connection from a local port."""
        for worker in self.workers():
            if any(end.raddr[1:] == (local_port,) for end in worker.net_connections("tcp4")):
                return worker.pid
        raise AssertionError(f"nobody serves the connection from port {local_port}")

    def calls(self) -> list[dict[str, Any]]:
        """Return the calls that reached the provider, each with the pid that made it."""
        with contextlib.suppress(FileNotFoundError):
            return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        return []

    def stats(self) -> dict[str, Any]:
        """Return the statistics."""
        reply = request_now(self.port, "/llm/cache/stats", headers=self.headers)
        assert reply.status == 200, reply
        stats: dict[str, Any] = reply.json()
        return stats

    def ask(self, prompt: str, **more: object) -> Answered:
        """Ask once."""
        return post_now(self.port, {"prompt": prompt, **more}, self.headers)

    def screen(self) -> str:
        """Return what the supervisor showed."""
        return (self.folder / "screen").read_text()

    def log(self) -> list[dict[str, Any]]:
        """Return every line that was logged; each is a JSON object."""
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def stop(self) -> int:
        """Tell the supervisor to stop; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE_S)

    def end(self) -> None:
        """End every process of this server, however it is."""
        if self.process is None:
            return
        rest = self.family()
        self.process.kill()
        self.process.wait()
        for one in rest:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        eventually(lambda: not any(map(lives, rest)), "all processes are gone")
        self.process = None

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        return " answers at " in self.screen()

    def _children(self, module: str) -> list[psutil.Process]:
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            assert self.process is not None
            for child in psutil.Process(self.process.pid).children():
                with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                    if child.status() != psutil.STATUS_ZOMBIE and module in " ".join(child.cmdline()):
                        found.append(child)
        return found


Build = Callable[..., House]
