"""Processes that are killed or frozen under load: no answer lost, no count lost, and the service goes on."""

import asyncio
import json
import random
import signal
from collections.abc import Iterable

import psutil
import pytest
from tests.system.clients import GENERATE, Answered, Line, at_once, encode, nobody_listens, post, run
from tests.system.houses import COST_NANO, USAGE, Build, House, eventually, lives, script
from tests.system.loads import Memory, hold_against_books, press

pytestmark = pytest.mark.process
FREE = 'workers = 4\nlimit_llm = "off"\nlimit_standard = "off"'
WORKING = script(f'delay_ms = 20\ntext = "Answer to {{prompt}}"\n{USAGE}')
STUCK_S = 30.0  # long after a frozen process is killed, and with it whatever lock it held
FEW_AND_MANY = [3, pytest.param(40, marks=pytest.mark.soak)]
TOLD = " ".join(map(str, range(12)))
TALE = script(f"delay_ms = 300\nchunk_ms = 200\nchunks = {json.dumps([f'{word} ' for word in TOLD.split()])}\n{USAGE}")


def choose(house: House) -> int:
    """Return the pid of one worker, of all alike."""
    pids = sorted(worker.pid for worker in house.workers())
    return random.Random(sum(pids)).choice(pids)


async def harm_one(house: House, victim: int, number: signal.Signals) -> None:
    """Send one worker a signal under load, and wait until another stands in its place and serves."""
    before = house.workers()
    await asyncio.sleep(0.2)  # so that there is load when it happens
    psutil.Process(victim).send_signal(number)
    await asyncio.to_thread(eventually, lambda: victim not in {w.pid for w in house.workers()}, "the victim is gone")
    await asyncio.to_thread(eventually, lambda: len(house.workers()) == len(before), "another stands in its place")
    await asyncio.to_thread(house.await_workers)
    await asyncio.sleep(0.1)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rounds", FEW_AND_MANY)
def test_a_worker_killed_under_load_takes_no_answer_and_no_count_with_it(build: Build, rounds: int) -> None:
    house = build(FREE, WORKING).start(with_prices=True)
    memory = Memory()
    for _ in range(rounds):
        run(press(house, memory, lambda: harm_one(house, choose(house), signal.SIGKILL)))
    assert not memory.others
    assert memory.broken <= rounds * 8
    hold_against_books(house, memory)


async def hold_lines(house: House) -> dict[int, Line]:
    """Connect to every worker; return the connections by pid."""
    held: dict[int, Line] = {}
    while len(held) < len(house.workers()):
        line = await Line.to(house.port)
        await line.ask("GET", "/health")
        held.setdefault(house.owner(line.local_port), line)
    return held


async def go_on(lines: Iterable[Line], over: asyncio.Event, memory: Memory) -> None:
    """Ask for what is stored over held connections, again and again, and once more behind the end."""

    async def one(line: Line) -> None:
        ending = False
        while not ending:
            ending = over.is_set()
            assert (await line.post(prompt="stored")).cache == "hit"
            memory.ways["hit"] += 1

    await asyncio.gather(*map(one, lines))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rounds", [2, pytest.param(25, marks=pytest.mark.soak)])
def test_a_worker_frozen_under_load_is_replaced_while_others_go_on(build: Build, rounds: int) -> None:
    house = build(FREE, WORKING).start(with_prices=True)
    memory = Memory()
    assert house.ask("stored").cache == "miss"
    memory.ways["miss"] += 1

    async def freeze_one() -> None:
        lines = await hold_lines(house)
        victim, over = choose(house), asyncio.Event()
        others = [line for pid, line in lines.items() if pid != victim]
        going_on = asyncio.create_task(go_on(others, over, memory))
        await harm_one(house, victim, signal.SIGSTOP)
        over.set()
        async with asyncio.timeout(STUCK_S):
            await going_on

    for _ in range(rounds):
        run(press(house, memory, freeze_one))
    assert not memory.others
    hold_against_books(house, memory)
    frozen = [line for line in house.log() if line["event"] == "killed"]
    assert [line["because"] for line in frozen] == ["frozen"] * rounds


async def boarded(house: House, streams: int, plain: int) -> tuple[int, list[Line], list[Line]]:
    """Begin a call, then follow it from other workers; return the leader's pid, and who follows it elsewhere."""
    leading = await Line.to(house.port)
    await leading.send(encode("POST", GENERATE, json.dumps({"prompt": "tell", "stream": True}).encode()))
    await asyncio.to_thread(eventually, house.calls, "the call is made")
    leader = house.calls()[0]["pid"]
    lines: list[Line] = []
    pids: dict[str, int] = {}
    while len(lines) < streams + plain:
        line = await Line.to(house.port)
        name = (await line.ask("GET", "/health")).worker
        if name not in pids:
            pids[name] = house.owner(line.local_port)
        if pids[name] == leader:
            line.hang_up()
        else:
            lines.append(line)
    for at, line in enumerate(lines):
        body = {"prompt": "tell", "stream": at < streams}
        await line.send(encode("POST", GENERATE, json.dumps(body).encode()))
    return leader, lines[:streams], lines[streams:]


def test_when_a_leader_is_killed_streams_with_text_fail_and_all_others_are_answered_by_one_more_call(
    build: Build,
) -> None:
    house = build(FREE, TALE).start(with_prices=True)

    async def act() -> tuple[list[Answered], list[Answered]]:
        leader, streams, plain = await boarded(house, 5, 5)
        heads = [await line.head() for line in streams]
        begun = [b"".join([await line.piece() for _ in range(2)]) for line in streams]  # start and the first text
        psutil.Process(leader).kill()
        replies = await asyncio.gather(*(line.reply() for line in plain))
        lost = []
        for line, head, begin in zip(streams, heads, begun, strict=True):
            rest = b""
            while piece := await line.piece():
                rest += piece
            lost.append(Answered(*head, begin + rest))
        return lost, replies

    lost, replies = run(act())
    for stream in lost:
        names = [name for name, _ in stream.events()]
        assert names[0] == "start"
        assert "delta" in names
        assert names[-1] == "error"
        assert stream.events()[-1][1]["code"] == "flight_lost"
        assert stream.events()[-1][1]["requestId"] == stream.headers["x-request-id"]
    assert {reply.status for reply in replies} == {200}
    assert {reply.json()["code"].strip() for reply in replies} == {TOLD}
    assert len(house.calls()) == 2
    stats = house.stats()
    assert stats["misses"] == 1
    assert stats["entries"] == 1
    assert stats["hits"] + stats["coalesced"] in (len(replies), len(replies) - 1)
    assert stats["spentNano"] == COST_NANO


def test_when_a_leader_is_killed_before_any_text_nobody_notices(build: Build) -> None:
    house = build(FREE, script(f"delay_ms = 2500\ntext = 'Told.'\n{USAGE}")).start()

    async def act() -> list[Answered]:
        leader, streams, plain = await boarded(house, 4, 4)
        await asyncio.sleep(0.2)  # what was sent has arrived
        psutil.Process(leader).kill()
        return await asyncio.gather(*(line.reply() for line in streams + plain))

    replies = run(act())
    assert {reply.whole_answer()["code"] for reply in replies} == {"Told."}
    assert len(house.calls()) == 2


def test_a_frozen_leader_is_as_good_as_a_dead_one(build: Build) -> None:
    house = build(FREE, script(f"delay_ms = 2500\ntext = 'Told.'\n{USAGE}")).start()

    async def act() -> list[Answered]:
        leader, streams, plain = await boarded(house, 3, 3)
        psutil.Process(leader).suspend()
        return await asyncio.gather(*(line.reply() for line in streams + plain))

    replies = run(act())
    assert {reply.whole_answer()["code"] for reply in replies} == {"Told."}
    assert len(house.calls()) == 2


def test_a_stop_and_a_start_keep_entries_counters_and_windows(build: Build) -> None:
    house = build('workers = 2\nlimit_llm = "20/600s"\nlimit_standard = "off"').start(with_prices=True)
    replies = run(at_once(house.port, [{"prompt": f"question {at % 5}"} for at in range(15)]))
    assert {reply.status for reply in replies} == {200}
    before = house.stats()
    assert house.stop() == 0
    assert nobody_listens(house.port)
    assert not house.family()
    house.start()
    assert house.stats() == before
    again = run(at_once(house.port, [{"prompt": f"question {at % 5}"} for at in range(10)]))
    assert sorted(reply.status for reply in again) == [200] * 5 + [429] * 5
    assert {reply.cache for reply in again if reply.status == 200} == {"hit"}
    assert len(house.calls()) == 5


def test_a_stop_lets_what_is_in_the_air_land(build: Build) -> None:
    house = build(FREE, script(f"delay_ms = 1200\ntext = 'Told.'\n{USAGE}")).start()

    async def act() -> list[Answered]:
        asked = [asyncio.create_task(post(house.port, {"prompt": "tell", "stream": at % 2 == 1})) for at in range(6)]
        await asyncio.to_thread(eventually, house.calls, "the call is made")
        await asyncio.sleep(0.3)  # so that the others' requests have arrived as well
        assert house.process is not None
        house.process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(eventually, lambda: nobody_listens(house.port), "nobody is accepted any more")
        return await asyncio.gather(*asked)

    assert {reply.whole_answer()["code"] for reply in run(act())} == {"Told."}
    assert house.process is not None
    assert house.process.wait(10) == 0
    house.start()
    assert house.ask("tell").cache == "hit"
    assert len(house.calls()) == 1


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rounds", [1, pytest.param(15, marks=pytest.mark.soak)])
def test_a_killed_supervisor_takes_its_house_along_and_the_next_one_finds_everything(build: Build, rounds: int) -> None:
    house = build(FREE, WORKING).start(with_prices=True)
    memory = Memory()

    async def harm() -> None:
        await asyncio.sleep(0.5)
        family = house.family()
        assert len(family) >= 4
        assert house.process is not None
        house.process.kill()
        house.process.wait()
        await asyncio.to_thread(eventually, lambda: not any(map(lives, family)), "its children are gone", 6)

    for _ in range(rounds):
        run(press(house, memory, harm))
        # A dead process's sockets go with the last of its threads, a moment after it can be seen to be dead.
        eventually(lambda: nobody_listens(house.port), "its port is free", 3)
        house.start()
        hold_against_books(house, memory)
        memory.ways["hit"] += len(memory.answered)  # what was just asked for the proof
