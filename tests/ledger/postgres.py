"""A PostgreSQL of our own: started once per test session, on a free port of loopback, in a folder that goes with it.

PostgreSQL refuses to run as root: then the user `postgres` (made by its packages), else `nobody`, runs it. Nothing is
skipped where it is missing: the tests say what to install.
"""

import asyncio
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]
import psutil
import pytest

START_S = 30.0
PACKAGED = "/usr/lib/postgresql/*/bin"  # where Debian's packages put what is not for every day


class Postgres:
    """Run one server. `url` names its first database; `database` makes another."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self.folder = folder
        self.user = _user()
        self.port = _free_port()
        self.durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        if self.user:
            shutil.chown(folder, self.user)
        self._run("initdb", "--auth=trust", "--username=askonce", "--encoding=UTF8", "--no-sync", str(self.data))

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"postgresql://askonce@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": ""}
        options |= {"max_connections": 60, "shared_buffers": "256MB", "max_wal_size": "2GB"}
        if not self.durable:
            options |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        arguments = [f"-c{name}={value}" for name, value in options.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_tool("postgres"), "-D", str(self.data), *arguments], stdout=log, stderr=log, user=self.user or None
            )
        asyncio.run(self._answer())

    def stop(self, *, hard: bool = False) -> None:
        """Stop it: at once and tidily, or as a power cut would."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT if hard else signal.SIGINT)
        self._process.wait(START_S)
        self._process = None

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def freeze(self) -> None:
        """Stop all its processes where they are."""
        self._tell_all(signal.SIGSTOP)

    def thaw(self) -> None:
        self._tell_all(signal.SIGCONT)

    def _tell_all(self, number: signal.Signals) -> None:
        assert self._process is not None
        master = psutil.Process(self._process.pid)
        for process in (master, *master.children(recursive=True)):
            process.send_signal(number)

    def start_again(self) -> None:
        """Start it where it was stopped hard: a lock file may stand there for a moment."""
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        self.start()

    def database(self) -> str:
        """Make an empty database and return its address."""
        name = f"t{uuid.uuid4().hex}"
        asyncio.run(self._execute(f'CREATE DATABASE "{name}"'))
        return f"postgresql://askonce@127.0.0.1:{self.port}/{name}"

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        asyncio.run(self._execute(f'DROP DATABASE IF EXISTS "{url.rpartition("/")[2]}" WITH (FORCE)'))

    async def _execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def _answer(self) -> None:
        async with asyncio.timeout(START_S):
            while True:
                assert self._process is not None
                assert self._process.poll() is None, (self.folder / "log").read_text()
                try:
                    return await self._execute("SELECT 1")
                except (OSError, asyncpg.CannotConnectNowError):
                    await asyncio.sleep(0.02)

    def _run(self, tool: str, *arguments: str) -> None:
        environment = {**os.environ, "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            [_tool(tool), *arguments],
            env=environment,
            user=self.user or None,
            cwd="/",
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()


def _user() -> str:
    if os.geteuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in known)


def _tool(name: str) -> str:
    places = os.pathsep.join([os.environ.get("PATH", ""), *sorted(glob.glob(PACKAGED), reverse=True)])
    found = shutil.which(name, path=places)
    if found is None:
        pytest.fail(f"{name} is missing: the ledger is tested with a real PostgreSQL. Install it (apt: postgresql).")
    return str(Path(found).resolve())  # it looks for its own parts beside itself


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Have a server for the whole session."""
    # Not below pytest's own folder: that is closed to the user who runs the server.
    folder = Path(tempfile.mkdtemp(prefix="askonce-postgres-"))
    server = Postgres(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)
