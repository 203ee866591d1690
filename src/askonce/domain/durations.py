"""Durations in buckets: what a histogram is made of, and the percentiles that are read out of one.

Within a bucket values are taken to be spread evenly (as Prometheus' `histogram_quantile` does), so a percentile errs by
less than the width of its bucket.
"""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from msgspec import Struct

_DECADES_US = (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000)
# Upper bounds in microseconds: 100 µs to 1,000 s, six to a decade, so that a percentile errs by less than a quarter of
# itself. What is longer than the last stands in one bucket more.
DURATIONS_US = (*(decade * step // 10 for decade in _DECADES_US for step in (10, 15, 20, 30, 50, 70)), 1_000_000_000)


class Spread(Struct, frozen=True, rename="camel"):
    """Hold how long something took: how often it was seen, the mean, and percentiles, in milliseconds."""

    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


NEVER_SEEN = Spread(0, 0.0, 0.0, 0.0, 0.0)


def bucket_of(took_us: int) -> int:
    """Return the number of the bucket that a duration falls into."""
    return bisect_left(DURATIONS_US, took_us)


def spread(series: Sequence[int]) -> Spread:
    """Return the spread of a histogram: a count for each bucket, then the sum of all durations (microseconds)."""
    count = sum(series[:-1])
    if not count:
        return NEVER_SEEN
    mean, median, p95, p99 = series[-1] / count, *(quantile(series, share) for share in (0.5, 0.95, 0.99))
    return Spread(count, _ms(mean), _ms(median), _ms(p95), _ms(p99))


def spread_of(buckets: Mapping[int, int], total_us: int) -> Spread:
    """Return the spread of counts by their buckets."""
    series = [buckets.get(bucket, 0) for bucket in range(len(DURATIONS_US) + 1)]
    return spread([*series, total_us])


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
