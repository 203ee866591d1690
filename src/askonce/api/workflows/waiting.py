"""Wait for the end of an execution, and say how it ended where that was not well."""

import asyncio
from contextlib import aclosing

from askonce.api.workflows.hub import Hub
from askonce.domain.errors import AskonceError, Cancelled, Detail, NotFinished, WorkFailed
from askonce.domain.executions import Execution, Executions

RETRY_S = 2  # after which it is worth asking again for a result
NAMED_MAX = 20  # failed nodes; a graph has 50


async def ended(hub: Hub, executions: Executions, execution: Execution, seconds: float) -> Execution:
    """Return an execution as it stands once it has ended, the time is over, or this process stops.

    Raises `DatabaseAway`. If cancelled: the execution goes on.
    """
    if execution.has_ended:
        return execution
    try:
        async with asyncio.timeout(seconds), aclosing(hub.follow(execution.id, 0)) as batches:
            async for _ in batches:
                continue
    except TimeoutError:
        pass
    return await executions.find(execution.id, None) or execution


async def trouble(executions: Executions, execution: Execution) -> AskonceError | None:
    """Return why there is no result; None where there is one. Raises `DatabaseAway`."""
    if execution.status == "succeeded":
        return None
    named = [Detail("executionId", execution.id)]
    if not execution.has_ended:
        words = f"It is {execution.status}, {execution.progress} % of it done. Ask again, or follow its events."
        return NotFinished(words, details=named, retry_after_s=RETRY_S)
    if execution.status == "cancelled":
        words = "It was cancelled before it was done. POST /llm/executions/{id}/resume goes on with it."
        return Cancelled(words.replace("{id}", execution.id), details=named)
    runs = sorted(await executions.nodes(execution.id), key=lambda run: run.ended_ms)
    failed = [run for run in runs if run.status == "failed"]
    named += [Detail(f"nodes.{run.node}", f"{run.error} ({run.error_code})") for run in failed[:NAMED_MAX]]
    why = f"{execution.error} ({execution.error_code})" if execution.error_code else "No reason was left."
    what = "workflow" if execution.submission.kind == "workflow" else "job"
    words = f"The {what} failed: {why} What was done is kept: POST /llm/executions/{execution.id}/resume goes on there."
    return WorkFailed(words, details=named)
