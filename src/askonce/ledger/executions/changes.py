"""Events of executions, numbered as they are written."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw
from sqlalchemy import Connection, insert, update

from askonce.domain.executions import Execution, ExecutionStatus, NewEvent
from askonce.ledger.executions.tables import events, executions


def changed(execution: Execution) -> NewEvent:
    """Tell that an execution's status is another one."""
    return NewEvent("execution", _json({"status": execution.status, "round": execution.round}))


def ended_event(status: ExecutionStatus, round: int) -> list[NewEvent]:
    """Tell that a round ended before any worker took it."""
    told = _json({"status": status, "round": round})
    return [NewEvent("execution", told), NewEvent("done", told)]


def note(connection: Connection, id: str, told: Sequence[NewEvent], now_ms: int, progress: int | None = None) -> None:
    """Write events behind those that there are; nothing for an execution that is gone."""
    values: dict[str, object] = {"events": executions.c.events + len(told)}
    if progress is not None:
        values["progress"] = progress
    # The change locks the row, so that the number is nobody else's.
    more = update(executions).where(executions.c.id == id).values(values).returning(executions.c.events)
    last = connection.execute(more).scalar()
    if last is None or not told:
        return
    rows = [
        {"execution": id, "number": number, "at_ms": now_ms, "kind": event.kind, "data": bytes(event.data)}
        for number, event in enumerate(told, last - len(told) + 1)
    ]
    connection.execute(insert(events), rows)


def _json(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))
