"""Workers of several nodes over one PostgreSQL: whoever dies or is frozen, everything is done, and done once."""

import asyncio
import json
import random
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]
import psutil
import pytest
from tests.ledger.postgres import Postgres
from tests.providers.upstream import Upstream
from tests.state.redisserver import RedisServer, running
from tests.system.answering import Memory
from tests.system.clients import Line, encode, request_now, run
from tests.system.houses import COST_NANO, USAGE, Build, House, eventually, script
from tests.system.test_system_workflows import ended, expected, graph, once, settings, submit, texts_of

from askonce.wiring.shift import STRANGER
from askonce.wiring.state import node_name

pytestmark = pytest.mark.process
SECRET = "one secret for all of the nodes and long enough"
FREE = 'workers = 1\nstate_timeout = "5s"\nlimit_llm = "off"\nlimit_standard = "off"\n'
PLAY = script(f'text = "Answer to {{prompt}}"\n{USAGE}')
TOLD = "SELECT count(*), count(DISTINCT request_id), sum(cost_nano) FROM askonce.calls"
BROKEN = "SELECT (SELECT count(*) FROM askonce.audit WHERE action = 'audit.broken'), max(missing) FROM askonce.sources"
WITHIN_S = 20.0  # promised are some seconds; the machine that runs tests is busy


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def server() -> Iterator[Postgres]:
    """Have a database server to kill."""
    folder = Path(tempfile.mkdtemp(prefix="askonce-postgres-"))
    one = Postgres(folder, durable=True)
    try:
        one.start()
        yield one
    finally:
        one.stop()
        shutil.rmtree(folder)


class Two:
    """Hold two nodes that share Redis and PostgreSQL."""

    def __init__(self, build: Build, redis: RedisServer, server: Postgres) -> None:
        redis.flush()
        env = {"STATE_URL": redis.url, "DATABASE_URL": server.url, "ASKONCE_SECRET": SECRET}
        self.redis = redis
        self.server = server
        self.houses = [build(FREE, PLAY, env) for _ in "12"]
        self.asked = 0
        for house in self.houses:
            house.launch()  # at once: they make the database's tables both
        for house in self.houses:
            house.start_up(with_prices=True)

    def on_duty(self) -> House | None:
        """Return the node whose worker is on duty."""
        told = self.redis.ask("GET", "askonce:1:{b}du").decode()
        names = (f"{node_name(str(house.data))}/" in told for house in self.houses)
        return next((house for house, has_it in zip(self.houses, names, strict=True) if has_it), None)

    def busy(self) -> tuple[House, House, psutil.Process]:
        """Return the node that is on duty, once one is, the other one, and the worker that is."""
        eventually(self.on_duty, "a worker is on duty")
        one = self.on_duty()
        assert one is not None
        eventually(one.scribe, "it has a worker")
        worker = one.scribe()
        assert worker is not None
        return one, self.houses[1 - self.houses.index(one)], worker

    def ask(self, house: House, number: int = 5) -> None:
        for _ in range(number):
            self.asked += 1
            assert house.ask(f"question {self.asked}").cache == "miss"

    def arrived(self) -> bool:
        return self.rows(TOLD) == [(self.asked, self.asked, self.asked * COST_NANO)]

    def await_all(self) -> None:
        eventually(self.arrived, f"{self.asked} calls are in the ledger, each once", WITHIN_S)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return asyncio.run(fetched(self.server, statement))


async def fetched(server: Postgres, statement: str) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(server.url)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


@pytest.mark.timeout(300)
def test_what_nodes_share_is_brought_over_once_whoever_is_killed_frozen_or_away(
    build: Build, redis: RedisServer, server: Postgres
) -> None:
    two = Two(build, redis, server)
    for house in two.houses:
        two.ask(house)
    two.await_all()

    one, other, worker = two.busy()  # frozen with its supervisor, as a machine is that is moved
    assert one.process is not None
    one.process.send_signal(signal.SIGSTOP)
    worker.send_signal(signal.SIGSTOP)
    two.ask(one)
    two.ask(other)
    eventually(lambda: two.on_duty() is other, "the other node's worker is on duty", WITHIN_S)
    two.await_all()
    worker.send_signal(signal.SIGCONT)
    one.process.send_signal(signal.SIGCONT)
    two.ask(one)
    two.await_all()

    one, other, worker = two.busy()
    two.server.stop(hard=True)
    two.ask(one)
    eventually(lambda: "away" in request_now(other.port, "/ready").text, "every node says so")
    worker.kill()
    two.ask(other)
    assert not [house for house in two.houses if (house.data / "spool.db").exists() and spooled(house)]
    two.server.start_again()
    eventually(two.arrived, "everything is in the ledger", 90)

    one, other, worker = two.busy()
    two.ask(one)
    one.end()  # the whole node
    two.ask(other)
    two.await_all()
    two.ask(other)
    assert other.stop() == 0
    assert two.arrived(), "whoever stops brings over the rest"
    assert two.rows(BROKEN) == [(0, 0)]


def spooled(house: House) -> int:
    """Count what a node keeps in its own folder."""
    connection = sqlite3.connect(f"file:{house.data / 'spool.db'}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM records").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def test_a_node_with_another_database_brings_nothing_over_and_says_why(
    build: Build, redis: RedisServer, server: Postgres
) -> None:
    two = Two(build, redis, server)
    two.busy()
    stranger = build(FREE, PLAY, {"STATE_URL": redis.url, "ASKONCE_SECRET": SECRET}).start(with_prices=True)
    eventually(lambda: STRANGER in (stranger.folder / "log").read_text(), "it says why")
    two.ask(stranger)
    two.await_all()


def test_a_node_with_another_secret_leaves_a_database_alone_that_is_all_they_share(
    build: Build, server: Postgres
) -> None:
    build(FREE, PLAY, {"DATABASE_URL": server.url, "ASKONCE_SECRET": SECRET}).start(with_prices=True)
    seen = "SELECT count(*) FROM askonce.audit"
    eventually(lambda: run(fetched(server, seen)) == [(2,)], "it began: settings, and the first administrator's link")
    stranger = build(FREE, PLAY, {"DATABASE_URL": server.url})
    stranger.launch()
    eventually(lambda: " answers at " in stranger.screen(), "it begins")
    stranger.port = int(stranger.screen().rpartition(" answers at ")[2].split()[0].rpartition(":")[2])
    eventually(lambda: "All nodes need the same" in ledger_of(stranger), "it says what to do")
    assert stranger.ask("without a look at the keys that there are").status == 503
    assert run(fetched(server, seen)) == [(2,)]


def ledger_of(house: House) -> str:
    """Return what /ready says of the ledger."""
    detail: str = request_now(house.port, "/ready").json()["parts"]["ledger"]["detail"]
    return detail


def begun(memory: Memory) -> int:
    """Count the calls that reached the vendor."""
    return sum(len(calls.began_s) for calls in memory.calls.values())


@pytest.mark.timeout(300)
def test_what_another_node_runs_is_followed_here_and_taken_over_when_that_node_dies(
    build: Build, server: Postgres
) -> None:
    memory = Memory(random.Random(4))
    memory.stalls = lambda prompt: prompt.startswith("orphan e") and not memory.kills_s

    async def story() -> None:
        async with Upstream(memory.play) as up:
            env = {"DATABASE_URL": server.url, "ASKONCE_SECRET": SECRET}
            one, other = [build(settings(up), "", env) for _ in "12"]
            await asyncio.to_thread(one.start, with_prices=True)
            id = await submit(one, graph("orphan"), "orphan")
            await once(one, id, lambda told: sum(bool(text) for text in texts_of(told).values()) == 5)
            await asyncio.to_thread(other.start, with_prices=True)
            line = await Line.to(other.port)
            await line.send(encode("GET", f"/llm/executions/{id}/events"))
            assert (await line.head())[0] == 200
            seen = (await line.piece()).decode()
            assert (await once(other, id, lambda told: True))["status"] == "running"
            memory.kills_s.append(time.monotonic())
            await asyncio.to_thread(one.end)
            began = begun(memory)
            await asyncio.to_thread(eventually, lambda: begun(memory) > began, "it goes on there", WITHIN_S)
            told = await ended(other, id)
            assert told["status"] == "succeeded", told
            assert texts_of(told) == expected("orphan")
            assert memory.paid_twice() == []
            while piece := await line.piece():
                seen += piece.decode()
            numbers = [int(each[4:]) for each in seen.splitlines() if each.startswith("id: ")]
            assert numbers == list(range(1, len(numbers) + 1)), "each event once, in order"
            last = json.loads([each for each in seen.splitlines() if each.startswith("data: ")][-1][6:])
            assert last["status"] == "succeeded"
            await asyncio.to_thread(other.end)

    run(story())
