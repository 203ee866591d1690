"""What `DATABASE_URL` may say."""

from pathlib import Path

import pytest

from askonce.domain.errors import ConfigError
from askonce.ledger.address import CONNECT_S, PostgresServer, SqliteFile, parse

FOLDER = Path("/data")
PLAIN = "postgresql://u:p%40ss@db:5432/name"


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("", "/data/ledger.db"),
        ("sqlite:///books.db", "/data/books.db"),
        ("sqlite:////srv/books.db", "/srv/books.db"),
        ("sqlite+aiosqlite:////srv/books.db?timeout=3", "/srv/books.db"),
    ],
)
def test_a_file_lies_in_the_data_folder_unless_its_path_is_whole(url, path):
    assert parse(url, FOLDER) == SqliteFile(Path(path))


@pytest.mark.parametrize(
    ("url", "server"),
    [
        (PLAIN, PostgresServer(PLAIN)),
        ("postgres://u:p%40ss@db:5432/name", PostgresServer(PLAIN)),
        ("postgresql+asyncpg://u:p%40ss@db:5432/name", PostgresServer(PLAIN)),
        ("postgresql+psycopg2://u:p%40ss@db:5432/name", PostgresServer(PLAIN)),
        (f"{PLAIN}?sslmode=require", PostgresServer(f"{PLAIN}?sslmode=require")),
        (f"{PLAIN}?sslmode=require&channel_binding=require", PostgresServer(f"{PLAIN}?sslmode=require")),
        (f"{PLAIN}?connect_timeout=3&connection_limit=1", PostgresServer(PLAIN, connect_s=3.0)),
        (f"{PLAIN}?connect_timeout=0", PostgresServer(PLAIN, connect_s=CONNECT_S)),
        (f"{PLAIN}?pgbouncer=true", PostgresServer(PLAIN, pooled=True)),
        (
            "postgres://postgres.ref:pw@aws-0-eu-west-1.pooler.supabase.com:6543/postgres",
            PostgresServer("postgresql://postgres.ref:pw@aws-0-eu-west-1.pooler.supabase.com:6543/postgres", True),
        ),
        (
            "postgres://postgres.ref:pw@aws-0-eu-west-1.pooler.supabase.com:5432/postgres",
            PostgresServer("postgresql://postgres.ref:pw@aws-0-eu-west-1.pooler.supabase.com:5432/postgres"),
        ),
        (
            "postgresql://u@a:1,b:2/n?target_session_attrs=primary",
            PostgresServer("postgresql://u@a:1,b:2/n?target_session_attrs=primary"),
        ),
    ],
)
def test_an_address_of_any_tool_is_understood(url, server):
    assert parse(url, FOLDER) == server


@pytest.mark.parametrize(
    "url", ["mysql://root:secret@db/x", "ledger.db", "sqlite://", "sqlite:///:memory:", "user:secret@db"]
)
def test_another_address_is_refused_without_showing_its_password(url):
    with pytest.raises(ConfigError, match="DATABASE_URL") as refused:
        parse(url, FOLDER)
    assert "secret" not in str(refused.value).replace(url.partition("://")[0], "")


def test_an_address_that_nobody_can_read_is_refused_without_repeating_it() -> None:
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        parse("postgresql://u:hidden@[bad/x", Path("/data"))
    assert "hidden" not in str(refused.value)
