"""The audit: its rows page by page, its export, its check. Looking at all of it is written down in it."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated

from msgspec import Meta, Raw, Struct

from askonce.api.admin.office import AuditEntry, AuditQuestion, ChainVerdict, Clerk
from askonce.api.bodies import Body
from askonce.api.errands import Errand, Handler
from askonce.api.replies import NO_STORE, StreamReply
from askonce.domain.ledger import LedgerUnavailable, Severity
from askonce.gate.scopes import visible_tenant

_Word = Annotated[str, Meta(max_length=200)]
_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]
_JSON_LINES = (b"content-type", b"application/jsonl; charset=utf-8")
_FILE = (b"content-disposition", b'attachment; filename="askonce-audit.jsonl"')


class AuditQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Choose rows, newest first."""

    tenant: Annotated[str, Meta(max_length=64, description="whose; root sees all without it")] = ""
    actor: Annotated[_Word, Meta(description="who did it, as user:ID or key:ID")] = ""
    action: Annotated[_Word, Meta(description="what was done, as key.created")] = ""
    subject: Annotated[_Word, Meta(description="what it was done to, as key:ID")] = ""
    after: Annotated[str, Meta(pattern="^[0-9]{0,18}$", description="the page before's next")] = ""
    limit: Annotated[int, Meta(ge=1, le=500, description="rows on a page")] = 100


class ExportQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Choose a range of numbers."""

    first: Annotated[_Number, Meta(description="the first row's number")] = 1
    last: Annotated[_Number, Meta(description="the last row's number")] = 2**63 - 1


class AuditLine(Body, frozen=True):
    """Hold one row."""

    number: int
    at: int
    actor: str
    action: str
    subject: str
    tenant: str
    address: str
    request_id: str
    severity: Severity
    details: Raw


class AuditPage(Body, frozen=True):
    """Hold a page of rows; `next` leads to the following page, null at the end."""

    rows: tuple[AuditLine, ...]
    next: str | None


def audit_handlers(clerk: Clerk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def page(errand: Errand) -> Struct:
        query, caller = errand.query, errand.caller
        question = AuditQuestion(
            visible_tenant(caller.scopes, caller.tenant, query.tenant),
            query.actor,
            query.action,
            query.subject,
            int(query.after or 0),
            query.limit,
        )
        found = await (await clerk.offices.open()).audit.page(question)
        return AuditPage(tuple(map(_line, found.items)), found.after or None)

    async def export(errand: Errand) -> StreamReply:
        query: ExportQuery = errand.query
        lines = (await clerk.offices.open()).audit.export(query.first, query.last)
        begun = await anext(lines)
        await clerk.note(errand, "audit.exported", "", first=query.first, last=query.last)
        return StreamReply([_JSON_LINES, _FILE, NO_STORE], _pieces(begun, lines), _nothing)

    async def verify(errand: Errand) -> ChainVerdict:
        verdict = await (await clerk.offices.open()).audit.verify()
        severity: Severity = "notice" if verdict.sound else "critical"
        who = (errand.caller, errand.request)
        await clerk.trail.note(
            who, "audit.verified", "", severity, sound=verdict.sound, rows=verdict.rows, wrong=verdict.wrong
        )
        return verdict

    return {"audit": page, "export_audit": export, "verify_audit": verify}


async def _pieces(begun: bytes, lines: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Send lines. Where the database goes away the file ends without its last line, which is how a reader knows."""
    yield begun
    try:
        async with aclosing(lines):
            async for line in lines:
                yield line
    except LedgerUnavailable:
        return


def _line(entry: AuditEntry) -> AuditLine:
    row = entry.row
    return AuditLine(
        entry.number,
        row.at_ms,
        row.actor,
        row.action,
        row.subject,
        row.tenant,
        row.address,
        row.request_id,
        row.severity,
        row.details,
    )


def _nothing() -> None:
    """Release nothing."""
