"""What executions are told as: the answer of `/llm/workflow/generate`, and the document of an execution.

Times are epoch milliseconds, money is nano-dollars where the name ends in `Nano` and dollars with a sign elsewhere.
Nothing here is invented: every sentence counts what is in the rows.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from askonce.domain.executions import Execution, ExecutionStatus, Kind, NodeRun, QueueName, Totals, Urgency
from askonce.domain.graph import Graph, Node, NodeStatus, NodeType
from askonce.domain.money import dollars
from askonce.wire.fences import File, parse
from askonce.workflows.files_of import best_of, files_of
from askonce.workflows.merging import Change, history, merged

_NULL = Raw(b"null")
SPARED = frozenset({"hit", "coalesced"})


class Told(Struct, frozen=True, rename="camel"):
    """Write field names in camelCase."""


class WorkflowMetadata(Told, frozen=True):
    """Say what a workflow took. `execution_time` in milliseconds; `cached_nodes` were answered without paying."""

    total_tokens: int
    total_cost: str
    total_cost_nano: int
    execution_time: int
    models_used: tuple[str, ...]
    cached_nodes: int
    saved: str
    saved_nano: int


class WorkflowTold(Told, frozen=True):
    """Name a workflow that was done. `nodes` counts them; `id` is the execution's."""

    id: str
    name: str
    nodes: int
    execution_time: int


class WorkflowAnswer(Told, frozen=True):
    """Hold what `/llm/workflow/generate` answers."""

    code: str
    files: tuple[File, ...]
    summary: str
    metadata: WorkflowMetadata
    workflow: WorkflowTold


class ErrorTold(Told, frozen=True):
    """Say what went wrong."""

    code: str
    message: str


class UsageTold(Told, frozen=True):
    """Count tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class NodeDocument(Told, frozen=True, omit_defaults=True):
    """Tell of one node. `report` is what `quality` found, or what `review` came to."""

    id: str
    type: NodeType
    status: NodeStatus
    depends_on: tuple[str, ...]
    attempts: int
    provider: str
    model: str
    model_version: str
    usage: UsageTold
    cost: str
    cost_nano: int
    saved_nano: int
    cache: str
    started_at: int
    ended_at: int
    text: str
    files: tuple[File, ...]
    score: int | UnsetType = UNSET
    note: str | UnsetType = UNSET
    report: Raw | UnsetType = UNSET
    error: ErrorTold | UnsetType = UNSET


class TotalsTold(Told, frozen=True):
    """Add up the nodes."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: str
    cost_nano: int
    saved: str
    saved_nano: int
    cached_nodes: int


class Links(Told, frozen=True):
    """Tell where more of an execution is."""

    self: str
    events: str
    cancel: str


class ExecutionDocument(Told, frozen=True, omit_defaults=True):
    """Tell of an execution. `files` are those of all nodes, merged by path; `history` says who wrote each.

    `round` is 1, and one more for each time that it was resumed. `result` is what its door answers with, once it
    succeeded. `cancelling`: its cancellation was asked for.
    """

    id: str
    kind: Kind
    name: str
    queue: QueueName
    urgency: Urgency
    status: ExecutionStatus
    progress: int
    round: int
    created_at: int
    started_at: int
    ended_at: int
    totals: TotalsTold
    links: Links
    nodes: tuple[NodeDocument, ...] | UnsetType = UNSET
    files: tuple[File, ...] | UnsetType = UNSET
    history: dict[str, tuple[Change, ...]] | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: ErrorTold | UnsetType = UNSET
    cancelling: Literal[True] | UnsetType = UNSET
    batch: str | UnsetType = UNSET
    line: int | UnsetType = UNSET


def totals_of(runs: Sequence[NodeRun]) -> Totals:
    """Add nodes up."""
    return Totals(
        sum(run.prompt_tokens for run in runs),
        sum(run.completion_tokens for run in runs),
        sum(run.cost_nano for run in runs),
        sum(run.saved_nano for run in runs),
        sum(_is_spared(run) for run in runs),
    )


def workflow_answer(
    execution: Execution, graph: Graph, runs: Mapping[str, NodeRun], files: tuple[File, ...]
) -> WorkflowAnswer:
    """Tell what a workflow that succeeded made; `runs` in the graph's order, `files` merged."""
    totals, took_ms = execution.totals, max(0, execution.ended_ms - execution.started_ms)
    texts = [run.text for run in runs.values() if run.text and _type_of(run, graph) not in ("review", "quality")]
    code = best_of(files) if files else parse(texts[-1]).code if texts else ""
    models = dict.fromkeys(f"{run.provider}:{run.model}" for run in runs.values() if run.model)
    return WorkflowAnswer(
        code,
        files,
        summary_of(graph, runs, files),
        WorkflowMetadata(
            totals.prompt_tokens + totals.completion_tokens,
            dollars(totals.cost_nano),
            totals.cost_nano,
            took_ms,
            tuple(models),
            totals.cached_nodes,
            dollars(totals.saved_nano),
            totals.saved_nano,
        ),
        WorkflowTold(execution.id, graph.name, len(graph.nodes), took_ms),
    )


def summary_of(graph: Graph, runs: Mapping[str, NodeRun], files: Sequence[File]) -> str:
    """Say in plain words what came of a workflow: facts of the rows, and nothing else."""
    words = [_count(len(files), "file") + " written."]
    for node in graph.nodes:
        run = runs.get(node.id)
        if run is None:
            continue
        if run.status == "failed":
            words.append(f"`{node.id}` failed: {run.error}")
        elif run.status == "skipped":
            words.append(f"`{node.id}` was skipped.")
        elif run.score >= 0:
            words.append(f"`{node.id}` scored {run.score} of 100.")
        if run.status == "succeeded" and node.type == "review":
            words.append(_opinion(node, run))
        elif run.status == "succeeded" and node.type == "quality" and run.note:
            words.append(run.note)
    return " ".join(words)


def execution_document(execution: Execution, link: str) -> ExecutionDocument:
    """Tell of an execution without its nodes, as in lists. `link` is its own path."""
    submission, totals = execution.submission, execution.totals
    return ExecutionDocument(
        execution.id,
        submission.kind,
        submission.name,
        submission.queue,
        submission.urgency,
        execution.status,
        execution.progress,
        execution.round,
        submission.created_ms,
        execution.started_ms,
        execution.ended_ms,
        TotalsTold(
            totals.prompt_tokens,
            totals.completion_tokens,
            totals.prompt_tokens + totals.completion_tokens,
            dollars(totals.cost_nano),
            totals.cost_nano,
            dollars(totals.saved_nano),
            totals.saved_nano,
            totals.cached_nodes,
        ),
        Links(link, f"{link}/events", link),
        error=ErrorTold(execution.error_code, execution.error) if execution.error_code else UNSET,
        cancelling=True if execution.wish == "cancel" and not execution.has_ended else UNSET,
        batch=submission.batch or UNSET,
        line=submission.line if submission.batch else UNSET,
    )


def whole_document(execution: Execution, graph: Graph, runs: Mapping[str, NodeRun], link: str) -> ExecutionDocument:
    """Tell of an execution with everything that is in its rows; `runs` by the nodes' ids."""
    documents = [node_document(node, runs.get(node.id) or NodeRun(execution.id, node.id)) for node in graph.nodes]
    return replace(
        execution_document(execution, link),
        nodes=tuple(documents),
        files=merged(graph, runs),
        history=history(graph, runs),
        result=execution.result if execution.status == "succeeded" else UNSET,
    )


def node_document(node: Node, run: NodeRun) -> NodeDocument:
    """Tell of a node."""
    has_ended = run.status not in ("waiting", "running")
    return NodeDocument(
        node.id,
        node.type,
        run.status,
        node.depends_on,
        run.attempts,
        run.provider,
        run.model,
        run.model_version,
        UsageTold(run.prompt_tokens, run.completion_tokens, run.prompt_tokens + run.completion_tokens),
        dollars(run.cost_nano),
        run.cost_nano,
        run.saved_nano,
        run.cache,
        run.started_ms,
        run.ended_ms,
        run.text,
        files_of(run),
        run.score if run.score >= 0 else UNSET,
        run.note or UNSET,
        run.report if has_ended and bytes(run.report) != bytes(_NULL) else UNSET,
        ErrorTold(run.error_code, run.error) if run.error_code else UNSET,
    )


class _Opinion(Struct, frozen=True):
    """Read what a summary needs of a review's report."""

    verdict: str = "absent"
    reason: str = ""


def _opinion(node: Node, run: NodeRun) -> str:
    """Say what the reviewer said; only what stands in the report, and absent where nothing does."""
    try:
        opinion = msgspec.json.decode(run.report, type=_Opinion)
    except msgspec.DecodeError:
        opinion = _Opinion()
    if opinion.verdict == "absent":
        return f"No opinion came from `{node.id}`{': ' + opinion.reason if opinion.reason else '.'}"
    return f"`{node.id}` says: {opinion.verdict}."


def _type_of(run: NodeRun, graph: Graph) -> str:
    return next((node.type for node in graph.nodes if node.id == run.node), "")


def _is_spared(run: NodeRun) -> bool:
    return run.cache in SPARED or (run.cache == "resumed" and not run.cost_nano)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
