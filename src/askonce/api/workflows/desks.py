"""All handlers of workflows and jobs, by their doors' names."""

from askonce.api.app import Asking
from askonce.api.errands import Handler
from askonce.api.workflows.batches import BatchDoor, batch_handlers
from askonce.api.workflows.desk import WorkDesk
from askonce.api.workflows.execute import AsExecution, AsResult, WorkflowDoor
from askonce.api.workflows.executions import execution_handlers
from askonce.api.workflows.jobs import JobDoor, job_handlers
from askonce.api.workflows.queues import queue_handlers


def work_askings(desk: WorkDesk) -> dict[str, Asking]:
    """Return the doors that take work in."""
    return {
        "execute_workflow": WorkflowDoor("execute_workflow", desk, AsExecution()),
        "generate_workflow": WorkflowDoor("generate_workflow", desk, AsResult()),
        "submit_job": JobDoor("submit_job", desk),
        "submit_batch": BatchDoor("submit_batch", desk),
    }


def work_handlers(desk: WorkDesk) -> dict[str, Handler]:
    """Return the handlers of the doors that tell of work, stop it, and go on with it."""
    return execution_handlers(desk) | job_handlers(desk) | batch_handlers(desk) | queue_handlers(desk)
