"""How long things took: what a batch adds to `times`, and what is read there.

A call's time and its first token are in its row; answers from the store tell theirs by the minute (`TimesRow`). What is
told by the minute is told of all tenants together, since nobody's last minutes can be told from everybody's in less.
"""

from collections.abc import Iterable

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

_Key = tuple[int, str, int, int, int]  # of a row of `times`


def timings(records: Iterable[Record]) -> list[Row]:
    """Return what records add to `times`, no row of it twice, in the order of its keys.

    Added up by the minute first, so that the work of longer grains follows how many different things happened.
    """
    found: dict[_Key, list[int]] = {}
    for (minute, tenant, what, bucket), (count, total_us) in _by_minute(records).items():
        at_ms = minute * MINUTE_MS
        hour_ms, day_ms = at_ms - at_ms % HOUR_MS, at_ms - at_ms % DAY_MS
        for key in {
            (MINUTES, ALL, what, at_ms, bucket),
            (HOURS, ALL, what, hour_ms, bucket),
            (HOURS, tenant, what, hour_ms, bucket),
            (DAYS, ALL, what, day_ms, bucket),
            (DAYS, tenant, what, day_ms, bucket),
        }:
            sums = found.setdefault(key, [0, 0])
            sums[0] += count
            sums[1] += total_us
    return [(*key, *found[key]) for key in sorted(found)]


def _by_minute(records: Iterable[Record]) -> dict[tuple[int, str, int, int], list[int]]:
    found: dict[tuple[int, str, int, int], list[int]] = {}
    for row in records:
        if isinstance(row, CallRow):
            if row.ending == "answered":
                minute, tenant = row.at_ms // MINUTE_MS, row.origin.tenant
                _add(found, (minute, tenant, MISS), row.took_ms)
                if row.first_token_ms > 0:
                    _add(found, (minute, tenant, FIRST_TOKEN), row.first_token_ms)
        elif isinstance(row, TimesRow):
            rest_us = row.total_us  # of all buckets together: it is given to the first, from where it is added up again
            for bucket, count in row.counts.items():
                sums = found.setdefault((row.minute, row.tenant, HIT, min(max(bucket, 0), _LAST)), [0, 0])
                sums[0] += count
                sums[1] += rest_us
                rest_us = 0
    return found


def _add(found: dict[tuple[int, str, int, int], list[int]], what: tuple[int, str, int], took_ms: int) -> None:
    took_us = min(max(1000 * took_ms, 0), _MOST_US)
    key = (*what, bucket_of(took_us))
    sums = found.get(key)
    if sums is None:
        found[key] = [1, took_us]
    else:
        sums[0] += 1
        sums[1] += took_us


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
