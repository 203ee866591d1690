"""What the doors of workflows take and tell, for encoding and for the docs. The batch's words are OpenAI's."""

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from askonce.api.bodies import Body
from askonce.domain.executions import ExecutionStatus, Kind, QueueName, Urgency
from askonce.workflows.graph import GraphBody
from askonce.workflows.result import ErrorTold, ExecutionDocument
from askonce.workflows.shorthand import Complexity

ATTEMPTS = 3  # of a question in the background, with waits of 1, 2 and 4 seconds between them
DELAY_MAX_S = 30 * 86_400
TIMEOUT_MAX_S = 7 * 86_400  # as far as the setting goes
BATCH_LINES_MAX = 2_000  # written in one transaction, which nobody else's writes should wait for long

_Word = Annotated[str, Meta(max_length=200, pattern="^[^\\x00-\\x1f\\x7f]*$")]
_Moment = Annotated[
    str, Meta(max_length=40, description="epoch milliseconds, 2026-01-31, or 2026-01-31T12:00:00Z; UTC without a zone")
]


def _says(description: str) -> Meta:
    return Meta(description=description)


class WorkflowBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Describe a workflow: `graph` with its `input`, or the standard one by `prompt` and what goes with it."""

    graph: Annotated[GraphBody | None, _says("one's own graph; then nothing of the standard one's fields")] = None
    input: Annotated[dict[str, Any] | None, _says("what the graph's templates name as input.x")] = None
    prompt: Annotated[str | None, _says("what you want, of the standard workflow")] = None
    language: str | None = None
    framework: str | None = None
    complexity: Annotated[Complexity | None, _says("how much work it is: which nodes there are")] = None
    requirements: tuple[str, ...] | None = None
    constraints: tuple[str, ...] | None = None
    wait: Annotated[bool | None, _says("answer when it has ended; the header Prefer: wait=N says for how long")] = None
    stream: Annotated[bool | None, _says("answer with server-sent events")] = None


class JobBody(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Describe work in the background."""

    kind: Annotated[Kind, _says("generate: a question, as /llm/generate takes; workflow: as /llm/execute-workflow")]
    body: Annotated[dict[str, Any], _says("the body of that door, without stream and wait")]
    urgency: Annotated[Urgency, _says("who goes first; who waits long goes before who is urgent and new")] = "MEDIUM"
    delay: Annotated[int, Meta(ge=0, le=DELAY_MAX_S, description="seconds that it is not begun for")] = 0
    dedup: Annotated[_Word, _says("its name: while a job of that name lives, that one is returned")] = ""
    timeout: Annotated[
        Annotated[int, Meta(ge=1, le=TIMEOUT_MAX_S)] | None,
        _says("seconds that it may take, with waiting for room"),
    ] = None
    attempts: Annotated[
        Annotated[int, Meta(ge=1, le=ATTEMPTS)] | None, _says("of kind generate; nodes of workflows say it themselves")
    ] = None
    webhook: Annotated[
        Annotated[str, Meta(max_length=2000)] | None, _says("an address that is told of its end, by a signed POST")
    ] = None


class ExecutionsQuery(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Ask for executions, newest first. `status` and `kind`: several are separated by commas."""

    status: _Word = ""
    kind: _Word = ""
    queue: _Word = ""
    batch: _Word = ""
    since: _Moment = ""
    until: _Moment = ""
    after: Annotated[str, Meta(max_length=200, description="the page before's next")] = ""
    limit: Annotated[int, Meta(ge=1, le=500, description="executions on a page")] = 50


class EventsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Say where to go on. The header Last-Event-ID, which browsers send by themselves, wins."""

    after: Annotated[int, Meta(ge=0, le=10**12, description="the number of the last event that was seen")] = 0


class SubmittedLinks(Body, frozen=True):
    """Tell where more of it is: look, follow, or cancel (DELETE)."""

    self: str
    events: str
    cancel: str


class Submitted(Body, frozen=True):
    """Answer that work was taken in."""

    execution_id: str
    status: ExecutionStatus
    links: SubmittedLinks


class JobLinks(Body, frozen=True):
    """Tell where more of it is."""

    self: str
    result: str
    events: str
    cancel: str


class JobSubmitted(Body, frozen=True):
    """Answer that a job was taken in. `deduplicated`: one of the same `dedup` lives, and this is that one."""

    job_id: str
    execution_id: str
    status: ExecutionStatus
    links: JobLinks
    deduplicated: Literal[True] | UnsetType = UNSET


class WebhookDelivery(Body, frozen=True):
    """Say how far the telling of a job's end has come. `problem`: why the last try failed; `nextAt`: the next one."""

    status: Literal["pending", "delivered", "given_up"]
    tries: int
    problem: str | UnsetType = UNSET
    next_at: int | UnsetType = UNSET


class JobView(Body, frozen=True):
    """Tell of a job. Times are epoch milliseconds, 0 for never. `attempts` and what follows it: of a single one only.

    `attempts` is how often its question, or the node that needed most, was tried so far.
    """

    id: str
    kind: Kind
    name: str
    queue: QueueName
    urgency: Urgency
    status: ExecutionStatus
    progress: int
    created_at: int
    not_before: int
    started_at: int
    ended_at: int
    cost_nano: int
    saved_nano: int
    links: JobLinks
    error: ErrorTold | UnsetType = UNSET
    cancelling: Literal[True] | UnsetType = UNSET
    dedup: str | UnsetType = UNSET
    batch: str | UnsetType = UNSET
    line: int | UnsetType = UNSET
    attempts: int | UnsetType = UNSET
    max_attempts: int | UnsetType = UNSET
    timeout: int | UnsetType = UNSET
    webhook: str | UnsetType = UNSET
    webhook_delivery: WebhookDelivery | UnsetType = UNSET


class JobList(Body, frozen=True):
    """Hold a page of jobs; `next` is the cursor of the following page, or null."""

    jobs: tuple[JobView, ...]
    next: str | None


class ExecutionList(Body, frozen=True):
    """Hold a page of executions, without their nodes; `next` is the cursor of the following page, or null."""

    executions: tuple[ExecutionDocument, ...]
    next: str | None


class QueueView(Body, frozen=True):
    """Tell how a queue is, over all tenants. `oldest`: since when the longest-waiting that is due waits, 0 for none."""

    name: QueueName
    paused: bool
    queued: int
    delayed: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    oldest: int


class QueueList(Body, frozen=True):
    """List the queues."""

    queues: tuple[QueueView, ...]


class RequestCounts(Struct, frozen=True):
    """Count a batch's lines. `completed` were answered; `failed` and `cancelled` were not."""

    total: int
    completed: int
    failed: int
    cancelled: int


class BatchView(Struct, frozen=True):
    """Tell of a batch, as OpenAI does: times in epoch seconds. It is `completed` once every line has ended."""

    id: str
    object: Literal["batch"]
    status: Literal["in_progress", "completed", "cancelled"]
    request_counts: RequestCounts
    created_at: int
    completed_at: int | None
    results: str
    cost_nano: int
    saved_nano: int
