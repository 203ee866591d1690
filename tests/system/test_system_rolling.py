"""A rolling restart under load: nodes go and come one after the other, and no request is dropped."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest
from tests.state.redisserver import RedisServer, running
from tests.system.clients import Answered, Line, post, request, run
from tests.system.houses import USAGE, Build, House, script

pytestmark = pytest.mark.process
SETTINGS = (
    'secret = "one secret for all of the nodes and long enough"\nlimit_llm = "off"\nlimit_standard = "off"\n'
    'drain_delay = "1s"\nstate_timeout = "2s"\nledger_worker = "off"\n'
)
LOOK_S = 0.2  # how often whoever stands in front asks /ready
CALLERS = 6


class Front:
    """Choose nodes as a load balancer does: those that said at the last look that they are ready."""

    def __init__(self, houses: list[House]) -> None:
        self.houses = houses
        self.ready = [house.port for house in houses]
        self._turns = itertools.count()

    def choose(self) -> int:
        return self.ready[next(self._turns) % len(self.ready)]

    async def look(self) -> None:
        while True:
            self.ready = [port for house in self.houses if await _is_ready(port := house.port)] or self.ready
            await asyncio.sleep(LOOK_S)


async def _is_ready(port: int) -> bool:
    try:
        return (await request(port, "GET", "/ready")).status == 200
    except OSError:
        return False


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


def test_two_nodes_are_started_anew_under_load_and_every_request_is_answered(build: Build, redis: RedisServer) -> None:
    playing = script(f'chunk_ms = 50\nchunks = ["a ", "b ", "c ", "d ", "e"]\n{USAGE}')
    houses = [build(SETTINGS, playing, {"STATE_URL": redis.url}) for _ in range(2)]
    for house in houses:
        house.start()

    async def play() -> list[Answered]:
        front, over, replies = Front(houses), asyncio.Event(), list[Answered]()
        looking = asyncio.ensure_future(front.look())

        async def caller(name: int) -> None:
            for number in itertools.count():
                if over.is_set():
                    return
                body = {"prompt": f"{name} {number // 2}", "stream": number % 4 < 2}
                replies.append(await post(front.choose(), body))

        async def holder() -> None:
            """Keep a connection for as long as its server does, as clients with a pool do."""
            while not over.is_set():
                line = await Line.to(front.choose())
                last = False
                while not last and not over.is_set():
                    replies.append(await line.post(prompt="held"))
                    last = replies[-1].headers.get("connection") == "close"
                    await asyncio.sleep(0.02)
                line.hang_up()

        async with asyncio.TaskGroup() as group:
            for name in range(CALLERS):
                group.create_task(caller(name))
            group.create_task(holder())
            for house in houses:
                await asyncio.sleep(0.5)
                assert await asyncio.to_thread(house.stop) == 0
                await asyncio.to_thread(house.start)
                await asyncio.sleep(2 * LOOK_S)
            over.set()
        looking.cancel()
        return replies

    replies = run(play())
    assert len(replies) > 100
    assert {reply.status for reply in replies} == {200}, [reply for reply in replies if reply.status != 200][:3]
    assert all(reply.whole for reply in replies)
    assert {reply.whole_answer()["metadata"]["usage"]["totalTokens"] for reply in replies} == {123}
    assert len({reply.worker for reply in replies}) == 4, "both nodes, before and after"
