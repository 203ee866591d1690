"""Rows of what happened, and sums of them."""

from alembic import op
from sqlalchemy import Column, Integer, Text, UniqueConstraint, text

from askonce.ledger.schema import Small, Wide, Word

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_OF_A_KEY, _FAILED = text("key_id != ''"), text("error_code != ''")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "sources",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("source", Word, nullable=False, unique=True),
        Column("last", Wide, nullable=False),
        Column("missing", Wide, nullable=False),
        Column("applied_ms", Wide, nullable=False),
    )
    op.create_table(
        "calls",
        Column("at_ms", Wide, primary_key=True, autoincrement=False),
        Column("source", Integer, primary_key=True, autoincrement=False),
        Column("number", Wide, primary_key=True, autoincrement=False),
        Column("tenant", Word, nullable=False),
        Column("key_id", Word, nullable=False),
        Column("user_id", Word, nullable=False),
        Column("door", Word, nullable=False),
        Column("request_id", Word, nullable=False),
        Column("trace_id", Word, nullable=False),
        Column("provider", Word, nullable=False),
        Column("model", Word, nullable=False),
        Column("model_version", Text, nullable=False),
        Column("kind", Word, nullable=False),
        Column("counted", Small, nullable=False),
        Column("stored", Small, nullable=False),
        Column("cost_nano", Wide, nullable=False),
        Column("saved_prompt_cache_nano", Wide, nullable=False),
        Column("prompt_tokens", Wide, nullable=False),
        Column("completion_tokens", Wide, nullable=False),
        Column("cached_tokens", Wide, nullable=False),
        Column("cache_write_tokens", Wide, nullable=False),
        Column("reasoning_tokens", Wide, nullable=False),
        Column("estimated", Small, nullable=False),
        Column("took_ms", Wide, nullable=False),
        Column("first_token_ms", Wide, nullable=False),
        Column("error_code", Word, nullable=False),
        Column("priced", Small, nullable=False),
        Column("cache_write_1h_tokens", Wide, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "samples",
        Column("at_ms", Wide, primary_key=True, autoincrement=False),
        Column("source", Integer, primary_key=True, autoincrement=False),
        Column("number", Wide, primary_key=True, autoincrement=False),
        Column("tenant", Word, nullable=False),
        Column("key_id", Word, nullable=False),
        Column("user_id", Word, nullable=False),
        Column("door", Word, nullable=False),
        Column("request_id", Word, nullable=False),
        Column("trace_id", Word, nullable=False),
        Column("provider", Word, nullable=False),
        Column("model", Word, nullable=False),
        Column("kind", Word, nullable=False),
        Column("saved_nano", Wide, nullable=False),
        Column("took_ms", Wide, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "counts",
        Column("minute", Wide, primary_key=True, autoincrement=False),
        Column("tenant", Word, primary_key=True),
        Column("key_id", Word, primary_key=True),
        Column("door", Word, primary_key=True),
        Column("provider", Word, primary_key=True),
        Column("model", Word, primary_key=True),
        Column("kind", Word, primary_key=True),
        Column("count", Wide, nullable=False),
        Column("saved_nano", Wide, nullable=False),
        Column("saved_tokens", Wide, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "places",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("shape", Small, nullable=False),
        Column("tenant", Word, nullable=False),
        Column("key_id", Word, nullable=False),
        Column("door", Word, nullable=False),
        Column("provider", Word, nullable=False),
        Column("model", Word, nullable=False),
        Column("kind", Word, nullable=False),
        UniqueConstraint("shape", "tenant", "key_id", "door", "provider", "model", "kind", name="uq_places"),
    )
    op.create_table(
        "usage",
        Column("grain", Small, primary_key=True, autoincrement=False),
        Column("shape", Small, primary_key=True, autoincrement=False),
        Column("start_ms", Wide, primary_key=True),
        Column("place", Integer, primary_key=True, autoincrement=False),
        Column("count", Wide, nullable=False),
        Column("cost_nano", Wide, nullable=False),
        Column("saved_nano", Wide, nullable=False),
        Column("saved_prompt_cache_nano", Wide, nullable=False),
        Column("prompt_tokens", Wide, nullable=False),
        Column("completion_tokens", Wide, nullable=False),
        Column("cached_tokens", Wide, nullable=False),
        Column("cache_write_tokens", Wide, nullable=False),
        Column("reasoning_tokens", Wide, nullable=False),
        Column("saved_tokens", Wide, nullable=False),
        Column("estimated", Wide, nullable=False),
        Column("unpriced", Wide, nullable=False),
        Column("took_ms", Wide, nullable=False),
        Column("first_tokens", Wide, nullable=False),
        Column("first_token_ms", Wide, nullable=False),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ix_calls_error_code_at_ms",
        "calls",
        ["error_code", "at_ms"],
        sqlite_where=_FAILED,
        postgresql_where=_FAILED,
    )
    for table in ("calls", "samples"):
        op.create_index(f"ix_{table}_request_id", table, ["request_id"])
        op.create_index(f"ix_{table}_tenant_at_ms", table, ["tenant", "at_ms"])
        op.create_index(
            f"ix_{table}_key_id_at_ms",
            table,
            ["key_id", "at_ms"],
            sqlite_where=_OF_A_KEY,
            postgresql_where=_OF_A_KEY,
        )
    op.create_index("ix_usage_place_grain_start_ms", "usage", ["place", "grain", "start_ms"])


def downgrade() -> None:
    """Drop the tables with all that is in them."""
    for table in ("usage", "places", "counts", "samples", "calls", "sources"):
        op.drop_table(table)
