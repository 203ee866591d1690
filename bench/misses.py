"""Ask what nobody asked before: what Askonce adds to calling the provider directly, and what a core can do of it.

One call at a time, in turns: once directly, once through Askonce, by the same client, to a vendor that answers at once.
What is added is the difference of the medians. Vendor and gateway share a core and the client has the other, so that
both ways wake another core equally often: on a virtual machine that alone takes some 40 µs each time.
"""

import json
from pathlib import Path

from bench import questions
from bench.clients import Line, request
from bench.figures import Result, Scale, doubts, median, percentile, shared
from bench.load import Question, wrk
from bench.servers import LOAD_CORE, SERVER_CORE, Server, askonce, at_vendor, on_core, spent, vendor

DOOR = "/v1/chat/completions"
TARGET_MS = 0.5
TARGET_RATE = 2_000
MODEL = "openai:gpt-4o"
PAIRS = 500  # per round
CONNECTIONS = 32


def run(folder: Path, scale: Scale) -> list[Result]:
    """Measure one at a time, then many."""
    with vendor(core=SERVER_CORE) as port, askonce(folder / "one", at_vendor(port)) as server, on_core(LOAD_CORE):
        added = one_at_a_time(server, port, scale)
    with vendor(core=LOAD_CORE) as port, askonce(folder / "many", at_vendor(port)) as server:
        return [*added, *many(server, scale)]


def one_at_a_time(server: Server, port: int, scale: Scale) -> list[Result]:
    """Alternate direct and routed calls."""
    direct_line, line = Line(port), Line(server.port)
    pairs = PAIRS // 10 if scale.quick else PAIRS
    print(f"one at a time, {pairs} pairs a round, distinct prompts of {len(questions.chat('123456', MODEL))} B")
    messages = [{"role": "system", "content": "You write code."}, {"role": "user", "content": questions.CODE[:200]}]
    plain = request(port, DOOR, json.dumps({"model": "gpt-4o", "messages": messages}))
    medians: list[tuple[float, float]] = []
    waited, cpu_us = [], []
    worker = server.workers()[0]
    for number in range(-1, scale.rounds):  # the first round warms up
        direct, routed = [], []
        before = spent(worker)
        for pair in range(pairs):
            body = questions.chat(f"{number + 1}.{pair}", MODEL)
            direct.append(direct_line.ask(plain)[0] / 1e6)
            took_ns, answer = line.ask(request(server.port, DOOR, body, pair))
            routed.append(took_ns / 1e6)
            if b"askonce; fwd=miss; stored" not in answer:
                raise SystemExit(answer.decode())
        if number >= 0:
            taken = spent(worker).since(before)
            medians.append((median(direct), median(routed)))
            waited.append(taken.waited_ns / taken.at_ns)
            cpu_us.append(taken.ran_ns / pairs / 1000)
            print(
                f"round {number + 1}: direct p50 {median(direct):.3f} ms, p99 {percentile(direct, 0.99):.3f}"
                f"   askonce p50 {median(routed):.3f} ms, p99 {percentile(routed, 0.99):.3f}"
                f"   added {median(routed) - median(direct):.3f} ms"
                f" ({cpu_us[-1]:.0f} µs of CPU, waited {waited[-1]:.0%})"
            )
    direct_line.close()
    line.close()
    added = median([routed - direct for direct, routed in medians])
    doubted = doubts([direct for direct, _ in medians], "the direct call's median") + shared(waited)
    return [
        Result("misses", "added per call, p50", f"{added:.3f} ms", f"< {TARGET_MS} ms", added < TARGET_MS, doubted),
        Result("misses", "the gateway's CPU, one at a time", f"{median(cpu_us):.0f} µs", "", None, shared(waited)),
    ]


def many(server: Server, scale: Scale) -> list[Result]:
    """Load one core with misses; the vendor shares the other with the load."""
    worker = server.workers()[0]
    loads = []
    for number in range(scale.rounds):
        question = Question(questions.chat("@@", MODEL), f"count:{(number + 1) * 10_000_000}")
        loads.append(wrk(f"{server.url}{DOOR}", question, worker, CONNECTIONS, scale.seconds))
        print(f"round {number + 1}: {loads[-1].rps:.0f} misses/s, {loads[-1].cpu_us:.0f} µs, {loads[-1].busy:.0%} busy")
    cpu_us = median([load.cpu_us for load in loads])
    rate = median([load.rps for load in loads])
    value = f"{rate:,.0f}/s, {cpu_us:.0f} µs of CPU each"
    doubted = shared([load.waited for load in loads])
    target = f">= {TARGET_RATE:,}/s"
    return [Result("misses", f"on one core, {CONNECTIONS} at once", value, target, rate >= TARGET_RATE, doubted)]
