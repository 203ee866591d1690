"""The world of the audit's tests: rows that could have happened, a chain of them, and somebody with all rights."""

from collections.abc import Sequence
from typing import Any

from msgspec import Raw
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from tests.state.statefakes import HandClock

from askonce.domain.ledger import Anchor, AuditRow
from askonce.ledger.audit import Sealer
from askonce.ledger.audit_chain import Report
from askonce.ledger.audit_verify import verify
from askonce.ledger.engine import writing
from askonce.ledger.schema import qualified

KEY, FORMER = b"k" * 32, b"f" * 32
NOON = 1_767_268_800_000


def act(number: int, **changes: Any) -> AuditRow:
    given: dict[str, Any] = {
        "at_ms": NOON + number,
        "actor": "key:k1",
        "action": "key.created",
        "subject": f"key:{number}",
        "tenant": "acme",
        "address": "192.0.2.1",
        "request_id": f"r{number}",
        "details": Raw(b'{"name":"b\xc3\xa4r"}'),
    }
    return AuditRow(**{**given, **changes})


async def seal(engine: AsyncEngine, rows: Sequence[AuditRow], key: bytes = KEY) -> None:
    async with writing(engine) as connection:
        await Sealer(key, HandClock()).seal_rows(connection, rows)


async def a_chain(engine: AsyncEngine, length: int = 9, key: bytes = KEY) -> Anchor:
    """Make a chain and return its end."""
    await seal(engine, [act(number) for number in range(1, length + 1)], key)
    return await the_end(engine, (key,))


async def the_end(engine: AsyncEngine, keys: tuple[bytes, ...] = (KEY,)) -> Anchor:
    last = (await verify(engine, keys)).last
    assert last is not None
    return last


async def tamper(engine: AsyncEngine, *statements: str) -> None:
    """Do as who owns the database can: take the locks off, change things, put the locks back."""
    async with writing(engine) as connection:
        locks = await _take_locks_off(connection)
        for statement in statements:
            await connection.execute(text(statement.replace("AUDIT", qualified(connection.dialect, "audit"))))
        for lock in locks:
            await connection.exec_driver_sql(lock)


async def _take_locks_off(connection: AsyncConnection) -> list[str]:
    if connection.dialect.name == "postgresql":
        await connection.execute(text("ALTER TABLE askonce.audit DISABLE TRIGGER USER"))
        return ["ALTER TABLE askonce.audit ENABLE TRIGGER USER"]
    found = (await connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"))).all()
    for name, _ in found:
        await connection.execute(text(f"DROP TRIGGER {name}"))
    return [sql for _, sql in found]


def told(report: Report) -> list[tuple[str, int]]:
    return [(finding.kind, finding.number) for finding in report.findings]
