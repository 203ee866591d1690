"""Stream: is any chunk held back, and what does the gateway spend on one?

A vendor sends 200 streams of 50 chunks, one each 20 ms, with the time in each chunk. A chunk is held back if it comes
later than the vendor sends the next one. The same streams are first read from the vendor directly: what is late there
is the machine's doing, or the client's.
"""

import json
import time
from pathlib import Path

import uvloop

from bench import questions
from bench.clients import ask_all, connect, request
from bench.figures import Result, Scale, median, percentile, shared
from bench.servers import LOAD_CORE, Server, askonce, at_vendor, on_core, spent, vendor

STREAMS, CHUNKS, GAP_MS = 200, 50, 20.0
OVER_S = 1.0  # streams begin one after the other, as they do
IDLE_S = 2.0
MODEL = "openai:gpt-4o"


def run(folder: Path, scale: Scale) -> list[Result]:
    """Read the streams directly, then through the gateway, in turns."""
    print(f"{STREAMS} streams at once, begun over {OVER_S:.0f} s, of {CHUNKS} chunks, one each {GAP_MS:.0f} ms")
    manner = ("--chunks", str(CHUNKS), "--gap-ms", str(GAP_MS))
    with vendor(*manner) as port, askonce(folder / "streams", at_vendor(port)) as server, on_core(LOAD_CORE):
        return measure(server, port, scale)


def measure(server: Server, port: int, scale: Scale) -> list[Result]:
    """Compare the delays of all chunks of all rounds."""
    worker = server.workers()[0]
    idle_share = idle(worker)
    all_direct: list[float] = []
    all_routed: list[float] = []
    cpu_us: list[float] = []
    waited: list[float] = []
    for number in range(-1, scale.rounds):  # the first warms up
        direct = listen(port, "/v1/chat/completions", [_plain(n) for n in range(STREAMS)])
        before = spent(worker)
        routed = listen(
            server.port, "/llm/generate", [questions.body(f"{number}.{n}", MODEL, stream=True) for n in range(STREAMS)]
        )
        taken = spent(worker).since(before)
        if number < 0:
            continue
        cpu_us.append((taken.ran_ns - idle_share * taken.at_ns) / (STREAMS * CHUNKS) / 1000)
        waited.append(taken.waited_ns / taken.at_ns)
        all_direct += direct
        all_routed += routed
        print(
            f"round {number + 1}: direct {_words(direct)}   askonce {_words(routed)}, {cpu_us[-1]:.1f} µs per chunk, "
            f"waited {waited[-1]:.0%}"
        )
    late, late_directly = held(all_routed), held(all_direct)
    doubted = shared(waited)
    if late_directly:
        doubted += (f"{late_directly} chunks were late without Askonce, too",)
    added_ms = median(all_routed) - median(all_direct)
    return [
        Result("streams", f"chunks held back, of {len(all_routed):,}", str(late), "0", late == 0, doubted),
        Result("streams", "a chunk's delay, p50 and p99", f"{_short(all_routed)} ms, directly {_short(all_direct)} ms"),
        Result("streams", "added per chunk, p50", f"{added_ms:.2f} ms"),
        Result("streams", "the gateway's CPU per chunk", f"{median(cpu_us):.1f} µs"),
    ]


def idle(pid: int) -> float:
    """Return the share of a core that a process takes while nobody asks anything."""
    before = spent(pid)
    time.sleep(IDLE_S)
    taken = spent(pid).since(before)
    return taken.ran_ns / taken.at_ns


def listen(port: int, path: str, bodies: list[str]) -> list[float]:
    """Ask for all streams; return how many milliseconds each chunk was under way."""
    return uvloop.run(_listen(port, [request(port, path, body, number) for number, body in enumerate(bodies)]))


async def _listen(port: int, asked: list[bytes]) -> list[float]:
    listeners = await connect(port, len(asked), CHUNKS)
    await ask_all(listeners, asked, OVER_S)
    for listener in listeners:
        if len(listener.delays_ns) != CHUNKS:
            raise SystemExit(f"{len(listener.delays_ns)} chunks came: {bytes(listener.data[:2000])!r}")
    return [delay_ns / 1e6 for listener in listeners for delay_ns in listener.delays_ns]


def held(delays_ms: list[float]) -> int:
    """Count the chunks that came after the next one was sent."""
    return sum(delay >= GAP_MS for delay in delays_ms)


def _plain(number: int) -> str:
    messages = [{"role": "user", "content": f"question {number}"}]
    return json.dumps({"model": "gpt-4o", "stream": True, "messages": messages})


def _short(delays_ms: list[float]) -> str:
    return f"{median(delays_ms):.2f} and {percentile(delays_ms, 0.99):.2f}"


def _words(delays_ms: list[float]) -> str:
    return f"p50/p99/max {_short(delays_ms)}/{max(delays_ms):.1f} ms, {held(delays_ms)} held"
