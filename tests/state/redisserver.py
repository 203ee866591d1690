"""A real Redis for tests, of its own port and folder. It keeps nothing on the disk unless told."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("valkey-server", "redis-server")
READY_S = 10.0


class RedisServer:
    """Hold a running server; end it by `stop`."""

    def __init__(self, folder: Path, *options: str, port: int = 0, settings: Path | None = None) -> None:
        self.folder = folder
        self.options = options
        self.port = port or free_port()
        self.settings = settings  # of a Sentinel, which writes into its file
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        assert program is not None, "Redis is missing: apt-get install redis-server"
        words = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        words = [*words, "--daemonize", "no", *self.options]
        if self.settings is not None:
            words = [str(self.settings), "--sentinel"]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([program, *words], stdout=log, stderr=log)
        until = time.monotonic() + READY_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                if self.ask("PING").startswith((b"+PONG", b"-NOAUTH")):
                    return
            assert self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.01)
        self.kill()
        raise AssertionError("Redis did not start: " + (self.folder / "log").read_text())

    def ask(self, *words: str) -> bytes:
        """Send one command by hand and return the raw beginning of the reply."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as line:
            line.sendall(
                f"*{len(words)}\r\n".encode() + b"".join(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)
            )
            return line.recv(65536)

    def flush(self) -> None:
        self.ask("FLUSHALL")

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.thaw()
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()

    def _signal(self, number: int) -> None:
        assert self.process is not None
        os.kill(self.process.pid, number)


@contextlib.contextmanager
def running(folder: Path, *options: str, port: int = 0, settings: Path | None = None) -> Iterator[RedisServer]:
    server = RedisServer(folder, *options, port=port, settings=settings)
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
