"""Cached answers per second: Askonce against a bare ASGI app that returns the same bytes, in turns, on one core.

usage: hits.py [--rounds N] [--seconds S]
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from bench.servers import HERE, SERVER_CORE, askonce, free_port, median, pinned, post, running, wait_for, wrk

PROMPT = "Write a Python function that parses an ISO 8601 date and returns a datetime in UTC. " + "Be careful. " * 5
BODY = json.dumps({"prompt": PROMPT, "model": "scripted:demo", "temperature": 0.2, "maxTokens": 400})
ANSWER = "```python src/dates.py\n" + "".join(f"value_{n:02d} = parse({n})\n" for n in range(20)) + "```\n"
SCRIPT = f"[[play]]\ntext = {json.dumps(ANSWER)}\n"
SETTINGS = 'trusted_proxies = ["127.0.0.1/32"]'


def main() -> None:
    """Print each round and the median ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="askonce-bench-") as temporary:
        folder = Path(temporary)
        with askonce(folder, SCRIPT, SETTINGS) as url:
            door = f"{url}/llm/generate"
            for _ in range(2):
                status, headers, body = post(door, BODY.encode(), {"X-Forwarded-For": "127.9.9.9"})
            if status != 200:
                raise SystemExit(body.decode())
            print(f"request {len(BODY)} B, reply {status}, {len(body)} B, {json.loads(body)['metadata']['cache']}")
            kept = [[n, v] for n, v in headers if n.lower() != "date"]
            (folder / "reply.json").write_text(json.dumps({"headers": kept, "body": body.decode()}))
            port = free_port()
            command = [sys.executable, str(HERE / "bare.py"), str(port), str(folder / "reply.json")]
            with running(pinned(SERVER_CORE, command)) as bare:
                wait_for(f"http://127.0.0.1:{port}/", bare)
                measure(door, f"http://127.0.0.1:{port}/llm/generate", args.rounds, args.seconds)


def measure(door: str, bare: str, rounds: int, seconds: int) -> None:
    """Load both in turns."""
    ratios = []
    for number in range(rounds):
        base, ours = wrk(bare, BODY, seconds=seconds), wrk(door, BODY, seconds=seconds)
        ratios.append(ours["rps"] / base["rps"])
        print(
            f"round {number + 1}: bare {base['rps']:8.0f}/s  askonce {ours['rps']:8.0f}/s  ratio {ratios[-1]:.3f}  {ours}"
        )
    print(f"median ratio {median(ratios):.3f}")


if __name__ == "__main__":
    main()
