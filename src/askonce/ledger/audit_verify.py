"""Check the audit in the database: every row, every link, every number, the end, and the table's locks."""

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.domain.ledger import Anchor
from askonce.ledger.audit_chain import START, UNKNOWN, Checker, Report
from askonce.ledger.audit_table import from_number, missing_locks, sealed_of
from askonce.ledger.engine import UNHURRIED, reading

_PAGE = 500  # rows fetched at once
_RECORDED = (
    "What was never recorded is not here: a power cut takes what was still in shared state, and a process's own report "
    "is what it is."
)


async def verify(
    engine: AsyncEngine, keys: Sequence[bytes], anchors: Sequence[Anchor] = (), since: Anchor | None = None
) -> Report:
    """Check the chain, all of it or from a noted end on. `keys`: that in force first, then the former.

    All is read in one transaction, row by row, in memory that does not grow. Raises `LedgerUnavailable`.
    """
    first = since.number if since is not None and since.number else 1
    before = START if first == 1 else Anchor(first - 1, UNKNOWN)
    checker = Checker(keys, before, anchors)
    async with reading(engine) as connection:
        await connection.execution_options(**{UNHURRIED: True})
        for lock in sorted(await missing_locks(connection)):
            checker.find("unlocked", 0, f"the table's trigger {lock} is gone or off")
        rows = await connection.stream(from_number(first).execution_options(yield_per=_PAGE))
        async for fields in rows.mappings():
            checker.feed(sealed_of(fields))
    return checker.finish(_RECORDED)
