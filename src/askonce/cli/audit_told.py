"""What the audit's check found, and its rows, for people and as JSON."""

import json
from typing import Any

import msgspec

from askonce.cli.tables import moment
from askonce.ledger.audit_chain import Report, Sealed, write_anchor


def told(report: Report, strange: str = "") -> str:
    """Say what a check found, and what it cannot prove."""
    lines = []
    if report.last is None:
        lines.append("There are no rows.")
    else:
        lines.append(f"{report.rows} rows, from number {report.first} to {report.last.number}.")
    if report.sound:
        lines.append("Nothing is wrong: each row is what was sealed, in its place, and none is missing between them.")
    else:
        lines.append(f"BROKEN in {report.wrong} places:")
        lines += [f"  {finding.number} {finding.message} ({finding.kind})" for finding in report.findings]
        if report.wrong > len(report.findings):
            lines.append(f"  … and {report.wrong - len(report.findings)} more")
    if report.last is not None:
        lines.append(f"The end, to be noted elsewhere: {write_anchor(report.last)}")
    lines.append("\nNot proven:")
    lines += [f"  - {doubt}" for doubt in (*report.unproven, *([strange] if strange else []))]
    return "\n".join(lines)


def report_json(report: Report, strange: str = "") -> dict[str, Any]:
    """Write a report as JSON."""
    return {
        "sound": report.sound,
        "rows": report.rows,
        "first": report.first,
        "end": write_anchor(report.last) if report.last else None,
        "wrong": report.wrong,
        "findings": [msgspec.to_builtins(finding) for finding in report.findings],
        "unproven": [*report.unproven, *([strange] if strange else [])],
    }


def row_json(sealed: Sealed) -> dict[str, Any]:
    """Write a row as JSON."""
    row = sealed.row
    return {
        "number": sealed.number,
        "at": row.at_ms,
        "severity": row.severity,
        "actor": row.actor,
        "action": row.action,
        "subject": row.subject,
        "tenant": row.tenant,
        "address": row.address,
        "requestId": row.request_id,
        "details": _details(sealed),
    }


def line_of(sealed: Sealed) -> tuple[str, ...]:
    """Write a row for a table."""
    row = sealed.row
    told = _details(sealed)
    if isinstance(told, dict):  # what is empty says nothing on a line
        told = {name: value for name, value in told.items() if value}
    details = json.dumps(told, ensure_ascii=False)
    return (
        str(sealed.number), moment(row.at_ms), row.severity, row.actor, row.action, row.subject or "-",
        row.tenant or "-", row.address or "-", details if details != "{}" else "-",
    )  # fmt: skip


def _details(sealed: Sealed) -> object:
    """Read a row's details, whatever somebody made of them."""
    raw = bytes(sealed.row.details)
    try:
        return json.loads(raw)
    except ValueError:
        return raw.decode(errors="replace")
