"""An hour's worth of requests over two nodes in some minutes: nothing that should stay flat grows."""

import asyncio
import random
import time
from collections.abc import Iterator

import pytest
from tests.ledger.postgres import Postgres
from tests.state.redisserver import RedisServer, running
from tests.system.clients import Line, run
from tests.system.cluster import Nodes
from tests.system.houses import ECHO, Build, House

pytestmark = [pytest.mark.process, pytest.mark.soak]
REQUESTS = 72_000  # twenty a second for an hour
CALLERS = 16
ROUNDS = 6
SETTINGS = (
    'secret = "one secret for all of the nodes and long enough"\nworkers = 2\nlimit_llm = "off"\n'
    'limit_standard = "off"\nstate_timeout = "2s"\ncache_ttl = "20s"\n'
)


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


def measure(houses: list[House], redis: RedisServer) -> dict[str, int]:
    """Say how large everything is."""
    workers = [worker for house in houses for worker in house.workers()]
    return {
        "rss": sum(worker.memory_info().rss for worker in workers),
        "fds": sum(worker.num_fds() for worker in workers),
        "keys": int(redis.ask("DBSIZE")[1:]),
        "outbox": int(redis.ask("LLEN", "askonce:1:{b}ol")[1:]),
    }


async def load(houses: list[House], requests: int, dice: random.Random) -> None:
    """Ask known and new questions, streamed and plain, over connections that are kept for a while."""
    left = requests

    async def caller() -> None:
        nonlocal left
        while left > 0:
            line = await Line.to(dice.choice(houses).port)
            for _ in range(50):
                left -= 1
                reply = await line.post(prompt=f"q{dice.randrange(2_000)}", stream=dice.random() < 0.3)
                assert reply.status == 200
            line.hang_up()

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


@pytest.mark.timeout(1800)
def test_an_hours_requests_leave_memory_files_keys_and_lag_flat(
    build: Build, redis: RedisServer, postgres: Postgres
) -> None:
    redis.flush()
    database = postgres.database()
    env = {"STATE_URL": redis.url, "DATABASE_URL": database}
    houses = [build(SETTINGS, ECHO, env) for _ in range(2)]
    Nodes(houses, database).start()
    dice, seen = random.Random(6), []
    for _ in range(ROUNDS):
        run(load(houses, REQUESTS // ROUNDS, dice))
        time.sleep(10)  # what waits for the ledger gets there
        seen.append(measure(houses, redis))
        print(seen[-1])
    early, late = seen[1], seen[-1]  # the first round fills caches
    assert late["rss"] < 1.10 * early["rss"]
    assert late["fds"] <= early["fds"] + 20
    assert late["keys"] < 1.3 * early["keys"] + 200
    assert late["outbox"] < 2_000
    stats = houses[0].stats()
    assert stats["hits"] + stats["misses"] + stats["coalesced"] >= REQUESTS
