"""Events of executions, numbered as they are written."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw
from sqlalchemy import Connection

from askonce.domain.executions import Execution, ExecutionStatus, NewEvent
from askonce.ledger.executions.statements import COUNT, COUNT_ON, NEW_EVENTS


def changed(execution: Execution) -> NewEvent:
    """Tell that an execution's status is another one."""
    return NewEvent("execution", _json({"status": execution.status, "round": execution.round}))


def ended_event(status: ExecutionStatus, round: int) -> list[NewEvent]:
    """Tell that a round ended before any worker took it."""
    told = _json({"status": status, "round": round})
    return [NewEvent("execution", told), NewEvent("done", told)]


def note(connection: Connection, id: str, told: Sequence[NewEvent], now_ms: int, progress: int | None = None) -> None:
    """Write events behind those that there are; nothing for an execution that is gone."""
    place: dict[str, object] = {"its_id": id, "more": len(told)}
    if progress is None:
        last = connection.execute(COUNT, place).scalar()
    else:
        last = connection.execute(COUNT_ON, {**place, "percent": progress}).scalar()
    if last is None or not told:
        return
    rows = [event_row(id, number, event, now_ms) for number, event in enumerate(told, last - len(told) + 1)]
    connection.execute(NEW_EVENTS, rows)


def event_row(id: str, number: int, event: NewEvent, now_ms: int) -> dict[str, object]:
    """Return the row of an event."""
    return {"execution": id, "number": number, "at_ms": now_ms, "kind": event.kind, "data": bytes(event.data)}


def _json(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))
