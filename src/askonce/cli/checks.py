"""What the doctor looks at. Each check yields findings; none changes anything but a folder that is missing."""

import fcntl
import os
import platform
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from askonce import __version__
from askonce.cli.client import Server
from askonce.cli.exits import CommandFailed
from askonce.cli.ledger_checks import database_problem, secret_origin
from askonce.cli.probes import probe
from askonce.cli.servers import URL_VARIABLE, find_server
from askonce.cli.settings import load_settings, overrides
from askonce.cli.state_checks import state_problem
from askonce.config.load import Loaded
from askonce.config.paths import status_path
from askonce.config.settings import Config, ProviderSettings
from askonce.domain.errors import ConfigError
from askonce.localmodel.status import read
from askonce.providers.catalog import vendor_named, wants_local_model
from askonce.providers.network import Network
from askonce.supervisor import sockets
from askonce.supervisor.preflight import DATABASE, EMBEDDED, SECRET, STATE, doubts, problems
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
    found = [Finding(one.subject, "broken", one.text) for one in problems(loaded.config)]
    yield from found
    broken = {one.subject for one in found}
    if SECRET not in broken:
        yield Finding(SECRET, "fine", secret_origin(loaded.config))
    if DATABASE not in broken:
        yield _database(loaded.config)
    if loaded.config.state_url and STATE not in broken:
        yield _state(loaded.config)
    yield _named_server() or _server(loaded.config)
    if not any(one.subject == EMBEDDED for one in found):
        yield _local_model(loaded.config)
    way_out = _network()
    yield way_out
    yield from _providers(loaded, offline or way_out.state == "broken")


def _state(config: Config) -> Finding:
    problem, well = state_problem(config)
    return Finding(STATE, "broken", problem) if problem else Finding(STATE, "fine", well)


def _clock() -> Finding:
    if time.time() < _OLDEST_CLOCK:
        return Finding("clock", "broken", "the machine's clock is in the past: entries would never expire; set it")
    return Finding("clock", "fine", time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()))


def _settings(loaded: Loaded) -> Iterator[Finding]:
    yield Finding("settings", "fine", loaded.file or "no askonce.toml; environment and defaults")
    for remark in (*loaded.remarks, *doubts(loaded.config)):
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


def _database(config: Config) -> Finding:
    problem, well = database_problem(config)
    return Finding(DATABASE, "broken", problem) if problem else Finding(DATABASE, "fine", well)


def _named_server() -> Finding | None:
    """Look at the server that ASKONCE_URL names; None where it names none."""
    if not os.environ.get(URL_VARIABLE):
        return None
    try:
        server = find_server(None, None)
        return _judged(server.url, *server.look("/ready"))
    except CommandFailed as error:
        return Finding("server", "broken", error.message)


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
    return _judged(where, status, ready)


def _judged(where: str, status: int, ready: dict[str, Any]) -> Finding:
    if "parts" not in ready:
        return Finding("server", "broken", f"what answers at {where} is no Askonce")
    if status != _OK:
        return Finding("server", "broken", f"answers at {where}, not ready: {'; '.join(ready.get('reasons', []))}")
    return Finding("server", "fine", f"answers at {where}, ready")


def _network() -> Finding:
    """Try the variables that say how to reach vendors; without a way out nobody is asked."""
    network = Network.from_environ(os.environ)
    try:
        network.check()
    except ConfigError as error:
        return Finding("network", "broken", str(error))
    return Finding("network", "fine", "through a proxy" if network.https_proxy or network.http_proxy else "direct")


def _local_model(config: Config) -> Finding:
    if not wants_local_model(config.local_model, (provider.name for provider in config.providers)):
        return Finding(EMBEDDED, "fine", "not used")
    status = read(status_path(config.data_dir))
    if status.state == "failed":
        return Finding(EMBEDDED, "broken", status.detail)
    return Finding(EMBEDDED, "fine", f"{status.state}: {status.detail}")


def _providers(loaded: Loaded, offline: bool) -> Iterator[Finding]:
    config = loaded.config
    if not config.providers and not wants_local_model(config.local_model, ()):
        text = "none is configured and the embedded model is off: set a vendor's key, such as OPENAI_API_KEY"
        yield Finding("providers", "broken", text)
    for provider in config.providers:
        yield _provider(loaded, provider, offline)


def _provider(loaded: Loaded, provider: ProviderSettings, offline: bool) -> Finding:
    told = f"configured by {provider.source}"
    if offline:
        return Finding(provider.name, "fine", told)
    if _strays(loaded, provider):
        text = f"not asked: this folder's file names its address, the environment its key; use --config {loaded.file}"
        return Finding(provider.name, "remark", f"{told}, {text}")
    problem = probe(provider, Network.from_environ(os.environ))
    return Finding(provider.name, "broken", problem) if problem else Finding(provider.name, "fine", f"{told}, answers")


def _strays(loaded: Loaded, provider: ProviderSettings) -> bool:
    """Say whether asking would carry a key of the environment to a machine that the working folder's file chose."""
    vendor, sources = vendor_named(provider.name), provider.source.split(", ")
    if vendor is None or f"environment {vendor.base_variable}" in sources:
        return False
    has_key = any(f"environment {variable}" in sources for variable in vendor.key_variables)
    host = urlsplit(provider.base_url).hostname
    return has_key and host is not None and loaded.strays(loaded.file, host)
