"""The office over the database. Imported by `administration` alone, and late."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import asdict
from sqlalchemy import Connection, inspect
from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.api.admin.office import AuditEntry, AuditQuestion, ChainVerdict, Finding, Office
from askonce.config import secret as secrets
from askonce.config.sealing import Sealer
from askonce.domain.accounts import Listing
from askonce.domain.clock import Clock
from askonce.domain.ledger import Anchor, Anchors, AuditRow, LedgerUnavailable
from askonce.ledger.audit import Sealer as AuditSealer
from askonce.ledger.audit_export import export
from askonce.ledger.audit_listing import Wanted, audit_page
from askonce.ledger.audit_table import audit_head
from askonce.ledger.audit_verify import verify
from askonce.ledger.engine import Bounds, open_engine, reading, together
from askonce.ledger.identity_tables import IDENTITY, take_turn
from askonce.ledger.keys import SqlKeys
from askonce.ledger.reports import SqlReports
from askonce.ledger.schema import SCHEMA
from askonce.ledger.tenants import SqlTenants
from askonce.ledger.users import SqlLoginLinks, SqlUsers
from askonce.ledger.vault import SqlProviderKeys
from askonce.wiring.administration import Premises

# Of one gateway. Reports are read side by side with what is changed; more would take them from the other processes.
_BOUNDS = Bounds(connections=3, statement_s=20.0, name="askonce gateway")
UNPREPARED = "The database has no tables of ours yet: the worker makes them."


class OpenOffice:
    """Hold an engine and the ports over it."""

    def __init__(self, engine: AsyncEngine, ports: Office) -> None:
        self._engine = engine
        self.ports = ports
        self._prepared = False

    async def prepare(self) -> None:
        """Raise `LedgerUnavailable` until our tables are there."""
        if not self._prepared:
            async with reading(self._engine) as connection:
                if not await connection.run_sync(_has_tables):
                    raise LedgerUnavailable(UNPREPARED)
            self._prepared = True

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


class SqlAuditBook:
    """Read the audit. `keys`: that in force first, then the former."""

    def __init__(self, engine: AsyncEngine, keys: tuple[bytes, ...], anchors: Anchors, clock: Clock) -> None:
        self._engine = engine
        self._keys = keys
        self._anchors = anchors
        self._clock = clock

    async def page(self, question: AuditQuestion) -> Listing[AuditEntry]:
        """Return a page."""
        wanted = Wanted(question.tenant, question.actor, question.action, question.subject, question.before)
        rows, following = await audit_page(self._engine, wanted, question.size)
        entries = tuple(AuditEntry(sealed.number, sealed.row) for sealed in rows)
        return Listing(entries, str(following) if following else "")

    async def export(self, first: int, last: int) -> AsyncGenerator[bytes, None]:
        """Yield an export's lines."""
        async for line in export(self._engine, self._keys[0], self._clock.wall_ms(), first, last):
            yield line

    async def verify(self) -> ChainVerdict:
        """Check the whole chain, and its end against the one that was noted."""
        noted = await self._anchors.read()
        report = await verify(self._engine, self._keys, [noted] if noted else [])
        last = report.last or Anchor(0, b"")
        findings = tuple(Finding(**asdict(each)) for each in report.findings)
        return ChainVerdict(
            report.sound,
            report.rows,
            report.first,
            last.number,
            last.seal.hex(),
            report.wrong,
            findings,
            report.unproven,
        )


class SqlTurns:
    """Change accounts one at a time, each change with its row of the audit."""

    def __init__(self, engine: AsyncEngine, key: bytes, clock: Clock) -> None:
        self._engine = engine
        self._seal = AuditSealer(key, clock)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[list[AuditRow]]:
        """Open the transaction; what is in the list at its end is sealed."""
        rows: list[AuditRow] = []
        async with together(self._engine) as connection:
            await take_turn(connection, IDENTITY)
            yield rows
            if rows:
                await self._seal.seal_rows(connection, rows)


def open_office(premises: Premises) -> OpenOffice:
    """Put the office together; nothing is connected yet. Raises `ConfigError`."""
    secret, clock, directory = premises.secret(), premises.clock, premises.directory
    engine = open_engine(premises.database_url, Path(premises.folder), _BOUNDS)
    ports = Office(
        keys=SqlKeys(engine, directory, secret.subkeys(secrets.KEY_HASHES), clock),
        tenants=SqlTenants(engine, directory, clock),
        users=SqlUsers(engine, directory, clock),
        links=SqlLoginLinks(engine, clock),
        provider_keys=SqlProviderKeys(engine, Sealer(secret.subkeys(secrets.PROVIDER_KEYS)), clock),
        reports=SqlReports(engine),
        audit=SqlAuditBook(engine, secret.subkeys(secrets.AUDIT_CHAIN), premises.anchors, clock),
        turns=SqlTurns(engine, secret.subkey(secrets.AUDIT_CHAIN), clock),
    )
    return OpenOffice(engine, ports)


def _has_tables(connection: Connection) -> bool:
    schema = SCHEMA if connection.dialect.name == "postgresql" else None
    return inspect(connection).has_table(audit_head.name, schema=schema)
