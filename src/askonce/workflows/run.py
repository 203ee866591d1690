"""One round of an execution: taken up, done over durable steps, ended.

    begin ─▶ finished nodes are taken from their rows ─▶ ready nodes side by side, each a step ─▶ end
      └─▶ nothing to do: that round has ended

A node's row is written before the engine's checkpoint. A death between the two costs nothing: the row says that the
node has ended. A death before the row costs nothing that was paid either: the answer is promised (`asking`).

Cancelled: where its owner wished for that, the nodes that were not done become cancelled and the round ends; else
(the process stops) everything is left as it is, for whoever takes the work up next.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from functools import partial
from typing import Protocol

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from askonce.domain.clock import Clock
from askonce.domain.errors import InternalError
from askonce.domain.executions import Execution, ExecutionStatus, NodeRun, Submission
from askonce.domain.graph import Graph, Node
from askonce.domain.ports import Observer
from askonce.gate.settle import UNEXPECTED
from askonce.gate.unbroken import unbroken
from askonce.wire.door import Codec
from askonce.workflows.engine.port import Step, Steps
from askonce.workflows.events import ending_events, node_event
from askonce.workflows.fate import ENDED, FINISHED, fate_of, first_failure
from askonce.workflows.making import Making, Tools
from askonce.workflows.merging import merged
from askonce.workflows.node import Job, Nodes, Pace
from askonce.workflows.question_job import Answering, answer_node
from askonce.workflows.result import totals_of, workflow_answer
from askonce.workflows.round import Round, WorkflowWork
from askonce.workflows.scribe import Scribe
from askonce.workflows.telling import node_told, round_told

CANCELLED = "cancelled"
STOPPED = "It was cancelled before it was done."
EDITIONS = frozenset({1})  # of graphs, that this version runs
UNREADABLE = "What was submitted cannot be run by this version of the server. Submit it again."


class Savings(Protocol):
    """Book what was not paid again."""

    async def resumed(self, submission: Submission, run: NodeRun) -> None:
        """Book one node that was found finished when its execution was taken up again. Does not raise."""
        ...


class House(Struct, frozen=True):
    """Hold what executions are run with. `codecs` are those of doors that ask, by path.

    `timeout_s`: how long a round may take that does not say.
    """

    scribe: Scribe
    tools: Tools
    codecs: Mapping[str, Codec]
    savings: Savings
    clock: Clock
    observer: Observer
    timeout_s: int


class Runs:
    """Run executions (port `engine.port.Work`)."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._scribe = house.scribe
        self._clock = house.clock
        self._nodes = Nodes(house.scribe, house.clock, house.observer)

    async def run(self, work_id: str, steps: Steps) -> None:
        """Do one round (`<execution>.<round>`), or what is left of it. Raises `DatabaseAway`, `TurnOver`, and
        what steps raise.

        Again is harmless: what is done is found done. If cancelled, see above.
        """
        id, round = read_work_id(work_id)
        execution = await self._scribe.begin(id, round, self._clock.wall_ms())
        if execution is None or execution.wish == "cancel":
            await self._stop(await self._scribe.find(id), round)
            return
        try:
            await self._go(execution, steps)
        except asyncio.CancelledError:
            await unbroken(self._stopped(id, round))
            raise

    async def give_up(self, work_id: str, code: str, reason: str) -> None:
        """End a round as failed that cannot be brought to an end, such as one that kills its worker each time."""
        id, round = read_work_id(work_id)
        execution = await self._scribe.find(id)
        if execution is None or execution.has_ended or execution.round != round:
            return
        await self._end_undone(execution, "failed", code, reason)

    async def _go(self, execution: Execution, steps: Steps) -> None:
        before: Mapping[str, NodeRun] = {}
        if execution.taken > 1 or execution.round > 1:  # else nobody has written any
            before = await self._scribe.nodes(execution.id)
            await self._book(execution, before)
        if execution.submission.kind == "generate":
            await self._question(execution, before)
            return
        try:
            round = Round(execution, read_work(execution.submission), before)
        except Exception as error:
            # Whatever is wrong with it is wrong with it each time: it must not be taken up for ever.
            self._house.observer.defect(error)
            await self._end_undone(execution, "failed", InternalError.code, UNREADABLE)
            return
        await self._workflow(round, steps)

    async def _workflow(self, round: Round, steps: Steps) -> None:
        reserved = [(node, steps.reserve(node.id)) for node in round.order]
        await _all([self._node(round, node, step) for node, step in reserved if not round.has_ended(node)])
        await self._end(self._finished(round))

    def _finished(self, round: Round) -> Execution:
        """Return how a workflow ended whose nodes have all ended."""
        runs = round.runs
        failed = first_failure(round.order, round.conditions, runs)
        if failed is not None:
            failed = replace(failed, error=f"`{failed.node}`: {failed.error}")
        ended = self._ended(round.execution, tuple(runs.values()), failed)
        if failed is not None:
            return ended
        try:
            answer = workflow_answer(ended, round.graph, runs, merged(round.graph, runs))
        except Exception as error:
            # As above: each time.
            self._house.observer.defect(error)
            return replace(ended, status="failed", error_code=InternalError.code, error=UNEXPECTED)
        return replace(ended, result=Raw(msgspec.json.encode(answer)))

    async def _node(self, round: Round, node: Node, step: Step) -> None:
        """Bring a node to its end once all that it needs has ended."""
        await round.needs_met(node)

        async def work() -> str:
            round.take(await self._settled(round, node))
            return round.runs[node.id].status

        await step.run(work)
        if not round.has_ended(node):
            await work()  # the engine's checkpoint is there, and the row that was written before it is not

    async def _settled(self, round: Round, node: Node) -> NodeRun:
        """Do a node's work, or write why it is not done."""
        submission, before = round.execution.submission, round.before(node)
        turn = round.execution.turn
        job = Job(submission, turn, node, before, self._until_ms(round.execution), round.pace)
        fate = fate_of(node, round.conditions.get(node.id), round.runs)
        if fate.goes:
            return await self._nodes.do(job, Making(self._house.tools, job, partial(round.task, node)))
        ended = replace(
            before,
            status=fate.status,
            ended_ms=self._clock.wall_ms(),
            error_code=fate.code,
            error=fate.reason if fate.code else "",
            note="" if fate.code else fate.reason,
        )
        return await self._nodes.ends(job, ended)

    async def _question(self, execution: Execution, before: Mapping[str, NodeRun]) -> None:
        """Answer a question in the background. It is no step: its row says all that the engine could remember."""
        submission, node = execution.submission, answer_node(execution.submission)
        run = before.get(node.id) or NodeRun(execution.id, node.id)
        if run.status not in ENDED:
            job = Job(submission, execution.turn, node, run, self._until_ms(execution), Pace(1, 0))
            run = await self._nodes.do(job, Answering(self._house.tools.asking, self._house.codecs, job, self._clock))
        ended = self._ended(execution, (run,), None if run.status in FINISHED else run)
        await self._end(ended if ended.error_code else replace(ended, result=run.report))

    async def _book(self, execution: Execution, before: Mapping[str, NodeRun]) -> None:
        for run in before.values():
            if run.status in FINISHED and run.cache:
                await self._house.savings.resumed(execution.submission, run)

    async def _stopped(self, id: str, round: int) -> None:
        """Find out why a round was cancelled. While nobody can say, it is left as it is: its wish stays in its row."""
        await self._stop(await self._scribe.glance(id), round)

    async def _stop(self, execution: Execution | None, round: int) -> None:
        """End a round whose owner wished for that; leave any other as it is."""
        if execution is None or execution.has_ended or execution.round != round or execution.wish != "cancel":
            return
        await self._end_undone(execution, "cancelled", CANCELLED, STOPPED)

    async def _end_undone(self, execution: Execution, status: ExecutionStatus, code: str, reason: str) -> None:
        """End an execution, and with it those of its nodes that have not ended."""
        runs = await self._scribe.nodes(execution.id)
        nodes = {run.node: run for run in runs.values()}
        types = {node.id: node.type for node in graph_of(execution.submission).nodes}
        for id in types:
            nodes.setdefault(id, NodeRun(execution.id, id))
        now_ms = self._clock.wall_ms()
        for run in list(nodes.values()):
            if run.status not in ENDED:
                ended = replace(run, status="cancelled", ended_ms=now_ms, error_code=code, error=reason)
                ended = nodes[run.node] = replace(ended, report=Raw(b"null"))
                await self._scribe.keep(execution.turn, ended, (node_event(ended),), execution.progress)
                if run.started_ms and execution.submission.kind == "workflow":
                    told = node_told(execution.submission, execution.round, types.get(run.node, ""), ended)
                    self._house.observer.worked(told)
        totals = totals_of(tuple(nodes.values()))
        ended_as = replace(execution, status=status, ended_ms=now_ms, error_code=code, error=reason, totals=totals)
        await self._end(ended_as)

    def _ended(self, execution: Execution, runs: tuple[NodeRun, ...], failed: NodeRun | None) -> Execution:
        return replace(
            execution,
            status="succeeded" if failed is None else "failed",
            progress=100,
            ended_ms=self._clock.wall_ms(),
            error_code="" if failed is None else failed.error_code,
            error="" if failed is None else failed.error,
            totals=totals_of(runs),
        )

    async def _end(self, execution: Execution) -> None:
        if await unbroken(self._scribe.end(execution, ending_events(execution))):
            self._house.observer.worked(round_told(execution))

    def _until_ms(self, execution: Execution) -> int:
        return execution.started_ms + 1000 * (execution.submission.timeout_s or self._house.timeout_s)


def read_work_id(work_id: str) -> tuple[str, int]:
    """Tell the execution and the round of an engine's work."""
    id, _, round = work_id.rpartition(".")
    return id, int(round)


def read_work(submission: Submission) -> WorkflowWork:
    """Read a workflow's work. Raises `ValueError` for what this version does not run."""
    work = msgspec.json.decode(submission.work, type=WorkflowWork)
    if work.graph.edition not in EDITIONS:
        raise ValueError(f"graphs of edition {work.graph.edition} are not known")
    return work


def graph_of(submission: Submission) -> Graph:
    """Return what an execution consists of, a question's one node too; nothing where this version cannot read it."""
    if submission.kind == "generate":
        return Graph((answer_node(submission),), submission.name)
    try:
        return read_work(submission).graph
    except (ValueError, msgspec.DecodeError):
        return Graph((), submission.name)


async def _all(works: list[Awaitable[None]]) -> None:
    """Do everything side by side; the first error, or a cancellation of one of them, stops the others.

    (A task group takes the cancellation of one of its tasks for a good end.)
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
