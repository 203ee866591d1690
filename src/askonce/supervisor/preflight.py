"""Try the settings against this machine, before a port is opened: what can be known to fail later, fails now.

`load` has judged what is written; here the files that it names are opened and its sizes are tried. `askonce serve`
refuses to start on the first problem, `askonce config` and `askonce doctor` show them all.
"""

import mmap
import shutil
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from askonce.config.secret import check_secret
from askonce.config.settings import Config
from askonce.config.values import size_word
from askonce.domain.errors import ConfigError
from askonce.ledger.address import parse
from askonce.localmodel.resolve import resolve
from askonce.providers.catalog import SCRIPTED, wants_local_model
from askonce.providers.named import doubt
from askonce.providers.script import read_script
from askonce.state.valkey import address as addresses

EMBEDDED, DATABASE, SECRET, STATE = "embedded model", "database", "secret", "shared state"
_DEFAULT_CACHE_BYTES = Config().cache_size_bytes  # not asked for, so a disk that is smaller is no mistake


class Problem(Struct, frozen=True):
    """Say what cannot work, and of which part. `text` names key, value and cure."""

    subject: str
    text: str


def preflight(config: Config) -> None:
    """Raise `ConfigError` for the first problem."""
    for problem in problems(config):
        raise ConfigError(problem.text)


def preflight_worker(config: Config) -> None:
    """Raise `ConfigError` for the first problem of the worker alone."""
    _secret(config)
    _database(config)
    _state(config)


def problems(config: Config) -> Iterator[Problem]:
    """Yield everything that would keep the server, or a part of it that was asked for, from working."""
    for subject, look in (
        (EMBEDDED, _local_model),
        (SCRIPTED, _script),
        ("cache", _cache),
        (SECRET, _secret),
        (DATABASE, _database),
        (STATE, _state),
    ):
        try:
            look(config)
        except ConfigError as error:
            yield Problem(subject, str(error))


def doubts(config: Config) -> Iterator[str]:
    """Yield, in sentences for the log, what was probably not meant so."""
    configured = [provider.name for provider in config.providers]
    named = {"default_model": config.default_model} | {f"[aliases] {name}": to for name, to in config.aliases.items()}
    for key, name in named.items():
        if problem := doubt(name, configured):
            yield f"{key} = {name!r}: {problem}; requests for it will be refused."


def _local_model(config: Config) -> None:
    if wants_local_model(config.local_model, (provider.name for provider in config.providers)):
        resolve(config.local_model, Path(config.models_dir))


def _script(config: Config) -> None:
    for provider in config.providers:
        if provider.name == SCRIPTED:
            try:
                read_script(Path(provider.script))
            except ConfigError as error:
                raise ConfigError(f"[providers.{SCRIPTED}] of {provider.source}: {error}") from error


def _secret(config: Config) -> None:
    check_secret(config.secret, Path(config.data_dir))


def _database(config: Config) -> None:
    parse(config.database_url, Path(config.data_dir))


def _state(config: Config) -> None:
    if config.state_url:
        addresses.security(addresses.parse(config.state_url))


def _cache(config: Config) -> None:
    """Refuse a cache that its disk can never hold, or that no process can map."""
    if config.state_url:
        return
    size = config.cache_size_bytes
    place = next(path for path in (Path(config.data_dir), *Path(config.data_dir).parents) if path.exists())
    total = shutil.disk_usage(place).total
    cure = "set ASKONCE_CACHE_SIZE to less"
    if size > max(total, _DEFAULT_CACHE_BYTES):
        raise ConfigError(
            f"cache_size = {size_word(size)}: the disk at {place} has {total / 1e9:.0f} GB altogether; {cure}."
        )
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ).close()
    except (OSError, OverflowError):
        raise ConfigError(
            f"cache_size = {size_word(size)}: finds no room in a process's address space; {cure}, or raise the limit "
            "(ulimit -v)."
        ) from None
