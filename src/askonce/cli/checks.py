"""What the doctor looks at. Each check yields findings; none changes anything but a folder that is missing."""

import fcntl
import os
import platform
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from msgspec import Struct

from askonce import __version__
from askonce.cli.client import Server
from askonce.cli.exits import CommandFailed
from askonce.cli.probes import probe
from askonce.cli.settings import load_settings, overrides
from askonce.config.load import Loaded
from askonce.config.paths import status_path
from askonce.config.settings import Config
from askonce.domain.errors import ConfigError
from askonce.localmodel.status import read
from askonce.supervisor import sockets
from askonce.supervisor.helpers import wants_local_model
from askonce.supervisor.screen import address

_OK = 200
State = Literal["fine", "remark", "broken"]

_LOW_DISK = 256 << 20  # bytes free: below, keeping answers will soon fail
_OLDEST_CLOCK = 1_767_225_600  # 2026-01-01, before this was written
_PARTS = ("uvicorn", "uvloop", "httptools", "lmdb", "msgspec", "genai-prices")


class Finding(Struct, frozen=True):
    """Say what was found of one subject."""

    subject: str
    state: State
    text: str


def examine(config: Path | None, set_: list[str], offline: bool) -> Iterator[Finding]:
    """Yield all findings, the slow ones last."""
    yield Finding("askonce", "fine", f"{__version__} on Python {platform.python_version()}, {platform.platform()}")
    yield Finding("parts", "fine", ", ".join(f"{part} {version(part)}" for part in _PARTS))
    yield _clock()
    try:
        loaded = load_settings(config, overrides({}, set_))
    except ConfigError as error:
        yield Finding("settings", "broken", str(error))
        return
    yield from _settings(loaded)
    yield _folder(loaded.config)
    yield _disk(loaded.config)
    yield _server(loaded.config)
    yield _local_model(loaded.config)
    yield from _providers(loaded.config, offline)


def _clock() -> Finding:
    if time.time() < _OLDEST_CLOCK:
        return Finding("clock", "broken", "the machine's clock is in the past: entries would never expire; set it")
    return Finding("clock", "fine", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


def _settings(loaded: Loaded) -> Iterator[Finding]:
    yield Finding("settings", "fine", loaded.file or "no askonce.toml; environment and defaults")
    for remark in loaded.remarks:
        yield Finding("settings", "remark", remark)


def _folder(config: Config) -> Finding:
    folder = Path(config.data_dir)
    if not folder.exists():
        return Finding("data folder", "fine", f"{folder} will be made")
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return Finding("data folder", "broken", f"{folder} is not writable; correct its owner or choose another")
    if folder.stat().st_mode & 0o077:
        return Finding("data folder", "remark", f"{folder} is open to others; `askonce serve` closes it")
    return Finding("data folder", "fine", str(folder) + (", in use by a running server" if _in_use(folder) else ""))


def _in_use(folder: Path) -> bool:
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _disk(config: Config) -> Finding:
    existing = next(path for path in (Path(config.data_dir), *Path(config.data_dir).parents) if path.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / 1e9:.1f} GB free at {existing}, the cache may take {config.cache_size_bytes / 1e9:.1f} GB"
    if free < _LOW_DISK:
        return Finding("disk", "broken", text)
    return Finding("disk", "remark" if free < config.cache_size_bytes else "fine", text)


def _server(config: Config) -> Finding:
    """Tell a running server of ours from a foreign one and from a free port."""
    where = address(config, config.port)
    try:
        for listener in sockets.listen(config.host, config.port, 1):
            listener.close()
    except ConfigError as error:
        return _occupied(where, str(error))
    return Finding("port", "fine", f"{where} is free; no server is running")


def _occupied(where: str, problem: str) -> Finding:
    try:
        status, ready = Server(where).look("/ready")
    except CommandFailed:
        return Finding("port", "broken", problem)
    if "parts" not in ready:
        return Finding("port", "broken", problem)
    if status != _OK:
        return Finding("server", "broken", f"answers at {where}, not ready: {'; '.join(ready.get('reasons', []))}")
    return Finding("server", "fine", f"answers at {where}, ready")


def _local_model(config: Config) -> Finding:
    if not wants_local_model(config):
        return Finding("embedded model", "fine", "not used")
    status = read(status_path(config.data_dir))
    if status.state == "failed":
        return Finding("embedded model", "broken", status.detail)
    return Finding("embedded model", "fine", f"{status.state}: {status.detail}")


def _providers(config: Config, offline: bool) -> Iterator[Finding]:
    if not config.providers and not wants_local_model(config):
        text = "none is configured and the embedded model is off: set a vendor's key, such as OPENAI_API_KEY"
        yield Finding("providers", "broken", text)
    for provider in config.providers:
        problem = "" if offline else probe(provider)
        text = f"configured by {provider.source}" + ("" if offline else ", answers")
        yield Finding(provider.name, "broken", problem) if problem else Finding(provider.name, "fine", text)
