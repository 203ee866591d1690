"""The events of an execution as a stream (server-sent events), which may be left and joined again without a loss."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from askonce.api.errands import Errand
from askonce.api.replies import Reply, StreamReply, nothing_held, stream_headers
from askonce.api.workflows.desk import WorkDesk
from askonce.api.workflows.documents import found
from askonce.api.workflows.hub import Hub
from askonce.domain.errors import Detail, Invalid
from askonce.domain.executions import Event
from askonce.wire import sse

STILL_HERE = b": still here\n\n"
_ID_DIGITS = 13


def event_bytes(event: Event) -> bytes:
    """Write one event, its number as its id."""
    return b"id: %d\n" % event.number + sse.encode(event.kind, bytes(event.data))


async def told(hub: Hub, id: str, after: int) -> AsyncGenerator[bytes, None]:
    """Yield an execution's events as they come, behind a number."""
    yield STILL_HERE
    async with aclosing(hub.follow(id, after)) as batches:
        async for events in batches:
            yield b"".join(map(event_bytes, events)) or STILL_HERE


async def follow(desk: WorkDesk, errand: Errand) -> Reply | StreamReply:
    """Answer with the events of one of the caller's executions.

    204, by which browsers know to stop, where it has ended and all was told. Raises `NotFound`, `Invalid`.
    """
    executions = await desk.archive.open()
    after = _after(errand)
    execution = await found(executions, errand.key, errand.caller.tenant)
    if after:
        events = await executions.events({execution.id: after - 1}, 2)
        if not events or events[0].number != after:
            problem = "is the number of no event of this execution: give the id of the last one that you saw, or none"
            raise Invalid(f"after {problem}.", details=[Detail("after", problem)])
        if execution.has_ended and len(events) == 1:
            return Reply(204, [], b"")
    if errand.request.method == "HEAD":
        return Reply(200, stream_headers([]), b"")
    return StreamReply(stream_headers([]), told(desk.hub, execution.id, after), nothing_held)


def _after(errand: Errand) -> int:
    sent = errand.request.headers.get(b"last-event-id", b"")
    if not sent:
        return int(errand.query.after)
    if not sent.isdigit() or len(sent) > _ID_DIGITS:
        problem = "is no number of an event"
        raise Invalid(f"The header Last-Event-ID {problem}.", details=[Detail("Last-Event-ID", problem)])
    return int(sent)
