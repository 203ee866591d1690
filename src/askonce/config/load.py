"""Read, complete, check and freeze the configuration; the only door through which settings come in.

Command line over environment over askonce.toml over defaults. Every problem is a `ConfigError` that names the key, the
value (never a secret) and the cure, and is raised before anything is opened.
"""

import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from askonce.config.routes import aliases, groups, routing
from askonce.config.settings import Config, Deadlines
from askonce.config.sources import (
    FILE_NAME,
    Written,
    find_file,
    from_arguments,
    from_environment,
    from_file,
    read_file,
    remarks,
    understand,
)
from askonce.config.table import BY_KEY
from askonce.config.vendors import VendorVariables, configured
from askonce.domain.errors import ConfigError

DEFAULT_ORIGIN = "default"


class Loaded(Struct, frozen=True):
    """Hold the configuration and, by setting's key, where each value comes from. `remarks` are for the log.

    `found_here`: the file is the working folder's, and nobody named it. Who merely stands in a folder has not vouched
    for it, so commands that carry keys are careful with such a file.
    """

    config: Config
    origins: dict[str, str]
    file: str = ""
    remarks: tuple[str, ...] = ()
    found_here: bool = False

    def strays(self, origin: str, host: str) -> bool:
        """Say whether a host, which `origin` set, lies beyond this machine and was chosen by the working folder."""
        return self.found_here and origin == self.file and not is_loopback(host)


def load(
    argv_overrides: Mapping[str, str],
    environ: Mapping[str, str],
    path: Path | None,
    vendors: Sequence[VendorVariables] = (),
) -> Loaded:
    """Load everything that is in force; `argv_overrides` are by key, `path` is --config's. Raises `ConfigError`."""
    file = find_file(environ, path)
    document = read_file(file)
    written = from_file(document) | from_environment(environ) | from_arguments(argv_overrides)
    config = _frozen(written, environ)
    config = msgspec.structs.replace(
        config,
        aliases=aliases(document),
        groups=groups(document),
        routing=routing(document),
        providers=configured(vendors, environ, document),
        origins={key: one.origin for key, one in written.items()},
        file=document.path,
    )
    _check(config, written)
    origins = {key: written[key].origin if key in written else DEFAULT_ORIGIN for key in BY_KEY}
    found_here = file == Path(FILE_NAME) and path is None and not environ.get("ASKONCE_CONFIG")
    return Loaded(config, origins, document.path, remarks(environ), found_here)


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _frozen(written: Mapping[str, Written], environ: Mapping[str, str]) -> Config:
    flat: dict[str, object] = {"data_dir": _data_dir(environ), "models_dir": _models_dir(environ)}
    flat |= {BY_KEY[key].field: understand(key, value) for key, value in written.items()}
    inner = {field.partition(".")[2]: flat.pop(field) for field in list(flat) if field.startswith("deadlines.")}
    return msgspec.convert(flat | {"deadlines": msgspec.convert(inner, Deadlines)}, Config, from_attributes=True)


def _data_dir(environ: Mapping[str, str]) -> str:
    return str(Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "askonce")


def _models_dir(environ: Mapping[str, str]) -> str:
    return str(Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "askonce" / "models")


def _check(config: Config, written: Mapping[str, Written]) -> None:
    """Check what concerns several settings at once, and the folder."""
    if not config.host:
        raise ConfigError("host is empty; set an address, such as 127.0.0.1.")
    if config.open and config.require_keys:
        raise ConfigError("open and require_keys contradict each other; set one of them.")
    # Keys of the database do not count here: it may be away when a server starts, and that must open nothing.
    if not is_loopback(config.host) and not config.keys and not config.open and not config.require_keys:
        raise ConfigError(
            f"host = {config.host!r} ({_origin(written, 'host')}) is reachable from other machines and there are no "
            "keys; set ASKONCE_KEYS, or ASKONCE_REQUIRE_KEYS=on if its keys are in the database, or listen on "
            "127.0.0.1, or say --open if everyone may spend your money."
        )
    if config.oidc_issuer and not config.oidc_client_id:
        raise ConfigError("oidc_issuer needs oidc_client_id: what the identity provider calls this server.")
    known = sorted({name for key in config.keys for name in (key.tenant, key.name)})
    unknown = next((name for name in config.cache_off_keys if name not in known), None)
    if unknown is not None:
        raise ConfigError(
            f"cache_off_keys = {unknown!r} ({_origin(written, 'cache_off_keys')}): there is no such tenant or key; "
            f"{'known are ' + ', '.join(known) if known else 'set keys first, or use cache_off_doors'}."
        )
    for provider in config.providers:
        if provider.max_concurrency is not None and provider.max_concurrency < config.askers:
            also, cure = (", and what runs workflows,", ", or set workflows = off") if config.workflows else ("", "")
            raise ConfigError(
                f"[providers.{provider.name}] max_concurrency = {provider.max_concurrency}: each of the "
                f"{config.workers} workers{also} needs at least one place; raise it, or lower workers{cure}."
            )
    _check_folder("data_dir", config.data_dir, written)


def _check_folder(key: str, folder: str, written: Mapping[str, Written]) -> None:
    existing = next(path for path in (Path(folder), *Path(folder).parents) if path.exists())
    cure = "choose another with --data-dir or ASKONCE_DATA_DIR"
    if not existing.is_dir():
        raise ConfigError(f"{key} = {folder!r} ({_origin(written, key)}): {existing} is not a folder; {cure}.")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise ConfigError(f"{key} = {folder!r} ({_origin(written, key)}): {existing} is not writable; {cure}.")


def _origin(written: Mapping[str, Written], key: str) -> str:
    return written[key].origin if key in written else DEFAULT_ORIGIN
