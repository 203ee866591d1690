"""Brings executions to the engine: each to exactly one worker, in turn, as many at once as there is room for.

    queued ──claim──▶ ours ──▶ engine ──▶ ended          who dies leaves rows that say whose they were:
                       ▲                                 another worker takes them over once the dead
    another's, dead ───┘                                 one's name is free (`engine.port.Tenure`)

What is ours by its row and does not run here is begun again, whatever the reason: a restart, a database that was away,
a take-over that was cut short. Open: while the database is away nothing is begun, and what runs goes on or waits.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial

from msgspec import Struct

from askonce.domain.clock import Clock
from askonce.domain.errors import DatabaseAway
from askonce.domain.executions import QUEUES, QueueName, Room, WorkerExecutions
from askonce.workflows.engine.port import Engine, Tenure, Work

IDLE_S = 1.0  # between two looks for work while nothing runs, and nobody says that there is any
BUSY_S = 0.1  # while something runs: on a server other machines' gateways submit, who wake us by shared state at most
GATHER_S = 0.01  # between two claims at least, so that many ends and submissions are one claim's matter
WISH_S = 0.25  # between two looks for what is to be cancelled
TEND_S = 1.0  # between two looks at what others hold, and at what is ours and does not run
IDLE_TEND_S = 2.0  # the same while nothing runs here: dead workers' executions are still found within seconds
SWEEP_S = 60.0
SLICE = 200  # executions deleted in one transaction
AWAY_S = 2.0  # between two tries at a database that is away

_log = logging.getLogger("askonce.worker")


class Limit(Struct, frozen=True):
    """Bound a queue: so many run at once in this worker, so many begin in a span over all workers (None: any)."""

    concurrency: int
    per_span: int | None = None
    span_ms: int = 60_000


class Terms(Struct, frozen=True):
    """Hold what the dispatcher goes by. `drain_s`: how long works may go on once the worker is told to stop."""

    limits: Mapping[QueueName, Limit]
    keep_done_ms: int
    keep_failed_ms: int
    drain_s: float = 1.0


class Dispatcher:
    """Bring executions to the engine. Whoever builds it gives the engine and the tenure away."""

    def __init__(self, store: WorkerExecutions, engine: Engine, tenure: Tenure, terms: Terms, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._tenure = tenure
        self._terms = terms
        self._clock = clock
        self._me = ""  # "" while nobody knows whether we are still who we were
        self._places: dict[str, QueueName] = {}  # of what was given to the engine, and has not left it
        self._missing: set[str] = set()  # ours, but not running at the last look
        self._strays: dict[str, QueueName] = {}  # ours, not running, and waiting for room
        self._unreadable: set[str] = set()  # of which the log tells
        self._tended = False
        self._work = asyncio.Event()
        self._wishes = asyncio.Event()
        self._begun: set[asyncio.Task[None]] = set()

    async def run(self, work: Work, stop: asyncio.Event) -> None:
        """Work until told to stop; then what runs has `drain_s` to end, and the rest is left for whoever comes next.

        If cancelled, or killed, nothing is lost either.
        """
        try:
            if not await self._opened(work, stop):
                return
            async with asyncio.TaskGroup() as group:
                loops = [group.create_task(each) for each in self._loops()]
                await stop.wait()
                for loop in loops:
                    loop.cancel()
        finally:
            await self._engine.stop(self._terms.drain_s)
            for task in self._begun:
                task.cancel()
            await asyncio.gather(*self._begun, return_exceptions=True)
            await self._tenure.release()

    def wake(self) -> None:
        """Look now: something was submitted, or is to be cancelled."""
        self._work.set()
        self._wishes.set()

    def busy(self) -> int:
        """Return how many executions run here."""
        return len(self._places)

    async def _opened(self, work: Work, stop: asyncio.Event) -> bool:
        """Take a name and open the engine, until that succeeds; False where we are to stop before."""
        said = False
        while not stop.is_set():
            try:
                self._me = await self._tenure.take()
                await self._engine.start(work, self._left)
            except DatabaseAway as error:
                if not said:
                    _log.warning("no executions are done: %s", error)
                said = True
                await _either(stop, AWAY_S)
            else:
                return True
        return False

    def _loops(self) -> tuple[Coroutine[None, None, None], ...]:
        return (
            self._every(self._claim_pause, self._claim),
            self._every(self._wish_pause, self._cancel),
            self._every(self._tend_pause, self._tend),
            self._every(lambda: asyncio.sleep(SWEEP_S), self._sweep, first_s=SWEEP_S),
        )

    async def _every(
        self, pause: Callable[[], Awaitable[None]], act: Callable[[], Awaitable[None]], first_s: float = 0.0
    ) -> None:
        """Do something again and again; while the database is away, say so once, and wait.

        A defect is in the log once, and tried again as well: it must end neither the works that run here, nor whatever
        else this process does.
        """
        trouble = ""
        await asyncio.sleep(first_s)
        while True:
            try:
                await act()
            except DatabaseAway as error:
                if not trouble:
                    _log.warning("executions wait: %s", error)
                trouble = str(error)
                await asyncio.sleep(AWAY_S)
            except Exception as error:
                if not trouble:
                    _log.exception("a defect keeps executions waiting")
                trouble = repr(error)
                await asyncio.sleep(AWAY_S)
            else:
                trouble = ""
            await pause()

    async def _claim_pause(self) -> None:
        await asyncio.sleep(GATHER_S)
        await _either(self._work, BUSY_S if self._places else IDLE_S)

    async def _wish_pause(self) -> None:
        await asyncio.sleep(GATHER_S)
        await _either(self._wishes, WISH_S if self._places else IDLE_S)

    async def _tend_pause(self) -> None:
        await asyncio.sleep(TEND_S if self._places else IDLE_TEND_S)

    async def _claim(self) -> None:
        """Take what there is room for, and begin it."""
        self._work.clear()
        me = self._me
        if not me:
            return
        self._begin_strays()
        rooms = [self._room(queue) for queue in QUEUES]
        if not any(room.free for room in rooms):
            return
        claimed = await self._store.claim(rooms, me, self._clock.wall_ms())
        if me != self._me:
            return  # others may have them by now
        for execution in claimed:
            self._begin(f"{execution.id}.{execution.round}", execution.submission.queue)

    def _room(self, queue: QueueName) -> Room:
        limit = self._terms.limits[queue]
        return Room(queue, self._free(queue), limit.per_span, limit.span_ms)

    def _free(self, queue: QueueName) -> int:
        taken = sum(place == queue for place in self._places.values())
        return max(0, self._terms.limits[queue].concurrency - taken)

    def _has_room(self) -> bool:
        return any(self._free(queue) for queue in QUEUES)

    def _begin(self, work_id: str, queue: QueueName) -> None:
        if work_id in self._places:
            return
        self._places[work_id] = queue
        task = asyncio.create_task(self._run(work_id))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _run(self, work_id: str) -> None:
        try:
            await self._engine.run(work_id)
        except DatabaseAway as error:
            _log.warning("%s waits: %s", work_id, error)
        except Exception:  # one that cannot be begun must not end the worker; it is tried again as a stray
            _log.exception("%s could not be begun", work_id)

    def _left(self, work_id: str) -> None:
        """Hear that a work runs here no more: there is room for another."""
        self._places.pop(work_id, None)
        self._work.set()

    async def _cancel(self) -> None:
        """Cancel what its owner wishes to be cancelled; what does not run here sees the wish when it begins."""
        self._wishes.clear()
        if not (self._me and self._places):
            return
        for id, round in await self._store.wishes(self._me):
            work_id = f"{id}.{round}"
            if not self._engine.cancel(work_id):
                self._begin(work_id, await self._queue_of(work_id) or QUEUES[0])

    async def _tend(self) -> None:
        """Keep our name; begin what is ours and does not run; take over from the dead."""
        if not (self._me and await self._tenure.holds()):
            await self._rename()
        ours, others = set[str](), set[str]()
        for id, round, worker in await self._store.held():
            if worker == self._me:
                ours.add(f"{id}.{round}")
            else:
                others.add(worker)
        # What was claimed a moment ago is about to run: only what is missing twice has strayed.
        missing = ours - self._places.keys()
        strays, self._missing = missing & self._missing if self._tended else missing, missing
        self._tended = True
        self._strays = {work_id: queue for work_id in sorted(strays) if (queue := await self._queue_of(work_id))}
        self._begin_strays()
        for worker in sorted(others):
            if self._has_room() or await self._store.wishes(worker):
                await self._tenure.inherit(worker, partial(self._take_over, worker))

    async def _take_over(self, worker: str) -> None:
        """Make what a dead worker was at ours, as far as there is room; other workers have room too.

        What is to be cancelled takes none.
        """
        unwanted = set(await self._store.wishes(worker))
        for id, round, _ in await self._store.held(worker):
            is_unwanted = (id, round) in unwanted
            queue = await self._queue_of(f"{id}.{round}") if is_unwanted or self._has_room() else None
            fits = queue is not None and (is_unwanted or self._free(queue) > 0)
            if queue and fits and await self._store.take_over(id, round, self._me):
                _log.info("%s.%d is taken over", id, round)
                self._begin(f"{id}.{round}", queue)

    def _begin_strays(self) -> None:
        for work_id, queue in list(self._strays.items()):
            if self._free(queue):
                del self._strays[work_id]
                self._begin(work_id, queue)

    async def _queue_of(self, work_id: str) -> QueueName | None:
        id, _, round = work_id.rpartition(".")
        try:
            found = await self._store.find(id, None)
        except DatabaseAway:
            raise
        except Exception:  # a row of a newer version, or a damaged one: all others are done
            if work_id not in self._unreadable:
                self._unreadable.add(work_id)
                _log.exception("%s cannot be read by this version; it waits for another", work_id)
            return None
        runs = found is not None and found.status == "running" and found.round == int(round)
        return found.submission.queue if found is not None and runs else None

    async def _rename(self) -> None:
        """Leave everything, for others may have it by now, and begin under another name."""
        if self._me:
            _log.warning("the database has closed our connection: what ran here is left, and taken up again")
        self._me, self._strays, self._missing = "", {}, set()
        await self._engine.drop()
        self._me = await self._tenure.take()
        self._work.set()

    async def _sweep(self) -> None:
        """Delete what ended long ago, ours and the engine's."""
        now_ms = self._clock.wall_ms()
        done_ms, failed_ms = now_ms - self._terms.keep_done_ms, now_ms - self._terms.keep_failed_ms
        await _repeat(lambda: self._store.sweep(done_ms, failed_ms, SLICE))
        await _repeat(lambda: self._engine.sweep(now_ms, SLICE))


async def _repeat(delete: Callable[[], Awaitable[int]]) -> None:
    """Delete slice by slice, and let others have their turn in between."""
    deleted = SLICE
    while deleted == SLICE:
        deleted = await delete()
        await asyncio.sleep(GATHER_S)


async def _either(event: asyncio.Event, span_s: float) -> None:
    """Wait until something happens, or the time is over."""
    with suppress(TimeoutError):
        async with asyncio.timeout(span_s):
            await event.wait()
