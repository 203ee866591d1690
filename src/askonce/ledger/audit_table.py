"""The tables of the audit: its rows, which are only ever added, and the end of the chain, which is what writers lock.

Triggers refuse to change or delete rows (the step that makes the tables makes them). Whoever may change tables can take
them away; that is what the chain is for.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Raw
from sqlalchemy import Column, LargeBinary, Select, Table, Text, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from askonce.domain.ledger import AuditRow
from askonce.ledger.audit_chain import Sealed
from askonce.ledger.schema import Small, Wide, Word, metadata

audit = Table(
    "audit",
    metadata,
    Column("number", Wide, primary_key=True, autoincrement=False),
    Column("at_ms", Wide, nullable=False, index=True),
    Column("actor", Word, nullable=False),
    Column("action", Word, nullable=False),
    Column("subject", Text, nullable=False),
    Column("tenant", Word, nullable=False),
    Column("address", Text, nullable=False),
    Column("request_id", Word, nullable=False),
    Column("severity", Word, nullable=False),
    Column("details", Text, nullable=False),  # JSON, kept letter by letter: the seal covers it
    Column("key", Word, nullable=False),
    Column("previous", LargeBinary, nullable=False),
    Column("seal", LargeBinary, nullable=False),
)
audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Small, primary_key=True, autoincrement=False),  # always 1
    Column("number", Wide, nullable=False),
    Column("seal", LargeBinary, nullable=False),
)

LOCKS = {
    "sqlite": {"audit_no_update", "audit_no_delete", "audit_no_replace"},
    "postgresql": {"audit_no_change", "audit_no_truncate"},
}
_LISTED = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'audit'",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE tgenabled IN ('O', 'A') AND NOT tgisinternal "
    "AND tgrelid = to_regclass('askonce.audit')",
}


def fields_of(sealed: Sealed) -> dict[str, Any]:
    """Write a row for the table."""
    row = sealed.row
    return {
        "number": sealed.number,
        "at_ms": row.at_ms,
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "tenant": row.tenant,
        "address": row.address,
        "request_id": row.request_id,
        "severity": row.severity,
        "details": bytes(row.details).decode(),
        "key": sealed.key,
        "previous": sealed.previous,
        "seal": sealed.seal,
    }


def sealed_of(fields: Mapping[str, Any]) -> Sealed:
    """Read a row of the table as it is, whatever somebody made of it."""
    row = AuditRow(
        fields["at_ms"],
        str(fields["actor"]),
        str(fields["action"]),
        str(fields["subject"]),
        str(fields["tenant"]),
        str(fields["address"]),
        str(fields["request_id"]),
        fields["severity"],
        Raw(str(fields["details"]).encode("utf-8", "surrogateescape")),
    )
    return Sealed(fields["number"], row, str(fields["key"]), _bytes(fields["previous"]), _bytes(fields["seal"]))


async def missing_locks(connection: AsyncConnection) -> set[str]:
    """Return which triggers are not in force."""
    dialect = connection.dialect.name
    return LOCKS[dialect] - set((await connection.scalars(text(_LISTED[dialect]))).all())


def from_number(first: int, last: int = 2**63 - 1) -> Select[Any]:
    """Select the rows of a range of numbers, in their order."""
    return select(audit).where(audit.c.number.between(first, last)).order_by(audit.c.number)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
