"""Statements that every execution takes several times: made once, for making one takes longer than running it."""

from typing import Final

from sqlalchemy import and_, bindparam, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import insert as postgres_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from askonce.domain.executions import Totals
from askonce.ledger.executions.rows import LISTED
from askonce.ledger.executions.tables import QUEUED, RUNNING, events, executions, node_runs, queues, works

_its = executions.c.id == bindparam("its_id")
_runs = and_(_its, executions.c.round == bindparam("its_round"), executions.c.state == RUNNING)
_turn = and_(_runs, executions.c.taken == bindparam("its_taken"))
_queue = executions.c.queue == bindparam("its_queue")
_due = and_(executions.c.state == QUEUED, executions.c.not_before_ms <= bindparam("now_ms"))

NEW: Final = insert(executions)
NEW_WORK: Final = insert(works)
NEW_EVENTS: Final = insert(events)
KNOWN: Final = select(executions.c.id).where(executions.c.id.in_(bindparam("ids", expanding=True)))
WHOLE: Final = (
    select(*LISTED, works.c.submission, works.c.result).join_from(executions, works, works.c.id == executions.c.id)
).where(_its)
NODES: Final = select(node_runs.c.run).where(node_runs.c.execution == bindparam("its_id"))

# The change locks the row, so that the numbers of its events are nobody else's.
_more = executions.c.events + bindparam("more")
COUNT: Final = update(executions).where(_its).values(events=_more).returning(executions.c.events)
COUNT_IN_TURN: Final = update(executions).where(_turn).values(events=_more).returning(executions.c.events)
COUNT_ON_IN_TURN: Final = (
    update(executions).where(_turn).values(events=_more, progress=bindparam("percent")).returning(executions.c.events)
)

PAUSED: Final = select(queues.c.name).where(queues.c.paused == 1)
IS_ANY_DUE: Final = (
    select(literal(1)).where(executions.c.queue.in_(bindparam("its_queues", expanding=True)), _due).limit(1)
)
BEGUN: Final = (
    select(func.count()).select_from(executions).where(_queue, executions.c.started_ms > bindparam("since_ms"))
)
# What somebody else is changing, such as its owner who cancels it, may not be due any more.
DUE: Final = (
    select(*LISTED)
    .where(_queue, _due)
    .order_by(executions.c.turn_ms)
    .limit(bindparam("most"))
    .with_for_update(skip_locked=True)
)
CLAIM: Final = (
    update(executions)
    .where(executions.c.id.in_(bindparam("ids", expanding=True)))
    .values(state=RUNNING, worker=bindparam("who"), started_ms=bindparam("now_ms"), events=executions.c.events + 1)
    .returning(executions.c.id, executions.c.events)
)
HELD: Final = select(executions.c.id, executions.c.round, executions.c.worker).where(executions.c.state == RUNNING)
WISHES: Final = select(executions.c.id, executions.c.round).where(
    executions.c.state == RUNNING, executions.c.worker == bindparam("who"), executions.c.wish == "cancel"
)

BEGIN: Final = update(executions).where(_runs).values(taken=executions.c.taken + 1)
_CHANGED = ("state", "ended_ms", "wish", "error_code", "error", "progress", *Totals.__struct_fields__)
END: Final = update(executions).where(_turn).values({name: bindparam(f"new_{name}") for name in _CHANGED})
RESULT: Final = update(works).where(works.c.id == bindparam("its_id")).values(result=bindparam("new_result"))

_PLACE, _STATE = ("execution", "node"), ("status", "attempts", "run")
_lite, _postgres = sqlite_insert(node_runs), postgres_insert(node_runs)
# By dialect.
KEEP: Final = {
    "sqlite": _lite.on_conflict_do_update(index_elements=_PLACE, set_={name: _lite.excluded[name] for name in _STATE}),
    "postgresql": _postgres.on_conflict_do_update(
        index_elements=_PLACE, set_={name: _postgres.excluded[name] for name in _STATE}
    ),
}
_lite, _postgres = sqlite_insert(queues), postgres_insert(queues)
PAUSE: Final = {
    "sqlite": _lite.on_conflict_do_update(index_elements=("name",), set_={"paused": _lite.excluded.paused}),
    "postgresql": _postgres.on_conflict_do_update(index_elements=("name",), set_={"paused": _postgres.excluded.paused}),
}
