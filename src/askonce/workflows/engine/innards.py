"""Everything that is private in DBOS 3.4.0 and used all the same, so that a new release is checked in one place.

Why at all: DBOS recovers works through a queue of its own that is polled, and any worker of the same version may draw
from it. Here it is known which worker is to go on, and so it goes on there, at once.
"""

import asyncio
import uuid
from collections.abc import Collection
from typing import Final

from dbos import DBOS, DBOSConfig, _workflow_commands
from dbos._core import execute_dequeued_workflow
from dbos._dbos import _get_dbos_instance
from sqlalchemy import and_, update

ACTIVE = ("PENDING", "ENQUEUED", "DELAYED")
_PENDING: Final = "PENDING"
# DBOS looks every second for works that are delayed, out of time or in its queue. There are none: nothing of that kind
# is asked of it, and on a file those looks were a quarter of what an idle worker does.
SELDOM_S: Final = 30.0
_OFTEN_S: Final = _workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC


def launch(config: DBOSConfig, loop: asyncio.AbstractEventLoop) -> None:
    """Make tables and start DBOS's threads, off the loop, and let works run on it."""
    engine = config["system_database_engine"]
    alone = engine is not None and engine.dialect.name == "sqlite"
    # A server's transaction is open as long as that pause, and would keep what is deleted from being vacuumed.
    _workflow_commands._BACKGROUND_JOBS_INTERVAL_SEC = SELDOM_S if alone else _OFTEN_S
    DBOS(config=config)
    _get_dbos_instance()._registry.get_internal_queue()._polling_interval_sec = SELDOM_S
    DBOS.launch()
    _get_dbos_instance()._background_event_loop._main_loop = loop


def adopt(id: str, executor: str) -> bool:
    """Make a workflow that nobody runs ours, as its next life, and begin it; not on the loop.

    False where it changed meanwhile, or is not active. Who ran it before can write nothing more.
    """
    dbos = _get_dbos_instance()
    status = dbos._sys_db.get_workflow_status(id)
    if status is None or status["status"] not in ACTIVE:
        return False
    owner, lives = str(uuid.uuid4()), (status["recovery_attempts"] or 0) + 1
    table = dbos._sys_db.tables.workflow_status
    as_seen = and_(
        table.c.workflow_uuid == id,
        table.c.status == status["status"],
        table.c.executor_id == status["executor_id"],
        table.c.recovery_attempts == status["recovery_attempts"],
    )
    taken = {"status": _PENDING, "executor_id": executor, "owner_xid": owner, "recovery_attempts": lives}
    with dbos._sys_db.engine.begin() as connection:
        if not connection.execute(update(table).where(as_seen).values(taken)).rowcount:
            return False
    status["status"], status["executor_id"], status["recovery_attempts"] = _PENDING, executor, lives
    execute_dequeued_workflow(dbos, status, owner)
    return True


def lives_of(id: str) -> tuple[str, str, int] | None:
    """Return a workflow's status, application version and how often it was begun."""
    status = _get_dbos_instance()._sys_db.get_workflow_status(id)
    return None if status is None else (status["status"], status["app_version"] or "", status["recovery_attempts"] or 0)


def hand_back(ids: Collection[str], executor: str) -> None:
    """Do not count the life that workflows had here: it ended in good order, and they are active still."""
    dbos = _get_dbos_instance()
    table = dbos._sys_db.tables.workflow_status
    ours = and_(table.c.workflow_uuid.in_(ids), table.c.status == _PENDING, table.c.executor_id == executor)
    fewer = update(table).where(ours).values(recovery_attempts=table.c.recovery_attempts - 1)
    with dbos._sys_db.engine.begin() as connection:
        connection.execute(fewer)


def wait_no_more() -> None:
    """Let what waits for a database that is away raise, so that its threads end."""
    _get_dbos_instance()._sys_db._retry_connection_errors = False
