"""The rows of the doors that take work which outlives its request, and of those that tell of it."""

from askonce.api.door import Also, Door
from askonce.api.workflows import bodies
from askonce.workflows.result import ExecutionDocument, WorkflowAnswer

_OFF = ("workflows_off", "database_unavailable")
_BODY = ("malformed_request", "invalid_request", "unsupported_media_type", "body_too_large", "request_timeout")
_TAKES = (*_BODY, "idempotency_key_reused", "provider_not_configured", "store_unavailable", *_OFF)
_ASKS = ("unknown_model", "max_cost_exceeded", "context_window_exceeded", "provider_rejected_request")
_ONE = ("not_found", "store_unavailable", *_OFF)
_LISTS = ("invalid_request", "store_unavailable", *_OFF)

_EVENTS = (
    ("execution", "id, status, progress, errorCode, error: its status changed"),
    ("node", "id, status, attempts, provider, model, cache, costNano, savedNano, score, errorCode, error, waitsFor"),
    ("text", "id, at, text: the next words of a node that runs, behind `at` characters; 0: it begins anew"),
    ("done", "id, status, progress, errorCode, error: the last event"),
)
_GENERATING = (
    ("start", "executionId, status, links"),
    ("node", "id, status and what goes with it; while it runs also at and text: its next words"),
    ("done", "the whole answer, as without streaming: the last event"),
    ("error", "the error body: the last event of a run that failed"),
)

WORKFLOW_DOORS: tuple[Door, ...] = (
    Door(
        "POST",
        "/llm/execute-workflow",
        "execute_workflow",
        "Run a graph, or the standard workflow, in the background; or wait for its end.",
        limit="llm",
        body=bodies.WorkflowBody,
        reply=bodies.Submitted,
        errors=_TAKES,
        stream=_EVENTS,
        status=202,
        also=(Also(200, "It has ended, with `wait` or `Prefer: wait=N`; or its events.", ExecutionDocument),),
        outlives=True,
    ),
    Door(
        "POST",
        "/llm/workflow/generate",
        "generate_workflow",
        "Turn a wish into files by the standard workflow, and wait for them.",
        limit="llm",
        body=bodies.WorkflowBody,
        reply=WorkflowAnswer,
        errors=(*_TAKES, "workflow_failed", "cancelled"),
        stream=_GENERATING,
        also=(Also(202, "It goes on, with `wait: false` or after the time to wait.", bodies.Submitted),),
        outlives=True,
    ),
    Door(
        "GET",
        "/llm/executions",
        "executions",
        "List executions, newest first.",
        query=bodies.ExecutionsQuery,
        reply=bodies.ExecutionList,
        errors=_LISTS,
    ),
    Door(
        "GET",
        "/llm/executions/{key}",
        "execution",
        "Look at an execution and its nodes.",
        reply=ExecutionDocument,
        errors=_ONE,
    ),
    Door(
        "GET",
        "/llm/executions/{key}/events",
        "execution_events",
        "Follow an execution's events; go on behind any of them with Last-Event-ID or after.",
        query=bodies.EventsQuery,
        media="text/event-stream",
        errors=("invalid_request", *_ONE),
        stream=_EVENTS,
        also=(Also(204, "It has ended, and there is nothing behind that event."),),
    ),
    Door(
        "DELETE",
        "/llm/executions/{key}",
        "cancel_execution",
        "Cancel an execution; what runs of it is stopped.",
        reply=ExecutionDocument,
        errors=_ONE,
        also=(Also(202, "It is being stopped.", ExecutionDocument),),
    ),
    Door(
        "POST",
        "/llm/executions/{key}/resume",
        "resume_execution",
        "Go on with an execution that failed or was cancelled; what was done of it stays done.",
        reply=bodies.Submitted,
        errors=("not_resumable", *_ONE),
        status=202,
    ),
)

JOB_DOORS: tuple[Door, ...] = (
    Door(
        "POST",
        "/llm/jobs",
        "submit_job",
        "Ask, or run a workflow, in the background.",
        limit="llm",
        body=bodies.JobBody,
        reply=bodies.JobSubmitted,
        errors=(*_TAKES, *_ASKS),
        status=202,
        outlives=True,
    ),
    Door(
        "GET",
        "/llm/jobs",
        "jobs",
        "List jobs, newest first: all executions, in fewer words.",
        query=bodies.ExecutionsQuery,
        reply=bodies.JobList,
        errors=_LISTS,
    ),
    Door("GET", "/llm/jobs/{key}", "job", "Look at a job.", reply=bodies.JobView, errors=_ONE),
    Door(
        "GET",
        "/llm/jobs/{key}/result",
        "job_result",
        "Fetch what a job's door would have answered.",
        errors=("not_finished", "cancelled", "workflow_failed", *_ONE),
    ),
    Door(
        "DELETE",
        "/llm/jobs/{key}",
        "cancel_job",
        "Cancel a job; what runs of it is stopped.",
        reply=bodies.JobView,
        errors=_ONE,
        also=(Also(202, "It is being stopped.", bodies.JobView),),
    ),
    Door(
        "POST",
        "/llm/batches",
        "submit_batch",
        "Ask many questions, a line each, in the shape of OpenAI's batch files.",
        limit="llm",
        takes="application/jsonl",
        reply=bodies.BatchView,
        errors=_TAKES,
        status=202,
        outlives=True,
    ),
    Door("GET", "/llm/batches/{key}", "batch", "Count a batch's lines.", reply=bodies.BatchView, errors=_ONE),
    Door(
        "GET",
        "/llm/batches/{key}/results",
        "batch_results",
        "Fetch the answers of a batch that has ended, in the order of its lines.",
        media="application/jsonl",
        errors=("not_finished", *_ONE),
    ),
    Door(
        "DELETE",
        "/llm/batches/{key}",
        "cancel_batch",
        "Cancel what is left of a batch.",
        reply=bodies.BatchView,
        errors=_ONE,
    ),
    Door(
        "GET",
        "/llm/queues",
        "queues",
        "Tell how the queues are, over all tenants.",
        "report",
        reply=bodies.QueueList,
        errors=("store_unavailable", *_OFF),
    ),
    Door(
        "POST",
        "/llm/queues/{key}/pause",
        "pause_queue",
        "Begin nothing more of a queue until it is resumed; what runs goes on. It holds over restarts.",
        "root",
        reply=bodies.QueueView,
        errors=_ONE,
    ),
    Door(
        "POST",
        "/llm/queues/{key}/resume",
        "resume_queue",
        "Let a paused queue go on.",
        "root",
        reply=bodies.QueueView,
        errors=_ONE,
    ),
)

WORK_DOORS: tuple[Door, ...] = WORKFLOW_DOORS + JOB_DOORS
