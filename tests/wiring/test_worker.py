"""The worker's life: what it brings over, what it waits for, what it says, and what it leaves behind."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.providers.upstream import Upstream, answer
from tests.state.rows import paid

from askonce.config.paths import worker_path
from askonce.config.secret import WEBHOOKS, find_secret
from askonce.config.settings import Config
from askonce.domain.budget import Account, Amounts, Reservation
from askonce.domain.clock import SystemClock
from askonce.domain.identity import Budget
from askonce.domain.ledger import Tallied
from askonce.ledger.engine import open_engine
from askonce.ledger.users import SqlLoginLinks
from askonce.ledger.worker_status import read, trouble
from askonce.wire.signature import SIGNATURE, sign
from askonce.wiring.worker import Worker

PATIENCE_S = 20.0
PAID = paid("answered", True, 100, "team")
HIT = Tallied("team", "k", "generate", "openai", "gpt-4o", "exact")
SECRET = "s" * 40


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "run").mkdir()
    return Config(data_dir=str(tmp_path), cache_size_bytes=1 << 20, local_model="off", secret=SECRET)


class Scene:
    """Hold a worker at work, and the shared state that gateways would write."""

    def __init__(self, config: Config) -> None:
        self.words: list[str] = []
        self.folder = Path(config.data_dir)
        self.worker = Worker(config, 1, self.words.append)
        self.state = self.worker._state  # no process can open it twice

    async def until(self, holds: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not holds():
                await asyncio.sleep(0.02)

    def rows(self, question: str) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(self.folder / "ledger.db")
        try:
            return connection.execute(question).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" not in str(error):
                raise
            return []
        finally:
            connection.close()


def told(config: Config) -> str:
    """Return what /ready would say."""
    return trouble(read(worker_path(config.data_dir)), SystemClock().wall_ms())


def play(config: Config, act: Callable[[Scene], Awaitable[None]]) -> Scene:
    """Let a worker work while something is done, then stop it in an orderly way."""

    async def whole() -> Scene:
        scene = Scene(config)
        stop = asyncio.Event()
        working = asyncio.create_task(scene.worker.run(stop))
        try:
            await act(scene)
            scene.worker.beat()
        finally:
            stop.set()
            await working
        return scene

    return asyncio.run(whole())


def test_rows_and_finished_minutes_are_in_the_database_soon(config: Config) -> None:
    async def act(scene: Scene) -> None:
        await scene.state.outbox.append(PAID)
        await scene.state.outbox.count(1, HIT, 5, 7)
        await scene.until(lambda: scene.rows("SELECT count(*) FROM calls") == [(1,)])
        await scene.until(lambda: scene.rows("SELECT minute, count FROM counts") == [(1, 1)])
        await scene.until(lambda: told(config) == "")

    play(config, act)


def test_at_the_end_everything_is_brought_over_the_open_minute_too(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("askonce.wiring.worker.FINISH_S", PATIENCE_S)  # this machine may be busy
    minute = SystemClock().wall_ms() // 60_000 + 60

    async def act(scene: Scene) -> None:
        await scene.until(scene.worker._prepared.is_set)
        await scene.state.outbox.count(minute, HIT)
        await scene.state.outbox.append(PAID, PAID)

    scene = play(config, act)
    assert scene.rows("SELECT count(*) FROM calls") == [(2,)]
    assert scene.rows("SELECT minute, count FROM counts") == [(minute, 1)]


def test_the_directory_is_filled_and_the_first_administrator_is_greeted_once(config: Config) -> None:
    async def act(scene: Scene) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while await scene.state.directory.edition() is None:
                await asyncio.sleep(0.02)
        await scene.until(lambda: scene.words)

    [word] = play(config, act).words

    async def log_in() -> None:
        engine = open_engine("", Path(config.data_dir))
        try:
            user = await SqlLoginLinks(engine, SystemClock()).redeem(word)
            assert user is not None
            assert user.scopes == ("root",)
        finally:
            await engine.dispose()

    asyncio.run(log_in())

    async def look(scene: Scene) -> None:
        await scene.until(scene.worker._prepared.is_set)

    again = play(config, look)
    assert again.words == []
    audit = again.rows("SELECT action, subject, details FROM audit WHERE action != 'config.loaded'")
    assert [row[:2] for row in audit] == [("link.issued", "first administrator")]
    assert word not in str(audit)


def test_a_database_that_is_away_is_told_and_what_happens_is_kept(config: Config) -> None:
    away = replace(config, database_url="postgresql://u:hidden@127.0.0.1:1/x")

    async def act(scene: Scene) -> None:
        await scene.state.outbox.append(PAID)
        await scene.until(lambda: "The database is away" in told(config))
        assert "hidden" not in told(config)
        async with asyncio.timeout(PATIENCE_S):
            while await scene.worker._spool.count() == 0:
                await asyncio.sleep(0.02)

    play(away, act)

    async def later(scene: Scene) -> None:
        await scene.until(lambda: scene.rows("SELECT count(*) FROM calls") == [(1,)])

    play(config, later)


def test_another_secret_is_told_and_nothing_is_written_with_it(config: Config) -> None:
    async def greet(scene: Scene) -> None:
        await scene.until(lambda: scene.rows("SELECT count(*) FROM audit") == [(2,)])  # the settings, and the link

    play(config, greet)
    other = replace(config, secret="o" * 40)

    async def act(scene: Scene) -> None:
        await scene.state.outbox.append(PAID)
        await scene.until(lambda: "ASKONCE_SECRET" in told(config))
        assert scene.rows("SELECT count(*) FROM calls") == [(0,)]

    play(other, act)

    async def rotated(scene: Scene) -> None:
        await scene.until(lambda: scene.rows("SELECT count(*) FROM calls") == [(1,)])

    play(replace(config, secret=f"{'o' * 40},{SECRET}"), rotated)


def test_a_soft_limit_is_told_to_the_webhook_signed_and_once(config: Config) -> None:
    account = Account("key:k", (Budget("requests", "month", 10, soft=0.5),), tenant="team")

    async def spend(scene: Scene) -> None:
        for _ in range(8):
            reservation = await scene.state.budgets.reserve((account,), Amounts(1))
            assert isinstance(reservation, Reservation)
            await scene.state.budgets.settle(reservation, Amounts(1))

    async def whole() -> None:
        async with Upstream(answer("taken")) as receiver:
            hooked = replace(config, webhook_url=f"{receiver.base_url}/hook")
            scene, stop = Scene(hooked), asyncio.Event()
            working = asyncio.create_task(scene.worker.run(stop))
            await spend(scene)
            await scene.until(lambda: receiver.seen)
            await scene.until(lambda: scene.rows("SELECT action FROM audit WHERE action LIKE 'budget%'"))
            stop.set()
            await working
            [seen] = receiver.seen
            assert (seen.method, seen.path) == ("POST", "/v1/hook")
            told_ = json.loads(seen.body)
            assert (told_["subject"], told_["details"]["used"], told_["details"]["amount"]) == ("key:k", 5, 10)
            header = seen.headers[SIGNATURE.lower()]
            at_s = int(header.partition(",")[0].removeprefix("t="))
            assert header == sign(find_secret(SECRET, scene.folder).subkeys(WEBHOOKS), at_s, seen.body)

    asyncio.run(whole())
