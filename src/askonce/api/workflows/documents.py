"""Executions as their documents, from what the store tells."""

import asyncio

from askonce.domain.errors import NotFound
from askonce.domain.executions import Execution, Executions
from askonce.workflows.result import ExecutionDocument, whole_document
from askonce.workflows.run import graph_of

PATH = "/llm/executions"
NO_SUCH = "There is no such execution, or it ended long ago. GET /llm/executions lists those that there are."


def path_of(id: str) -> str:
    """Return where an execution is looked at."""
    return f"{PATH}/{id}"


async def found(executions: Executions, id: str, tenant: str) -> Execution:
    """Return one of a tenant's executions. Raises `NotFound`, `DatabaseAway`."""
    execution = await executions.find(id, tenant)
    if execution is None:
        raise NotFound(NO_SUCH)
    return execution


async def document_of(executions: Executions, execution: Execution) -> ExecutionDocument:
    """Tell of an execution that was found whole, with its nodes. Raises `DatabaseAway`."""
    runs = {run.node: run for run in await executions.nodes(execution.id)}
    graph, path = graph_of(execution.submission), path_of(execution.id)
    # In a thread: comparing large files takes time.
    return await asyncio.to_thread(whole_document, execution, graph, runs, path)
