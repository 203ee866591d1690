"""Retries of a named request over processes: whichever worker they reach, one call is paid."""

import asyncio
import json

import pytest
from tests.system.clients import GENERATE, Answered, Line, encode, run
from tests.system.houses import USAGE, Build, House, eventually, script

pytestmark = pytest.mark.process
FREE = 'workers = 4\nlimit_llm = "off"\nlimit_standard = "off"'
CODE = "```python src/answer.py\nprint(42)\n```\n"
NAMED = {"Idempotency-Key": "order-1"}


def asking(mode: str, stream: bool) -> bytes:
    return json.dumps({"prompt": "the same", "stream": stream, "cache": {"mode": mode}}).encode()


async def lines_of_two_workers(house: House) -> tuple[Line, Line]:
    """Return connections to two different workers."""
    one = await Line.to(house.port)
    await one.ask("GET", "/health")
    while True:
        other = await Line.to(house.port)
        await other.ask("GET", "/health")
        if house.owner(other.local_port) != house.owner(one.local_port):
            return one, other


@pytest.mark.parametrize("mode", ["off", "refresh", "default"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_retry_on_another_worker_gets_the_call_that_its_first_try_left(build: Build, mode: str, stream: bool) -> None:
    house = build(FREE, script(f"delay_ms = 1500\ntext = '''{CODE}'''\n{USAGE}")).start()

    async def leave_and_retry() -> list[Answered]:
        first, other = await lines_of_two_workers(house)
        await first.send(encode("POST", GENERATE, asking(mode, stream), NAMED))
        await asyncio.to_thread(eventually, house.calls, "the call is made")
        first.abort()
        joined = await other.ask("POST", GENERATE, asking(mode, stream), NAMED)
        return [joined, await other.ask("POST", GENERATE, asking(mode, stream=False), NAMED)]

    joined, told = run(leave_and_retry())
    assert (joined.status, told.status) == (200, 200)
    assert (joined.cache, told.cache) == ("coalesced", "hit")
    assert joined.whole_answer()["code"] == told.whole_answer()["code"] == "print(42)\n"
    assert told.headers["idempotent-replayed"] == "true"
    assert len(house.calls()) == 1
    stats = house.stats()
    assert (stats["coalesced"], stats["hits"], stats["abandoned"]) == (1, 1, 0)


def test_a_call_whose_caller_never_comes_back_is_kept_for_the_retry(build: Build) -> None:
    house = build(FREE, script(f"delay_ms = 700\ntext = '''{CODE}'''\n{USAGE}")).start()

    async def leave() -> None:
        line = await Line.to(house.port)
        await line.send(encode("POST", GENERATE, asking("off", stream=False), NAMED))
        await asyncio.to_thread(eventually, house.calls, "the call is made")
        line.abort()

    run(leave())
    eventually(lambda: house.stats()["uncached"] == 1, "it has landed")
    house.stop()
    house.start()

    async def retry() -> Answered:
        line = await Line.to(house.port)
        return await line.ask("POST", GENERATE, asking("off", stream=False), NAMED)

    told = run(retry())
    assert (told.cache, told.headers["idempotent-replayed"]) == ("hit", "true")
    assert len(house.calls()) == 1
    assert house.stats()["entries"] == 0
