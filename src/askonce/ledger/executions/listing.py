"""Pages of executions, newest first."""

import base64
import binascii

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from askonce.domain.errors import Detail, Invalid
from askonce.domain.executions import ExecutionPage, ExecutionQuestion
from askonce.ledger.executions.rows import LISTED, execution_of
from askonce.ledger.executions.tables import STATES, executions
from askonce.ledger.words import are_clean, clean

PAGE_MAX = 500
LATEST_MS = (1 << 63) - 1  # what a column of times holds


def page_of(connection: Connection, question: ExecutionQuestion) -> ExecutionPage:
    """Answer a question. Raises `Invalid`."""
    size = min(max(question.size, 1), PAGE_MAX)
    newest = (executions.c.created_ms.desc(), executions.c.id.desc())
    asked = select(*LISTED).where(*_conditions(question)).order_by(*newest).limit(size + 1)
    rows = connection.execute(asked).all()
    shown = rows[:size]
    after = _cursor(shown[-1].created_ms, shown[-1].id) if len(rows) > size else ""
    return ExecutionPage(tuple(execution_of(row) for row in shown), after)


def _conditions(question: ExecutionQuestion) -> list[ColumnElement[bool]]:
    table = executions.c
    found: list[ColumnElement[bool]] = []
    if question.tenant is not None:
        found.append(table.tenant == question.tenant)
    named = ((table.identity, question.identity), (table.queue, question.queue), (table.batch, question.batch))
    found += [column == clean(value) for column, value in named if value]
    if question.kinds:
        found.append(table.kind.in_(question.kinds))
    if question.statuses:
        found.append(table.state.in_([STATES.index(status) for status in question.statuses]))
    if question.since_ms:
        found.append(table.created_ms >= question.since_ms)
    if question.until_ms:
        found.append(table.created_ms < question.until_ms)
    if question.after:
        at_ms, id = _place(question.after)
        found.append(or_(table.created_ms < at_ms, and_(table.created_ms == at_ms, table.id < id)))
    return found


def _cursor(created_ms: int, id: str) -> str:
    return base64.urlsafe_b64encode(f"{created_ms}.{id}".encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[int, str]:
    try:
        at_ms, _, id = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(".")
        place = int(at_ms), id
    except (ValueError, binascii.Error):
        place = -1, ""
    if not 0 <= place[0] <= LATEST_MS or not are_clean((place[1],)):
        problem = "is no cursor: give the next of the page before"
        raise Invalid(f"after {problem}.", details=[Detail("after", problem)])
    return place
