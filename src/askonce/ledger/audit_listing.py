"""The audit row by row, newest first, for people to look at. This does not check them."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.ledger.audit_chain import Sealed
from askonce.ledger.audit_table import audit, sealed_of
from askonce.ledger.engine import reading

PAGE_MAX = 500


class Wanted(NamedTuple):
    """Choose rows; empty strings match everything. `before` is a number, 0 for the end."""

    tenant: str = ""
    actor: str = ""
    action: str = ""
    subject: str = ""
    before: int = 0


async def audit_page(engine: AsyncEngine, wanted: Wanted, size: int) -> tuple[Sequence[Sealed], int]:
    """Return a page, and behind which number the next one begins (0 at the end). Raises `LedgerUnavailable`."""
    size = min(size, PAGE_MAX)
    some = {name: value for name, value in wanted._asdict().items() if value and name != "before"}
    rows = select(audit).where(*(audit.c[name] == value for name, value in some.items()))
    if wanted.before:
        rows = rows.where(audit.c.number < wanted.before)
    async with reading(engine) as connection:
        found = (await connection.execute(rows.order_by(audit.c.number.desc()).limit(size + 1))).mappings().all()
    page = [sealed_of(dict(row)) for row in found[:size]]
    return page, page[-1].number if len(found) > size else 0
