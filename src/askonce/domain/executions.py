"""Executions: pieces of work that outlive the request that asked for them, and the process that does them.

An execution is a workflow's graph, or one question asked in the background (a job). Its row is written once, at the
door, and from then on it is done, whatever dies; every change of it and of its nodes makes an event, numbered per
execution without a gap, in the same transaction. Times are epoch milliseconds, 0 for never; money is nano-dollars.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, Protocol

from msgspec import Raw, Struct

from askonce.domain.graph import NodeStatus

# What is done: a graph; or one question, in the body of `/llm/generate`.
Kind = Literal["workflow", "generate"]
ExecutionStatus = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Urgency = Literal["LOW", "MEDIUM", "HIGH", "CRITICAL"]
# What it waits in: each has its own concurrency and rate, and can be paused.
QueueName = Literal["workflows", "generation", "batch"]
QUEUES: tuple[QueueName, ...] = ("workflows", "generation", "batch")
ENDED: frozenset[ExecutionStatus] = frozenset({"succeeded", "failed", "cancelled"})


class Submitter(Struct, frozen=True, omit_defaults=True):
    """Name who asked, as `domain.caller.Caller` does, so that each node's call is his.

    `key_digest` finds the key's standing when a node asks: a key that was revoked by then asks nothing more.
    """

    identity: str
    tenant: str
    key_id: str = ""
    user_id: str = ""
    key_digest: bytes = b""
    address: str = ""


class Submission(Struct, frozen=True, omit_defaults=True):
    """Hold what was asked for. It never changes.

    `work` is JSON: for a workflow `{"graph": Graph, "input": {…}}` as msgspec writes it, for a question the body of
    `/llm/generate`. `dedup` names it for its tenant: while an execution of that name lives, another is not made.
    `not_before_ms`: it waits until then. `timeout_s` 0: the bound of its queue. `batch` and `line`: the batch that it
    is a part of, and its place there. `webhook`: an address that is told of its end. `door` is where it came in,
    `traceparent` the W3C context that it came with.
    """

    id: str
    kind: Kind
    queue: QueueName
    name: str
    work: Raw
    submitter: Submitter
    created_ms: int
    urgency: Urgency = "MEDIUM"
    not_before_ms: int = 0
    timeout_s: int = 0
    attempts: int = 1
    dedup: str = ""
    batch: str = ""
    line: int = 0
    webhook: str = ""
    door: str = ""
    request_id: str = ""
    trace_id: str = ""
    traceparent: str = ""


class Totals(Struct, frozen=True, omit_defaults=True):
    """Add up an execution's nodes. `cached_nodes` were answered without paying; `saved_nano` is what that spared."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    saved_nano: int = 0
    cached_nodes: int = 0


class Turn(Struct, frozen=True):
    """Name one taking-up of a round. Whoever writes says for which: a worker that was frozen, and whose execution
    another one has taken up meanwhile, must not write into that one's."""

    execution: str
    round: int
    taken: int


class TurnOver(Exception):
    """Report that a turn is over: its execution was taken up by somebody else, has ended, or is gone."""


class Execution(Struct, frozen=True, omit_defaults=True):
    """Hold an execution as it stands.

    `round` counts how often it was begun on purpose: 1, and one more with every resume. `taken` counts how often a
    worker took it up, deaths included. `progress` is in per cent. `wish` is what its owner asked for that the worker
    has not done yet. `result` is JSON that the end leaves (`null` before): what a door answers with.
    """

    submission: Submission
    status: ExecutionStatus = "queued"
    round: int = 1
    taken: int = 0
    progress: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    error_code: str = ""
    error: str = ""
    wish: Literal["", "cancel"] = ""
    totals: Totals = Totals()
    result: Raw = Raw(b"null")

    @property
    def id(self) -> str:
        """Return its id."""
        return self.submission.id

    @property
    def turn(self) -> Turn:
        """Return the taking-up that it stands in."""
        return Turn(self.submission.id, self.round, self.taken)

    @property
    def has_ended(self) -> bool:
        """Say whether nothing more happens to it, unless it is resumed."""
        return self.status in ENDED


class NodeRun(Struct, frozen=True, omit_defaults=True):
    """Hold what became of one node.

    `cache` is how its answer came about: `miss`, `hit`, `coalesced`, `resumed`, "" where no model was asked. `answer`
    is the encoded `domain.answer.Answer`, `b""` for none. `report` is JSON of its own kind (findings, review), `null`
    for none; `files` the JSON list of `{"path", "language", "content"}`. `note`: what its reader should know, such as
    that its context was cut. `score` is in 0–100, -1 for none.
    """

    execution: str
    node: str
    status: NodeStatus = "waiting"
    attempts: int = 0
    provider: str = ""
    model: str = ""
    model_version: str = ""
    cache: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_nano: int = 0
    saved_nano: int = 0
    started_ms: int = 0
    ended_ms: int = 0
    error_code: str = ""
    error: str = ""
    note: str = ""
    score: int = -1
    text: str = ""
    files: Raw = Raw(b"[]")
    report: Raw = Raw(b"null")
    answer: bytes = b""


class Event(Struct, frozen=True):
    """Hold one event of an execution: `number` counts from 1 without a gap. `data` is a JSON object.

    Kinds: `execution` (its status changed), `node` (a node's status changed), `text` (the next words of a running
    node), `done` (the last one of a round).
    """

    execution: str
    number: int
    at_ms: int
    kind: Literal["execution", "node", "text", "done"]
    data: Raw


class NewEvent(Struct, frozen=True):
    """Hold an event that has no number yet."""

    kind: Literal["execution", "node", "text", "done"]
    data: Raw


class ExecutionQuestion(Struct, frozen=True):
    """Ask for executions, newest first. Empty matches everything; `after` is the cursor of the page before.

    `tenant` None: of all tenants. `identity`: only those of this submitter.
    """

    tenant: str | None
    identity: str = ""
    kinds: tuple[Kind, ...] = ()
    queue: str = ""
    statuses: tuple[ExecutionStatus, ...] = ()
    batch: str = ""
    since_ms: int = 0
    until_ms: int = 0
    after: str = ""
    size: int = 50


class ExecutionPage(Struct, frozen=True):
    """Hold one page; `after` is the cursor of the next, "" at the end. Results and works are left out (`null`)."""

    executions: tuple[Execution, ...]
    after: str


class QueueState(Struct, frozen=True):
    """Say how a queue is. `oldest_ms`: since when the longest-waiting one that is due waits, 0 for none."""

    name: QueueName
    paused: bool
    queued: int
    delayed: int
    running: int
    succeeded: int
    failed: int
    cancelled: int
    oldest_ms: int


class NoticeState(Struct, frozen=True):
    """Say how far the telling of an end has come. `problem`: why the last try failed; `next_ms`: the next."""

    status: Literal["pending", "delivered", "given_up"]
    tries: int
    problem: str
    next_ms: int


class Executions(Protocol):
    """Keep executions where every process of the house finds them. All methods raise `DatabaseAway`."""

    async def submit(self, submissions: Sequence[Submission]) -> tuple[Execution, ...]:
        """Write new executions, all or none; each that is there already (by id, or a living `dedup` of its tenant) is
        returned as it stands instead."""
        ...

    async def find(self, id: str, tenant: str | None) -> Execution | None:
        """Return one; None where there is none or it is another tenant's. `tenant` None: anybody's."""
        ...

    async def nodes(self, id: str) -> tuple[NodeRun, ...]:
        """Return what became of its nodes so far, in no order."""
        ...

    async def page(self, question: ExecutionQuestion) -> ExecutionPage:
        """List executions."""
        ...

    async def wish_cancel(self, id: str, tenant: str | None, now_ms: int) -> Execution | None:
        """Ask for its cancellation; one that no worker has taken ends at once. Nothing happens to one that ended."""
        ...

    async def resume(self, id: str, tenant: str | None, now_ms: int) -> Execution | None:
        """Queue one that failed or was cancelled once more: its finished nodes stay finished. Nothing happens else."""
        ...

    async def events(self, after: Mapping[str, int], size: int) -> tuple[Event, ...]:
        """Return the next events of several executions, behind the number that each is known up to; ordered by
        execution and number, at most `size` in all."""
        ...

    async def notice(self, id: str) -> NoticeState | None:
        """Return how far its webhook was told of its end; None before that, and where it has none."""
        ...

    async def queues(self, now_ms: int) -> tuple[QueueState, ...]:
        """Say how all queues are."""
        ...

    async def pause(self, queue: QueueName, *, paused: bool) -> None:
        """Let a queue begin nothing more, or go on; it holds over restarts."""
        ...


class Room(Struct, frozen=True):
    """Say what a worker can take of a queue now: so many, and begun so many in the last minute over all workers.

    `per_span` None: any number. `span_ms`: of which time.
    """

    queue: QueueName
    free: int
    per_span: int | None = None
    span_ms: int = 60_000


class WorkerExecutions(Executions, Protocol):
    """What the worker needs besides. All methods raise `DatabaseAway`."""

    async def claim(self, rooms: Sequence[Room], worker: str, now_ms: int) -> tuple[Execution, ...]:
        """Take queued executions that are due, of queues that are not paused: they run now, and are this worker's."""
        ...

    async def held(self, worker: str | None = None) -> tuple[tuple[str, int, str], ...]:
        """Return what runs: id, round and whose it is; of one worker, or of all."""
        ...

    async def take_over(self, id: str, round: int, worker: str) -> bool:
        """Make a running one this worker's; False where that round runs no more."""
        ...

    async def wishes(self, worker: str) -> tuple[tuple[str, int], ...]:
        """Return the id and round of everything of this worker that is to be cancelled."""
        ...

    async def begin(self, id: str, round: int, now_ms: int) -> Execution | None:
        """Count one taking-up (`taken`), and return it with its submission. None where that round runs no more."""
        ...

    async def keep(self, turn: Turn, run: NodeRun, events: Sequence[NewEvent], progress: int) -> None:
        """Write what became of a node, with its events. Raises `TurnOver`."""
        ...

    async def tell(self, turn: Turn, events: Sequence[NewEvent]) -> None:
        """Write events alone. Raises `TurnOver`."""
        ...

    async def end(self, execution: Execution, events: Sequence[NewEvent]) -> bool:
        """Write the end of a round: status, error, totals, result. False where its turn was over."""
        ...

    async def sweep(self, done_before_ms: int, failed_before_ms: int, size: int) -> int:
        """Delete at most `size` executions that ended before these times; return how many."""
        ...


class Notice(Struct, frozen=True):
    """Hold the end of a round that a webhook is to be told of. `tries`: how often that was tried in vain."""

    execution: str
    round: int
    tries: int
    made_ms: int


class Notices(Protocol):
    """Keep what webhooks are to be told: written with the end itself, so that no end goes untold. All methods raise
    `DatabaseAway`."""

    async def take(self, but_hosts: Collection[str], now_ms: int, until_ms: int) -> Notice | None:
        """Return the notice that is due longest, for nobody else until `until_ms`; none for these hosts."""
        ...

    async def settle(self, notice: Notice, state: NoticeState) -> None:
        """Write what came of a try. Nothing where its execution was resumed meanwhile, or is gone."""
        ...
