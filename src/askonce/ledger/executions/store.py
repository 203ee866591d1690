"""The store of executions: every change with its events in one transaction, and of two that meet one wins.

An execution's row is locked by whoever changes it (PostgreSQL `FOR UPDATE`, SQLite by the file), so that its events are
numbered without a gap however many nodes write side by side.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace
from sqlalchemy import Connection, and_, delete, func, or_, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.domain.clock import Clock
from askonce.domain.errors import NotResumable
from askonce.domain.executions import (
    QUEUES,
    Event,
    Execution,
    ExecutionPage,
    ExecutionQuestion,
    NewEvent,
    NodeRun,
    NoticeState,
    QueueName,
    QueueState,
    Room,
    Submission,
    Turn,
)
from askonce.ledger.executions.changes import changed, ended_event, event_row, in_turn, note, write_turn
from askonce.ledger.executions.listing import page_of
from askonce.ledger.executions.notices import notice_of, put_notice
from askonce.ledger.executions.rows import (
    EVENT_COLUMNS,
    LISTED,
    events_of,
    execution_of,
    packed_run,
    run_of,
)
from askonce.ledger.executions.statements import (
    BEGIN,
    BEGUN,
    CLAIM,
    DUE,
    END,
    HELD,
    IS_ANY_DUE,
    KEEP,
    NEW_EVENTS,
    NODES,
    PAUSE,
    PAUSED,
    RESULT,
    WISHES,
)
from askonce.ledger.executions.submitting import submit_all, whole
from askonce.ledger.executions.tables import (
    QUEUED,
    RUNNING,
    STATES,
    events,
    executions,
    node_runs,
    notices,
    works,
)
from askonce.ledger.executions.turns import Turns
from askonce.ledger.words import are_clean

_SUCCEEDED, _FAILED, _CANCELLED = (STATES.index(name) for name in ("succeeded", "failed", "cancelled"))
# Of PostgreSQL's advisory locks: "asktake" in letters. Who claims waits for whoever claims, so that rates are exact.
_CLAIMS = int.from_bytes(b"asktake")
NAME_TAKEN = "Another one of the same `dedup` lived a moment ago. Try again."
NAME_TAKEN_BY = "{id} lives, which has the same `dedup` ({dedup}). Cancel that one, or wait for its end."
FINISHED = ("succeeded", "skipped")  # nodes that a resumed round does not do again


class SqlExecutions:
    """Keep executions (port `WorkerExecutions`)."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._turns = Turns(engine)
        self._clock = clock

    async def submit(self, submissions: Sequence[Submission]) -> tuple[Execution, ...]:
        """Write new executions; those that are there already are returned as they stand."""

        try:
            return await self._turns.change(lambda connection: submit_all(connection, submissions))
        except IntegrityError:  # another process wrote one of them at the same moment: now it is found
            return await self._turns.change(lambda connection: submit_all(connection, submissions))

    async def find(self, id: str, tenant: str | None) -> Execution | None:
        """Return one with all that belongs to it."""
        if not are_clean((id,)):
            return None
        found = await self._turns.look(lambda connection: whole(connection, id))
        return None if found is None or tenant not in (None, found.submission.submitter.tenant) else found

    async def nodes(self, id: str) -> tuple[NodeRun, ...]:
        """Return what became of its nodes so far."""

        def act(connection: Connection) -> tuple[NodeRun, ...]:
            rows = connection.execute(NODES, {"its_id": id})
            return tuple(run_of(row.run) for row in rows)

        return await self._turns.look(act)

    async def page(self, question: ExecutionQuestion) -> ExecutionPage:
        """List executions, newest first. Raises `Invalid` for a cursor that is none."""
        return await self._turns.look(lambda connection: page_of(connection, question))

    async def wish_cancel(self, id: str, tenant: str | None, now_ms: int) -> Execution | None:
        """Ask for its cancellation; one that waits ends at once."""

        def act(connection: Connection) -> Execution | None:
            found = _locked(connection, id, tenant)
            if found is None or found.has_ended:
                return found
            if found.status == "running":
                connection.execute(update(executions).where(executions.c.id == id).values(wish="cancel"))
            else:
                ended = {"state": _CANCELLED, "ended_ms": now_ms, "error_code": "cancelled", "error": "Cancelled."}
                connection.execute(update(executions).where(executions.c.id == id).values(ended))
                note(connection, id, ended_event("cancelled", found.round), now_ms)
            changed_row = whole(connection, id)
            if changed_row is not None and changed_row.has_ended:
                put_notice(connection, changed_row, now_ms)
            return changed_row

        return await self._turns.change(act)

    async def resume(self, id: str, tenant: str | None, now_ms: int) -> Execution | None:
        """Queue one that failed or was cancelled once more. Raises `NotResumable` where its `dedup` names another."""

        def act(connection: Connection) -> Execution | None:
            found = _locked(connection, id, tenant)
            if found is None or found.status not in ("failed", "cancelled"):
                return found
            again = {"state": QUEUED, "round": found.round + 1, "ended_ms": 0, "started_ms": 0, "wish": ""}
            again |= {"error_code": "", "error": "", "turn_ms": now_ms, "worker": ""}
            connection.execute(update(executions).where(executions.c.id == id).values(again))
            unfinished = and_(node_runs.c.execution == id, node_runs.c.status.not_in(FINISHED))
            connection.execute(delete(node_runs).where(unfinished))
            connection.execute(update(works).where(works.c.id == id).values(result=b"null"))
            connection.execute(delete(notices).where(notices.c.execution == id))
            queued = whole(connection, id)
            if queued is not None:
                note(connection, id, [changed(queued)], now_ms)
            return queued

        try:
            return await self._turns.change(act)
        except IntegrityError:
            raise NotResumable(await self._turns.look(lambda connection: _taken_by(connection, id))) from None

    async def events(self, after: Mapping[str, int], size: int) -> tuple[Event, ...]:
        """Return the next events of several executions."""
        if not after:
            return ()
        wanted = or_(
            *(and_(events.c.execution == id, events.c.number > number) for id, number in sorted(after.items()))
        )
        asked = select(*EVENT_COLUMNS).where(wanted).order_by(events.c.execution, events.c.number).limit(size)

        def act(connection: Connection) -> tuple[Event, ...]:
            return events_of(connection.execute(asked).all())

        return await self._turns.look(act)

    async def notice(self, id: str) -> NoticeState | None:
        """Return how far its webhook was told of its end."""
        return await self._turns.look(lambda connection: notice_of(connection, id))

    async def queues(self, now_ms: int) -> tuple[QueueState, ...]:
        """Say how all queues are."""
        states = (executions.c.queue, executions.c.state)
        counted = select(*states, func.count()).group_by(*states)
        due = and_(executions.c.state == QUEUED, executions.c.not_before_ms <= now_ms)
        waiting = (
            select(executions.c.queue, func.count(), func.min(executions.c.created_ms))
            .where(due)
            .group_by(executions.c.queue)
        )

        def act(connection: Connection) -> tuple[QueueState, ...]:
            counts = {(queue, state): count for queue, state, count in connection.execute(counted)}
            due_now = {queue: (count, oldest) for queue, count, oldest in connection.execute(waiting)}
            paused = set(connection.execute(PAUSED).scalars())
            return tuple(self._queue(name, name in paused, counts, due_now) for name in QUEUES)

        return await self._turns.look(act)

    def _queue(
        self,
        name: QueueName,
        paused: bool,
        counts: Mapping[tuple[str, int], int],
        due_now: Mapping[str, tuple[int, int]],
    ) -> QueueState:
        due, oldest = due_now.get(name, (0, 0))
        queued, running, succeeded, failed, cancelled = (counts.get((name, state), 0) for state in range(len(STATES)))
        return QueueState(name, paused, due, queued - due, running, succeeded, failed, cancelled, oldest)

    async def pause(self, queue: QueueName, *, paused: bool) -> None:
        """Let a queue begin nothing more, or go on."""
        row = {"name": queue, "paused": int(paused)}
        await self._turns.change(lambda connection: connection.execute(PAUSE[connection.dialect.name], row))

    async def claim(self, rooms: Sequence[Room], worker: str, now_ms: int) -> tuple[Execution, ...]:
        """Take what is due."""
        free = [room.queue for room in rooms if room.free]
        if not (free and await self._is_any_due(free, now_ms)):
            return ()

        def act(connection: Connection) -> tuple[Execution, ...]:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CLAIMS})
            paused = set(connection.execute(PAUSED).scalars())
            taken: list[Execution] = []
            for room in rooms:
                if room.queue not in paused:
                    taken += self._take(connection, room, worker, now_ms)
            return tuple(taken)

        return await self._turns.change(act)

    async def _is_any_due(self, queues: Sequence[QueueName], now_ms: int) -> bool:
        """Look without a lock: most looks find nothing, and an idle worker should cost nothing."""
        asked = {"its_queues": list(queues), "now_ms": now_ms}
        return await self._turns.look(lambda connection: connection.execute(IS_ANY_DUE, asked).first() is not None)

    def _take(self, connection: Connection, room: Room, worker: str, now_ms: int) -> list[Execution]:
        most = room.free
        if room.per_span is not None:
            begun = {"its_queue": room.queue, "since_ms": now_ms - room.span_ms}
            most = min(most, room.per_span - connection.execute(BEGUN, begun).scalar_one())
        if most <= 0:
            return []
        due = {"its_queue": room.queue, "now_ms": now_ms, "most": most}
        taken = [
            replace(execution_of(row), status="running", started_ms=now_ms) for row in connection.execute(DUE, due)
        ]
        if taken:
            mine = {"ids": [one.id for one in taken], "who": worker, "now_ms": now_ms}
            numbers = {row.id: row.events for row in connection.execute(CLAIM, mine)}
            told = [event_row(one.id, numbers[one.id], changed(one), now_ms) for one in taken]
            connection.execute(NEW_EVENTS, told)
        return taken

    async def held(self, worker: str | None = None) -> tuple[tuple[str, int, str], ...]:
        """Return what runs."""

        def act(connection: Connection) -> tuple[tuple[str, int, str], ...]:
            rows = connection.execute(HELD)
            return tuple((row.id, row.round, row.worker) for row in rows if worker in (None, row.worker))

        return await self._turns.look(act)

    async def take_over(self, id: str, round: int, worker: str) -> bool:
        """Make a running one this worker's."""
        runs = and_(executions.c.id == id, executions.c.round == round, executions.c.state == RUNNING)

        def act(connection: Connection) -> bool:
            done = connection.execute(update(executions).where(runs).values(worker=worker))
            return done.rowcount > 0

        return await self._turns.change(act)

    async def wishes(self, worker: str) -> tuple[tuple[str, int], ...]:
        """Return what of this worker's is to be cancelled."""

        def act(connection: Connection) -> tuple[tuple[str, int], ...]:
            return tuple((row.id, row.round) for row in connection.execute(WISHES, {"who": worker}))

        return await self._turns.look(act)

    async def begin(self, id: str, round: int, now_ms: int) -> Execution | None:
        """Count one taking-up."""

        def act(connection: Connection) -> Execution | None:
            if not connection.execute(BEGIN, {"its_id": id, "its_round": round}).rowcount:
                return None
            return whole(connection, id)

        return await self._turns.share(act)

    async def keep(self, turn: Turn, run: NodeRun, events: Sequence[NewEvent], progress: int) -> None:
        """Write what became of a node."""
        row = {"execution": run.execution, "node": run.node, "status": run.status, "attempts": run.attempts}
        row["run"] = packed_run(run)
        now_ms = self._clock.wall_ms()

        def act(connection: Connection) -> None:
            write_turn(connection, turn, events, now_ms, progress)
            connection.execute(KEEP[connection.dialect.name], row)

        await self._turns.share(act)

    async def tell(self, turn: Turn, events: Sequence[NewEvent]) -> None:
        """Write events alone."""
        now_ms = self._clock.wall_ms()
        await self._turns.share(lambda connection: write_turn(connection, turn, events, now_ms))

    async def end(self, execution: Execution, events: Sequence[NewEvent]) -> bool:
        """Write the end of a round."""
        id, now_ms = execution.id, self._clock.wall_ms()
        values: dict[str, Any] = msgspec.structs.asdict(execution.totals)
        values |= {"state": STATES.index(execution.status), "ended_ms": now_ms, "wish": ""}
        values |= {"error_code": execution.error_code, "error": execution.error, "progress": execution.progress}
        ended = {f"new_{name}": value for name, value in values.items()}

        def act(connection: Connection) -> bool:
            if not connection.execute(END, in_turn(execution.turn) | ended).rowcount:
                return False
            connection.execute(RESULT, {"its_id": id, "new_result": bytes(execution.result)})
            note(connection, id, events, now_ms)
            put_notice(connection, execution, now_ms)
            return True

        return await self._turns.share(act)

    async def sweep(self, done_before_ms: int, failed_before_ms: int, size: int) -> int:
        """Delete what ended long ago."""
        old = or_(
            and_(executions.c.state.in_((_SUCCEEDED, _CANCELLED)), executions.c.ended_ms < done_before_ms),
            and_(executions.c.state == _FAILED, executions.c.ended_ms < failed_before_ms),
        )

        def act(connection: Connection) -> int:
            # What somebody else is changing may be resumed, or deleted by another worker.
            asked = select(executions.c.id).where(old).limit(size).with_for_update(skip_locked=True)
            ids = list(connection.execute(asked).scalars())
            belongings = ((table, table.c.execution) for table in (events, node_runs, notices))
            for table, column in (*belongings, (works, works.c.id), (executions, executions.c.id)):
                if ids:
                    connection.execute(delete(table).where(column.in_(ids)))
            return len(ids)

        return await self._turns.change(act)


def _taken_by(connection: Connection, id: str) -> str:
    """Say who has the name of one that cannot be resumed."""
    mine, living = executions.alias(), executions.alias()
    same = and_(living.c.tenant == mine.c.tenant, living.c.dedup == mine.c.dedup, living.c.state <= RUNNING)
    row = connection.execute(
        select(living.c.id, living.c.dedup).join_from(mine, living, same).where(mine.c.id == id)
    ).first()
    return NAME_TAKEN if row is None else NAME_TAKEN_BY.format(dedup=row.dedup, id=row.id)


def _locked(connection: Connection, id: str, tenant: str | None) -> Execution | None:
    """Return one, and let nobody else change it until the transaction ends."""
    row = connection.execute(select(*LISTED).where(executions.c.id == id).with_for_update()).one_or_none()
    return None if row is None or tenant not in (None, row.tenant) else execution_of(row)
