"""Executions to rows and back."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from askonce.domain.executions import Event, Execution, NodeRun, Submission, Submitter, Totals, Urgency
from askonce.ledger.executions.tables import STATES, events, executions
from askonce.ledger.words import clean

# How long one may be kept waiting by what is more urgent and came later.
PATIENCE_MS: Final[dict[Urgency, int]] = {"CRITICAL": 0, "HIGH": 60_000, "MEDIUM": 600_000, "LOW": 3_600_000}
_TOTALS = Totals.__struct_fields__
# What a list shows; `events` and the long texts are not of it.
LISTED = [column for column in executions.columns if column.name != "events"]
_EMPTY = Raw(b"null")

pack_submission = msgspec.msgpack.Encoder().encode
_submission = msgspec.msgpack.Decoder(Submission)
_run = msgspec.msgpack.Decoder(NodeRun)


def row_of(submission: Submission) -> dict[str, Any]:
    """Return the row of a new execution, without its event."""
    due_ms = max(submission.created_ms, submission.not_before_ms)
    return {
        "id": submission.id,
        "tenant": clean(submission.submitter.tenant),
        "identity": clean(submission.submitter.identity),
        "kind": submission.kind,
        "queue": submission.queue,
        "name": clean(submission.name),
        "urgency": submission.urgency,
        "batch": submission.batch,
        "line": submission.line,
        "dedup": clean(submission.dedup),
        "created_ms": submission.created_ms,
        "not_before_ms": submission.not_before_ms,
        "turn_ms": due_ms + PATIENCE_MS[submission.urgency],
        "state": 0,
        "round": 1,
        **dict.fromkeys(("taken", "progress", "started_ms", "ended_ms", "events", *_TOTALS), 0),
        **dict.fromkeys(("wish", "worker", "error_code", "error"), ""),
    }


def packed_submission(submission: Submission) -> bytes:
    """Encode what never changes. The JSON in it is packed as bytes."""
    return pack_submission(msgspec.structs.replace(submission, work=Raw(pack_submission(bytes(submission.work)))))


def execution_of(row: Any, submission: bytes | None = None, result: bytes = b"null") -> Execution:
    """Make an execution of a row; without its submission, of what the row itself tells of it."""
    if submission is None:
        told = _told(row)
    else:
        told = _submission.decode(submission)
        told = msgspec.structs.replace(told, work=Raw(msgspec.msgpack.decode(told.work)))
    return Execution(
        submission=told,
        status=STATES[row.state],
        round=row.round,
        taken=row.taken,
        progress=row.progress,
        started_ms=row.started_ms,
        ended_ms=row.ended_ms,
        error_code=row.error_code,
        error=row.error,
        wish=row.wish,
        totals=Totals(*(getattr(row, name) for name in _TOTALS)),
        result=Raw(result),
    )


def _told(row: Any) -> Submission:
    submitter = Submitter(identity=row.identity, tenant=row.tenant)
    return Submission(
        id=row.id,
        kind=row.kind,
        queue=row.queue,
        name=row.name,
        work=_EMPTY,
        submitter=submitter,
        created_ms=row.created_ms,
        urgency=row.urgency,
        not_before_ms=row.not_before_ms,
        dedup=row.dedup,
        batch=row.batch,
        line=row.line,
    )


def packed_run(run: NodeRun) -> bytes:
    """Encode what became of a node."""
    as_bytes = {name: Raw(pack_submission(bytes(getattr(run, name)))) for name in ("files", "report")}
    return pack_submission(msgspec.structs.replace(run, **as_bytes))


def run_of(packed: bytes) -> NodeRun:
    """Decode what became of a node."""
    run = _run.decode(packed)
    opened = {name: Raw(msgspec.msgpack.decode(getattr(run, name))) for name in ("files", "report")}
    return msgspec.structs.replace(run, **opened)


def events_of(rows: Sequence[Any]) -> tuple[Event, ...]:
    """Make events of rows."""
    return tuple(Event(row.execution, row.number, row.at_ms, row.kind, Raw(row.data)) for row in rows)


EVENT_COLUMNS = [events.c[name] for name in ("execution", "number", "at_ms", "kind", "data")]
