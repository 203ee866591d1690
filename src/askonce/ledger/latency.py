"""How long things took: what a batch adds to `times`, and what is read there.

A call's time and its first token are in its row; answers from the store tell theirs by the minute (`TimesRow`). What is
told by the minute is told of all tenants together, since nobody's last minutes can be told from everybody's in less.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from askonce.domain.durations import DURATIONS_US, bucket_of, spread_of
from askonce.domain.ledger import CallRow, Record, TimesRow
from askonce.domain.reports import Latency
from askonce.ledger.bulk import Row
from askonce.ledger.cubes import DAY_MS, DAYS, HOUR_MS, HOURS, MINUTE_MS, MINUTES
from askonce.ledger.spans import Span
from askonce.ledger.tables import times

HIT, MISS, FIRST_TOKEN = 1, 2, 3  # what took so long, as it is stored
ALL = ""  # tenants together; no tenant is called that
_LAST = len(DURATIONS_US)
_MOST_US = 1 << 40  # of one duration; more is no measurement of ours

_Measured = tuple[int, str, int, int, int, int]  # when, tenant, what, bucket, how many, their sum


def timings(records: Iterable[Record]) -> list[Row]:
    """Return what records add to `times`, no row of it twice, in the order of its keys."""
    counts: Counter[tuple[int, str, int, int, int]] = Counter()
    totals: Counter[tuple[int, str, int, int, int]] = Counter()
    for at_ms, tenant, what, bucket, count, total_us in _measured(records):
        for grain, start_ms, whose in (
            (MINUTES, at_ms - at_ms % MINUTE_MS, {ALL}),
            (HOURS, at_ms - at_ms % HOUR_MS, {ALL, tenant}),
            (DAYS, at_ms - at_ms % DAY_MS, {ALL, tenant}),
        ):
            for name in whose:
                key = (grain, name, what, start_ms, bucket)
                counts[key] += count
                totals[key] += total_us
    return [(*key, counts[key], totals[key]) for key in sorted(counts)]


def _measured(records: Iterable[Record]) -> Iterator[_Measured]:
    for row in records:
        if isinstance(row, TimesRow):
            at_ms, rest_us = row.minute * MINUTE_MS, row.total_us
            for bucket, count in row.counts.items():
                # The sum is of all buckets together: it is given to the first, from where it is added up again.
                yield at_ms, row.tenant, HIT, min(max(bucket, 0), _LAST), count, rest_us
                rest_us = 0
        elif isinstance(row, CallRow) and row.ending == "answered":
            tenant = row.origin.tenant
            for what, took_ms in ((MISS, row.took_ms), (FIRST_TOKEN, row.first_token_ms)):
                took_us = min(1000 * took_ms, _MOST_US)
                if what == MISS or took_us > 0:
                    yield row.at_ms, tenant, what, bucket_of(took_us), 1, max(took_us, 0)


async def latency(connection: AsyncConnection, tenant: str | None, span: Span) -> Latency:
    """Read how long things took; None: all tenants."""
    rows = (
        select(times.c.what, times.c.bucket, func.sum(times.c.count), func.sum(times.c.total_us))
        .where(times.c.grain == span.grain, times.c.tenant == (ALL if tenant is None else tenant))
        .where(times.c.what.in_((HIT, MISS, FIRST_TOKEN)))
        .where(times.c.start_ms >= span.start_ms, times.c.start_ms < span.end_ms)
        .group_by(times.c.what, times.c.bucket)
    )
    buckets: dict[int, dict[int, int]] = {HIT: {}, MISS: {}, FIRST_TOKEN: {}}
    totals = dict.fromkeys(buckets, 0)
    for what, bucket, count, total_us in await connection.execute(rows):
        buckets[what][bucket] = int(count)
        totals[what] += int(total_us)
    return Latency(*(spread_of(buckets[what], totals[what]) for what in (HIT, MISS, FIRST_TOKEN)))
