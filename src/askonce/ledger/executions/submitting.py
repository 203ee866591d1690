"""Writing new executions: many in few statements, since nobody else can write to a file meanwhile."""

from collections.abc import Iterable, Sequence
from itertools import islice

from sqlalchemy import Connection, and_, select

from askonce.domain.executions import Execution, Submission
from askonce.ledger.executions.changes import changed, event_row
from askonce.ledger.executions.rows import execution_of, packed_submission, row_of
from askonce.ledger.executions.statements import KNOWN, NEW, NEW_EVENTS, NEW_WORK, WHOLE
from askonce.ledger.executions.tables import RUNNING, executions
from askonce.ledger.words import clean

SLICE = 500  # ids of one statement


def submit_all(connection: Connection, submissions: Sequence[Submission]) -> tuple[Execution, ...]:
    """Write new executions, and return each that is there already, by its id or a living name, as it stands."""
    known = _known(connection, (one.id for one in submissions))
    pending: list[Submission] = []
    told: list[Execution] = []
    for one in submissions:
        if one.id in known or one.dedup:
            _write(connection, pending)
            pending = []
            there = _there(connection, one, known)
            if there is not None:
                told.append(there)
                continue
        known.add(one.id)
        pending.append(one)
        told.append(Execution(one))
    _write(connection, pending)
    return tuple(told)


def whole(connection: Connection, id: str) -> Execution | None:
    """Return an execution with all that belongs to it."""
    row = connection.execute(WHOLE, {"its_id": id}).one_or_none()
    return None if row is None else execution_of(row, row.submission, row.result)


def _known(connection: Connection, ids: Iterable[str]) -> set[str]:
    known: set[str] = set()
    left = iter(ids)
    while some := list(islice(left, SLICE)):
        known.update(connection.execute(KNOWN, {"ids": some}).scalars())
    return known


def _there(connection: Connection, submission: Submission, known: set[str]) -> Execution | None:
    if submission.id in known:
        return whole(connection, submission.id)
    tenant, dedup = clean(submission.submitter.tenant), clean(submission.dedup)
    same = and_(executions.c.tenant == tenant, executions.c.dedup == dedup, executions.c.state <= RUNNING)
    found = connection.execute(select(executions.c.id).where(same)).scalar()
    return None if found is None else whole(connection, found)


def _write(connection: Connection, submissions: Sequence[Submission]) -> None:
    if not submissions:
        return
    connection.execute(NEW, [{**row_of(one), "events": 1} for one in submissions])
    works = [{"id": one.id, "submission": packed_submission(one), "result": b"null"} for one in submissions]
    connection.execute(NEW_WORK, works)
    told = [event_row(one.id, 1, changed(Execution(one)), one.created_ms) for one in submissions]
    connection.execute(NEW_EVENTS, told)
