"""Workflows whose processes are killed, stopped or taken over: each run ends right, and no answer is paid for twice."""

import asyncio
import hashlib
import hmac
import json
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest
from tests.ledger.postgres import Postgres
from tests.providers.upstream import Exchange, Upstream
from tests.system.answering import Memory, told
from tests.system.clients import Answered, request, run
from tests.system.houses import Build, House, eventually

pytestmark = pytest.mark.process
FREE = 'workers = 1\nlimit_llm = "off"\nlimit_standard = "off"\nqueue_limit = "off"'
SECRET = "one-for-all-nodes-and-long-enough-for-it"
EXECUTE, EXECUTIONS = "/llm/execute-workflow", "/llm/executions/"
# Eight nodes, four deep, three side by side.
NEEDS = {"a": "", "b": "a", "c": "a", "d": "a", "e": "bc", "f": "cd", "g": "ef", "h": "g"}
ENDED = ("succeeded", "failed", "cancelled")
LONG_S = 240.0  # for runs that are killed several times, on a machine that is busy

Story = Callable[[House, Memory], Awaitable[None]]


def graph(name: str) -> dict[str, Any]:
    """Build the graph; each prompt holds the answers of all that its node needs."""
    nodes = []
    for node, needs in NEEDS.items():
        prompt = " ".join([f"{name} {node}", *(f"{{{{nodes.{need}.text}}}}" for need in needs)])
        nodes.append({"id": node, "type": "build", "prompt": prompt, "dependsOn": list(needs)})
    return {"graph": {"name": name, "nodes": nodes}}


def expected(name: str) -> dict[str, str]:
    """Return what each node's text is to be."""
    texts: dict[str, str] = {}
    for node, needs in NEEDS.items():
        texts[node] = told(" ".join([f"{name} {node}", *(texts[need] for need in needs)]))
    return texts


async def send(house: House, method: str, path: str, body: object = None, **headers: str) -> Answered:
    """Ask, again and again while processes that were killed are being replaced."""
    until_s = time.monotonic() + LONG_S
    data = b"" if body is None else json.dumps(body).encode()
    while True:
        try:
            reply = await request(house.port, method, path, data, headers)
        except (ConnectionError, EOFError):
            reply = None
        if reply is not None and reply.whole and reply.status != 503:
            return reply
        assert time.monotonic() < until_s, "nobody answers"
        await asyncio.sleep(0.1)


async def submit(house: House, body: dict[str, Any], key: str) -> str:
    """Submit an execution, once however often that takes; return its id."""
    reply = await send(house, "POST", EXECUTE, body, **{"Idempotency-Key": key, "Content-Type": "application/json"})
    assert reply.status == 202, reply
    return str(reply.json()["executionId"])


async def ended(house: House, id: str) -> dict[str, Any]:
    """Return an execution once it has ended."""
    return await once(house, id, lambda told: told["status"] in ENDED)


async def once(house: House, id: str, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Return an execution once it is as expected."""
    until_s = time.monotonic() + LONG_S
    while True:
        told: dict[str, Any] = (await send(house, "GET", EXECUTIONS + id)).json()
        if true(told):
            return told
        assert time.monotonic() < until_s, told
        await asyncio.sleep(0.1)


def texts_of(told: dict[str, Any]) -> dict[str, str]:
    """Return the nodes' texts."""
    return {node["id"]: node.get("text", "") for node in told["nodes"]}


def play(build: Build, story: Story, memory: Memory, database: str = "", more: str = "") -> None:
    """Tell a story of a house whose vendor remembers."""

    async def tell() -> None:
        async with Upstream(memory.play) as up:
            house = build(f"{more}\n{settings(up)}", "", {"DATABASE_URL": database, "ASKONCE_SECRET": SECRET})
            await asyncio.to_thread(house.start, with_prices=True)
            try:
                await story(house, memory)
            finally:
                await asyncio.to_thread(house.end)

    run(tell())


def settings(up: Upstream) -> str:
    """Write the settings of a house that asks this vendor."""
    return f'{FREE}\ndefault_model = "mine:m"\n[providers.mine]\nbase_url = "{up.base_url}"\nmodels = ["m"]'


async def kill(house: House, memory: Memory, dice: random.Random) -> None:
    """Kill the worker, or now and then a gateway, and wait until there is another one."""
    who = house.workers if dice.random() < 0.2 else lambda: [one for one in [house.scribe()] if one]
    victim = await somebody(who, but=0)
    memory.kills_s.append(time.monotonic())
    victim.send_signal(signal.SIGKILL)
    await somebody(who, but=victim.pid)


async def somebody(who: Callable[[], list[psutil.Process]], but: int) -> psutil.Process:
    """Return the first of some processes once it is there, and is not this one."""
    until_s = time.monotonic() + LONG_S
    while True:
        for one in who():
            if one.pid != but:
                return one
        assert time.monotonic() < until_s, "nobody is there"
        await asyncio.sleep(0.05)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str:
    """Return the address of each kind of database."""
    if request.param == "sqlite":
        return ""
    server: Postgres = request.getfixturevalue("postgres")
    return server.database()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("rounds", [1, pytest.param(13, marks=pytest.mark.soak)])
def test_killed_runs_go_on_where_they_were_and_pay_nothing_twice(build: Build, database: str, rounds: int) -> None:
    dice = random.Random(rounds)

    async def story(house: House, memory: Memory) -> None:
        for number in range(rounds):
            names = [f"run {number}.{at}" for at in range(4)]
            ids = [await submit(house, graph(name), name) for name in names]
            for _ in range(dice.randint(1, 3) if rounds > 1 else 2):
                await asyncio.sleep(dice.uniform(0.5, 2.5))
                await kill(house, memory, dice)
            for name, id in zip(names, ids, strict=True):
                told = await ended(house, id)
                assert told["status"] == "succeeded", told
                assert texts_of(told) == expected(name)
        assert memory.paid_twice() == []
        assert len(memory.calls) == rounds * 4 * len(NEEDS)

    play(build, story, Memory(dice), database)


def test_a_stop_lets_calls_land_and_the_next_start_asks_none_of_them_again(build: Build) -> None:
    async def story(house: House, memory: Memory) -> None:
        id = await submit(house, graph("stopped"), "stopped")
        await once(house, id, lambda told: sum(bool(text) for text in texts_of(told).values()) >= 1)
        await asyncio.to_thread(eventually, lambda: len(memory.calls) >= 4, "the next are asked")
        assert await asyncio.to_thread(house.stop) == 0
        await asyncio.to_thread(house.start, with_prices=True)
        told = await ended(house, id)
        assert texts_of(told) == expected("stopped")
        assert {len(calls.began_s) for calls in memory.calls.values()} == {1}

    play(build, story, Memory(random.Random(1), 1.0, 1.5))


def test_a_cancelled_run_hangs_up_its_calls(build: Build) -> None:
    async def story(house: House, memory: Memory) -> None:
        memory.stalls = lambda prompt: " b" in prompt
        id = await submit(house, graph("cancelled"), "cancelled")
        stalled = f"cancelled b {expected('cancelled')['a']}"
        await asyncio.to_thread(eventually, lambda: stalled in memory.calls, "it is asked", LONG_S)
        reply = await send(house, "DELETE", EXECUTIONS + id)
        assert reply.status in (200, 202), reply
        # The vendor would take an hour: nothing but a hang-up ends this call.
        await asyncio.to_thread(eventually, lambda: memory.calls[stalled].left == 1, "it is hung up", LONG_S)
        assert (await ended(house, id))["status"] == "cancelled"

    play(build, story, Memory(random.Random(2)))


def test_a_resumed_run_asks_only_what_had_not_succeeded(build: Build) -> None:
    async def story(house: House, memory: Memory) -> None:
        memory.refuses = lambda prompt: prompt.startswith("failing e")
        id = await submit(house, graph("failing"), "failing")
        failed = await ended(house, id)
        assert failed["status"] == "failed"
        before = {prompt: len(calls.began_s) for prompt, calls in memory.calls.items()}
        memory.refuses = lambda prompt: False
        reply = await send(house, "POST", f"{EXECUTIONS}{id}/resume")
        assert reply.status == 202, reply
        told = await ended(house, id)
        assert texts_of(told) == expected("failing")
        again = {prompt for prompt, times in before.items() if len(memory.calls[prompt].began_s) > times}
        assert {prompt.split()[1] for prompt in again} == {"e"}

    play(build, story, Memory(random.Random(3)))


def test_a_webhook_is_told_of_an_end_until_it_has_it_signed(build: Build) -> None:
    async def story(house: House, memory: Memory) -> None:
        answered: list[int] = []

        async def play(exchange: Exchange) -> None:
            answered.append(200 if answered else 503)
            exchange.reply(answered[-1], b"")

        async with Upstream(play) as receiver:
            hook = receiver.base_url + "/hook"
            job = {"kind": "generate", "body": {"prompt": "for a hook"}, "webhook": hook}
            reply = await send(house, "POST", "/llm/jobs", job, **{"Content-Type": "application/json"})
            path = f"/llm/jobs/{reply.json()['jobId']}"
            until_s = time.monotonic() + LONG_S
            while (told := (await send(house, "GET", path)).json()).get("webhookDelivery", {}).get("tries") != 2:
                assert time.monotonic() < until_s, told
                await asyncio.sleep(0.1)
            assert told["webhookDelivery"] == {"status": "delivered", "tries": 2}
            first, second = receiver.seen
        assert first.body == second.body
        assert json.loads(second.body)["type"] == "execution.succeeded"
        at, signature = (part.partition("=")[2] for part in second.headers["x-askonce-signature"].split(","))
        key = bytes.fromhex(await asyncio.to_thread(house.run_command, "worker", "--webhook-key"))
        assert signature == hmac.new(key, f"{at}.".encode() + second.body, hashlib.sha256).hexdigest()

    play(build, story, Memory(random.Random(5)), more='webhook_hosts = ["127.0.0.1"]')


@pytest.mark.timeout(600)
def test_what_a_dead_node_was_at_another_one_takes_over(build: Build, postgres: Postgres) -> None:
    memory = Memory(random.Random(4), 1.0, 1.5)

    async def story() -> None:
        address = await asyncio.to_thread(postgres.database)
        async with Upstream(memory.play) as up:
            one, other = [build(settings(up), "", {"DATABASE_URL": address, "ASKONCE_SECRET": SECRET}) for _ in "12"]
            await asyncio.to_thread(one.start, with_prices=True)
            id = await submit(one, graph("orphan"), "orphan")
            await once(one, id, lambda told: sum(bool(text) for text in texts_of(told).values()) >= 2)
            memory.kills_s.append(time.monotonic())
            await asyncio.to_thread(one.end)
            await asyncio.to_thread(other.start, with_prices=True)
            told = await ended(other, id)
            assert told["status"] == "succeeded", told
            assert texts_of(told) == expected("orphan")
            assert memory.paid_twice() == []
            await asyncio.to_thread(other.end)

    run(story())
