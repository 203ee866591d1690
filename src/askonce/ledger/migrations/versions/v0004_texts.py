"""What was asked and answered."""

from alembic import op
from sqlalchemy import Column, Integer, Text

from askonce.ledger.schema import Small, Wide, Word

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table. Its rows are long, so SQLite keeps them apart from their keys."""
    op.create_table(
        "texts",
        Column("at_ms", Wide, primary_key=True),
        Column("source", Integer, primary_key=True, autoincrement=False),
        Column("number", Wide, primary_key=True),
        Column("tenant", Word, nullable=False),
        Column("request_id", Word, nullable=False),
        Column("provider", Word, nullable=False),
        Column("model", Word, nullable=False),
        Column("question", Text, nullable=False),
        Column("answer", Text, nullable=False),
        Column("cut", Small, nullable=False),
    )
    op.create_index("ix_texts_request_id", "texts", ["request_id"])


def downgrade() -> None:
    """Drop the table with all that is in it."""
    op.drop_table("texts")
