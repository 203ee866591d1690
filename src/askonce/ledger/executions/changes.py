"""Events of executions, numbered as they are written."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw
from sqlalchemy import Connection, Executable

from askonce.domain.executions import Execution, ExecutionStatus, NewEvent, Turn, TurnOver
from askonce.ledger.executions.statements import COUNT, COUNT_IN_TURN, COUNT_ON_IN_TURN, NEW_EVENTS


def changed(execution: Execution) -> NewEvent:
    """Tell that an execution's status is another one."""
    return NewEvent("execution", _json({"status": execution.status, "round": execution.round}))


def ended_event(status: ExecutionStatus, round: int) -> list[NewEvent]:
    """Tell that a round ended before any worker took it."""
    told = _json({"status": status, "round": round})
    return [NewEvent("execution", told), NewEvent("done", told)]


def in_turn(turn: Turn) -> dict[str, object]:
    """Return what binds a statement to an execution as long as a turn lasts."""
    return {"its_id": turn.execution, "its_round": turn.round, "its_taken": turn.taken}


def note(connection: Connection, id: str, told: Sequence[NewEvent], now_ms: int) -> None:
    """Write events behind those that there are."""
    _write(connection, COUNT, {"its_id": id}, told, now_ms)


def write_turn(
    connection: Connection, turn: Turn, told: Sequence[NewEvent], now_ms: int, progress: int | None = None
) -> None:
    """Write events of a turn. Raises `TurnOver`."""
    if progress is None:
        is_there = _write(connection, COUNT_IN_TURN, in_turn(turn), told, now_ms)
    else:
        is_there = _write(connection, COUNT_ON_IN_TURN, in_turn(turn) | {"percent": progress}, told, now_ms)
    if not is_there:
        raise TurnOver(f"{turn.execution} is somebody else's by now.")


def _write(
    connection: Connection, count: Executable, place: dict[str, object], told: Sequence[NewEvent], now_ms: int
) -> bool:
    """Write events; False where there is no such execution."""
    last = connection.execute(count, place | {"more": len(told)}).scalar()
    if last is None or not told:
        return last is not None
    id = str(place["its_id"])
    rows = [event_row(id, number, event, now_ms) for number, event in enumerate(told, last - len(told) + 1)]
    connection.execute(NEW_EVENTS, rows)
    return True


def event_row(id: str, number: int, event: NewEvent, now_ms: int) -> dict[str, object]:
    """Return the row of an event."""
    return {"execution": id, "number": number, "at_ms": now_ms, "kind": event.kind, "data": bytes(event.data)}


def _json(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))
