"""Cached answers for a key of the database, with budgets on it, against the same server without keys, in turns.

Both count every hit for the ledger; what differs is looking up who asks and what they may. The window is so large that
nobody is refused, and the same for both: one caller in the one case, 100,000 addresses in the other.
"""

import json
import subprocess
import sys
from pathlib import Path

from bench import questions
from bench.figures import Result, Scale, doubts, median, shared
from bench.load import Load, Question, wrk
from bench.servers import TRUSTED, Server, askonce, post, scripted

TARGET = 0.85
CONNECTIONS = 32
SETTINGS = f'{TRUSTED}\nlimit_llm = "1000000/60s"\n'
KEY = ("--scope", "use", "--budget", "$1000/day", "--budget", "100000000 requests/month", "--model", "script*")


def run(folder: Path, scale: Scale) -> list[Result]:
    """Load both in turns."""
    body = questions.body()
    keyless, keyed = folder / "keyless", folder / "keyed"
    with (
        askonce(keyless, scripted(keyless, questions.CODE, SETTINGS)) as without,
        askonce(keyed, scripted(keyed, questions.CODE, SETTINGS)) as server,
    ):
        key = create_key(keyed)
        warm(without, body, {"X-Forwarded-For": "127.9.9.9"})
        warm(server, body, {"Authorization": f"Bearer {key}"})
        return measure(without, server, (Question(body), Question(body, key=key)), scale)


def create_key(folder: Path) -> str:
    """Make a key while the server runs, as its owner would."""
    command = [sys.executable, "-m", "askonce", "keys", "create", "bench", *KEY, "--quiet"]
    command += ["--config", str(folder / "askonce.toml")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def warm(server: Server, body: str, headers: dict[str, str]) -> None:
    """Ask until the answer is a hit: a key is known within a second."""
    for _ in range(100):
        status, _, reply = post(f"{server.url}/llm/generate", body.encode(), headers)
        if status == 200 and json.loads(reply)["metadata"]["cache"] == "hit":
            return
    raise SystemExit(reply.decode())


def measure(without: Server, server: Server, questions_: tuple[Question, Question], scale: Scale) -> list[Result]:
    """Load the server without keys, then the one with, round by round."""
    pairs: list[tuple[Load, Load]] = []
    for number in range(scale.rounds):
        loads = [
            wrk(f"{one.url}/llm/generate", question, one.workers()[0], CONNECTIONS, scale.seconds)
            for one, question in zip((without, server), questions_, strict=True)
        ]
        pairs.append((loads[0], loads[1]))
        print(
            f"round {number + 1}: without keys {loads[0].rps:.0f}/s, {loads[0].cpu_us:.1f} µs   "
            f"with {loads[1].rps:.0f}/s, {loads[1].cpu_us:.1f} µs   ratio {loads[1].rps / loads[0].rps:.3f}, "
            f"by CPU {loads[0].cpu_us / loads[1].cpu_us:.3f}"
        )
    ratio = median([ours.rps / base.rps for base, ours in pairs])
    by_cpu = median([base.cpu_us / ours.cpu_us for base, ours in pairs])
    doubted = doubts([base.rps for base, _ in pairs], "requests per second without keys")
    doubted += shared([one.waited for pair in pairs for one in pair])
    return [
        Result(
            "keys",
            "hits/s with a key, share of those without",
            f"{ratio:.3f}",
            f">= {TARGET}",
            ratio >= TARGET,
            doubted,
        ),
        Result("keys", "the same by CPU time", f"{by_cpu:.3f}", "", None, doubted),
    ]
