"""Three nodes of two workers each, one Redis, one PostgreSQL: the promises of one machine, kept by all of them."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator

import pytest
from tests.ledger.postgres import Postgres
from tests.state.redisserver import RedisServer, running
from tests.system.clients import Answered, at_once_on, post, run
from tests.system.cluster import Nodes
from tests.system.houses import COST_NANO, USAGE, Build, eventually, script

pytestmark = pytest.mark.process
# A machine that runs tests is busy: what a late server does is tried elsewhere (`test_system_redis`).
COMMON = 'secret = "one secret for all of the nodes and long enough"\nworkers = 2\nstate_timeout = "5s"\n'
FREE = 'limit_llm = "off"\nlimit_standard = "off"\n'
CODE = "```python src/answer.py\nprint(42)\n```\n"
ASKED = 1_000
KEY = ("--scope", "use", "--scope", "report", "--budget", "7 requests/month", "--json")
REVOKED_S = 5.0  # promised is one; the machine that runs tests is busy


MakeNodes = Callable[..., Nodes]


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def nodes(build: Build, redis: RedisServer, postgres: Postgres) -> MakeNodes:
    redis.flush()
    database = postgres.database()

    def make(settings: str, playing: str, number: int = 3) -> Nodes:
        env = {"STATE_URL": redis.url, "DATABASE_URL": database}
        return Nodes([build(COMMON + settings, playing, env) for _ in range(number)], database).start()

    return make


def test_25_at_once_over_three_nodes_admit_exactly_20(nodes: MakeNodes) -> None:
    three = nodes('limit_llm = "20/3s"', script(f'text = "{{prompt}}"\n{USAGE}'))
    for _ in range(3):
        replies = three.ask_all([{"prompt": f"question {at % 7}"} for at in range(25)])
        statuses = [reply.status for reply in replies]
        assert (statuses.count(200), statuses.count(429)) == (20, 5)
        admitted = [reply for reply in replies if reply.status == 200]
        assert sorted(int(reply.headers["x-ratelimit-remaining"]) for reply in admitted) == list(range(20))
        assert len({reply.worker for reply in replies}) >= 4
        time.sleep(3.1)


def test_1000_identical_over_three_nodes_are_one_call_and_every_book_adds_up(nodes: MakeNodes) -> None:
    three = nodes(FREE, script(f"delay_ms = 500\ntext = '''{CODE}'''\n{USAGE}"))
    replies = three.ask_all([{"prompt": "the same", "stream": at % 2 == 1} for at in range(ASKED)])
    assert {reply.status for reply in replies} == {200}
    assert all(reply.whole for reply in replies)
    assert {reply.whole_answer()["code"] for reply in replies} == {"print(42)\n"}
    assert three.calls() == 1
    assert [reply.cache for reply in replies].count("miss") == 1
    stats = [house.stats() for house in three.houses]
    assert stats[0] == stats[1] == stats[2]
    assert (stats[0]["misses"], stats[0]["hits"] + stats[0]["coalesced"]) == (1, ASKED - 1)
    assert stats[0]["spentNano"] == COST_NANO
    assert stats[0]["savingsNano"] == COST_NANO * (ASKED - 1)

    for house in three.houses:
        assert house.stop() == 0
    assert three.rows("SELECT count(*), sum(cost_nano) FROM askonce.calls") == [(1, COST_NANO)]
    spared = "SELECT sum(count), sum(saved_nano) FROM askonce.counts WHERE kind IN ('exact', 'coalesced')"
    assert three.rows(spared) == [(ASKED - 1, COST_NANO * (ASKED - 1))]


def test_a_stream_is_joined_live_from_another_node_and_survives_its_leader(nodes: MakeNodes) -> None:
    pieces = ", ".join(f'"piece {at}; "' for at in range(40))
    two = nodes(FREE, script(f"chunk_ms = 100\nchunks = [{pieces}]\n{USAGE}"), 2)
    first, second = two.houses

    async def play() -> tuple[Answered, Answered]:
        leading = asyncio.ensure_future(post(first.port, {"prompt": "long", "stream": True}))
        await asyncio.to_thread(eventually, lambda: two.calls() == 1, "the call was made")
        following = asyncio.ensure_future(post(second.port, {"prompt": "long"}))
        await asyncio.sleep(1)
        for worker in first.workers():
            worker.kill()
        return await leading, await following

    led, followed = run(play())
    assert not led.whole
    assert followed.status == 200
    assert followed.json()["code"] or followed.json()["metadata"]
    assert two.calls() == 2, "the call that died with its process, and one more"
    assert second.stats()["misses"] == 1


def test_a_node_with_another_secret_is_refused(nodes: MakeNodes, build: Build, redis: RedisServer) -> None:
    nodes(FREE, script(f'text = "x"\n{USAGE}'), 1)
    stranger = build('secret = "quite another secret that is long enough"', env={"STATE_URL": redis.url})
    stranger.launch()
    eventually(lambda: "another secret" in (stranger.folder / "log").read_text(), "it says why")


def test_a_keys_budget_and_its_end_hold_on_all_nodes(nodes: MakeNodes) -> None:
    two = nodes(FREE, script(f'delay_ms = 200\ntext = "{{prompt}}"\n{USAGE}'), 2).houses
    made = json.loads(two[0].run_command("keys", "create", "load", *KEY))
    for house in two:
        house.key = made["key"]
        eventually(lambda: all(house.ask("known").status == 200 for _ in range(8)), "all workers know it")  # noqa: B023
    ports = itertools.cycle(house.port for house in two)
    replies = run(at_once_on([(next(ports), {"prompt": f"question {at}"}) for at in range(20)], headers=two[0].headers))
    assert sorted(reply.status for reply in replies) == [200] * 6 + [429] * 14
    assert {reply.json()["code"] for reply in replies if reply.status == 429} == {"over_budget"}
    for house in two:
        (balance,) = json.loads(house.run_command("budgets", "show", made["id"], "--json"))[0]["budgets"]
        assert (balance["used"], balance["reserved"]) == (7, 0)
        assert house.ask("known").cache == "hit", "what costs nothing needs no budget"

    two[0].run_command("keys", "revoke", made["id"])
    eventually(lambda: two[1].ask("known").status == 401, "the other node refuses it", within_s=REVOKED_S)
