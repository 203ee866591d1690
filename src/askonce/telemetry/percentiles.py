"""Read percentiles out of histograms, and keep what was counted minute by minute, so that the last minutes can be told.

Within a bucket values are taken to be spread evenly (as Prometheus' `histogram_quantile` does), so a percentile errs by
less than the width of its bucket: see `catalog.DURATIONS_US`.
"""

from collections import deque
from collections.abc import Sequence

from msgspec import Struct

from askonce.telemetry.catalog import (
    CALL_TIME,
    DURATIONS_US,
    FIRST_TOKEN_TIME,
    LEDGER_TIME,
    REQUEST_TIME,
    STAGE_TIME,
    STORE_TIME,
    Metric,
)
from askonce.telemetry.meters import Family, Merged

MINUTES_MAX = 60
TIMED: tuple[Metric, ...] = (REQUEST_TIME, CALL_TIME, FIRST_TOKEN_TIME, STAGE_TIME, STORE_TIME, LEDGER_TIME)


class Spread(Struct, frozen=True, rename="camel"):
    """Hold how long something took: how often it was seen, the mean, and percentiles, in milliseconds."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


def spread(series: Sequence[int]) -> Spread:
    """Return the spread of a histogram of durations (`catalog.DURATIONS_US`)."""
    count = sum(series[:-1])
    if not count:
        return Spread(0, 0.0, 0.0, 0.0, 0.0)
    mean, median, p95, p99 = series[-1] / count, *(quantile(series, share) for share in (0.5, 0.95, 0.99))
    return Spread(count, _ms(mean), _ms(median), _ms(p95), _ms(p99))


def quantile(series: Sequence[int], share: float) -> float:
    """Return the duration (microseconds) that this share of all did not exceed; the last bound, if it lies above."""
    wanted = share * sum(series[:-1])
    below = 0
    for index, bound in enumerate(DURATIONS_US):
        if below + series[index] >= wanted and series[index]:
            floor = DURATIONS_US[index - 1] if index else 0
            return floor + (bound - floor) * max(0.0, wanted - below) / series[index]
        below += series[index]
    return float(DURATIONS_US[-1])


def _ms(micros: float) -> float:
    return round(micros / 1000, 3)


class Past(Struct, frozen=True):
    """Hold what had been counted at a moment (epoch milliseconds), of everything that is timed."""

    at_ms: int
    families: dict[str, dict[tuple[str, ...], list[int]]]


class History:
    """Remember the last hour, a look each minute."""

    def __init__(self) -> None:
        self._looks: deque[Past] = deque(maxlen=MINUTES_MAX + 1)

    def note(self, merged: Merged, at_ms: int) -> None:
        """Take a look."""
        self._looks.append(Past(at_ms, {metric.name: dict(merged.family(metric)) for metric in TIMED}))

    def since(self, minutes: int, now_ms: int) -> Past:
        """Return the look from which on `minutes` are counted: the youngest that is that old, else the oldest."""
        wanted_ms = now_ms - minutes * 60_000
        found = self._looks[0] if self._looks else Past(now_ms, {})
        for look in self._looks:
            if look.at_ms > wanted_ms:
                break
            found = look
        return found


def recent(merged: Merged, past: Past, metric: Metric) -> Family:
    """Return what was counted since then; nothing where a series has none."""
    before = past.families.get(metric.name, {})
    found: Family = {}
    for labels, series in merged.family(metric).items():
        former = before.get(labels)
        fresh = list(series) if former is None else [max(0, a - b) for a, b in zip(series, former, strict=True)]
        if any(fresh[:-1]):
            found[labels] = fresh
    return found
