"""Start: seconds from the exec of `askonce serve` to the first 200 of /health.

`first`: over an empty data folder. `again`: over the same one. `cold`: again, after Askonce's and its libraries' files
were dropped from the page cache (as far as no other process has them mapped). With the embedded model off, and as by
default without any provider, when the model's process starts as well (its weights are taken from the usual folder;
`/health` does not wait for it).
"""

import http.client
import os
import sys
import time
from pathlib import Path

import askonce as package
from bench.figures import Result, Scale, doubts, median
from bench.servers import ANY_CORE, START_S, free_port, pinned, running

TARGET_S = 1.5


def run(folder: Path, scale: Scale) -> list[Result]:
    """Start again and again."""
    results = []
    for model in ("off", "auto"):
        times: dict[str, list[float]] = {"first": [], "again": [], "cold": []}
        for number in range(scale.rounds):
            home = folder / f"{model}-{number}"
            times["first"].append(start(home, model))
            times["again"].append(start(home, model))
            forget_files()
            times["cold"].append(start(home, model))
            shown = ", ".join(f"{kind} {taken[-1]:.2f} s" for kind, taken in times.items())
            print(f"round {number + 1}, local_model {model}: {shown}")
        for kind, taken in times.items():
            value = median(taken)
            target = "" if kind == "cold" else f"<= {TARGET_S} s"
            met = None if kind == "cold" else value <= TARGET_S
            results.append(
                Result("startup", f"{kind}, local_model {model}", f"{value:.2f} s", target, met, doubts(taken, "it"))
            )
    return results


def start(home: Path, model: str) -> float:
    """Start a server, wait for /health, stop it; return the seconds until it answered."""
    home.mkdir(parents=True, exist_ok=True)
    port = free_port()
    (home / "askonce.toml").write_text(f'port = {port}\ndata_dir = "{home}/data"\nlocal_model = "{model}"\n')
    command = [str(Path(sys.executable).parent / "askonce"), "serve", "--config", str(home / "askonce.toml")]
    began = time.monotonic()
    with running(pinned(ANY_CORE, command), home / "askonce.log"):
        while not answers(port):
            if time.monotonic() - began > START_S:
                raise SystemExit(f"no answer within {START_S} s; see {home}/askonce.log")
            time.sleep(0.005)
        return time.monotonic() - began


def answers(port: int) -> bool:
    """Say whether /health answers 200."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", "/health")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


def forget_files() -> None:
    """Drop the files of Askonce and of all that is installed beside it from the page cache."""
    installed = [Path(path) for path in sys.path if path.endswith("site-packages")]
    for root in (Path(package.__file__).parent, *installed):
        for path in root.rglob("*"):
            if path.is_file():
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)
