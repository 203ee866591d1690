"""Executions through the doors of a whole server: how soon they begin, how many end, what a node costs, what it holds.

Everything is as a user meets it: submitted over HTTP, done by the worker beside the gateways, read from the list of
executions, whose times are the worker's. Models cost nothing here: a script answers at once, or the cache does.
(`executions` measures the engine alone.)

noop    a question asked in the background whose answer is in the cache: rows, claim, engine, road, end
chain   six nodes, each with the answer of the one before it; against the same questions to /llm/generate, in turns
crowd   many runs of six nodes at once, two side by side, every question asked once
"""

import asyncio
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from tests.ledger.ledgerworld import Place

from bench import questions
from bench.clients import Line, request
from bench.executions import Store
from bench.figures import Result, Scale, load_average, median, percentile
from bench.ledger import server as postgres
from bench.load import Question, wrk
from bench.servers import ANY_CORE, SERVER_CORE, START_S, Server, askonce, get_json, memory_kb, post, spent

JOBS, CHAINS, CROWD, PROBES = 1_000, 40, 200, 100
NODES = 6
SENDERS = 8  # connections that submit side by side
IDLE_S, IDLE_QUICK_S = 20.0, 5.0
SETTLE_S = 5.0  # for what a start does once
GAP_S = 0.1  # between two probes
PATIENCE_S = 600.0
PAGE = 500
BUSY_CONNECTIONS = 2  # of hits, and as many of misses
OPEN = 'limit_llm = "off"\nlimit_standard = "off"\nqueue_limit = "off"\n'
SECRET = "one-for-both-servers-and-long-enough-for-it"
CODE = "```python src/dates.py\nvalue = parse(1)\n```\n"
SHAPE = {"a": (), "b": ("a",), "c": ("a",), "d": ("b",), "e": ("c",), "f": ("d", "e")}


class Kind(Struct, frozen=True):
    """Hold what kind of house is measured, and how many jobs per second it is to do."""

    name: str
    target: int


ONE_SERVER, TWO_SERVERS = Kind("sqlite", 200), Kind("postgresql, two workers", 400)


def run(folder: Path, scale: Scale) -> list[Result]:
    """Measure one server over SQLite, then two over PostgreSQL."""
    calls = folder / "calls.log"
    with askonce(folder / "one", scripted(folder, calls), SERVER_CORE) as server:
        results = [*resting(server, scale), *chains(server, scale), *starts(server, scale)]
    with askonce(folder / "many", scripted(folder, calls), ANY_CORE) as server:
        results += noops([server], Place("", folder / "many" / "data"), scale, ONE_SERVER)
        results += crowd(server, calls, scale)
    with postgres() as url, tempfile.TemporaryDirectory() as other:
        place = Place(url, Path(other))
        with both(url, (folder / "two", place.folder), calls) as pair:
            return results + noops(pair, place, scale, TWO_SERVERS)


def scripted(folder: Path, calls: Path) -> str:
    """Write settings for servers whose provider answers at once, and counts."""
    play = f"count_file = {json.dumps(str(calls))}\n[[play]]\ntext = {json.dumps(CODE)}\n"
    (folder / "script.toml").write_text(play)
    return f'{OPEN}\ndefault_model = "scripted:demo"\n[providers.scripted]\nscript = "{folder}/script.toml"\n'


@contextmanager
def both(url: str, folders: tuple[Path, Path], calls: Path) -> Iterator[list[Server]]:
    """Run two servers over one database, each with a worker of its own, as two nodes would."""
    settings = f'database_url = "{url}"\nsecret = "{SECRET}"\n{scripted(calls.parent, calls)}'
    with askonce(folders[0], settings, ANY_CORE) as first, askonce(folders[1], settings, ANY_CORE) as second:
        yield [first, second]


def resting(server: Server, scale: Scale) -> list[Result]:
    """Watch a worker that has nothing to do; it has done one thing, so that everything is loaded that it needs."""
    worker = server.scribe()
    began_kb = memory_kb(worker, "VmRSS")
    finished(server, [submit(server, "/llm/jobs", job("warm"))])
    time.sleep(SETTLE_S)
    before = spent(worker)
    time.sleep(IDLE_QUICK_S if scale.quick else IDLE_S)
    taken = spent(worker).since(before)
    share, rss = taken.ran_ns / taken.at_ns, memory_kb(worker, "VmRSS")
    print(f"idle worker: {share:.2%} of a core; RSS {began_kb // 1000} MB at first, {rss // 1000} MB after one job")
    return [
        Result("workflows", "an idle worker", f"{share:.2%} of a core", "< 2 %", share < 0.02),
        Result("workflows", "an idle worker's RSS", f"{rss / 1000:.0f} MB", "< 150 MB", rss < 150_000),
    ]


def chains(server: Server, scale: Scale) -> list[Result]:
    """Run chains of nodes, one at a time, in turns with the same questions asked one by one."""
    count, line, worker = (CHAINS // 4 if scale.quick else CHAINS), Line(server.port), server.scribe()
    each, runs_ms, asked_ms, cpu_ms = [], [], [], []
    for number in range(-1, scale.rounds):  # the first round warms up
        runs, asked, before = [], [], spent(worker)
        for at in range(count):
            name = f"chain {number}.{at}"
            [told] = finished(server, [submit(server, "/llm/execute-workflow", chain(name))])
            runs.append(told["endedAt"] - told["startedAt"])
            asked.append(sum(ask(line, server, f"{name} asked {node}") for node in range(NODES)))
        taken = spent(worker).since(before)
        if number >= 0:
            runs_ms.append(median(runs))
            asked_ms.append(median(asked))
            cpu_ms.append(taken.ran_ns / 1e6 / count / NODES)
            each.append((runs_ms[-1] - asked_ms[-1]) / NODES)
            print(
                f"round {number + 1}: {NODES} nodes {runs_ms[-1]:.0f} ms, {NODES} questions {asked_ms[-1]:.1f} ms,"
                f" {each[-1]:.1f} ms more a node ({cpu_ms[-1]:.1f} ms of the worker's CPU)"
            )
    line.close()
    ms = median(each)
    return [
        Result(
            "workflows",
            "what a node adds to its call",
            f"{ms:.1f} ms",
            "< 10 ms",
            ms < 10,
        ),
        Result("workflows", "the worker's CPU for a node", f"{median(cpu_ms):.1f} ms"),
    ]


def starts(server: Server, scale: Scale) -> list[Result]:
    """Submit now and then while hits and misses keep the server's core busy; see when each began."""
    waits: list[float] = []
    for number in range(scale.rounds):
        with traffic(server, number, scale.seconds) as rates:
            ids = {}
            until = time.monotonic() + scale.seconds
            while time.monotonic() < until:
                began_ms = time.time() * 1000
                ids[submit(server, "/llm/jobs", job("warm"))] = began_ms
                time.sleep(GAP_S)
        found = [told["startedAt"] - ids[told["id"]] for told in finished(server, ids)]
        waits += found
        print(
            f"round {number + 1}: {len(found)} begun within p50 {median(found):.0f}, p95 {percentile(found, 0.95):.0f}"
            f" ms while there were {' and '.join(rates)} (load average {load_average()})"
        )
    p50, p95 = median(waits), percentile(waits, 0.95)
    value = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms"
    return [Result("workflows", "from submission to start, busy", value, "p50 < 100 ms", p50 < 100)]


@contextmanager
def traffic(server: Server, number: int, seconds: int) -> Iterator[list[str]]:
    """Ask for hits and for misses meanwhile."""
    gateway, rates = server.workers()[0], list[str]()
    hits = Question(questions.body())
    misses = Question(questions.body("@@"), f"count:{(number + 1) * 10_000_000}")

    def load(name: str, question: Question) -> None:
        seen = wrk(f"{server.url}/llm/generate", question, gateway, BUSY_CONNECTIONS, seconds + 1)
        rates.append(f"{seen.rps:.0f} {name}/s")

    threads = [threading.Thread(target=load, args=pair) for pair in (("hits", hits), ("misses", misses))]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    try:
        yield rates
    finally:
        for thread in threads:
            thread.join()


def noops(servers: Sequence[Server], place: Place, scale: Scale, kind: Kind) -> list[Result]:
    """Submit many jobs to a queue that is held, let it go, and see how many end in a second."""
    count = JOBS // 5 if scale.quick else JOBS
    for server in servers:
        finished(server, [submit(server, "/llm/jobs", job("warm")) for _ in range(20)])
    rates, taken = [], []
    for number in range(scale.rounds):
        asyncio.run(hold(place, paused=True))
        began = time.monotonic()
        ids = flood(servers, [("/llm/jobs", job("warm"))] * count)
        taken.append(count / (time.monotonic() - began))
        asyncio.run(hold(place, paused=False))
        rates.append(rate_of(finished(servers[0], ids)))
        print(
            f"{kind.name}, round {number + 1}: {taken[-1]:.0f} jobs taken in, then {rates[-1]:.0f} done per second"
            f" (load average {load_average()})"
        )
    rate = median(rates)
    return [
        Result(
            "workflows",
            f"jobs without a call, {kind.name}",
            f"{rate:.0f}/s",
            f">= {kind.target}/s",
            rate >= kind.target,
        ),
        Result("workflows", f"jobs taken in, {kind.name}", f"{median(taken):.0f}/s"),
    ]


def crowd(server: Server, calls: Path, scale: Scale) -> list[Result]:
    """Submit many runs at once; count what was asked, and look at what the worker holds afterwards."""
    count = CROWD // 10 if scale.quick else CROWD
    finished(server, [submit(server, "/llm/jobs", job("warm"))])
    calls.unlink(missing_ok=True)
    began = time.monotonic()
    ids = flood([server], [("/llm/execute-workflow", graph(f"crowd {number}")) for number in range(count)])
    ended = finished(server, ids)
    took = time.monotonic() - began
    ways = Counter(told["status"] for told in ended)
    asked = len(calls.read_text().splitlines())
    rss = memory_kb(server.scribe(), "VmRSS")
    right = asked == count * NODES and ways["succeeded"] == count
    print(
        f"{count} runs of {NODES} nodes: {dict(ways)}, {asked} calls, {took:.1f} s; the worker's RSS {rss // 1000} MB"
    )
    return [
        Result("workflows", f"calls of {count} runs of {NODES}", f"{asked}", f"{count * NODES}", right),
        Result("workflows", "the same, nodes per second", f"{count * NODES / took:.0f}/s, {took:.1f} s in all"),
        Result("workflows", "the worker's RSS then", f"{rss / 1000:.0f} MB", "< 150 MB", rss < 150_000),
    ]


def chain(name: str) -> dict[str, Any]:
    """Write a graph in which each node needs the one before."""
    nodes = []
    for number in range(NODES):
        before = f" after {{{{nodes.n{number - 1}.text}}}}" if number else ""
        needs = [f"n{number - 1}"] if number else []
        nodes.append({"id": f"n{number}", "type": "build", "prompt": f"{name} {number}{before}", "dependsOn": needs})
    return {"graph": {"name": name, "nodes": nodes}}


def graph(name: str) -> dict[str, Any]:
    """Write a graph of two branches that meet."""
    nodes = [
        {"id": node, "type": "build", "prompt": f"{name} {node}", "dependsOn": list(needs)}
        for node, needs in SHAPE.items()
    ]
    return {"graph": {"name": name, "nodes": nodes}}


def job(number: str) -> dict[str, Any]:
    """Write a question for the background."""
    return {"kind": "generate", "body": json.loads(questions.body(number))}


def ask(line: Line, server: Server, prompt: str) -> float:
    """Ask at once; return the milliseconds that took."""
    body = json.dumps({"prompt": prompt, "model": "scripted:demo"})
    return line.ask(request(server.port, "/llm/generate", body))[0] / 1e6


def submit(server: Server, path: str, body: dict[str, Any]) -> str:
    """Submit one, to a worker that may still be starting; return its id."""
    until = time.monotonic() + START_S
    status, _, reply = post(f"{server.url}{path}", json.dumps(body).encode())
    while status == 503 and time.monotonic() < until:
        time.sleep(0.1)
        status, _, reply = post(f"{server.url}{path}", json.dumps(body).encode())
    if status != 202:
        raise SystemExit(f"{path}: {status} {reply!r}")
    return _id_of(json.loads(reply))


def flood(servers: Sequence[Server], bodies: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    """Submit many, over a few connections to each server in turn; return their ids."""

    def send(at: int) -> list[str]:
        server, ids = servers[at % len(servers)], []
        line = Line(server.port)
        for path, body in bodies[at::SENDERS]:
            _, reply = line.ask(request(server.port, path, json.dumps(body)))
            head, _, told = reply.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 202"):
                raise SystemExit(reply.decode())
            ids.append(_id_of(json.loads(told)))
        line.close()
        return ids

    with ThreadPoolExecutor(SENDERS) as pool:
        return [id for ids in pool.map(send, range(SENDERS)) for id in ids]


def _id_of(told: dict[str, Any]) -> str:
    return str(told.get("executionId") or told.get("jobId") or told["id"])


def finished(server: Server, wanted: Sequence[str] | dict[str, float]) -> list[dict[str, Any]]:
    """Return executions as the list tells of them, once all have ended well. Asks seldom, to disturb little."""
    until, ids = time.monotonic() + PATIENCE_S, set(wanted)
    pause_s = 0.02 if len(ids) == 1 else 0.5
    while time.monotonic() < until:
        found = [told for told in listed(server, len(ids)) if told["id"] in ids]
        if len(found) == len(ids) and all(told["endedAt"] for told in found):
            if failed := [told for told in found if told["status"] != "succeeded"]:
                raise SystemExit(f"{len(failed)} of {len(ids)} did not succeed: {failed[0]}")
            return found
        time.sleep(pause_s)
    raise SystemExit(f"not all of {len(ids)} executions ended within {PATIENCE_S} s")


def listed(server: Server, count: int) -> list[dict[str, Any]]:
    """List the newest executions: so many, nothing else is submitted meanwhile."""
    found: list[dict[str, Any]] = []
    after = ""
    while len(found) < count:
        size = min(PAGE, count - len(found))
        page = get_json(f"{server.url}/llm/executions?limit={size}{after}")
        found += page["executions"]
        if not page.get("next"):
            break
        after = f"&after={page['next']}"
    return found


async def hold(place: Place, *, paused: bool) -> None:
    """Pause the queue of questions, or let it go on."""
    async with Store(place) as store:
        await store.pause("generation", paused=paused)


def rate_of(ended: Sequence[dict[str, Any]]) -> float:
    """Return how many ended per second, from the first start to the last end."""
    span_ms = max(told["endedAt"] for told in ended) - min(told["startedAt"] for told in ended)
    return len(ended) * 1000 / max(1.0, float(span_ms))
