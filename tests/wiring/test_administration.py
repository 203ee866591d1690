"""A whole gateway and its database: what it loads and when, and how it learns that there are keys."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from askonce.config.load import load
from askonce.config.secret import KEY_HASHES, find_secret
from askonce.config.settings import Config
from askonce.domain.accounts import KeyWish
from askonce.domain.clock import SystemClock
from askonce.domain.errors import ConfigError
from askonce.gate.admission import NOT_KNOWN_YET
from askonce.ledger.engine import open_engine
from askonce.ledger.key_feed import SqlFeed, refresh
from askonce.ledger.keys import SqlKeys
from askonce.ledger.migrate import migrate
from askonce.state.memory_identity import MemoryDirectory
from askonce.wiring import gateway as wiring
from askonce.wiring.gateway import Gateway

HEAVY = ("sqlalchemy", "alembic", "asyncpg", "aiosqlite", "authlib", "joserfc", "cryptography", "sqlite3")


def config(folder: Path, **settings: Any) -> Config:
    (folder / "run").mkdir()
    return Config(data_dir=str(folder), models_dir=str(folder), **settings)


async def status_of(gateway: Gateway, path: str, key: str = "") -> int:
    """GET a path at the ASGI door; return the status."""
    return (await got(gateway, path, key))[0]


async def got(gateway: Gateway, path: str, key: str = "") -> tuple[int, bytes]:
    """GET a path at the ASGI door."""
    headers = [(b"host", b"127.0.0.1:3001"), *([(b"x-api-key", key.encode())] if key else [])]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await gateway.asgi(scope | {"client": ("127.0.0.1", 5), "scheme": "http"}, receive, send)
    return int(sent[0]["status"]), b"".join(message.get("body", b"") for message in sent)


async def make_key(folder: Path) -> str:
    """Make the tables and a key, as the command line does: no server knows of it."""
    engine = open_engine("", folder)
    try:
        await migrate(engine)
        peppers = find_secret("", folder).subkeys(KEY_HASHES)
        return (await SqlKeys(engine, MemoryDirectory(), peppers, SystemClock()).create(KeyWish("first"))).key
    finally:
        await engine.dispose()


async def beaten(gateway: Gateway) -> None:
    """Do what is due every second, and wait until what is in force is known."""
    gateway.beat()
    assert gateway._renewal is not None
    await gateway._renewal


async def follow(gateway: Gateway, folder: Path) -> None:
    """Bring the directory up to date, as the worker does twice a second."""
    engine = open_engine("", folder)
    try:
        await refresh(SqlFeed(engine, SystemClock()), gateway._state.directory)
    finally:
        await engine.dispose()


def test_a_gateway_loads_no_database_until_somebody_administers() -> None:
    look = f"import sys, json, askonce.wiring.gateway; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    told = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(told.stdout) == []


def test_the_first_key_closes_a_running_server(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(config(tmp_path), 0, 1)
        await gateway.start()
        try:
            assert await status_of(gateway, "/llm/models") == 200
            key = await make_key(tmp_path)
            await beaten(gateway)
            assert await status_of(gateway, "/llm/models") == 200  # nobody has read it yet
            await follow(gateway, tmp_path)
            await beaten(gateway)
            assert await status_of(gateway, "/llm/models") == 401
            assert await status_of(gateway, "/llm/models", key) == 200
            assert await status_of(gateway, "/admin/keys", key) == 403
        finally:
            await gateway.stop()

    asyncio.run(story())


def test_a_server_that_cannot_know_whether_it_has_keys_lets_nobody_in_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "KEYS_WAIT_S", 0.0)

    async def story() -> None:
        settings = config(tmp_path)
        key = await make_key(tmp_path)
        gateway = Gateway(settings, 0, 1)  # after a loss of power: the directory is empty, the database is not
        await gateway.start()
        try:
            assert await status_of(gateway, "/llm/models") == 503
            assert NOT_KNOWN_YET.encode() in (await got(gateway, "/ready"))[1]
            await follow(gateway, tmp_path)
            await beaten(gateway)
            assert NOT_KNOWN_YET.encode() not in (await got(gateway, "/ready"))[1]
            assert await status_of(gateway, "/llm/models") == 401
            assert await status_of(gateway, "/llm/models", key) == 200
        finally:
            await gateway.stop()

    asyncio.run(story())


def test_a_server_that_requires_keys_is_closed_before_there_is_one(tmp_path: Path) -> None:
    async def story() -> None:
        gateway = Gateway(config(tmp_path, require_keys=True), 0, 1)
        await gateway.start()
        try:
            await beaten(gateway)
            assert await status_of(gateway, "/llm/models") == 401
            assert await status_of(gateway, "/login") == 200
        finally:
            await gateway.stop()

    asyncio.run(story())


def loaded(environ: dict[str, str]) -> Config:
    return load({}, environ, None).config


def test_beyond_loopback_a_server_needs_keys_or_a_word_that_they_are_in_the_database(tmp_path: Path) -> None:
    environ = {"ASKONCE_HOST": "0.0.0.0", "ASKONCE_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)}
    with pytest.raises(ConfigError, match="ASKONCE_REQUIRE_KEYS=on"):
        loaded(environ)
    assert loaded(environ | {"ASKONCE_REQUIRE_KEYS": "on"}).require_keys
    with pytest.raises(ConfigError, match="contradict"):
        loaded(environ | {"ASKONCE_REQUIRE_KEYS": "on", "ASKONCE_OPEN": "on"})
    with pytest.raises(ConfigError, match="oidc_client_id"):
        loaded({"ASKONCE_DATA_DIR": str(tmp_path), "ASKONCE_OIDC_ISSUER": "https://id.example"})
    for variable, value in (
        ("ASKONCE_OIDC_ISSUER", "http://id.example"),
        ("ASKONCE_OIDC_ADMIT", "everybody"),
        ("ASKONCE_OIDC_ADMIT", "*=acme:god"),
        ("ASKONCE_CORS_ORIGINS", "app.example.org"),
        ("ASKONCE_CORS_ORIGINS", "https://app.example.org/path"),
    ):
        with pytest.raises(ConfigError, match=variable):
            loaded({"ASKONCE_DATA_DIR": str(tmp_path), variable: value})
