"""The command with the real server: asked, asked again, and told to stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from askonce.config.paths import prices_path

pytestmark = pytest.mark.process
DEADLINE_S = 30.0
SCRIPT = """
[[play]]
text = '''
```python src/hello.py
print("hello")
```
'''
"""


class Server:
    """Hold a server that runs for a test, and ask it by the command."""

    def __init__(self, folder: Path) -> None:
        (folder / "script.toml").write_text(SCRIPT)
        (folder / "askonce.toml").write_text(
            '[providers.scripted]\nscript = "script.toml"\nmodels = ["demo"]\ndefault_model = "demo"\n'
        )
        self.folder = folder
        self._environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "ASKONCE_DATA_DIR": str(folder / "data")}
        self._log = (folder / "log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "askonce", "serve", "--port", "0", "--workers", "2"],
            cwd=folder,
            env=self._environ,
            stdout=self._log,
            stderr=self._log,
        )

    def url(self) -> str:
        """Wait for the first screen and read the address from it."""
        deadline = time.monotonic() + DEADLINE_S
        while " answers at " not in (log := (self.folder / "log").read_text()):
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.02)
        return log.partition(" answers at ")[2].split()[0]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environ = self._environ | {"ASKONCE_URL": self.url()}
        command = [sys.executable, "-m", "askonce", *arguments]
        return subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=60)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    running = Server(tmp_path)
    yield running
    running.close()


def test_a_question_is_answered_kept_counted_and_written(server: Server) -> None:
    first, second = server.command("ask", "say hello"), server.command("ask", "say hello", "--out", "made")
    assert (first.returncode, first.stdout) == (0, 'print("hello")\n'), first.stderr
    assert first.stderr.startswith("[miss] scripted:demo")
    assert second.stderr.splitlines()[-1].startswith("[hit] scripted:demo")
    assert (server.folder / "made" / "src" / "hello.py").read_text() == 'print("hello")\n'
    assert "hit rate  50" in server.command("stats").stdout
    assert "scripted:demo" in server.command("models", "list").stdout


def test_the_price_table_is_compiled_beside_the_running_server(server: Server) -> None:
    server.url()
    deadline = time.monotonic() + DEADLINE_S
    while not prices_path(str(server.folder / "data")).is_file():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_stops_when_it_is_told_to_and_leaves_nobody_behind(server: Server) -> None:
    server.url()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(DEADLINE_S) == 0
    assert server.command("stats").returncode == 3
