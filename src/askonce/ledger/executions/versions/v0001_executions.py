"""Executions, their nodes, events and queues."""

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary, Text, text

from askonce.ledger.schema import Small, Wide, Word

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "executions",
        Column("id", Word, primary_key=True),
        *(
            Column(name, Word, nullable=False)
            for name in ("tenant", "identity", "kind", "queue", "name", "urgency", "batch")
        ),
        Column("line", Integer, nullable=False),
        Column("dedup", Word, nullable=False),
        *(Column(name, Wide, nullable=False) for name in ("created_ms", "not_before_ms", "turn_ms")),
        Column("state", Small, nullable=False),
        Column("round", Integer, nullable=False),
        Column("taken", Integer, nullable=False),
        Column("progress", Small, nullable=False),
        Column("started_ms", Wide, nullable=False),
        Column("ended_ms", Wide, nullable=False),
        Column("wish", Word, nullable=False),
        Column("worker", Word, nullable=False),
        Column("events", Wide, nullable=False),
        Column("error_code", Word, nullable=False),
        Column("error", Text, nullable=False),
        *(
            Column(name, Wide, nullable=False)
            for name in ("prompt_tokens", "completion_tokens", "cost_nano", "saved_nano")
        ),
        Column("cached_nodes", Integer, nullable=False),
    )
    op.create_index("ix_executions_tenant_created_ms_id", "executions", ["tenant", "created_ms", "id"])
    op.create_index("ix_executions_created_ms_id", "executions", ["created_ms", "id"])
    op.create_index("ix_executions_queue_state_turn_ms", "executions", ["queue", "state", "turn_ms"])
    op.create_index("ix_executions_state_ended_ms", "executions", ["state", "ended_ms"])
    op.create_index("ix_executions_begun", "executions", ["queue", "started_ms"])
    named, living = text("batch != ''"), text("dedup != '' AND state <= 1")
    op.create_index("ix_executions_batch", "executions", ["batch", "line"], sqlite_where=named, postgresql_where=named)
    op.create_index(
        "uq_executions_dedup",
        "executions",
        ["tenant", "dedup"],
        unique=True,
        sqlite_where=living,
        postgresql_where=living,
    )
    op.create_table(
        "execution_works",
        Column("id", Word, primary_key=True),
        Column("submission", LargeBinary, nullable=False),
        Column("result", LargeBinary, nullable=False),
    )
    op.create_table(
        "node_runs",
        Column("execution", Word, primary_key=True),
        Column("node", Word, primary_key=True),
        Column("status", Word, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("run", LargeBinary, nullable=False),
    )
    op.create_table(
        "execution_events",
        Column("execution", Word, primary_key=True),
        Column("number", Wide, primary_key=True),
        Column("at_ms", Wide, nullable=False),
        Column("kind", Word, nullable=False),
        Column("data", LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "execution_queues",
        Column("name", Word, primary_key=True),
        Column("paused", Small, nullable=False),
    )
    op.create_table(
        "execution_notices",
        Column("execution", Word, primary_key=True),
        Column("round", Integer, nullable=False),
        Column("host", Word, nullable=False),
        *(Column(name, Wide, nullable=False) for name in ("made_ms", "due_ms")),
        Column("status", Small, nullable=False),
        Column("tries", Integer, nullable=False),
        Column("problem", Text, nullable=False),
    )
    op.create_index("ix_execution_notices_status_due_ms", "execution_notices", ["status", "due_ms"])


def downgrade() -> None:
    """Drop the tables with all that is in them."""
    op.drop_table("execution_notices")
    for table in ("execution_queues", "execution_events", "node_runs", "execution_works", "executions"):
        op.drop_table(table)
