"""How long things took, in buckets; and how each paid call went on the road."""

from alembic import op
from sqlalchemy import Column, Text

from askonce.ledger.schema import Small, Wide, Word

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the column; both are filled from now on."""
    op.create_table(
        "times",
        Column("grain", Small, primary_key=True, autoincrement=False),
        Column("tenant", Word, primary_key=True),
        Column("what", Small, primary_key=True, autoincrement=False),
        Column("start_ms", Wide, primary_key=True),
        Column("bucket", Small, primary_key=True, autoincrement=False),
        Column("count", Wide, nullable=False),
        Column("total_us", Wide, nullable=False),
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )
    op.add_column("calls", Column("story", Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them, and the sums by the minute, which the version before does not know."""
    op.execute("DELETE FROM usage WHERE grain = 0")
    op.drop_column("calls", "story")
    op.drop_table("times")
