"""Tables of executions. Long texts stand in tables of their own, so that lists never read them.

`turn_ms` orders a queue: when an execution became due, later by what its urgency lets it wait, so that none waits for
ever behind more urgent ones. `state` is the status as a number (`STATES`).
"""

from pathlib import Path
from typing import Final, get_args

from sqlalchemy import Column, Index, Integer, LargeBinary, MetaData, Table, Text

from askonce.domain.executions import ExecutionStatus
from askonce.ledger.family import Family
from askonce.ledger.schema import Small, Wide, Word
from askonce.ledger.schema import metadata as ledger

FILE = "workflows.db"
STATES: Final[tuple[ExecutionStatus, ...]] = get_args(ExecutionStatus)
QUEUED, RUNNING = STATES.index("queued"), STATES.index("running")

tables = MetaData(naming_convention=ledger.naming_convention)

executions = Table(
    "executions",
    tables,
    Column("id", Word, primary_key=True),
    Column("tenant", Word, nullable=False),
    Column("identity", Word, nullable=False),
    Column("kind", Word, nullable=False),
    Column("queue", Word, nullable=False),
    Column("name", Word, nullable=False),
    Column("urgency", Word, nullable=False),
    Column("batch", Word, nullable=False),
    Column("line", Integer, nullable=False),
    Column("dedup", Word, nullable=False),
    Column("created_ms", Wide, nullable=False),
    Column("not_before_ms", Wide, nullable=False),
    Column("turn_ms", Wide, nullable=False),
    Column("state", Small, nullable=False),
    Column("round", Integer, nullable=False),
    Column("taken", Integer, nullable=False),
    Column("progress", Small, nullable=False),
    Column("started_ms", Wide, nullable=False),
    Column("ended_ms", Wide, nullable=False),
    Column("wish", Word, nullable=False),
    Column("worker", Word, nullable=False),
    Column("events", Wide, nullable=False),  # how many there were: the last one's number
    Column("error_code", Word, nullable=False),
    Column("error", Text, nullable=False),
    Column("prompt_tokens", Wide, nullable=False),
    Column("completion_tokens", Wide, nullable=False),
    Column("cost_nano", Wide, nullable=False),
    Column("saved_nano", Wide, nullable=False),
    Column("cached_nodes", Integer, nullable=False),
    Index(None, "tenant", "created_ms", "id"),
    Index(None, "created_ms", "id"),
    Index(None, "queue", "state", "turn_ms"),
    Index(None, "state", "ended_ms"),
    Index("ix_executions_begun", "queue", "started_ms"),
)
Index(
    "ix_executions_batch",
    executions.c.batch,
    executions.c.line,
    sqlite_where=executions.c.batch != "",
    postgresql_where=executions.c.batch != "",
)
Index(
    "uq_executions_dedup",
    executions.c.tenant,
    executions.c.dedup,
    unique=True,
    sqlite_where=(executions.c.dedup != "") & (executions.c.state <= RUNNING),
    postgresql_where=(executions.c.dedup != "") & (executions.c.state <= RUNNING),
)

# What was asked for, as MessagePack, and what came of it, as JSON.
works = Table(
    "execution_works",
    tables,
    Column("id", Word, primary_key=True),
    Column("submission", LargeBinary, nullable=False),
    Column("result", LargeBinary, nullable=False),
)

node_runs = Table(
    "node_runs",
    tables,
    Column("execution", Word, primary_key=True),
    Column("node", Word, primary_key=True),
    Column("status", Word, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("run", LargeBinary, nullable=False),  # a `NodeRun` as MessagePack
)

events = Table(
    "execution_events",
    tables,
    Column("execution", Word, primary_key=True),
    Column("number", Wide, primary_key=True),
    Column("at_ms", Wide, nullable=False),
    Column("kind", Word, nullable=False),
    Column("data", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

queues = Table(
    "execution_queues",
    tables,
    Column("name", Word, primary_key=True),
    Column("paused", Small, nullable=False),
)

# Whom to tell of an end, and how far that has come; `status` as a number (`notices.STATUSES`).
notices = Table(
    "execution_notices",
    tables,
    Column("execution", Word, primary_key=True),
    Column("round", Integer, nullable=False),
    Column("host", Word, nullable=False),
    Column("made_ms", Wide, nullable=False),
    Column("due_ms", Wide, nullable=False),
    Column("status", Small, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("problem", Text, nullable=False),
    Index(None, "status", "due_ms"),
)

WORKFLOWS = Family(Path(__file__).parent, "workflows_version", tables)
