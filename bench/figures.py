"""Turn rounds into numbers: medians, percentiles, and how far the machine's noise lets one believe them."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

# The yardstick does the same in every round; where it varies more than this, something else had the machine.
SPREAD_MAX = 0.25
# A server that was idle for longer than this share of a load was waiting for the load generator, not limited itself.
IDLE_MAX = 0.07
# Where a server had to wait for its core for longer than this share of the time, it had to share it.
WAITED_MAX = 0.05


class Scale(Struct, frozen=True):
    """Say how much to measure. `quick` is for trying out: its numbers are not for quoting."""

    rounds: int = 5
    seconds: int = 4
    quick: bool = False


class Result(Struct, frozen=True):
    """Hold one line of the summary. `met` is None where there is no target; `doubts` say why not to believe it."""

    bench: str
    what: str
    value: str
    target: str = ""
    met: bool | None = None
    doubts: tuple[str, ...] = ()


def median(values: Sequence[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie, by nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> float:
    """Return the distance of the extremes as a share of the median."""
    return (max(values) - min(values)) / median(values)


def doubts(yardstick: Sequence[float], what: str) -> tuple[str, ...]:
    """Doubt a result whose yardstick varied too much between rounds."""
    if len(yardstick) < 2 or spread(yardstick) <= SPREAD_MAX:
        return ()
    return (f"{what} varied by {spread(yardstick):.0%} between rounds",)


def shared(waited: Sequence[float], who: str = "the gateway") -> tuple[str, ...]:
    """Doubt a result for which a server had to share its core, by the shares of the time for which it waited."""
    share = median(waited)
    return (f"{who} waited for its core {share:.0%} of the time",) if share > WAITED_MAX else ()


def load_average() -> float:
    """Return how many processes wanted to run during the last minute."""
    return float(Path("/proc/loadavg").read_text().split()[0])


def table(results: Sequence[Result]) -> str:
    """Write the summary."""
    rows = [("bench", "what", "measured", "target", "")]
    for result in results:
        word = {True: "met", False: "MISSED", None: ""}[result.met]
        rows.append((result.bench, result.what, result.value, result.target, word))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, [*widths, 0], strict=True)) for row in rows]
    lines += [
        f"doubtful: {result.bench}, {result.what}: {'; '.join(result.doubts)}" for result in results if result.doubts
    ]
    return "\n".join(line.rstrip() for line in lines)
