"""What is known of a workflow's round while it runs: who has ended, and who waits for whom."""

import asyncio
from collections.abc import Mapping

from msgspec import Raw, Struct

from askonce.domain.executions import Execution, NodeRun
from askonce.domain.graph import Graph, Node
from askonce.workflows.conditions import read_condition
from askonce.workflows.crafts import Task
from askonce.workflows.fate import ENDED
from askonce.workflows.graph import order_of
from askonce.workflows.merging import merged
from askonce.workflows.node import Pace


class WorkflowWork(Struct, frozen=True):
    """Hold a workflow as it was submitted: `input` is a JSON object."""

    graph: Graph
    input: Raw = Raw(b"{}")


class Round:
    """Hold a round. `before`: the rows of an earlier taking-up, or of the round that this one resumes."""

    def __init__(self, execution: Execution, work: WorkflowWork, before: Mapping[str, NodeRun]) -> None:
        self.execution = execution
        self.graph = work.graph
        self.order = order_of(work.graph)
        self.conditions = {node.id: read_condition(node.when) for node in self.order if node.when}
        self._input = work.input
        self._before = before
        self._ended = {node.id: asyncio.Event() for node in self.order}
        self._runs: dict[str, NodeRun] = {}
        self._needs: dict[str, frozenset[str]] = {}
        for node in self.order:
            self._needs[node.id] = frozenset().union(node.depends_on, *(self._needs[one] for one in node.depends_on))
            if (run := self.before(node)).status in ENDED:
                self.take(run)
        self.pace = Pace(len(self.order), len(self._runs))

    @property
    def runs(self) -> dict[str, NodeRun]:
        """Return the nodes that have ended by their ids, in the graph's order."""
        return {node.id: self._runs[node.id] for node in self.order if node.id in self._runs}

    def has_ended(self, node: Node) -> bool:
        """Say whether a node has ended."""
        return node.id in self._runs

    def before(self, node: Node) -> NodeRun:
        """Return the row of a node as it was found."""
        return self._before.get(node.id) or NodeRun(self.execution.id, node.id)

    def take(self, run: NodeRun) -> None:
        """Take note of a node that has ended."""
        self._runs[run.node] = run
        self._ended[run.node].set()

    async def needs_met(self, node: Node) -> None:
        """Wait until everything has ended that a node depends on."""
        for need in node.depends_on:
            await self._ended[need].wait()

    def task(self, node: Node) -> Task:
        """Return what a node has to work with: only what it depends on, so that whoever takes it up asks the same."""
        runs = {id: run for id, run in self.runs.items() if id in self._needs[node.id]}
        return Task(node, self.graph, self._input, runs, merged(self.graph, runs))
