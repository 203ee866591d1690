"""What open dashboards cost a server: a hundred of them, against none, under the same steady traffic.

Half show the overview, half the requests as they come. Each reads all that it is sent. The traffic is a few questions
a second, of which each second one is new, so that there is something to show at every look.
"""

import asyncio
import time
from pathlib import Path

from bench import questions
from bench.clients import request
from bench.figures import Result, Scale, median, shared
from bench.servers import LOAD_CORE, TRUSTED, Server, askonce, on_core, scripted, spent

DASHBOARDS = 100
VIEWS = ("/admin/overview/events?range=24h", "/admin/requests/events")
TARGET = 0.05
PER_SECOND = 20
SETTLE_S = 4.0  # until streams have begun, and the first looks are over
SETTINGS = f'{TRUSTED}\nlimit_llm = "off"\nlimit_standard = "off"\nsample = 1.0\n'


def run(folder: Path, scale: Scale) -> list[Result]:
    """Measure without and with dashboards, in turns."""
    home = folder / "dashboards"
    seconds = max(10, 3 * scale.seconds)
    shares: list[float] = []
    sent: list[float] = []
    waited: list[float] = []
    with askonce(home, scripted(home, questions.CODE, SETTINGS)) as server, on_core(LOAD_CORE):
        for number in range(scale.rounds):
            none, _, wait = asyncio.run(_round(server, 0, seconds))
            all_, read, wait_too = asyncio.run(_round(server, DASHBOARDS, seconds))
            shares.append(all_ - none)
            sent.append(read)
            waited += [wait, wait_too]
            print(
                f"round {number + 1}: {none:.2%} of a core without, {all_:.2%} with {DASHBOARDS} dashboards; "
                f"{read / 1000:.0f} kB/s sent to them"
            )
    share = median(shares)
    return [
        Result(
            "dashboards",
            f"{DASHBOARDS} open dashboards, share of a core",
            f"{share:.2%}",
            f"< {TARGET:.0%}",
            share < TARGET,
            shared(waited),
        ),
        Result("dashboards", "sent to all of them together, kB/s", f"{median(sent) / 1000:.0f}"),
    ]


async def _round(server: Server, dashboards: int, seconds: int) -> tuple[float, float, float]:
    """Return the share of a core that gateway and worker took, bytes per second read, and how long they waited."""
    read = [0]
    readers = [asyncio.create_task(_read(server.port, VIEWS[n % 2], read)) for n in range(dashboards)]
    traffic = asyncio.create_task(_ask(server.port))
    await asyncio.sleep(SETTLE_S)
    processes = [*server.workers(), server.scribe()]
    before, already = [spent(pid) for pid in processes], read[0]
    await asyncio.sleep(seconds)
    taken = [spent(pid).since(former) for pid, former in zip(processes, before, strict=True)]
    rate = (read[0] - already) / seconds
    for task in (traffic, *readers):
        task.cancel()
    ended = await asyncio.gather(traffic, *readers, return_exceptions=True)
    broken = [one for one in ended if isinstance(one, Exception)]
    if broken:
        raise SystemExit(f"{len(broken)} connections broke: {broken[0]!r}")
    return sum(one.ran_ns / one.at_ns for one in taken), rate, max(one.waited_ns / one.at_ns for one in taken)


async def _read(port: int, path: str, read: list[int]) -> None:
    """Hold a dashboard open."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: text/event-stream\r\n\r\n".encode())
        while data := await reader.read(65536):
            if not read[0] and not data.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"the stream was refused: {data[:200]!r}")
            read[0] += len(data)
        raise ConnectionError("the stream ended")
    finally:
        writer.close()


async def _ask(port: int) -> None:
    """Ask at a steady pace."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for number in range(1_000_000):
            body = questions.body() if number % 2 else questions.body(f"at {time.time_ns()}")
            writer.write(request(port, "/llm/generate", body))
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            await asyncio.sleep(1 / PER_SECOND)
    finally:
        writer.close()
