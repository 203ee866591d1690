"""Where the database is: what `DATABASE_URL` means.

PostgreSQL's own words (`sslmode`, `host`, `target_session_attrs` …) go to the driver as they are. What other tools
write into such addresses is taken out, because a server refuses settings that it does not know.
"""

from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from askonce.domain.errors import ConfigError

FILE = "ledger.db"
CONNECT_S = 10.0  # to a server; `connect_timeout` in the address overrides it
# Supabase's transaction pooler listens here: https://supabase.com/docs/guides/database/connecting-to-postgres
POOLER_PORT = 6543

_POSTGRES = ("postgres", "postgresql")
# Of other tools (Prisma, SQLAlchemy, libpq), not for the server: what they bound, `engine.py` bounds.
_FOREIGN = {
    "pgbouncer", "connection_limit", "pool_timeout", "schema", "statement_cache_size", "prepared_statement_cache_size",
    "channel_binding", "connect_timeout", "sslaccept", "supa", "workaround", "gssencmode", "keepalives",
    "keepalives_idle", "keepalives_interval", "keepalives_count",
}  # fmt: skip


class SqliteFile(Struct, frozen=True):
    """Name a file of SQLite."""

    path: Path


class PostgresServer(Struct, frozen=True):
    """Name a server. `pooled`: behind a pooler that gives each transaction another connection."""

    dsn: str
    pooled: bool = False
    connect_s: float = CONNECT_S


Address = SqliteFile | PostgresServer


def parse(url: str, folder: Path) -> Address:
    """Read an address; "" is a file in the data folder. Raises `ConfigError`, without the password."""
    if not url:
        return SqliteFile(folder / FILE)
    scheme, separator, rest = url.partition("://")
    family = scheme.partition("+")[0].lower()
    if not separator or family not in (*_POSTGRES, "sqlite"):
        raise ConfigError(
            f"DATABASE_URL begins with {scheme[:20]!r}: use postgresql://user:password@host/name, or sqlite:///path."
        )
    if family == "sqlite":
        return _sqlite(rest, folder)
    try:
        return _postgres(f"postgresql://{rest}")
    except ValueError:
        raise ConfigError("DATABASE_URL cannot be read: use postgresql://user:password@host/name.") from None


def _sqlite(rest: str, folder: Path) -> SqliteFile:
    path = rest.partition("?")[0]
    if not path.startswith("/") or path in ("/", "/:memory:"):
        raise ConfigError(
            "DATABASE_URL names no file: use sqlite:////absolute/path or sqlite:///path/in/the/data-folder."
        )
    return SqliteFile(folder / path[1:])


def _postgres(url: str) -> PostgresServer:
    try:
        parts = urlsplit(url)
        asked = dict(parse_qsl(parts.query))
        port = parts.port
        connect_s = float(asked.get("connect_timeout", CONNECT_S)) or CONNECT_S
    except ValueError:
        # Several hosts (`a:1,b:2`) have no one port: those are not a pooler's.
        parts, port, connect_s = urlsplit(url), None, CONNECT_S
        asked = dict(parse_qsl(parts.query))
    pooled = asked.get("pgbouncer", "").lower() in ("true", "1") or (
        port == POOLER_PORT and (parts.hostname or "").endswith(("supabase.com", "supabase.co"))
    )
    query = urlencode({name: value for name, value in asked.items() if name not in _FOREIGN})
    return PostgresServer(urlunsplit(parts._replace(query=query)), pooled, connect_s)
