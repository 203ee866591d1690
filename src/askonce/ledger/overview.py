"""The latest quarter of an hour, hour, day, … year at one look: step by step, in all, and against the time before.

Everything comes out of sums: a few hundred steps, of each as many lines as there are kinds and doors, however much
happened. Steps are whole minutes, hours or days (UTC), the last one being that which is not over yet.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, cast, func, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.reports import Latency, ModelSums, Moment, Overview, Range
from askonce.ledger.cubes import (
    DAY_MS,
    DAYS,
    DOOR,
    HOUR_MS,
    HOURS,
    MINUTE_MS,
    MINUTES,
    MODEL,
    PROVIDER,
    TENANT,
)
from askonce.ledger.engine import reading
from askonce.ledger.latency import latency
from askonce.ledger.lines import SUMS, Line, figures, read_lines
from askonce.ledger.schema import Wide
from askonce.ledger.spans import Span
from askonce.ledger.tables import places, usage

MODELS_MAX = 10


class _Scale(NamedTuple):
    """Say what a range is told in: sums of a grain, added up to steps."""

    grain: int
    step_ms: int
    steps: int


SCALES: dict[Range, _Scale] = {
    "15m": _Scale(MINUTES, MINUTE_MS, 15),
    "1h": _Scale(MINUTES, MINUTE_MS, 60),
    "6h": _Scale(MINUTES, 5 * MINUTE_MS, 72),
    "24h": _Scale(MINUTES, 30 * MINUTE_MS, 48),
    "7d": _Scale(HOURS, 2 * HOUR_MS, 84),
    "30d": _Scale(HOURS, 12 * HOUR_MS, 60),
    "90d": _Scale(DAYS, DAY_MS, 90),
    "1y": _Scale(DAYS, DAY_MS, 365),
}


async def overview(engine: AsyncEngine, span: Range, tenant: str | None, now_ms: int) -> Overview:
    """Read a range that ends with the step in which `now_ms` lies. Raises `LedgerUnavailable`."""
    grain, step_ms, steps = SCALES[span]
    end_ms = now_ms - now_ms % step_ms + step_ms
    start_ms = end_ms - steps * step_ms
    before_ms = start_ms - steps * step_ms
    async with reading(engine) as connection:
        lines = await read_lines(connection, _by_step(Span(grain, start_ms, end_ms), tenant, step_ms))
        former = await read_lines(connection, _by_step(Span(grain, before_ms, start_ms), tenant, 0))
        latencies = [
            await _latency(connection, Span(grain, *part), tenant)
            for part in ((start_ms, end_ms), (before_ms, start_ms))
        ]
        models = await _models(connection, Span(grain, start_ms, end_ms), tenant)
    moments = tuple(Moment(at_ms, figures(some)) for at_ms, some in sorted(_apart(lines).items()))
    return Overview(
        start_ms,
        end_ms,
        step_ms,
        moments,
        figures(lines),
        figures(former) if former else None,
        latencies[0],
        latencies[1] if former else None,
        models,
        moments[0].at_ms if moments else 0,
    )


def _apart(lines: Sequence[Line]) -> dict[int, list[Line]]:
    found: dict[int, list[Line]] = {}
    for line in lines:
        found.setdefault(line[0], []).append(line)
    return found


def _by_step(span: Span, tenant: str | None, step_ms: int) -> Select[Any]:
    """Ask for each step's sums by kind; for those of the whole span where that is 0."""
    shape = DOOR if tenant is None else TENANT | DOOR
    steps = [(usage.c.start_ms - usage.c.start_ms % step_ms).label("at_ms")] if step_ms else []
    return _sums(span, shape, tenant, *steps)


async def _models(connection: AsyncConnection, span: Span, tenant: str | None) -> tuple[ModelSums, ...]:
    """Return the models that cost and saved most. Refusals name none."""
    shape = PROVIDER | MODEL if tenant is None else TENANT | PROVIDER | MODEL
    found: dict[tuple[str, str], list[Line]] = {}
    for line in await read_lines(
        connection, _sums(_whole(span, tenant), shape, tenant, places.c.provider, places.c.model)
    ):
        if line[0]:
            found.setdefault((line[0], line[1]), []).append(line)
    every = [ModelSums(*name, figures(lines)) for name, lines in found.items()]
    every.sort(key=lambda one: (-one.figures.cost_nano - one.figures.saved_nano, one.provider, one.model))
    return tuple(every[:MODELS_MAX])


def _sums(span: Span, shape: int, tenant: str | None, *by: ColumnElement[Any]) -> Select[Any]:
    """Ask for the sums of each group and kind."""
    wanted = [
        usage.c.grain == span.grain,
        usage.c.shape == shape,
        usage.c.start_ms >= span.start_ms,
        usage.c.start_ms < span.end_ms,
    ]
    if tenant is not None:
        wanted.append(usage.c.place.in_(select(places.c.id).where(places.c.shape == shape, places.c.tenant == tenant)))
    sums = [cast(func.sum(column), Wide).label(column.name) for column in SUMS]
    return (
        select(*by, places.c.kind, *sums)
        .join_from(usage, places, places.c.id == usage.c.place)
        .where(*wanted)
        .group_by(*by, places.c.kind)
    )


async def _latency(connection: AsyncConnection, span: Span, tenant: str | None) -> Latency:
    """Read how long things took."""
    return await latency(connection, tenant, _whole(span, tenant))


def _whole(span: Span, tenant: str | None) -> Span:
    """Widen minutes to hours for one tenant: of models and of times, minutes are of all tenants together."""
    if tenant is None or span.grain != MINUTES:
        return span
    return Span(HOURS, span.start_ms - span.start_ms % HOUR_MS, span.end_ms + -span.end_ms % HOUR_MS)
