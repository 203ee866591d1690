"""Run the benchmarks: `python -m bench [--only NAME ...] [--rounds N] [--seconds S] [--quick]`."""

import argparse
import os
import platform
import shutil
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import (
    budgets,
    dashboards,
    entries,
    executions,
    flights,
    hits,
    keys,
    ledger,
    memory,
    misses,
    nodes,
    startup,
    streams,
    telemetry,
    workflows,
)
from bench.figures import Result, Scale, load_average, table

BENCHES: dict[str, Callable[[Path, Scale], list[Result]]] = {
    "hits": hits.run,
    "keys": keys.run,
    "entries": entries.run,
    "misses": misses.run,
    "streams": streams.run,
    "memory": memory.run,
    "startup": startup.run,
    "flights": flights.run,
    "budgets": budgets.run,
    "ledger": ledger.run,
    "executions": executions.run,
    "workflows": workflows.run,
    "nodes": nodes.run,
    "telemetry": telemetry.run,
    "dashboards": dashboards.run,
}
QUIET = 0.5  # beyond, others want the two cores as well
CALM_S = 300.0  # how long to wait for them


def main() -> None:
    """Measure what was asked for, one after the other, and sum up."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Askonce on this machine.")
    parser.add_argument("--only", action="append", choices=list(BENCHES), help="this one only; may be repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each load")
    parser.add_argument("--quick", action="store_true", help="small sizes, for trying out")
    parser.add_argument("--folder", type=Path, default=None, help="where data goes (10 GB; default: the temporary one)")
    parser.add_argument("--wait", action="store_true", help="wait for a quiet machine before each")
    args = parser.parse_args()
    scale = Scale(args.rounds, args.seconds, args.quick)
    check_tools()
    print(machine())
    results: list[Result] = []
    for name in args.only or list(BENCHES):
        if args.wait:
            calm_down()
        print(f"\n{name}, {args.rounds} rounds; load average {load_average()}", flush=True)
        with tempfile.TemporaryDirectory(prefix="askonce-bench-", dir=args.folder) as temporary:
            results += BENCHES[name](Path(temporary), scale)
    print(f"\n{table(results)}")


def check_tools() -> None:
    """Refuse a machine that lacks what the benchmarks are made with."""
    missing = [tool for tool in ("wrk", "taskset") if shutil.which(tool) is None]
    if missing or not Path("/proc/self/schedstat").exists() or (os.cpu_count() or 1) < 2:
        raise SystemExit(
            "The benchmarks need Linux with /proc, two cores, wrk and taskset"
            + (f"; missing here: {', '.join(missing)} (packages wrk and util-linux)." if missing else ".")
        )


def machine() -> str:
    """Describe where the numbers come from."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown processor"
    )
    optimised = "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    build = "optimised" if optimised else "built without --enable-optimizations"
    return f"{os.cpu_count()} cores, {model}; Python {platform.python_version()} ({build}); Linux {platform.release()}"


def calm_down() -> None:
    """Wait, within a bound, until nobody else wants the processors."""
    deadline = time.monotonic() + CALM_S
    while load_average() > QUIET and time.monotonic() < deadline:
        time.sleep(2)


if __name__ == "__main__":
    main()
