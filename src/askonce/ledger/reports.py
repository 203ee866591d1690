"""Sums over any time, grouped and narrowed as one likes, from `usage` alone.

The smallest shape that knows what is asked for, in the longest grains that fit: a year is twelve months, whatever
happened in it. Everything of one answer is read in one transaction, so that its parts agree.
"""

from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, Integer, Select, Subquery, cast, func, literal, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.errors import Detail, Invalid
from askonce.domain.reports import (
    ROWS_MAX,
    Figures,
    Group,
    Narrow,
    Overview,
    Range,
    RequestPage,
    RequestQuestion,
    Told,
    UsageQuestion,
    UsageReport,
    UsageRow,
)
from askonce.ledger.cubes import DAY_MS, DAYS, MONTHS, month_of, named, shape_with
from askonce.ledger.engine import reading
from askonce.ledger.lines import SUMS, Line, figures, read_lines
from askonce.ledger.listing import request_page, texts_of
from askonce.ledger.overview import overview
from askonce.ledger.schema import Wide
from askonce.ledger.spans import Span, spans, whole_hours
from askonce.ledger.tables import places, usage

TIMES = ("hour", "day", "month")
LINES_MAX = 4 * ROWS_MAX  # of the database: a group has one for each kind, and seldom more than four
YEARS_MAX_MS = 100 * 366 * DAY_MS
_COLUMN = {"tenant": "tenant", "key": "key_id", "door": "door", "provider": "provider", "model": "model"}


class SqlReports:
    """Read the ledger's tables."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def usage(self, question: UsageQuestion) -> UsageReport:
        """Return sums."""
        return await usage_report(self._engine, question)

    async def overview(self, span: Range, tenant: str | None, now_ms: int) -> Overview:
        """Return the latest time of that length."""
        return await overview(self._engine, span, tenant, now_ms)

    async def requests(self, question: RequestQuestion) -> RequestPage:
        """Return a page of requests."""
        return await request_page(self._engine, question)

    async def texts(self, request_id: str, tenant: str | None) -> tuple[Told, ...]:
        """Return what a request's paid calls asked and were answered."""
        return await texts_of(self._engine, request_id, tenant)


async def usage_report(engine: AsyncEngine, question: UsageQuestion) -> UsageReport:
    """Answer a question. Raises `Invalid` and `LedgerUnavailable`."""
    _check(question)
    start_ms, end_ms = whole_hours(question.start_ms, question.end_ms)
    async with reading(engine) as connection:
        rows, cut = await _grouped(connection, question, spans(start_ms, end_ms, question.by))
        total = await _total(connection, question.narrow, spans(start_ms, end_ms, ()))
    return UsageReport(start_ms, end_ms, rows, total, cut)


def _check(question: UsageQuestion) -> None:
    if not 0 <= question.start_ms <= question.end_ms <= question.start_ms + YEARS_MAX_MS:
        problem = "the end lies before the start, or a hundred years behind it"
        raise Invalid(f"The range of the report cannot be: {problem}.", details=(Detail("end", problem),))
    if len([group for group in question.by if group in TIMES]) > 1 or len(set(question.by)) != len(question.by):
        problem = "each group once, and one of hour, day and month"
        raise Invalid(f"The report cannot be grouped like that: {problem}.", details=(Detail("by", problem),))


async def _total(connection: AsyncConnection, narrow: Narrow, parts: list[Span]) -> Figures:
    return figures(await read_lines(connection, _named((), narrow, parts))) if parts else Figures()


async def _grouped(
    connection: AsyncConnection, question: UsageQuestion, parts: list[Span]
) -> tuple[tuple[UsageRow, ...], bool]:
    """Return one row per group, and whether there were more."""
    if not parts or not question.by:
        return (), False
    by, narrow = question.by, question.narrow
    read = await read_lines(connection, _named(by, narrow, parts, LINES_MAX + 1))
    if not (cut := len(read) > LINES_MAX):
        found = sorted(_by_group(read, len(by)).items())
    else:
        read = await read_lines(connection, _ordered(by, narrow, parts).limit(LINES_MAX + 1))
        found = list(_by_group(read, len(by)).items())
        found.pop()  # its rest was not read
    names = ["at_ms" if group in TIMES else _COLUMN[group] for group in by]
    rows = [
        UsageRow(figures(lines), **dict(zip(names, group, strict=True))) for group, lines in islice(found, ROWS_MAX)
    ]
    return tuple(rows), cut or len(found) > ROWS_MAX


def _by_group(lines: list[Line], width: int) -> dict[Line, list[Line]]:
    groups: dict[Line, list[Line]] = {}
    for line in lines:
        groups.setdefault(line[:width], []).append(line)
    return groups


def _named(by: tuple[Group, ...], narrow: Narrow, parts: list[Span], most: int | None = None) -> Select[Any]:
    """Ask for the groups' columns, then the kind, then the sums; some groups on several lines, in no order.

    Numbers are added up before they get their names: half the work of `_ordered`.
    """
    every, sums = _every(by, narrow, parts)
    if len(parts) == 1 and _is_start(parts[0], by):  # each is there once
        added = select(every).limit(most).subquery()
    else:
        of_places = (every.c.at_ms, every.c.place)
        added = select(*of_places, *sums).group_by(*of_places).limit(most).subquery()
    groups = [added.c.at_ms if group in TIMES else places.c[_COLUMN[group]] for group in by]
    return select(*groups, places.c.kind, *(added.c[column.name] for column in SUMS)).join_from(
        added, places, places.c.id == added.c.place
    )


def _ordered(by: tuple[Group, ...], narrow: Narrow, parts: list[Span]) -> Select[Any]:
    """Ask for the same in the groups' order, so that the first of many can be had: each group and kind on one line."""
    every, sums = _every(by, narrow, parts)
    groups = [every.c.at_ms if group in TIMES else places.c[_COLUMN[group]] for group in by]
    return (
        select(*groups, places.c.kind, *sums)
        .join_from(every, places, places.c.id == every.c.place)
        .group_by(*groups, places.c.kind)
        .order_by(*groups, places.c.kind)
    )


def _every(by: tuple[Group, ...], narrow: Narrow, parts: list[Span]) -> tuple[Subquery, list[ColumnElement[int]]]:
    shape = shape_with([*(_COLUMN[group] for group in by if group not in TIMES), *named(narrow)])
    every = union_all(*(_part(part, shape, by, narrow) for part in parts)).subquery()
    return every, [cast(func.sum(every.c[column.name]), Wide).label(column.name) for column in SUMS]


def _part(part: Span, shape: int, by: tuple[Group, ...], narrow: Narrow) -> Select[Any]:
    wanted = [
        usage.c.grain == part.grain,
        usage.c.shape == shape,
        usage.c.start_ms >= part.start_ms,
        usage.c.start_ms < part.end_ms,
    ]
    if some := named(narrow):
        of_these = [places.c[name] == value for name, value in some.items()]
        wanted.append(usage.c.place.in_(select(places.c.id).where(places.c.shape == shape, *of_these)))
    return select(_label(part, by).label("at_ms"), usage.c.place, *SUMS).where(*wanted)


def _label(part: Span, by: tuple[Group, ...]) -> ColumnElement[int]:
    """Say which hour, day or month a sum belongs to; 0 if nobody asks."""
    if _is_start(part, by):
        return usage.c.start_ms
    if "day" in by:
        return usage.c.start_ms - usage.c.start_ms % DAY_MS
    if "month" in by:
        return cast(literal(month_of(part.start_ms)), Wide)
    return cast(literal(0), Integer)


def _is_start(part: Span, by: tuple[Group, ...]) -> bool:
    """Say whether a sum belongs to what begins when its own grain does."""
    return "hour" in by or ("day" in by and part.grain == DAYS) or ("month" in by and part.grain == MONTHS)
