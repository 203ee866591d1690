"""The audit's rows, with triggers that refuse to change them."""

from alembic import op
from sqlalchemy import Column, LargeBinary, Text

from askonce.ledger.schema import Small, Wide, Word

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# An INSERT OR REPLACE deletes without asking the second trigger: the third is for that.
_SQLITE = (
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
    "CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit "
    "WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number) "
    "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
)
_POSTGRESQL = (
    "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit is append-only' USING ERRCODE = 'restrict_violation'; END $$",
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
)


def upgrade() -> None:
    """Make the tables and their locks."""
    op.create_table(
        "audit",
        Column("number", Wide, primary_key=True, autoincrement=False),
        Column("at_ms", Wide, nullable=False),
        Column("actor", Word, nullable=False),
        Column("action", Word, nullable=False),
        Column("subject", Text, nullable=False),
        Column("tenant", Word, nullable=False),
        Column("address", Text, nullable=False),
        Column("request_id", Word, nullable=False),
        Column("severity", Word, nullable=False),
        Column("details", Text, nullable=False),
        Column("key", Word, nullable=False),
        Column("previous", LargeBinary, nullable=False),
        Column("seal", LargeBinary, nullable=False),
    )
    op.create_index("ix_audit_at_ms", "audit", ["at_ms"])
    op.create_table(
        "audit_head",
        Column("id", Small, primary_key=True, autoincrement=False),
        Column("number", Wide, nullable=False),
        Column("seal", LargeBinary, nullable=False),
    )
    for statement in _POSTGRESQL if _is_postgresql() else _SQLITE:
        op.execute(statement)


def downgrade() -> None:
    """Drop the audit with all that is in it."""
    op.drop_table("audit_head")
    op.drop_table("audit")
    if _is_postgresql():
        op.execute("DROP FUNCTION audit_refuse()")


def _is_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"
