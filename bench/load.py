"""Load one server from the other core, and see what it spent on it."""

import json
import os
import subprocess

import msgspec
from msgspec import Struct

from bench.servers import HERE, LOAD_CORE, pinned, spent


class Load(Struct, frozen=True, kw_only=True):
    """Hold what one run of wrk saw. Latencies in microseconds; `cpu_us` is the server's per request."""

    requests: int
    rps: float
    p50_us: int
    p99_us: int
    non2xx: int
    lost: int
    cpu_us: float = 0.0
    busy: float = 0.0  # the share of the time for which the server was running
    waited: float = 0.0  # the share for which it wanted to, and others had its core


class Question(Struct, frozen=True):
    """Hold what is asked: a body that may hold a place for a number (`@@`), and how that is chosen (see load.lua).

    `key` is sent with every question, if there is one.
    """

    body: str
    numbers: str = ""
    key: str = ""


class _Callers:
    """Go around all callers evenly over all runs (see load.lua)."""

    following = 0


def wrk(url: str, question: Question, pid: int, connections: int = 32, seconds: float = 4) -> Load:
    """Load an address that `pid` serves. Raises `SystemExit` unless everything was answered well."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(HERE / "load.lua"), url]
    env = {**os.environ, "BENCH_BODY": question.body, "BENCH_NUMBERS": question.numbers}
    env["BENCH_CALLERS_FROM"] = str(_Callers.following)
    if question.key:
        env["BENCH_AUTHORIZATION"] = f"Bearer {question.key}"
    before = spent(pid)
    out = subprocess.run(pinned(LOAD_CORE, command), env=env, capture_output=True, text=True, check=True).stdout
    taken = spent(pid).since(before)
    line = next(line for line in out.splitlines() if line.startswith("RESULT "))
    load = msgspec.convert(json.loads(line.removeprefix("RESULT ")), Load)
    _Callers.following += load.requests
    if load.non2xx or load.lost or not load.requests:
        raise SystemExit(f"{url}: {load}")
    return msgspec.structs.replace(
        load,
        cpu_us=taken.ran_ns / load.requests / 1000,
        busy=taken.ran_ns / taken.at_ns,
        waited=taken.waited_ns / taken.at_ns,
    )
