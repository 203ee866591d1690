"""Stream: is any chunk held back, and what does the gateway spend on one?

A vendor sends 200 streams of 50 chunks, one each 20 ms, with the time in each chunk. A chunk is held back if it comes
later than the vendor sends the next one. The same streams are first read from the vendor directly: what is late there
is the machine's doing, or the client's. What a chunk costs is compared with a relay that passes the vendor's bytes on
unread. Both spend most of it in the kernel and in the server, which must take and send each chunk by itself.
"""

import time
from pathlib import Path

import uvloop

from bench import questions
from bench.clients import ask_all, connect, request
from bench.figures import Result, Scale, doubts, median, percentile, shared
from bench.servers import LOAD_CORE, Server, askonce, at_vendor, on_core, relay, spent, vendor

DOOR = "/v1/chat/completions"
STREAMS, CHUNKS, GAP_MS = 100, 100, 20.0
TARGET_US = 30.0
OVER_S = 1.0  # streams begin one after the other, as they do
IDLE_S = 2.0
MODEL = "openai:gpt-4o"


def run(folder: Path, scale: Scale) -> list[Result]:
    """Read the streams directly, through the bare relay, and through the gateway, in turns."""
    print(f"{STREAMS} streams at once, begun over {OVER_S:.0f} s, of {CHUNKS} chunks, one each {GAP_MS:.0f} ms")
    manner = ("--chunks", str(CHUNKS), "--gap-ms", str(GAP_MS))
    with (
        vendor(*manner) as port,
        relay(port) as bare,
        askonce(folder / "streams", at_vendor(port)) as server,
        on_core(LOAD_CORE),
    ):
        return measure(server, port, Carrier(*bare), scale)


class Carrier:
    """Listen through one server and see what it spends on a chunk."""

    def __init__(self, port: int, pid: int) -> None:
        self._port = port
        self._pid = pid
        self._idle_share = idle(pid)
        self.delays_ms: list[float] = []
        self.cpu_us: list[float] = []
        self.waited: list[float] = []

    def carry(self, round_name: str, *, counts: bool) -> str:
        """Ask for all streams once; say how that went."""
        before = spent(self._pid)
        delays_ms = listen(self._port, [questions.chat(f"{round_name}.{n}", stream=True) for n in range(STREAMS)])
        taken = spent(self._pid).since(before)
        cpu_us = (taken.ran_ns - self._idle_share * taken.at_ns) / (STREAMS * CHUNKS) / 1000
        if counts:
            self.delays_ms += delays_ms
            self.cpu_us.append(cpu_us)
            self.waited.append(taken.waited_ns / taken.at_ns)
        return f"{_words(delays_ms)}, {cpu_us:.1f} µs per chunk"


def measure(server: Server, port: int, bare: Carrier, scale: Scale) -> list[Result]:
    """Compare the delays and the costs of all chunks of all rounds."""
    ours = Carrier(server.port, server.workers()[0])
    direct: list[float] = []
    for number in range(-1, scale.rounds):  # the first warms up
        heard = listen(port, [questions.chat(f"{n}", stream=True) for n in range(STREAMS)])
        relayed = bare.carry(str(number), counts=number >= 0)
        routed = ours.carry(str(number), counts=number >= 0)
        if number >= 0:
            direct += heard
            print(f"round {number + 1}: direct {_words(heard)}   bare relay {relayed}   askonce {routed}")
    late, late_directly = held(ours.delays_ms), held(direct)
    shares = shared(ours.waited)
    doubted = shares + ((f"{late_directly} chunks were late without Askonce, too",) if late_directly else ())
    cpu_us, bare_us = median(ours.cpu_us), median(bare.cpu_us)
    shares += doubts(bare.cpu_us, "the bare relay's CPU")
    delays = f"{_short(ours.delays_ms)} ms, relayed {_short(bare.delays_ms)}, directly {_short(direct)}"
    return [
        Result("streams", f"chunks held back, of {len(ours.delays_ms):,}", str(late), "0", late == 0, doubted),
        Result("streams", "a chunk's delay, p50 and p99", delays),
        Result("streams", "CPU per chunk", f"{cpu_us:.1f} µs", f"< {TARGET_US:.0f} µs", cpu_us < TARGET_US, shares),
        Result("streams", "the same, less a bare relay's", f"{cpu_us - bare_us:.1f} µs (its own: {bare_us:.1f} µs)"),
    ]


def idle(pid: int) -> float:
    """Return the share of a core that a process takes while nobody asks anything."""
    before = spent(pid)
    time.sleep(IDLE_S)
    taken = spent(pid).since(before)
    return taken.ran_ns / taken.at_ns


def listen(port: int, bodies: list[str]) -> list[float]:
    """Ask for all streams; return how many milliseconds each chunk was under way."""
    return uvloop.run(_listen(port, [request(port, DOOR, body, number) for number, body in enumerate(bodies)]))


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


def _short(delays_ms: list[float]) -> str:
    return f"{median(delays_ms):.2f} and {percentile(delays_ms, 0.99):.2f}"


def _words(delays_ms: list[float]) -> str:
    return f"p50/p99/max {_short(delays_ms)}/{max(delays_ms):.1f} ms, {held(delays_ms)} held"
