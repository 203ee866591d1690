"""Requests one by one, newest first, page by page.

A page begins behind the last row of the one before (its time, outbox and number), so that a page costs the same however
far back it is, and rows that come in meanwhile shift nothing. Two tables are read side by side: calls that reached a
provider, and samples of the answers that did not; numbers of one outbox never repeat over both.

What is narrowed by door, provider, model or kind has no index. There the sums say in which hours there is anything, and
only those are looked into.
"""

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, get_args

import msgspec
from msgspec import Meta
from sqlalchemy import Column, ColumnElement, RowMapping, Table, literal, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from askonce.domain.errors import Detail, Invalid
from askonce.domain.reports import PAGE_MAX, PaidKind, RequestPage, RequestQuestion, RequestRow, Told
from askonce.ledger.cubes import HOUR_MS, HOURS, named, shape_with
from askonce.ledger.engine import reading
from askonce.ledger.schema import Wide
from askonce.ledger.tables import calls, places, samples, texts, usage

PAID = get_args(PaidKind)
_UNINDEXED = ("door", "provider", "model")
_BOOLEANS = ("stored", "estimated", "priced")


class Cursor(NamedTuple):
    """Name a row; the next page begins behind it."""

    at_ms: int
    source: int
    number: int


async def request_page(engine: AsyncEngine, question: RequestQuestion) -> RequestPage:
    """Answer a question. Raises `Invalid` for a cursor that is not ours, and `LedgerUnavailable`."""
    size = max(1, min(question.size, PAGE_MAX))
    after = _read_cursor(question.after) if question.after else Cursor(question.end_ms, 0, 0)
    async with reading(engine) as connection:
        found = []
        if not question.kinds or set(question.kinds) & set(PAID):
            found += await _calls(connection, question, after, size + 1)
        if (not question.kinds or set(question.kinds) - set(PAID)) and not question.error_code:
            found += await _look(connection, samples, _wanted(samples, question, after), size + 1)
    found.sort(key=_place, reverse=True)
    more = _write_cursor(_place(found[size - 1])) if len(found) > size else ""
    return RequestPage(tuple(_request(row) for row in found[:size]), more)


async def texts_of(engine: AsyncEngine, request_id: str, tenant: str | None) -> tuple[Told, ...]:
    """Return what was asked and answered under a request's id. Raises `LedgerUnavailable`."""
    wanted = [texts.c.request_id == request_id]
    if tenant is not None:
        wanted.append(texts.c.tenant == tenant)
    rows = select(texts).where(*wanted).order_by(texts.c.at_ms, texts.c.source, texts.c.number).limit(PAGE_MAX)
    async with reading(engine) as connection:
        found = (await connection.execute(rows)).mappings().all()
    return tuple(
        Told(
            row["at_ms"],
            row["provider"],
            row["model"],
            row["question"],
            row["answer"],
            bool(row["cut"]),
            row["tenant"],
        )
        for row in found
    )


async def _calls(connection: AsyncConnection, question: RequestQuestion, after: Cursor, size: int) -> list[RowMapping]:
    """Find calls, by an index if there is one for what is asked, else hour by hour."""
    wanted = _wanted(calls, question, after)
    indexed = (
        question.request_id
        or question.error_code
        or not (question.kinds or any(getattr(question.narrow, name) is not None for name in _UNINDEXED))
    )
    if indexed:
        return await _look(connection, calls, wanted, size)
    found: list[RowMapping] = []
    for hour in await _hours(connection, question, after, size):
        within = [calls.c.at_ms >= hour, calls.c.at_ms < hour + HOUR_MS]
        found += await _look(connection, calls, [*wanted, *within], size - len(found))
        if len(found) == size:
            break
    return found


async def _hours(connection: AsyncConnection, question: RequestQuestion, after: Cursor, size: int) -> Sequence[int]:
    """Return hours in which there is something, the latest first: as many as can be needed."""
    some = named(question.narrow)
    shape = shape_with(some)
    kinds = [kind for kind in question.kinds or PAID if kind in PAID]
    of_these = [places.c[name] == value for name, value in some.items()]
    known = select(places.c.id).where(places.c.shape == shape, places.c.kind.in_(kinds), *of_these)
    hours = (
        select(usage.c.start_ms)
        .where(usage.c.grain == HOURS, usage.c.shape == shape, usage.c.place.in_(known))
        .where(usage.c.start_ms > question.start_ms - HOUR_MS, usage.c.start_ms <= after.at_ms)
        .distinct()
        .order_by(usage.c.start_ms.desc())
    )
    # Each has one row at least. One hour more, because the first may have nothing but what stood on the page before.
    return (await connection.execute(hours.limit(size + 1))).scalars().all()


def _wanted(table: Table, question: RequestQuestion, after: Cursor) -> list[ColumnElement[bool]]:
    """Say which rows of a table are asked for."""
    wanted = [
        table.c.at_ms >= question.start_ms,
        table.c.at_ms <= after.at_ms,  # for the planner, which does not see it in the comparison of three
        tuple_(table.c.at_ms, table.c.source, table.c.number) < tuple_(*(literal(part, Wide) for part in after)),
    ]
    wanted += [table.c[name] == value for name, value in named(question.narrow).items()]
    if question.kinds:
        wanted.append(table.c.kind.in_(question.kinds))
    if question.request_id:
        wanted.append(table.c.request_id == question.request_id)
    if question.error_code and table is calls:
        wanted.append(table.c.error_code == question.error_code)
    return wanted


async def _look(
    connection: AsyncConnection, table: Table, wanted: list[ColumnElement[bool]], size: int
) -> list[RowMapping]:
    key: list[Column[Any]] = [table.c.at_ms, table.c.source, table.c.number]
    rows = select(table).where(*wanted).order_by(*(column.desc() for column in key)).limit(size)
    return list((await connection.execute(rows)).mappings().all())


def _request(row: RowMapping) -> RequestRow:
    values = {name: value for name, value in row.items() if name in RequestRow.__struct_fields__}
    for name in _BOOLEANS:
        if name in values:
            values[name] = bool(values[name])
    return RequestRow(**values, id=f"{row['source']}.{row['number']}")


def _place(row: RowMapping) -> Cursor:
    return Cursor(row["at_ms"], row["source"], row["number"])


def _write_cursor(cursor: Cursor) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(cursor)).rstrip(b"=").decode()


_Number = Annotated[int, Meta(ge=0, le=2**63 - 1)]


def _read_cursor(text: str) -> Cursor:
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return Cursor(*msgspec.msgpack.decode(packed, type=tuple[_Number, _Number, _Number]))
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        problem = "no page of ours begins there; leave it out for the first page"
        raise Invalid(f"The cursor is wrong: {problem}.", details=(Detail("after", problem),)) from error
