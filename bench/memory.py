"""Answer a million hits: does the gateway's own memory stay flat?

RssAnon is what only this process holds; the shared, mapped state files are not in it.
"""

from pathlib import Path

from bench import questions
from bench.figures import Result, Scale
from bench.load import Question, wrk
from bench.servers import askonce, memory_kb, post, scripted

TARGET_MB = 90
GROWTH_MAX = 0.05  # from the first mark to the last
MARKS = (100_000, 300_000, 1_000_000)
STEP_S = 2  # short, so that connections come and go, most of them in the middle of a request


def run(folder: Path, scale: Scale) -> list[Result]:
    """Load until each mark is passed, and look."""
    marks = tuple(mark // 20 for mark in MARKS) if scale.quick else MARKS
    body = questions.body()
    with askonce(folder / "memory", scripted(folder / "memory", questions.CODE)) as server:
        worker = server.workers()[0]
        post(f"{server.url}/llm/generate", body.encode())
        print(f"before: {memory_kb(worker) / 1000:.1f} MB anonymous, {memory_kb(worker, 'VmRSS') / 1000:.1f} MB in all")
        sizes, hits = [], 0
        for mark in marks:
            while hits < mark:
                hits += wrk(f"{server.url}/llm/generate", Question(body), worker, seconds=STEP_S).requests
            sizes.append(memory_kb(worker) / 1000)
            print(
                f"after {hits:,} hits: {sizes[-1]:.1f} MB anonymous, {memory_kb(worker, 'VmRSS') / 1000:.1f} MB in all"
            )
        counted = server.stats()["hits"]
        if counted < hits:
            raise SystemExit(f"{hits} hits were answered, {counted} were counted")
    growth = sizes[-1] / sizes[0] - 1
    return [
        Result(
            "memory",
            f"RssAnon after {marks[-1]:,} hits",
            f"{sizes[-1]:.1f} MB",
            f"< {TARGET_MB} MB",
            sizes[-1] < TARGET_MB,
        ),
        Result(
            "memory", f"growth since {marks[0]:,} hits", f"{growth:+.1%}", f"< {GROWTH_MAX:.0%}", growth < GROWTH_MAX
        ),
    ]
