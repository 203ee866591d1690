"""What watching costs a cached answer: everything on that watches, against nothing of it, in turns.

On: metrics; a log line, a ledger row and a trace for one request in a hundred; Sentry and a collector at addresses
where nobody is. Off: none of these; the books count in both, since they are the road's.
"""

from pathlib import Path

from bench import questions
from bench.figures import Result, Scale, doubts, median, shared
from bench.keys import CONNECTIONS, warm
from bench.load import Load, Question, wrk
from bench.servers import TRUSTED, askonce, scripted

TARGET = 0.85
OFF = f'{TRUSTED}\nmetrics = "off"\nsample = 0.0\nlog_sample = 0.0\nslow_request = 0\n'
ON = (
    f'{TRUSTED}\nmetrics = "open"\nsample = 0.01\nlog_sample = 0.01\nslow_request = "30s"\n'
    'sentry_dsn = "http://public@127.0.0.1:9/1"\notel_endpoint = "http://127.0.0.1:9"\notel_sample = 0.01\n'
)


def run(folder: Path, scale: Scale) -> list[Result]:
    """Load both in turns."""
    body, quiet, told = questions.body(), folder / "quiet", folder / "told"
    with (
        askonce(quiet, scripted(quiet, questions.CODE, OFF)) as without,
        askonce(told, scripted(told, questions.CODE, ON)) as server,
    ):
        pairs: list[tuple[Load, Load]] = []
        for one in (without, server):
            warm(one, body, {"X-Forwarded-For": "127.9.9.9"})
        for number in range(scale.rounds):
            base, ours = (
                wrk(f"{one.url}/llm/generate", Question(body), one.workers()[0], CONNECTIONS, scale.seconds)
                for one in (without, server)
            )
            pairs.append((base, ours))
            print(
                f"round {number + 1}: unwatched {base.rps:.0f}/s, {base.cpu_us:.1f} µs   watched {ours.rps:.0f}/s, "
                f"{ours.cpu_us:.1f} µs   ratio {ours.rps / base.rps:.3f}, by CPU {base.cpu_us / ours.cpu_us:.3f}"
            )
    ratio = median([ours.rps / base.rps for base, ours in pairs])
    by_cpu = median([base.cpu_us / ours.cpu_us for base, ours in pairs])
    doubted = doubts([base.rps for base, _ in pairs], "requests per second unwatched")
    doubted += shared([one.waited for pair in pairs for one in pair])
    wanted = f">= {TARGET}"
    return [
        Result("telemetry", "hits/s watched, share of unwatched", f"{ratio:.3f}", wanted, ratio >= TARGET, doubted),
        Result("telemetry", "the same by CPU time", f"{by_cpu:.3f}", "", None, doubted),
    ]
