"""Keys, people, tenants, and providers' keys."""

from alembic import op
from sqlalchemy import Column, ForeignKey, LargeBinary, Text, text

from askonce.ledger.schema import Wide, Word

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_KNOWN_EMAIL, _KNOWN_SUBJECT = text("email != ''"), text("subject != ''")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "meta",
        Column("name", Word, primary_key=True),
        Column("number", Wide, nullable=False),
        Column("text", Text, nullable=False),
    )
    op.create_table(
        "tenants",
        Column("id", Word, primary_key=True),
        Column("name", Text, nullable=False),
        Column("bounds", Text, nullable=False),
        Column("created_ms", Wide, nullable=False),
        Column("disabled_ms", Wide, nullable=False),
        Column("version", Wide, nullable=False),
    )
    op.create_index("ix_tenants_version", "tenants", ["version"])
    op.create_table(
        "users",
        Column("id", Word, primary_key=True),
        Column("tenant", Word, ForeignKey("tenants.id"), nullable=False),
        Column("email", Word, nullable=False),
        Column("name", Text, nullable=False),
        Column("scopes", Text, nullable=False),
        Column("bounds", Text, nullable=False),
        Column("issuer", Word, nullable=False),
        Column("subject", Word, nullable=False),
        Column("created_ms", Wide, nullable=False),
        Column("disabled_ms", Wide, nullable=False),
        Column("login_ms", Wide, nullable=False),
        Column("version", Wide, nullable=False),
    )
    op.create_index("ix_users_version", "users", ["version"])
    op.create_table(
        "keys",
        Column("id", Word, primary_key=True),
        Column("digest", LargeBinary, nullable=False, unique=True),
        Column("pepper", Word, nullable=False),
        Column("prefix", Text, nullable=False),
        Column("name", Text, nullable=False),
        Column("tenant", Word, ForeignKey("tenants.id"), nullable=False),
        Column("user_id", Word, nullable=False),
        Column("scopes", Text, nullable=False),
        Column("models", Text, nullable=False),
        Column("providers", Text, nullable=False),
        Column("addresses", Text, nullable=False),
        Column("bounds", Text, nullable=False),
        Column("created_ms", Wide, nullable=False),
        Column("expires_ms", Wide, nullable=False),
        Column("revoked_ms", Wide, nullable=False),
        Column("successor", Word, nullable=False),
        Column("version", Wide, nullable=False),
    )
    op.create_index("ix_keys_version", "keys", ["version"])
    op.create_table(
        "login_links",
        Column("digest", LargeBinary, primary_key=True),
        Column("user_id", Word, ForeignKey("users.id"), nullable=False),
        Column("created_ms", Wide, nullable=False),
        Column("expires_ms", Wide, nullable=False),
        Column("used_ms", Wide, nullable=False),
    )
    op.create_index("ix_login_links_user_id", "login_links", ["user_id"])
    op.create_table(
        "provider_keys",
        Column("id", Word, primary_key=True),
        Column("provider", Word, nullable=False),
        Column("name", Text, nullable=False),
        Column("hint", Text, nullable=False),
        Column("seal", Word, nullable=False),
        Column("nonce", LargeBinary, nullable=False),
        Column("sealed", LargeBinary, nullable=False),
        Column("created_ms", Wide, nullable=False),
        Column("retired_ms", Wide, nullable=False),
    )
    for table in ("users", "keys"):
        op.create_index(f"ix_{table}_tenant_created_ms_id", table, ["tenant", "created_ms", "id"])
        op.create_index(f"ix_{table}_created_ms_id", table, ["created_ms", "id"])
    op.create_index(
        "uq_users_email",
        "users",
        ["email"],
        unique=True,
        sqlite_where=_KNOWN_EMAIL,
        postgresql_where=_KNOWN_EMAIL,
    )
    op.create_index(
        "uq_users_issuer_subject",
        "users",
        ["issuer", "subject"],
        unique=True,
        sqlite_where=_KNOWN_SUBJECT,
        postgresql_where=_KNOWN_SUBJECT,
    )


def downgrade() -> None:
    """Drop the tables with all that is in them."""
    for table in ("provider_keys", "login_links", "keys", "users", "tenants", "meta"):
        op.drop_table(table)
