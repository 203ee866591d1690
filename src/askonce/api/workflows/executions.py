"""The doors that look at executions, stop them, and go on with them.

A caller sees its tenant's, as it sees its tenant's stored answers: tenants share what was paid for. Another tenant's
is not there at all.
"""

from typing import get_args

import msgspec
from msgspec import Struct

from askonce.api.errands import Errand, Handler
from askonce.api.queries import chosen, moment
from askonce.api.replies import Reply, StreamReply, json_reply
from askonce.api.workflows.bodies import ExecutionList, ExecutionsQuery
from askonce.api.workflows.desk import WorkDesk
from askonce.api.workflows.documents import document_of, found, path_of
from askonce.api.workflows.events import follow
from askonce.api.workflows.execute import submitted
from askonce.domain.caller import Caller
from askonce.domain.errors import Detail, NotResumable
from askonce.domain.executions import (
    QUEUES,
    Execution,
    ExecutionPage,
    ExecutionQuestion,
    Executions,
    ExecutionStatus,
    Kind,
)
from askonce.wire.strict import invalid
from askonce.workflows.result import execution_document

KINDS: tuple[Kind, ...] = get_args(Kind)
STATUSES: tuple[ExecutionStatus, ...] = get_args(ExecutionStatus)
RESUMED_BEFORE = (
    "It is {status}. Only what failed or was cancelled can be resumed; what succeeded is asked again by submitting it."
)


def execution_handlers(desk: WorkDesk) -> dict[str, Handler]:
    """Return the handlers by their doors' names."""

    async def executions(errand: Errand) -> Struct:
        page = await listed(await desk.archive.open(), errand.caller, errand.query)
        documents = tuple(execution_document(one, path_of(one.id)) for one in page.executions)
        return ExecutionList(documents, page.after or None)

    async def execution(errand: Errand) -> Struct:
        store = await desk.archive.open()
        return await document_of(store, await found(store, errand.key, errand.caller.tenant))

    async def events(errand: Errand) -> Reply | StreamReply:
        return await follow(desk, errand)

    async def cancel(errand: Errand) -> Reply:
        store = await desk.archive.open()
        cancelled = await cancelled_by(desk, store, errand)
        return json_reply(msgspec.json.encode(await document_of(store, cancelled)), status=status_of(cancelled))

    async def resume(errand: Errand) -> Reply:
        store = await desk.archive.open()
        before = await found(store, errand.key, errand.caller.tenant)
        if before.status not in ("failed", "cancelled"):
            raise NotResumable(RESUMED_BEFORE.format(status=before.status))
        await store.resume(before.id, errand.caller.tenant, desk.clock.wall_ms())
        desk.nudge()
        resumed = await found(store, before.id, errand.caller.tenant)
        await desk.trail.note((errand.caller, errand.request), "execution.resumed", before.id, round=resumed.round)
        headers = [(b"location", path_of(before.id).encode())]
        return json_reply(msgspec.json.encode(submitted(resumed)), headers, 202)

    return {
        "executions": executions,
        "execution": execution,
        "execution_events": events,
        "cancel_execution": cancel,
        "resume_execution": resume,
    }


async def listed(store: Executions, caller: Caller, query: ExecutionsQuery) -> ExecutionPage:
    """Return a page of a tenant's executions. Raises `Invalid`, `DatabaseAway`."""
    queues = chosen("queue", query.queue, QUEUES)
    if len(queues) > 1:
        raise invalid([Detail("queue", "takes one: leave it out for all")])
    question = ExecutionQuestion(
        tenant=caller.tenant,
        kinds=chosen("kind", query.kind, KINDS),
        queue=queues[0] if queues else "",
        statuses=chosen("status", query.status, STATUSES),
        batch=query.batch,
        since_ms=moment("since", query.since, 0),
        until_ms=moment("until", query.until, 0),
        after=query.after,
        size=query.limit,
    )
    return await store.page(question)


async def cancelled_by(desk: WorkDesk, store: Executions, errand: Errand) -> Execution:
    """Ask for the cancellation of what a caller names, and return it as it stands then. Raises `NotFound`.

    Nothing happens to what has ended, or is being cancelled already.
    """
    tenant = errand.caller.tenant
    before = await found(store, errand.key, tenant)
    if before.has_ended or before.wish == "cancel":
        return before
    await store.wish_cancel(before.id, tenant, desk.clock.wall_ms())
    desk.nudge()
    await desk.trail.note((errand.caller, errand.request), "execution.cancelled", before.id, status=before.status)
    return await found(store, before.id, tenant)


def status_of(cancelled: Execution) -> int:
    """Return 200 where it has ended, 202 where the worker still has to stop it."""
    return 200 if cancelled.has_ended else 202
