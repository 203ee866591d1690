"""The engine over DBOS: each round of an execution is a workflow, each of its nodes a step.

A workflow never ends in an error: what failed is written in our own rows, and what could not be written is left to be
done again. So what DBOS remembers is only what ended well, and a workflow that is still active has work left.

One engine per process at a time: DBOS is one per process.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Literal

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID, StepReservation
from dbos import error as errors
from sqlalchemy import Engine as Database
from sqlalchemy.exc import DBAPIError

from askonce.domain.errors import DatabaseAway, InternalError
from askonce.workflows.engine import innards
from askonce.workflows.engine.port import Step, Work

# Of how a round is cut into steps. A run of another version is begun anew, over the nodes that our own rows hold.
VERSION = "1"
SCHEMA = "askonce_engine"
# So often a work may be begun without its worker ending in good order: then it is held to be what kills workers.
LIVES = 8
# Workflows of one work: a second one where another version was at it, or a checkpoint does not fit; never many.
ANEW = 8
THREADS = 32  # for what waits for the database; without a bound DBOS grew to 192
KEPT_MS = 3_600_000  # how long what ended stays, to be looked at
ABANDONED_MS = 30 * 24 * KEPT_MS  # no execution takes so long: these are left-overs of other versions
SETTLE_S = 2.0  # at the end, for writing what has just been done
POISON = "Its worker died {times} times while it was at it, so it is not tried again. Resume it to try all the same."
DEFECT = "It failed for a reason that is in the server's log."
TANGLED = "What its earlier runs left behind does not fit together."
AWAY_S = 2  # after which it is worth asking again
_ENDED = ("SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED")

# Lines of DBOS that tell of what is meant to be so, or what is raised as well.
_MEANT = ("Asyncio task cancelled", "DBOS failed to launch")

_log = logging.getLogger("askonce.engine")


class DurableEngine:
    """Run works (port `Engine`). The database is disposed of at the end; give it to nobody else."""

    def __init__(self, database: Database, lives: int = LIVES) -> None:
        self._database = database
        self._lives = lives
        self._executor = uuid.uuid4().hex  # a fresh one each time, so that DBOS recovers nothing by itself
        self._here: dict[str, _Life] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._stopping = False
        self._launched = False

    async def start(self, work: Work, left: Callable[[str], None]) -> None:
        """Open the database, making its tables."""
        self._work, self._left = work, left
        _route_logs()
        config = DBOSConfig(
            name="askonce",
            system_database_engine=self._database,
            dbos_system_schema=SCHEMA,
            application_version=VERSION,
            executor_id=self._executor,
            serializer=DBOSPortableJSONSerializer(),
            max_executor_threads=THREADS,
            use_listen_notify=False,
            enable_otlp=False,
            log_level="WARNING",
        )

        async def round(work_id: str) -> str:
            return await self._live(work_id)

        self._workflow = DBOS.workflow(name="round", max_recovery_attempts=None)(round)
        self._launched = True
        try:
            await asyncio.to_thread(innards.launch, config, asyncio.get_running_loop())
        except (DBAPIError, OSError) as error:
            await self._close()
            raise DatabaseAway(f"The engine's database is away: {error}", retry_after_s=AWAY_S) from error
        _quieten()

    async def run(self, work_id: str) -> bool:
        """Begin a work, or take it up where it was left."""
        if work_id in self._here or self._stopping:
            return False
        life = self._here[work_id] = _Life()
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
        ended = await DBOS.list_workflows_async(
            status=list(_ENDED),
            completed_before=_iso(now_ms - KEPT_MS),
            limit=size,
            load_input=False,
            load_output=False,
        )
        if not ended:
            ended = await DBOS.list_workflows_async(
                end_time=_iso(now_ms - ABANDONED_MS), limit=size, load_input=False, load_output=False
            )
        ids = [each.workflow_id for each in ended]
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
        return await asyncio.to_thread(innards.adopt, id, self._executor) is not None

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

    async def _done(self, work_id: str, life: "_Life") -> str:
        """Do the work, and say how it ended."""
        try:
            await life.go(asyncio.create_task(self._work.run(work_id, _DbosSteps())))
        except asyncio.CancelledError:
            if life.wish == "cancelled":
                return "cancelled"
            raise
        except DatabaseAway as error:
            _log.warning("%s is left for a while: %s", work_id, error)
            await self._hand_back([work_id])
            raise asyncio.CancelledError from error
        except errors.DBOSWorkflowConflictIDError as error:
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

    def _forget(self, work_id: str, life: "_Life") -> None:
        if self._here.get(work_id) is life:
            del self._here[work_id]
            self._left(work_id)


class _Life:
    """What one work does here."""

    def __init__(self) -> None:
        self.wish: Literal["", "cancelled", "left"] = ""
        self._doing: asyncio.Task[None] | None = None

    async def go(self, doing: asyncio.Task[None]) -> None:
        """Wait for the end of what is done; raises what it raises."""
        self._doing = doing
        if self.wish:
            doing.cancel()
        try:
            await doing
        finally:
            doing.cancel()

    def end(self, wish: Literal["cancelled", "left"]) -> None:
        """Cancel it; leaving is final, cancelling is not: it may be cancelled here and left then."""
        if self.wish != wish:
            self.wish = wish
            if self._doing is not None:
                self._doing.cancel()


class _DbosSteps:
    def reserve(self, name: str) -> Step:
        return _DbosStep(DBOS.reserve_step(), name)


class _DbosStep:
    def __init__(self, reserved: StepReservation, name: str) -> None:
        self._reserved = reserved
        self._name = name

    async def run(self, work: Callable[[], Awaitable[str]]) -> str:
        async def unremembered() -> str:
            try:
                return await work()
            except Exception as error:
                raise _FailedError(error) from error

        try:
            return await self._reserved.run_async({"name": self._name}, unremembered)
        except _FailedError as failed:
            raise failed.error from failed.error.__cause__


class _FailedError(BaseException):
    """Carry an error past DBOS, which would remember it and raise it again in every later life."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Quiet(logging.Filter):
    """Drop what DBOS warns of although it is meant, and what it writes onto each record."""

    def filter(self, record: logging.LogRecord) -> bool:
        for name in ("applicationID", "applicationVersion", "executorID", "operationUUID"):
            record.__dict__.pop(name, None)
        return not record.getMessage().startswith(_MEANT)


_QUIET = _Quiet()


def _route_logs() -> None:
    """Let DBOS's lines pass our own handler: it adds one of its own where it finds none."""
    logger = logging.getLogger("dbos")
    logger.handlers[:] = [logging.NullHandler()]
    logger.propagate = True


def _quieten() -> None:
    """Have the last look at each line: DBOS adds a filter of its own when it starts."""
    logger = logging.getLogger("dbos")
    logger.removeFilter(_QUIET)
    logger.addFilter(_QUIET)


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat()
