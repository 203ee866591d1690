"""What webhooks are to be told of ends: a row each, written in the transaction that ends the round.

A notice that somebody takes is due again a while later, so that one whose worker died is told by another: at least
once, and by no two at the same time.
"""

from collections.abc import Collection
from typing import Final, Literal
from urllib.parse import urlsplit

from sqlalchemy import Connection, and_, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from askonce.domain.executions import Execution, Notice, NoticeState
from askonce.ledger.executions.tables import notices
from askonce.ledger.executions.turns import Turns
from askonce.ledger.words import clean

STATUSES: Final[tuple[Literal["pending", "delivered", "given_up"], ...]] = ("pending", "delivered", "given_up")
_PENDING = STATUSES.index("pending")


class SqlNotices:
    """Keep notices (port `Notices`)."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._turns = Turns(engine)

    async def take(self, but_hosts: Collection[str], now_ms: int, until_ms: int) -> Notice | None:
        """Take the notice that is due longest."""
        due = and_(notices.c.status == _PENDING, notices.c.due_ms <= now_ms, notices.c.host.not_in(list(but_hosts)))
        wanted = select(notices).where(due).order_by(notices.c.due_ms).limit(1)

        def act(connection: Connection) -> Notice | None:
            row = connection.execute(wanted.with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            ours = notices.c.execution == row.execution
            connection.execute(update(notices).where(ours).values(due_ms=until_ms))
            return Notice(row.execution, row.round, row.tries, row.made_ms)

        # Most looks find nothing, and take no lock.
        there = await self._turns.look(lambda connection: connection.execute(wanted).first() is not None)
        return await self._turns.change(act) if there else None

    async def settle(self, notice: Notice, state: NoticeState) -> None:
        """Write what came of a try."""
        ours = and_(notices.c.execution == notice.execution, notices.c.round == notice.round)
        values = {
            "status": STATUSES.index(state.status),
            "tries": state.tries,
            "problem": clean(state.problem),
            "due_ms": state.next_ms,
        }
        await self._turns.change(lambda connection: connection.execute(update(notices).where(ours).values(values)))


def put_notice(connection: Connection, execution: Execution, now_ms: int) -> None:
    """Note that a round that has just ended is to be told of, if anybody wants to hear."""
    url = execution.submission.webhook
    if not url:
        return
    connection.execute(delete(notices).where(notices.c.execution == execution.id))
    connection.execute(
        insert(notices).values(
            execution=execution.id,
            round=execution.round,
            host=clean(_host_of(url)),
            made_ms=now_ms,
            due_ms=now_ms,
            status=_PENDING,
            tries=0,
            problem="",
        )
    )


def notice_of(connection: Connection, id: str) -> NoticeState | None:
    """Return how far the telling of an execution's end has come."""
    row = connection.execute(select(notices).where(notices.c.execution == id)).one_or_none()
    return None if row is None else NoticeState(STATUSES[row.status], row.tries, row.problem, row.due_ms)


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
