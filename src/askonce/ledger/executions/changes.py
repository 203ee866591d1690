"""Events of executions, numbered as they are written."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw
from sqlalchemy import ColumnElement, and_, insert, update
from sqlalchemy.ext.asyncio import AsyncConnection

from askonce.domain.executions import Execution, ExecutionStatus, NewEvent, Turn, TurnOver
from askonce.ledger.executions.tables import RUNNING, events, executions


def changed(execution: Execution) -> NewEvent:
    """Tell that an execution's status is another one."""
    return NewEvent("execution", _json({"status": execution.status, "round": execution.round}))


def ended_event(status: ExecutionStatus, round: int) -> list[NewEvent]:
    """Tell that a round ended before any worker took it."""
    told = _json({"status": status, "round": round})
    return [NewEvent("execution", told), NewEvent("done", told)]


def in_turn(turn: Turn) -> ColumnElement[bool]:
    """Match an execution as long as a turn lasts."""
    return and_(
        executions.c.id == turn.execution,
        executions.c.round == turn.round,
        executions.c.taken == turn.taken,
        executions.c.state == RUNNING,
    )


async def note(connection: AsyncConnection, id: str, told: Sequence[NewEvent], now_ms: int) -> None:
    """Write events behind those that there are."""
    await _write(connection, id, executions.c.id == id, told, {}, now_ms)


async def write_turn(
    connection: AsyncConnection, turn: Turn, told: Sequence[NewEvent], now_ms: int, progress: int | None = None
) -> None:
    """Write events of a turn. Raises `TurnOver`."""
    values = {} if progress is None else {"progress": progress}
    if not await _write(connection, turn.execution, in_turn(turn), told, values, now_ms):
        raise TurnOver(f"{turn.execution} is somebody else's by now.")


async def _write(
    connection: AsyncConnection,
    id: str,
    where: ColumnElement[bool],
    told: Sequence[NewEvent],
    values: dict[str, int],
    now_ms: int,
) -> bool:
    """Write events; False where there is no such execution."""
    # The change locks the row, so that the number is nobody else's.
    counted = update(executions).where(where).values(values | {"events": executions.c.events + len(told)})
    last = (await connection.execute(counted.returning(executions.c.events))).scalar()
    if last is None or not told:
        return last is not None
    rows = [
        {"execution": id, "number": number, "at_ms": now_ms, "kind": event.kind, "data": bytes(event.data)}
        for number, event in enumerate(told, last - len(told) + 1)
    ]
    await connection.execute(insert(events), rows)
    return True


def _json(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))
