"""The engine over DBOS: each round of an execution is a workflow, each of its nodes a step.

A workflow never ends in an error: what failed is written in our own rows, and what could not be written is left to be
done again. So what DBOS remembers is only what ended well, and a workflow that is still active has work left.

One engine per process at a time: DBOS is one per process.
"""

import asyncio
import logging
import uuid
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID
from dbos import error as errors
from sqlalchemy import Engine as Database
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from askonce.domain.errors import DatabaseAway, InternalError
from askonce.domain.executions import TurnOver
from askonce.workflows.engine import innards
from askonce.workflows.engine.life import Life
from askonce.workflows.engine.port import Work
from askonce.workflows.engine.quiet import have_the_last_look, route_logs
from askonce.workflows.engine.steps import DbosSteps

# Of how a round is cut into steps. A run of another version is begun anew, over the nodes that our own rows hold.
VERSION = "1"
SCHEMA = "askonce_engine"
# So often a work may be begun without its worker ending in good order: then it is held to be what kills workers. After
# half of them it is suspected, and goes on only while no other suspect runs: what runs beside the guilty one dies too.
LIVES = 8
# Workflows of one work: a second one where another version was at it, or a checkpoint does not fit; never many.
ANEW = 8
THREADS = 32  # for what waits for the database; without a bound DBOS grew to 192
KEPT_MS = 3_600_000  # how long what ended stays, to be looked at
ABANDONED_MS = 30 * 24 * KEPT_MS  # no execution takes so long: these are left-overs of other versions
STOP_LOOK_S = 0.25  # DBOS waits for a thread that sleeps so long; nobody notifies, so that it does nothing else
SETTLE_S = 2.0  # at the end, for writing what has just been done
POISON = "Its worker died {times} times while it was at it, so it is not tried again. Resume it to try all the same."
DEFECT = "It failed for a reason that is in the server's log."
TANGLED = "What its earlier runs left behind does not fit together."
AWAY_S = 2  # after which it is worth asking again
_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

_log = logging.getLogger("askonce.engine")


class DurableEngine:
    """Run works (port `Engine`). The database is disposed of at the end; give it to nobody else."""

    def __init__(self, database: Database, lives: int = LIVES) -> None:
        self._database = database
        self._lives = lives
        self._executor = uuid.uuid4().hex  # a fresh one each time, so that DBOS recovers nothing by itself
        self._here: dict[str, Life] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._stopping = False
        self._launched = False

    async def start(self, work: Work, left: Callable[[str], None]) -> None:
        """Open the database, making its tables."""
        self._work, self._left = work, left
        route_logs()
        config = DBOSConfig(
            name="askonce",
            system_database_engine=self._database,
            dbos_system_schema=SCHEMA,
            application_version=VERSION,
            executor_id=self._executor,
            serializer=DBOSPortableJSONSerializer(),
            max_executor_threads=THREADS,
            use_listen_notify=False,
            notification_listener_polling_interval_sec=STOP_LOOK_S,
            enable_otlp=False,
            log_level="WARNING",
        )

        async def round(work_id: str) -> str:
            return await self._live(work_id)

        self._workflow = DBOS.workflow(name="round", max_recovery_attempts=None)(round)
        self._launched = True
        try:
            with _translated():
                await asyncio.to_thread(innards.launch, config, asyncio.get_running_loop())
        except BaseException:
            await self._close()
            raise
        have_the_last_look()

    async def run(self, work_id: str) -> bool:
        """Begin a work, or take it up where it was left."""
        if work_id in self._here or self._stopping:
            return False
        life = self._here[work_id] = Life()
        try:
            begun = await self._begin(work_id)
        except BaseException:
            self._forget(work_id, life)
            raise
        if not begun:
            self._forget(work_id, life)
        return begun

    def cancel(self, work_id: str) -> bool:
        """Cancel what a work is doing."""
        life = self._here.get(work_id)
        if life is None:
            return False
        life.end("cancelled")
        return True

    def running(self) -> Collection[str]:
        """Return the works that run here now."""
        return self._here.keys()

    async def drop(self) -> None:
        """Leave all works as they are."""
        for life in self._here.values():
            life.end("left")
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=SETTLE_S)

    async def sweep(self, now_ms: int, size: int) -> int:
        """Forget what ended long ago."""
        with _translated():
            ids = await _ids(size, status=list(_ENDED), completed_before=_iso(now_ms - KEPT_MS))
            ids = ids or await _ids(size, end_time=_iso(now_ms - ABANDONED_MS))
            if ids:
                await DBOS.delete_workflows_async(ids)
            return len(ids)

    async def stop(self, drain_s: float) -> None:
        """Give works so long to end, leave the others, and close."""
        self._stopping = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=drain_s)
        unfinished = list(self._here)
        await self.drop()
        if not self._launched:
            return
        innards.wait_no_more()
        if unfinished:
            await self._hand_back(unfinished)
        await self._close()
        await asyncio.to_thread(self._database.dispose)

    async def _close(self) -> None:
        self._launched = False
        await asyncio.to_thread(DBOS.destroy, destroy_registry=True)
        # DBOS made its threads those of the whole loop, and they are gone now.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())

    async def _begin(self, work_id: str) -> bool:
        for number in range(1, ANEW + 1):
            id = work_id if number == 1 else f"{work_id}~{number}"
            try:
                with SetWorkflowID(id, workflow_id_reuse_policy="reject"):
                    await DBOS.start_workflow_async(self._workflow, work_id)
            except errors.DBOSWorkflowIDInUseError:
                found = await asyncio.to_thread(innards.lives_of, id)
            else:
                return True
            if found is not None and found[0] in innards.ACTIVE and found[1] == VERSION:
                return await self._take_up(work_id, id, found[2])
        await self._work.give_up(work_id, InternalError.code, TANGLED)
        return False

    async def _take_up(self, work_id: str, id: str, lives: int) -> bool:
        """Let a workflow go on that was left, unless it looks as if it kills its workers."""
        if lives >= self._lives:
            await self._work.give_up(work_id, InternalError.code, POISON.format(times=lives))
            await DBOS.cancel_workflow_async(id)
            return False
        if 2 * lives >= self._lives:
            if any(life.suspect for life in self._here.values()):
                return False
            self._here[work_id].suspect = True
        with _translated():
            return await asyncio.to_thread(innards.adopt, id, self._executor)

    async def _live(self, work_id: str) -> str:
        """Be the workflow. Cancelled by itself where it is left: DBOS writes nothing then, and it stays active."""
        life = self._here.get(work_id)
        task = asyncio.current_task()
        if life is None or task is None or self._stopping:
            raise asyncio.CancelledError
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await self._done(work_id, life)
        finally:
            self._forget(work_id, life)

    async def _done(self, work_id: str, life: Life) -> str:
        """Do the work, and say how it ended."""
        try:
            await life.go(self._work.run(work_id, DbosSteps()))
        except asyncio.CancelledError:
            if life.wish == "cancelled":
                return "cancelled"
            raise
        except DatabaseAway as error:
            _log.warning("%s is left for a while: %s", work_id, error)
            await self._hand_back([work_id])
            raise asyncio.CancelledError from error
        except (errors.DBOSWorkflowConflictIDError, TurnOver) as error:
            _log.warning("%s goes on elsewhere", work_id)
            raise asyncio.CancelledError from error
        except errors.DBOSException as error:
            _log.warning("%s is begun anew: %s", work_id, error)
            return "anew"
        except Exception:
            _log.exception("%s failed", work_id)
            return await self._fail(work_id)
        return "done"

    async def _fail(self, work_id: str) -> str:
        try:
            await self._work.give_up(work_id, InternalError.code, DEFECT)
        except DatabaseAway as error:
            await self._hand_back([work_id])
            raise asyncio.CancelledError from error
        return "failed"

    async def _hand_back(self, work_ids: list[str]) -> None:
        """Let what ended in good order not count as a death; where that cannot be written, it counts."""
        ids = [f"{id}{end}" for id in work_ids for end in ("", *(f"~{number}" for number in range(2, ANEW + 1)))]
        try:
            await asyncio.to_thread(innards.hand_back, ids, self._executor)
        except Exception as error:  # the driver's own; nothing is lost but a number
            _log.warning("a work's life is counted as a death: %s", error)

    def _forget(self, work_id: str, life: Life) -> None:
        if self._here.get(work_id) is life:
            del self._here[work_id]
            self._left(work_id)


async def _ids(size: int, **wanted: Any) -> list[str]:
    """Return the workflows that are wanted, the oldest first."""
    found = await DBOS.list_workflows_async(limit=size, load_input=False, load_output=False, **wanted)
    return [each.workflow_id for each in found]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, PoolTimeout, OSError) as error:
        raise DatabaseAway(f"The engine's database is away: {error}", retry_after_s=AWAY_S) from error


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
