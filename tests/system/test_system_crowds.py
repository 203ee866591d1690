"""Many who hold connections and say nothing, or very little: everybody else is served, and nothing grows for ever."""

import asyncio
import resource
import socket
import time
from collections.abc import Iterator

import psutil
import pytest
from tests.system.clients import Line, encode, request, run
from tests.system.houses import Build, House, eventually

pytestmark = pytest.mark.process
SETTINGS = 'limit_llm = "off"\nlimit_standard = "off"\nledger_worker = "off"\nbody_timeout = "2s"\n'
IDLE = 10_000
SOURCES = 2  # addresses of loopback, whose ports are enough for so many connections


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process and its children have enough files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = IDLE + 2_000
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"ulimit -Hn is {hard}, this test needs {wanted}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def asked_in(house: House, number: int) -> float:
    """Ask so many known questions, one at a time; return the median of the times, in seconds."""
    times = []
    for _ in range(number):
        began = time.monotonic()
        assert house.ask("known").status == 200
        times.append(time.monotonic() - began)
    return sorted(times)[number // 2]


def is_served(house: House) -> bool:
    try:
        return house.ask("known").status == 200
    except OSError:  # whoever comes while there is no file for them is hung up on
        return False


def test_10000_idle_connections_cost_memory_that_is_known_and_slow_nobody_down(build: Build, many_files: None) -> None:
    house = build(SETTINGS).start()
    asked_in(house, 3)
    worker = house.workers()[0]
    before, calm_s = worker.memory_info().rss, asked_in(house, 20)
    held = []
    try:
        for number in range(IDLE):
            one = socket.socket()
            one.bind((f"127.0.0.{2 + number % SOURCES}", 0))
            one.connect(("127.0.0.1", house.port))
            held.append(one)
        eventually(lambda: worker.num_fds() > IDLE, "all are accepted")
        assert asked_in(house, 20) < 10 * calm_s + 0.05
        grown = worker.memory_info().rss - before
        assert grown / IDLE < 20_000, f"{grown / IDLE:.0f} bytes for each"
    finally:
        for one in held:
            one.close()
    eventually(lambda: worker.num_fds() < 200, "all are forgotten")


def test_slow_loris_is_cut_off_and_others_are_served(build: Build) -> None:
    house = build(SETTINGS).start()
    whole = encode("POST", "/llm/generate", b'{"prompt": "dripping"}')
    head_ends = whole.index(b"\r\n\r\n") + 4

    async def drip(start: int) -> float:
        """Send a request byte by byte from somewhere on; return after how many seconds the server had enough."""
        line = await Line.to(house.port)
        await line.send(whole[:start])
        began = time.monotonic()
        reply = asyncio.ensure_future(line.reply("POST"))
        for byte in whole[start:]:
            if reply.done():
                break
            await line.send(bytes((byte,)))
            await asyncio.wait([reply], timeout=1)
        assert (await reply).status == 408
        return time.monotonic() - began

    async def play() -> list[float]:
        drips = [asyncio.ensure_future(drip(head_ends + 1)) for _ in range(50)]
        await asyncio.sleep(0.5)
        for number in range(10):
            reply = await request(house.port, "POST", "/llm/generate", b'{"prompt": "quick %d"}' % number)
            assert reply.status == 200
        return await asyncio.gather(*drips)

    assert max(run(play())) < 8
    assert not any("dripping" in str(call) for call in house.calls())


def test_when_files_run_out_who_is_there_is_served_and_it_recovers_without_spinning(build: Build) -> None:
    house = build(SETTINGS).start()
    worker = house.workers()[0]
    reply = house.ask("known")
    assert reply.status == 200

    async def play() -> None:
        old = await Line.to(house.port)
        assert (await old.post(prompt="known")).status == 200
        used = worker.num_fds()
        worker.rlimit(psutil.RLIMIT_NOFILE, (used + 5, used + 5))
        crowd = [await Line.to(house.port) for _ in range(40)]
        await asyncio.sleep(0.5)
        assert (await old.post(prompt="known")).status == 200, "who is there already is served"
        busy = sum(worker.cpu_times()[:2])
        await asyncio.sleep(2)
        assert sum(worker.cpu_times()[:2]) - busy < 1.0, "it does not spin"
        for line in crowd:
            line.hang_up()

    run(play())
    eventually(lambda: is_served(house), "it takes connections again", 10)
    assert house.workers()[0].pid == worker.pid, "it was not replaced"
