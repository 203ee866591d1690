"""The doors of queues. They are the house's: who pauses one stops every tenant's work in it."""

from msgspec import Struct
from msgspec.structs import asdict

from askonce.api.errands import Errand, Handler
from askonce.api.workflows.bodies import QueueList, QueueView
from askonce.api.workflows.desk import WorkDesk
from askonce.domain.errors import NotFound
from askonce.domain.executions import QUEUES, QueueState

NO_SUCH = f"There is no such queue; there are {', '.join(QUEUES)}."


def queue_handlers(desk: WorkDesk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def queues(errand: Errand) -> Struct:
        return await listed()

    async def listed() -> QueueList:
        states = await (await desk.archive.open()).queues(desk.clock.wall_ms())
        return QueueList(tuple(map(_view, states)))

    async def pause(errand: Errand) -> Struct:
        return await turn(errand, paused=True)

    async def unpause(errand: Errand) -> Struct:
        return await turn(errand, paused=False)

    async def turn(errand: Errand, *, paused: bool) -> QueueView:
        store = await desk.archive.open()
        name = next((queue for queue in QUEUES if queue == errand.key), None)
        if name is None:
            raise NotFound(NO_SUCH)
        await store.pause(name, paused=paused)
        desk.nudge()
        action = "queue.paused" if paused else "queue.resumed"
        await desk.trail.note((errand.caller, errand.request), action, name, "notice")
        return next(view for view in (await listed()).queues if view.name == name)

    return {"queues": queues, "pause_queue": pause, "resume_queue": unpause}


def _view(state: QueueState) -> QueueView:
    told = asdict(state)
    oldest = told.pop("oldest_ms")
    return QueueView(**told, oldest=oldest)
