"""Answer from the store: Askonce against a bare ASGI app that returns the same bytes, in turns, on one core.

The ratio of requests per second is what is promised, and means something only where the server was the limit. The ratio
of the servers' CPU time per request depends less on who else wants the core; but a server that idles spends more on
each request, because it is woken for every one.
"""

import json
from pathlib import Path

from bench import questions
from bench.figures import IDLE_MAX, Result, Scale, doubts, median, shared
from bench.load import Load, Question, wrk
from bench.servers import Server, askonce, bare, post, scripted

TARGET = 0.6
CONNECTIONS = 32


def run(folder: Path, scale: Scale) -> list[Result]:
    """Load both in turns."""
    body = questions.body()
    with askonce(folder / "hits", scripted(folder / "hits", questions.CODE)) as server:
        for _ in range(2):
            status, headers, reply = post(f"{server.url}/llm/generate", body.encode(), {"X-Forwarded-For": "127.9.9.9"})
        if status != 200 or json.loads(reply)["metadata"]["cache"] != "hit":
            raise SystemExit(reply.decode())
        print(f"request {len(body)} B, reply {len(reply)} B of body, {CONNECTIONS} connections, {scale.seconds} s each")
        with bare(folder, headers, reply) as (url, pid):
            return measure(server, Yardstick(url, pid), Question(body), scale)


class Yardstick:
    """Hold the address and the process of the bare server."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = f"{url}/llm/generate"
        self.pid = pid


def measure(
    server: Server, yardstick: Yardstick, question: Question, scale: Scale, name: str = "hits", target: float = TARGET
) -> list[Result]:
    """Load the yardstick, then the gateway, round by round."""
    worker = server.workers()[0]
    pairs: list[tuple[Load, Load]] = []
    for number in range(scale.rounds):
        base = wrk(yardstick.url, question, yardstick.pid, CONNECTIONS, scale.seconds)
        ours = wrk(f"{server.url}/llm/generate", question, worker, CONNECTIONS, scale.seconds)
        pairs.append((base, ours))
        print(
            f"round {number + 1}: bare {_words(base)}   askonce {_words(ours)}, p50 {ours.p50_us} µs, "
            f"p99 {ours.p99_us} µs   ratio {ours.rps / base.rps:.3f}, by CPU {base.cpu_us / ours.cpu_us:.3f}"
        )
    ratio = median([ours.rps / base.rps for base, ours in pairs])
    by_cpu = median([base.cpu_us / ours.cpu_us for base, ours in pairs])
    doubted = doubts([base.rps for base, _ in pairs], "bare requests per second")
    idle = 1 - median([base.busy + base.waited for base, _ in pairs])
    if idle > IDLE_MAX:
        doubted += (f"the bare server idled {idle:.0%} of the time: the load generator was the limit",)
    doubted += shared([base.waited for base, _ in pairs], "the bare server")
    doubted += shared([ours.waited for _, ours in pairs])
    rate, cpu_us = median([ours.rps for _, ours in pairs]), median([ours.cpu_us for _, ours in pairs])
    return [
        Result(name, "requests/s, share of bare ASGI", f"{ratio:.3f}", f">= {target}", ratio >= target, doubted),
        Result(name, "the same by CPU time", f"{by_cpu:.3f}", "", None, doubted),
        Result(name, "on one core", f"{rate:,.0f}/s, {cpu_us:.1f} µs of CPU each"),
    ]


def _words(load: Load) -> str:
    return f"{load.rps:6.0f}/s, {load.cpu_us:5.1f} µs ({load.busy:.0%} busy, {load.waited:.0%} waiting)"
