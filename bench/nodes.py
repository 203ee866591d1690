"""Many nodes on one Valkey or Redis: cached answers of one node, of two, and what a frozen server costs.

Redis and the load generator share the other core. Two nodes cannot have a core each beside them, so that their requests
per second would say what the machine has, not what they can do. So what two can do is counted by processor time: the
requests that each answers in a second of its own core, while both are loaded at once, against those of one alone.
"""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench import hits, questions
from bench.figures import Result, Scale, median
from bench.load import Question, wrk
from bench.servers import Server, askonce, bare, post, scripted, spent, valkey

SHARE, TWO_NODES, FROZEN_MS = 0.35, 1.7, 100
ASKERS = 8
FROZEN_S, THAWED_S = 1.0, 4.0  # after the load began


def run(folder: Path, scale: Scale) -> list[Result]:
    """Measure all three on one server of shared state."""
    with valkey(folder) as (url, redis), askonce(folder / "a", _settings(folder / "a", url)) as one:
        headers, reply = _warm(one)
        with bare(folder, headers, reply) as (address, pid):
            yardstick = hits.Yardstick(address, pid)
            question = Question(questions.body())
            results = hits.measure(one, yardstick, question, scale, "nodes", SHARE)
            with askonce(folder / "b", _settings(folder / "b", url)) as other:
                _warm(other)
                results.append(_two(one, other, redis, scale))
        results.append(_frozen(one, redis))
    return results


def _settings(folder: Path, url: str) -> str:
    secret = 'secret = "0123456789abcdef0123456789abcdef"'
    return f'state_url = "{url}"\n{secret}\nledger_worker = false\n' + scripted(folder, questions.CODE)


def _warm(server: Server) -> tuple[list[tuple[str, str]], bytes]:
    """Ask twice; return the headers and the body of the hit."""
    for _ in range(2):
        body, caller = questions.body().encode(), {"X-Forwarded-For": "127.9.9.9"}
        status, headers, reply = post(f"{server.url}/llm/generate", body, caller)
    if status != 200 or json.loads(reply)["metadata"]["cache"] != "hit":
        raise SystemExit(reply.decode())
    return headers, reply


def _two(one: Server, other: Server, redis: int, scale: Scale) -> Result:
    """Load one node, then both at once, round by round."""
    question, factors = Question(questions.body()), []
    for number in range(scale.rounds):
        alone = _load(one, question, scale.seconds)
        before = spent(redis)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(_load, one, question, scale.seconds)
            second = pool.submit(_load, other, question, scale.seconds)
            both = [first.result(), second.result()]
        taken = spent(redis).since(before)
        requests = sum(count for count, _ in both)
        factor = sum(1 / cpu_us for _, cpu_us in both) * alone[1]
        factors.append(factor)
        each = " and ".join(f"{cpu_us:.1f}" for _, cpu_us in both)
        print(
            f"round {number + 1}: one node {alone[1]:.1f} µs of CPU a hit; two at once {each} µs, "
            f"Redis {taken.ran_ns / requests / 1000:.1f} µs   factor {factor:.2f}"
        )
    factor = median(factors)
    return Result("nodes", "two nodes, times one, by CPU time", f"{factor:.2f}", f">= {TWO_NODES}", factor >= TWO_NODES)


def _load(server: Server, question: Question, seconds: float) -> tuple[int, float]:
    load = wrk(f"{server.url}/llm/generate", question, server.workers()[0], hits.CONNECTIONS, seconds)
    return load.requests, load.cpu_us


def _frozen(server: Server, redis: int) -> Result:
    """Load with new questions while the server freezes and thaws: they are answered by the provider, uncached.

    Few at a time, so that what is seen is the server's absence and not the queue of a busy core.
    """
    question = Question(questions.body("@@"), "count:1000000")
    calm = wrk(f"{server.url}/llm/generate", question, server.workers()[0], ASKERS, FROZEN_S + THAWED_S)
    timers = [
        threading.Timer(FROZEN_S, os.kill, (redis, signal.SIGSTOP)),
        threading.Timer(THAWED_S, os.kill, (redis, signal.SIGCONT)),
    ]
    for timer in timers:
        timer.start()
    try:
        question = Question(questions.body("@@"), "count:2000000")
        load = wrk(f"{server.url}/llm/generate", question, server.workers()[0], ASKERS, FROZEN_S + THAWED_S)
    finally:
        for timer in timers:
            timer.join()
        os.kill(redis, signal.SIGCONT)
    p99_ms = load.p99_us / 1000
    print(
        f"{load.requests} new questions in {FROZEN_S + THAWED_S:.0f} s, Redis frozen for {THAWED_S - FROZEN_S:.0f} s: "
        f"p50 {load.p50_us / 1000:.1f} ms, p99 {p99_ms:.1f} ms, none failed; not frozen {calm.requests} questions, "
        f"p50 {calm.p50_us / 1000:.1f} ms, p99 {calm.p99_us / 1000:.1f} ms"
    )
    return Result("nodes", "p99 around a frozen server", f"{p99_ms:.0f} ms", f"< {FROZEN_MS} ms", p99_ms < FROZEN_MS)
