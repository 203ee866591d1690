"""The doors that take workflows: `/llm/execute-workflow` tells of an execution, `/llm/workflow/generate` of its result.

    body, graph ─▶ found right ─▶ window ─▶ one row ─▶ 202, or waited for: 200, or events as they come

Whoever hangs up while it runs stops nothing.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Protocol

import msgspec
from msgspec import Raw, Struct

from askonce.api.asking import REPLAYED, unless_left
from askonce.api.entering import enter
from askonce.api.replies import (
    Headers,
    Reply,
    StreamReply,
    error_reply,
    json_reply,
    nothing_held,
    stream_headers,
)
from askonce.api.requests import Request
from askonce.api.voices import OURS
from askonce.api.workflows.askable import check_nodes
from askonce.api.workflows.bodies import Submitted, SubmittedLinks
from askonce.api.workflows.desk import WorkDesk
from askonce.api.workflows.documents import document_of, path_of
from askonce.api.workflows.events import STILL_HERE, told
from askonce.api.workflows.preferences import Patience, read_patience
from askonce.api.workflows.reading import read_asked
from askonce.api.workflows.submitting import Order, Placed, Sender, place
from askonce.api.workflows.waiting import ended, trouble
from askonce.domain.caller import Caller
from askonce.domain.errors import AskonceError, Draining
from askonce.domain.executions import Event, Execution, Executions
from askonce.domain.ports import Window
from askonce.wire import sse

STOPPING = "This process stops; the run goes on. Follow its events at {path}/events."


class Manner(Protocol):
    """Tell callers of an execution."""

    waits: bool  # where the caller does not say

    async def whole(self, executions: Executions, execution: Execution) -> bytes:
        """Return what is told once it has ended. Raises what a failed one is told as; `DatabaseAway`."""
        ...

    def stream(self, desk: WorkDesk, execution: Execution, request: Request) -> AsyncGenerator[bytes, None]:
        """Yield what is told while it runs, to the end."""
        ...


class WorkflowDoor:
    """Take workflows in. `name` is the door's in the table of doors."""

    def __init__(self, name: str, desk: WorkDesk, manner: Manner) -> None:
        self._name = name
        self._desk = desk
        self._manner = manner

    async def __call__(self, request: Request, caller: Caller, window: Window | None) -> Reply | StreamReply:
        """Answer one request. Raises what is refused before the admission; later errors are replies."""
        desk = self._desk
        executions = await desk.archive.open()
        raw = await request.json_body(desk.intake.body_limit, desk.intake.slow_bodies)
        asked = read_asked(raw)
        check_nodes(asked.graph, caller, desk.choose)
        patience = read_patience(asked.wait, request.text(b"prefer"), self._manner.waits)
        sender = Sender(caller, request, self._name, desk.clock.wall_ms())
        sender.retry_key()
        headers = await enter(window, desk.windows, desk.clock, OURS)
        try:
            order = Order("workflow", "workflows", asked.graph.name, asked.work)
            placed = await place(executions, order, sender)
            headers += placed_headers(placed, path_of(placed.execution.id))
            if not placed.is_replay:
                desk.nudge()
            if asked.stream:
                pieces = self._manner.stream(desk, placed.execution, request)
                return StreamReply(stream_headers(headers), pieces, nothing_held)
            return await self._waited(executions, placed.execution, request, patience, headers)
        except AskonceError as error:
            return error_reply(error, OURS.error(error, request.id), headers)

    async def _waited(
        self, executions: Executions, execution: Execution, request: Request, patience: Patience, headers: Headers
    ) -> Reply:
        headers += patience.applied
        if patience.seconds:
            execution = await unless_left(
                request.receive, ended(self._desk.hub, executions, execution, patience.seconds)
            )
        if not patience.seconds or not execution.has_ended:
            return json_reply(msgspec.json.encode(submitted(execution)), headers, 202)
        return json_reply(await self._manner.whole(executions, execution), headers)


def placed_headers(placed: Placed, path: str) -> Headers:
    """Tell where work is, and whether this very request was here before."""
    headers: Headers = [(b"location", path.encode())]
    if placed.is_replay:
        headers.append(REPLAYED)
    return headers


def submitted(execution: Execution) -> Submitted:
    """Answer that a workflow was taken in."""
    path = path_of(execution.id)
    return Submitted(execution.id, execution.status, SubmittedLinks(path, f"{path}/events", path))


class AsExecution:
    """Tell of the execution, well ended or not."""

    waits = False

    async def whole(self, executions: Executions, execution: Execution) -> bytes:
        """Return its document."""
        return msgspec.json.encode(await document_of(executions, execution))

    def stream(self, desk: WorkDesk, execution: Execution, request: Request) -> AsyncGenerator[bytes, None]:
        """Yield its events."""
        return told(desk.hub, execution.id, 0)


class AsResult:
    """Tell what came of it: the result, or why there is none."""

    waits = True

    async def whole(self, executions: Executions, execution: Execution) -> bytes:
        """Return the result. Raises `WorkFailed`, `Cancelled`."""
        error = await trouble(executions, execution)
        if error is not None:
            raise error
        return bytes(execution.result)

    async def stream(self, desk: WorkDesk, execution: Execution, request: Request) -> AsyncGenerator[bytes, None]:
        """Yield `start`, `node` events, then `done` with the result, or `error`."""
        yield sse.encode("start", msgspec.json.encode(submitted(execution)))
        try:
            async with aclosing(desk.hub.follow(execution.id, 0)) as batches:
                async for events in batches:
                    yield b"".join(map(_node_bytes, events)) or STILL_HERE
            executions = await desk.archive.open()
            last = await executions.find(execution.id, None) or execution
            if not last.has_ended:
                raise Draining(STOPPING.format(path=path_of(execution.id)))
            yield sse.encode("done", await self.whole(executions, last))
        except AskonceError as error:
            yield sse.encode("error", OURS.error(error, request.id))


class _Words(Struct, frozen=True):
    """Tell the next words of a node that runs; `at` 0: it begins anew."""

    id: str
    at: int
    text: str
    status: str = "running"


def _node_bytes(event: Event) -> bytes:
    """Write what is told of nodes: how they are, and their words."""
    data: Raw | bytes = event.data
    if event.kind == "text":
        words: Any = msgspec.json.decode(event.data, type=_Words)
        data = msgspec.json.encode(words)
    elif event.kind != "node":
        return b""
    return sse.encode("node", bytes(data))
