"""One payment per question, over processes: 400 who ask the same at once, and callers who leave."""

import asyncio
import json
import time

import pytest
from tests.system.clients import GENERATE, Answered, Line, at_once, encode, post, request, run
from tests.system.houses import COST_NANO, USAGE, Build, House, eventually, script

pytestmark = pytest.mark.process
FREE = 'workers = 4\nlimit_llm = "off"\nlimit_standard = "off"'
CODE = "```python src/answer.py\nprint(42)\n```\n"
ASKED = 400


def stream_of(chunks: int, gap_ms: int) -> str:
    """Write a script whose answer comes in numbered pieces."""
    pieces = ", ".join(f'"piece {at}; "' for at in range(chunks))
    return script(f"chunk_ms = {gap_ms}\nchunks = [{pieces}]\n{USAGE}")


def asked_alike(house: House, number: int, **more: object) -> list[Answered]:
    """Ask one question at once, every second time as a stream."""
    bodies = [{"prompt": "the same", "stream": at % 2 == 1, **more} for at in range(number)]
    return run(at_once(house.port, bodies))


def assert_all_alike(replies: list[Answered]) -> None:
    """Check that every answer is whole and the same, and that the streams are well-formed."""
    assert {reply.status for reply in replies} == {200}
    assert all(reply.whole for reply in replies)
    assert {reply.whole_answer()["code"] for reply in replies} == {"print(42)\n"}
    for reply in replies:
        if reply.headers["content-type"].startswith("text/event-stream"):
            names = [name for name, _ in reply.events()]
            assert names[0] == "start"
            assert names[-1] == "done"
            assert names.count("file") == 1
            assert reply.streamed_text() == CODE


@pytest.mark.parametrize("rounds", [1, pytest.param(20, marks=pytest.mark.soak)])
def test_400_identical_at_once_are_one_call_and_the_counts_add_up(build: Build, rounds: int) -> None:
    house = build(FREE, script(f"delay_ms = 300\ntext = '''{CODE}'''\n{USAGE}")).start(with_prices=True)
    for number in range(1, rounds + 1):
        replies = asked_alike(house, ASKED, seed=number)
        assert_all_alike(replies)
        assert len({reply.worker for reply in replies}) >= 3
        assert len(house.calls()) == number
        ways = [reply.cache for reply in replies]
        assert ways.count("miss") == 1
        stats = house.stats()
        assert stats["misses"] == number
        assert stats["hits"] + stats["coalesced"] == (ASKED - 1) * number
        assert stats["savingsNano"] == COST_NANO * (ASKED - 1) * number
        assert stats["spentNano"] == COST_NANO * number
        assert sum(stats["savings"].values()) == stats["savingsNano"]
        assert stats["savings"]["coalesced"] == COST_NANO * stats["coalesced"]
        assert stats["savedTokens"] == 123 * (ASKED - 1) * number
        assert stats["entries"] == number
        assert ways.count("hit") <= stats["hits"]
        saved = [reply.whole_answer()["metadata"]["savedNano"] for reply in replies]
        assert sum(saved) == COST_NANO * (ASKED - 1)


def test_a_failure_is_everybodys_and_nothing_is_stored(build: Build) -> None:
    house = build(FREE, script("delay_ms = 300\nerror = { status = 500, message = 'no' }")).start()
    replies = asked_alike(house, 60)
    assert {reply.status for reply in replies} == {502}
    assert {reply.json()["code"] for reply in replies} == {"provider_error"}
    stats = house.stats()
    assert (stats["hits"], stats["misses"], stats["coalesced"], stats["entries"]) == (0, 0, 0, 0)
    assert stats["failed"] == len(house.calls())
    assert len(house.calls()) < 4


def test_streams_on_other_workers_get_every_piece_as_it_comes(build: Build) -> None:
    house = build(FREE, stream_of(20, 40)).start()

    async def follow() -> list[tuple[Answered, int]]:
        lines = [await Line.to(house.port) for _ in range(16)]
        body = json.dumps({"prompt": "go on", "stream": True}).encode()
        await asyncio.gather(*(line.send(encode("POST", GENERATE, body)) for line in lines))

        async def read(line: Line) -> tuple[Answered, int]:
            status, headers = await line.head()
            pieces = []
            while piece := await line.piece():
                pieces.append(piece)
            line.hang_up()
            return Answered(status, headers, b"".join(pieces)), len(pieces)

        return await asyncio.gather(*(read(line) for line in lines))

    replies = run(follow())
    assert len({reply.worker for reply, _ in replies}) >= 3
    for reply, pieces in replies:
        assert reply.streamed_text() == "".join(f"piece {at}; " for at in range(20))
        assert pieces >= 15  # not held back: the 20 pieces did not arrive in a lump
    assert len(house.calls()) == 1


def test_a_caller_who_leaves_alone_ends_the_call(build: Build) -> None:
    house = build(FREE, script("hang = true")).start()

    async def leave(stream: bool) -> None:
        before = len(house.calls())
        line = await Line.to(house.port)
        await line.send(encode("POST", GENERATE, json.dumps({"prompt": "never", "stream": stream}).encode()))
        await asyncio.to_thread(eventually, lambda: len(house.calls()) > before, "the call is made")
        line.abort() if stream else line.hang_up()

    for stream in (False, True):
        run(leave(stream))
        eventually(lambda: house.stats()["abandoned"] == len(house.calls()), "the call is cancelled", within_s=8)
    assert len(house.calls()) == 2


def test_a_caller_who_leaves_while_others_wait_changes_nothing_for_them(build: Build) -> None:
    house = build(FREE, script(f"delay_ms = 1500\ntext = '''{CODE}'''\n{USAGE}")).start()

    async def act() -> list[Answered]:
        first = await Line.to(house.port)
        await first.send(encode("POST", GENERATE, json.dumps({"prompt": "the same"}).encode()))
        await asyncio.to_thread(eventually, house.calls, "the call is made")
        others = [
            asyncio.create_task(post(house.port, {"prompt": "the same", "stream": at % 2 == 1})) for at in range(12)
        ]
        await asyncio.sleep(0.2)  # they are on their way: what follows must come after them
        first.abort()
        return await asyncio.gather(*others)

    assert_all_alike(run(act()))
    assert len(house.calls()) == 1
    stats = house.stats()
    assert (stats["misses"], stats["abandoned"], stats["failed"]) == (1, 0, 0)
    assert stats["hits"] + stats["coalesced"] == 12


def test_what_is_asked_again_differently_spelled_is_a_hit_everywhere(build: Build) -> None:
    house = build(FREE).start()
    assert house.ask("x", temperature=1).cache == "miss"
    replies = run(at_once(house.port, [{"temperature": 1.0, "prompt": "x"}] * 24))
    assert {reply.cache for reply in replies} == {"hit"}
    assert len({reply.worker for reply in replies}) >= 3
    assert house.ask("x").cache == "miss"
    assert len(house.calls()) == 2


def test_every_cache_mode_keeps_its_promise_over_all_workers(build: Build) -> None:
    house = build(FREE, script(f"delay_ms = 200\ntext = '''{CODE}'''\n{USAGE}")).start(with_prices=True)

    def ways(mode: str, number: int = 12, **more: object) -> list[str]:
        body = {"prompt": "the same", "cache": {"mode": mode, **more}}
        replies = run(at_once(house.port, [body] * number))
        assert len({reply.worker for reply in replies}) >= 2
        return [reply.cache if reply.status == 200 else reply.json()["code"] for reply in replies]

    assert set(ways("only")) == {"cache_miss"}
    assert len(house.calls()) == 0
    assert ways("off") == ["off"] * 12  # every one of them is paid for, and none is kept
    assert len(house.calls()) == 12
    assert set(ways("only")) == {"cache_miss"}
    assert sorted(ways("refresh")) == ["coalesced"] * 11 + ["refresh"]
    assert sorted(ways("refresh")) == ["coalesced"] * 11 + ["refresh"]
    assert len(house.calls()) == 14
    assert set(ways("only")) == {"hit"}
    assert sorted(ways("refresh", ttl=1)) == ["coalesced"] * 11 + ["refresh"]
    time.sleep(1.1)  # the time to live is what is tested
    assert set(ways("only")) == {"cache_miss"}
    assert "miss" in ways("default")
    assert len(house.calls()) == 16
    assert run(request(house.port, "DELETE", "/llm/cache")).json()["deleted"] == 1
    assert set(ways("only")) == {"cache_miss"}
    stats = house.stats()
    assert (stats["misses"], stats["uncached"]) == (4, 12)
    assert stats["hits"] + stats["coalesced"] == 12 + 4 * 11
    assert stats["spentNano"] == 16 * COST_NANO
    assert stats["savingsNano"] == (12 + 4 * 11) * COST_NANO


def test_a_call_that_everybody_left_is_not_joined_by_who_comes_then(build: Build) -> None:
    house = build(FREE, script("times = 1\nhang = true", f"text = '''{CODE}'''\n{USAGE}")).start()

    async def leave_and_come() -> Answered:
        line = await Line.to(house.port)
        await line.send(encode("POST", GENERATE, json.dumps({"prompt": "the same"}).encode()))
        await asyncio.to_thread(eventually, house.calls, "the call is made")
        line.abort()
        await asyncio.to_thread(eventually, lambda: house.stats()["abandoned"] == 1, "it is hung up")
        pid = 0
        while pid != house.calls()[0]["pid"]:  # `times` counts by process: ask the one that has played the first
            line = await Line.to(house.port)
            await line.ask("GET", "/health")
            pid = house.owner(line.local_port)
        return await line.post(prompt="the same")

    assert run(leave_and_come()).cache == "miss"
    assert len(house.calls()) == 2
