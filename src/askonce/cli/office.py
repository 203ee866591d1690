"""Where commands about keys, users, reports and the audit work: the database itself, whether a server runs or not.

What they change comes into force where servers run within a second, by the process that follows the database. Each
change and its row of the audit are one transaction: both are kept, or neither.
"""

import asyncio
import os
import pwd
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import parse_qsl, urlsplit

import msgspec
import typer
from msgspec import Raw
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.cli.exits import CommandFailed, Misused, Refused, Unreachable
from askonce.cli.settings import ConfigOption, SetOption, load_settings, overrides
from askonce.config import secret as secrets
from askonce.config.sealing import Sealer as Vault
from askonce.config.settings import Config
from askonce.domain.clock import Clock, SystemClock
from askonce.domain.errors import AskonceError, ConfigError, Invalid, NotFound
from askonce.domain.ledger import AuditRow, LedgerUnavailable, Severity
from askonce.ledger.audit import Sealer, check_chain
from askonce.ledger.engine import Bounds, open_engine, together
from askonce.ledger.identity_tables import IDENTITY, take_turn
from askonce.ledger.keys import SqlKeys
from askonce.ledger.migrate import migrate, scripts, step_of
from askonce.ledger.reports import SqlReports
from askonce.ledger.tenants import SqlTenants
from askonce.ledger.users import SqlLoginLinks, SqlUsers
from askonce.ledger.vault import SqlProviderKeys
from askonce.state.memory_identity import MemoryDirectory
from askonce.supervisor.folder import DataFolder

DATABASE_VARIABLE = "DATABASE_URL"
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_BOUNDS = Bounds(connections=2, name="askonce command")
_T = TypeVar("_T")

__all__ = ["ConfigOption", "JsonOption", "Office", "SetOption", "cured", "settings", "work"]


class Office:
    """Hold the ports to one database for one command. `actor` is who this process runs as."""

    def __init__(self, config: Config, engine: AsyncEngine, clock: Clock) -> None:
        nobody = MemoryDirectory()  # shared state learns of changes by following the database
        self.config = config
        self.engine = engine
        self.clock = clock
        self.actor = f"shell:{user_name()}"
        self.tenants = SqlTenants(engine, nobody, clock)
        self.users = SqlUsers(engine, nobody, clock)
        self.links = SqlLoginLinks(engine, clock)
        self.reports = SqlReports(engine)
        self._nobody = nobody

    @cached_property
    def secret(self) -> secrets.Secret:
        """Find this installation's secret; one is made where there is none."""
        return secrets.find_secret(self.config.secret, Path(self.config.data_dir))

    @cached_property
    def keys(self) -> SqlKeys:
        """Return the port to keys."""
        return SqlKeys(self.engine, self._nobody, self.secret.subkeys(secrets.KEY_HASHES), self.clock)

    @cached_property
    def provider_keys(self) -> SqlProviderKeys:
        """Return the port to providers' keys."""
        return SqlProviderKeys(self.engine, Vault(self.secret.subkeys(secrets.PROVIDER_KEYS)), self.clock)

    def row(
        self, action: str, subject: str, details: Mapping[str, object], tenant: str = "", severity: Severity = "notice"
    ) -> AuditRow:
        """Describe for the audit what this command does. `details` are without secrets."""
        told = Raw(msgspec.json.encode({"host": socket.gethostname(), **details}))
        return AuditRow(self.clock.wall_ms(), self.actor, action, subject, tenant, severity=severity, details=told)

    async def recorded(
        self, change: Callable[[], Awaitable[_T]], tell: Callable[[_T], AuditRow], *, whatever_sealed: bool = False
    ) -> _T:
        """Do one change and seal its row of the audit, in one transaction, alone in changing accounts.

        Raises `SecretChanged` where another secret sealed the last row, unless `whatever_sealed`: such a row would be
        one that nobody else can check.
        """
        key, *former = self.secret.subkeys(secrets.AUDIT_CHAIN)
        async with together(self.engine) as connection:
            await take_turn(connection, IDENTITY)
            if not whatever_sealed:
                await check_chain(connection, [key, *former])
            done = await change()
            await Sealer(key, self.clock).seal_rows(connection, [tell(done)])
        return done


def work(act: Callable[[Office], Awaitable[_T]], config: Path | None, set_: list[str]) -> _T:
    """Do something in the database, its tables brought up to date. Raises `ConfigError`, `CommandFailed`."""
    loaded = settings(config, set_)
    with cured():
        return asyncio.run(_work(loaded, act))


def settings(config: Path | None, set_: list[str]) -> Config:
    """Load the settings, and see to a data folder that a server accepts. Raises `ConfigError`, `Misused`.

    A database on another machine that merely the working folder's file names is refused: what is entered here would
    go to whoever wrote that file.
    """
    loaded = load_settings(config, overrides({}, set_))
    host = _host(loaded.config.database_url)
    if host and loaded.strays(loaded.origins["database_url"], host):
        raise Misused(
            f"database_url ({loaded.file}): this folder's file names a database on another machine ({host}); say "
            f"{DATABASE_VARIABLE}, or name the file with ASKONCE_CONFIG or --config, if that is meant."
        )
    DataFolder.prepare(Path(loaded.config.data_dir))
    return loaded.config


@contextmanager
def cured() -> Iterator[None]:
    """Turn what can go wrong into a sentence with the cure and an exit code."""
    try:
        yield
    except LedgerUnavailable as error:
        raise Unreachable(f"{error} Start it, or correct {DATABASE_VARIABLE}; nothing was changed.") from error
    except NotFound as error:
        raise Refused(error.message) from error
    except Invalid as error:
        raise Misused(error.message) from error
    except AskonceError as error:
        raise CommandFailed(error.message) from error
    except DBAPIError as error:
        state = getattr(error.orig, "sqlstate", None) or type(error.orig).__name__
        raise CommandFailed(
            f"The database refused what was asked ({state}); may this user make tables there?"
        ) from error


def user_name() -> str:
    """Name the account that this process runs as."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers often run as a number without a name
        return str(os.getuid())


async def _work(config: Config, act: Callable[[Office], Awaitable[_T]]) -> _T:
    try:
        engine = open_engine(config.database_url, Path(config.data_dir), _BOUNDS)
    except ValueError as error:
        raise ConfigError(f"{DATABASE_VARIABLE} cannot be read: use postgresql://user:password@host/name.") from error
    try:
        if await step_of(engine) != scripts().get_current_head():
            await migrate(engine)
        return await act(Office(config, engine, SystemClock()))
    finally:
        await engine.dispose()


def _host(url: str) -> str:
    """Return the machine that an address names, "" for none; where that cannot be read, `?`."""
    try:
        parts = urlsplit(url)
        named = [value for name, value in parse_qsl(parts.query) if name in ("host", "hostaddr")]
        return ",".join([*filter(None, [parts.hostname]), *named])
    except ValueError:
        return "?"
