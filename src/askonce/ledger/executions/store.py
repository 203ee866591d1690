"""The store of executions: every change with its events in one transaction, and of two that meet one wins.

An execution's row is locked by whoever changes it (PostgreSQL `FOR UPDATE`, SQLite by the file), so that its events are
numbered without a gap however many nodes write side by side.
"""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from msgspec.structs import replace
from sqlalchemy import and_, bindparam, delete, func, insert, literal, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.clock import Clock
from askonce.domain.errors import DatabaseAway, NotResumable
from askonce.domain.executions import (
    QUEUES,
    Event,
    Execution,
    ExecutionPage,
    ExecutionQuestion,
    NewEvent,
    NodeRun,
    QueueName,
    QueueState,
    Room,
    Submission,
)
from askonce.domain.ledger import LedgerUnavailable
from askonce.ledger.engine import reading, writing
from askonce.ledger.executions.changes import changed, ended_event, note
from askonce.ledger.executions.listing import page_of
from askonce.ledger.executions.rows import (
    EVENT_COLUMNS,
    LISTED,
    events_of,
    execution_of,
    packed_run,
    packed_submission,
    row_of,
    run_of,
)
from askonce.ledger.executions.tables import QUEUED, RUNNING, STATES, events, executions, node_runs, queues, works
from askonce.ledger.words import are_clean, clean

_SUCCEEDED, _FAILED, _CANCELLED = (STATES.index(name) for name in ("succeeded", "failed", "cancelled"))
# Of PostgreSQL's advisory locks: "asktake" in letters. Who claims waits for whoever claims, so that rates are exact.
_CLAIMS = int.from_bytes(b"asktake")
AWAY_S = 5  # after which it is worth asking again
NAME_TAKEN = "Another one of the same `dedup` lived a moment ago. Try again."
NAME_TAKEN_BY = "{id} lives, which has the same `dedup` ({dedup}). Cancel that one, or wait for its end."
FINISHED = ("succeeded", "skipped")  # nodes that a resumed round does not do again


class SqlExecutions:
    """Keep executions (port `WorkerExecutions`)."""

    def __init__(self, engine: AsyncEngine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    async def submit(self, submissions: Sequence[Submission]) -> tuple[Execution, ...]:
        """Write new executions; those that are there already are returned as they stand."""
        try:
            async with self._writing() as connection:
                return tuple([await self._submit(connection, one) for one in submissions])
        except IntegrityError:  # another process wrote one of them at the same moment: now it is found
            async with self._writing() as connection:
                return tuple([await self._submit(connection, one) for one in submissions])

    async def _submit(self, connection: AsyncConnection, submission: Submission) -> Execution:
        known = executions.c.id == submission.id
        if submission.dedup:
            tenant, dedup = clean(submission.submitter.tenant), clean(submission.dedup)
            same = and_(executions.c.tenant == tenant, executions.c.dedup == dedup)
            known = or_(known, and_(same, executions.c.state <= RUNNING))
        found = (await connection.execute(select(executions.c.id).where(known))).scalar()
        if found is not None:
            there = await _whole(connection, found)
            if there is not None:
                return there
        await connection.execute(insert(executions).values(row_of(submission)))
        await connection.execute(
            insert(works).values(id=submission.id, submission=packed_submission(submission), result=b"null")
        )
        execution = Execution(submission)
        await note(connection, submission.id, [changed(execution)], submission.created_ms)
        return execution

    async def find(self, id: str, tenant: str | None) -> Execution | None:
        """Return one with all that belongs to it."""
        if not are_clean((id,)):
            return None
        async with self._reading() as connection:
            found = await _whole(connection, id)
        return None if found is None or tenant not in (None, found.submission.submitter.tenant) else found

    async def nodes(self, id: str) -> tuple[NodeRun, ...]:
        """Return what became of its nodes so far."""
        async with self._reading() as connection:
            rows = await connection.execute(select(node_runs.c.run).where(node_runs.c.execution == id))
            return tuple(run_of(row.run) for row in rows)

    async def page(self, question: ExecutionQuestion) -> ExecutionPage:
        """List executions, newest first. Raises `Invalid` for a cursor that is none."""
        async with self._reading() as connection:
            return await page_of(connection, question)

    async def wish_cancel(self, id: str, tenant: str | None, now_ms: int) -> Execution | None:
        """Ask for its cancellation; one that waits ends at once."""
        async with self._writing() as connection:
            found = await _locked(connection, id, tenant)
            if found is None or found.has_ended:
                return found
            if found.status == "running":
                await connection.execute(update(executions).where(executions.c.id == id).values(wish="cancel"))
            else:
                ended = {"state": _CANCELLED, "ended_ms": now_ms, "error_code": "cancelled", "error": "Cancelled."}
                await connection.execute(update(executions).where(executions.c.id == id).values(ended))
                await note(connection, id, ended_event("cancelled", found.round), now_ms)
            return await _whole(connection, id)

    async def resume(self, id: str, tenant: str | None, now_ms: int) -> Execution | None:
        """Queue one that failed or was cancelled once more. Raises `NotResumable` where its `dedup` names another."""
        try:
            return await self._resume(id, tenant, now_ms)
        except IntegrityError:
            raise NotResumable(await self._taken_by(id)) from None

    async def _resume(self, id: str, tenant: str | None, now_ms: int) -> Execution | None:
        async with self._writing() as connection:
            found = await _locked(connection, id, tenant)
            if found is None or found.status not in ("failed", "cancelled"):
                return found
            again = {"state": QUEUED, "round": found.round + 1, "ended_ms": 0, "started_ms": 0, "wish": ""}
            again |= {"error_code": "", "error": "", "turn_ms": now_ms, "worker": ""}
            await connection.execute(update(executions).where(executions.c.id == id).values(again))
            unfinished = and_(node_runs.c.execution == id, node_runs.c.status.not_in(FINISHED))
            await connection.execute(delete(node_runs).where(unfinished))
            await connection.execute(update(works).where(works.c.id == id).values(result=b"null"))
            queued = await _whole(connection, id)
            if queued is not None:
                await note(connection, id, [changed(queued)], now_ms)
            return queued

    async def _taken_by(self, id: str) -> str:
        """Say who has the name of one that cannot be resumed."""
        mine, living = executions.alias(), executions.alias()
        same = and_(living.c.tenant == mine.c.tenant, living.c.dedup == mine.c.dedup, living.c.state <= RUNNING)
        asked = select(living.c.id, living.c.dedup).join_from(mine, living, same).where(mine.c.id == id)
        async with self._reading() as connection:
            row = (await connection.execute(asked)).first()
        return NAME_TAKEN if row is None else NAME_TAKEN_BY.format(dedup=row.dedup, id=row.id)

    async def events(self, after: Mapping[str, int], size: int) -> tuple[Event, ...]:
        """Return the next events of several executions."""
        if not after:
            return ()
        wanted = or_(
            *(and_(events.c.execution == id, events.c.number > number) for id, number in sorted(after.items()))
        )
        asked = select(*EVENT_COLUMNS).where(wanted).order_by(events.c.execution, events.c.number).limit(size)
        async with self._reading() as connection:
            return events_of((await connection.execute(asked)).all())

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
        async with self._reading() as connection:
            counts = {(queue, state): count for queue, state, count in await connection.execute(counted)}
            due_now = {queue: (count, oldest) for queue, count, oldest in await connection.execute(waiting)}
            paused = set((await connection.execute(select(queues.c.name).where(queues.c.paused == 1))).scalars())
        return tuple(self._queue(name, name in paused, counts, due_now) for name in QUEUES)

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
        async with self._writing() as connection:
            put = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
            row = put(queues).values(name=queue, paused=int(paused))
            await connection.execute(row.on_conflict_do_update(index_elements=["name"], set_={"paused": int(paused)}))

    async def claim(self, rooms: Sequence[Room], worker: str, now_ms: int) -> tuple[Execution, ...]:
        """Take what is due."""
        free = [room.queue for room in rooms if room.free]
        if not (free and await self._is_any_due(free, now_ms)):
            return ()
        async with self._writing() as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _CLAIMS})
            paused = set((await connection.execute(select(queues.c.name).where(queues.c.paused == 1))).scalars())
            taken: list[Execution] = []
            for room in rooms:
                if room.queue not in paused:
                    taken += await self._take(connection, room, worker, now_ms)
            return tuple(taken)

    async def _is_any_due(self, queues: Sequence[QueueName], now_ms: int) -> bool:
        """Look without a lock: most looks find nothing, and an idle worker should cost nothing."""
        due = and_(executions.c.state == QUEUED, executions.c.not_before_ms <= now_ms)
        async with self._reading() as connection:
            rows = await connection.execute(select(literal(1)).where(executions.c.queue.in_(queues), due).limit(1))
            return rows.first() is not None

    async def _take(self, connection: AsyncConnection, room: Room, worker: str, now_ms: int) -> list[Execution]:
        most = room.free
        if room.per_span is not None:
            since = and_(executions.c.queue == room.queue, executions.c.started_ms > now_ms - room.span_ms)
            begun = (await connection.execute(select(func.count()).select_from(executions).where(since))).scalar_one()
            most = min(most, room.per_span - begun)
        if most <= 0:
            return []
        due = and_(executions.c.queue == room.queue, executions.c.state == QUEUED, executions.c.not_before_ms <= now_ms)
        # What somebody else is changing, such as its owner who cancels it, may not be due any more.
        asked = select(*LISTED).where(due).order_by(executions.c.turn_ms).limit(most).with_for_update(skip_locked=True)
        rows = (await connection.execute(asked)).all()
        if not rows:
            return []
        mine = {"state": RUNNING, "worker": worker, "started_ms": now_ms}
        of_one = executions.c.id == bindparam("one")
        await connection.execute(update(executions).where(of_one).values(mine), [{"one": row.id} for row in rows])
        taken = [replace(execution_of(row), status="running", started_ms=now_ms) for row in rows]
        for execution in taken:
            await note(connection, execution.id, [changed(execution)], now_ms)
        return taken

    async def held(self, worker: str | None = None) -> tuple[tuple[str, int, str], ...]:
        """Return what runs."""
        running = executions.c.state == RUNNING
        wanted = running if worker is None else and_(running, executions.c.worker == worker)
        columns = (executions.c.id, executions.c.round, executions.c.worker)
        async with self._reading() as connection:
            rows = await connection.execute(select(*columns).where(wanted))
            return tuple((row.id, row.round, row.worker) for row in rows)

    async def take_over(self, id: str, round: int, worker: str) -> bool:
        """Make a running one this worker's."""
        runs = and_(executions.c.id == id, executions.c.round == round, executions.c.state == RUNNING)
        async with self._writing() as connection:
            done = await connection.execute(update(executions).where(runs).values(worker=worker))
            return done.rowcount > 0

    async def wishes(self, worker: str) -> tuple[tuple[str, int], ...]:
        """Return what of this worker's is to be cancelled."""
        wanted = and_(executions.c.state == RUNNING, executions.c.worker == worker, executions.c.wish == "cancel")
        async with self._reading() as connection:
            rows = await connection.execute(select(executions.c.id, executions.c.round).where(wanted))
            return tuple((row.id, row.round) for row in rows)

    async def begin(self, id: str, round: int, now_ms: int) -> Execution | None:
        """Count one taking-up."""
        runs = and_(executions.c.id == id, executions.c.round == round, executions.c.state == RUNNING)
        async with self._writing() as connection:
            more = update(executions).where(runs).values(taken=executions.c.taken + 1)
            if not (await connection.execute(more)).rowcount:
                return None
            return await _whole(connection, id)

    async def keep(self, run: NodeRun, events: Sequence[NewEvent], progress: int) -> None:
        """Write what became of a node."""
        place = {"execution": run.execution, "node": run.node}
        values = {"status": run.status, "attempts": run.attempts, "run": packed_run(run)}
        async with self._writing() as connection:
            await note(connection, run.execution, events, self._clock.wall_ms(), progress)
            put = sqlite_insert if connection.dialect.name == "sqlite" else postgres_insert
            row = put(node_runs).values({**place, **values})
            await connection.execute(row.on_conflict_do_update(index_elements=list(place), set_=values))

    async def tell(self, id: str, events: Sequence[NewEvent]) -> None:
        """Write events alone."""
        async with self._writing() as connection:
            await note(connection, id, events, self._clock.wall_ms())

    async def end(self, execution: Execution, events: Sequence[NewEvent]) -> bool:
        """Write the end of a round."""
        id, totals, now_ms = execution.id, execution.totals, self._clock.wall_ms()
        runs = and_(executions.c.id == id, executions.c.round == execution.round, executions.c.state == RUNNING)
        values: dict[str, Any] = {name: getattr(totals, name) for name in totals.__struct_fields__}
        values |= {"state": STATES.index(execution.status), "ended_ms": now_ms, "wish": ""}
        values |= {"error_code": execution.error_code, "error": execution.error, "progress": execution.progress}
        async with self._writing() as connection:
            if not (await connection.execute(update(executions).where(runs).values(values))).rowcount:
                return False
            await connection.execute(update(works).where(works.c.id == id).values(result=bytes(execution.result)))
            await note(connection, id, events, now_ms)
            return True

    async def sweep(self, done_before_ms: int, failed_before_ms: int, size: int) -> int:
        """Delete what ended long ago."""
        old = or_(
            and_(executions.c.state.in_((_SUCCEEDED, _CANCELLED)), executions.c.ended_ms < done_before_ms),
            and_(executions.c.state == _FAILED, executions.c.ended_ms < failed_before_ms),
        )
        async with self._writing() as connection:
            # What somebody else is changing may be resumed, or deleted by another worker.
            asked = select(executions.c.id).where(old).limit(size).with_for_update(skip_locked=True)
            ids = list((await connection.execute(asked)).scalars())
            for table, column in ((events, "execution"), (node_runs, "execution"), (works, "id"), (executions, "id")):
                if ids:
                    await connection.execute(delete(table).where(table.c[column].in_(ids)))
            return len(ids)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        with _away():
            async with writing(self._engine) as connection:
                yield connection

    @asynccontextmanager
    async def _reading(self) -> AsyncIterator[AsyncConnection]:
        with _away():
            async with reading(self._engine) as connection:
                yield connection


@contextmanager
def _away() -> Iterator[None]:
    try:
        yield
    except LedgerUnavailable as error:
        raise DatabaseAway(f"{error} Executions are kept there; ask again.", retry_after_s=AWAY_S) from error


async def _whole(connection: AsyncConnection, id: str) -> Execution | None:
    asked = (
        select(*LISTED, works.c.submission, works.c.result)
        .join_from(executions, works, works.c.id == executions.c.id)
        .where(executions.c.id == id)
    )
    row = (await connection.execute(asked)).one_or_none()
    return None if row is None else execution_of(row, row.submission, row.result)


async def _locked(connection: AsyncConnection, id: str, tenant: str | None) -> Execution | None:
    """Return one, and let nobody else change it until the transaction ends."""
    row = (await connection.execute(select(*LISTED).where(executions.c.id == id).with_for_update())).one_or_none()
    return None if row is None or tenant not in (None, row.tenant) else execution_of(row)
