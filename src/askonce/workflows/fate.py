"""What becomes of nodes and of their execution, by how others ended. Pure.

    a node that it needs failed        it fails too, by name; unless its condition asks for that one's status
    a node that it needs was skipped   that one counts as done, with no text
    its condition is not met           it is skipped

An execution succeeded if every node succeeded or was skipped, or failed and somebody saw to that: a node that succeeded
asks for its status in its condition.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from askonce.domain.executions import NodeRun
from askonce.domain.graph import Node, NodeStatus
from askonce.workflows.conditions import Condition

FINISHED: frozenset[NodeStatus] = frozenset({"succeeded", "skipped"})
ENDED: frozenset[NodeStatus] = frozenset({"succeeded", "skipped", "failed", "cancelled"})
NEEDS_FAILED = "dependency_failed"


class Fate(Struct, frozen=True):
    """Say what happens to a node that has waited for all it needs: `goes`, or it ends so, for this reason."""

    goes: bool
    status: NodeStatus = "running"
    code: str = ""
    reason: str = ""


GOES = Fate(True)


def fate_of(node: Node, condition: Condition | None, runs: Mapping[str, NodeRun]) -> Fate:
    """Decide by how the nodes ended that it needs."""
    for need in node.depends_on:
        if runs[need].status not in FINISHED and not _asks_about(condition, need):
            reason = f"Needs `{need}`, which {_ended(runs[need].status)}."
            return Fate(False, "failed", NEEDS_FAILED, reason)
    if condition is not None and not condition.is_met(runs):
        return Fate(False, "skipped", reason=f"Its condition was not met: {node.when}")
    return GOES


def first_failure(
    nodes: Sequence[Node], conditions: Mapping[str, Condition], runs: Mapping[str, NodeRun]
) -> NodeRun | None:
    """Return the first node whose failure nobody saw to, those with a cause of their own first; None: all went well."""
    seen_to = {
        condition.node
        for id, condition in conditions.items()
        if condition.field == "status" and runs[id].status == "succeeded"
    }
    failures = [runs[node.id] for node in nodes if runs[node.id].status not in FINISHED and node.id not in seen_to]
    return min(failures, key=lambda run: run.error_code == NEEDS_FAILED, default=None)


def _asks_about(condition: Condition | None, need: str) -> bool:
    return condition is not None and condition.field == "status" and condition.node == need


def _ended(status: NodeStatus) -> str:
    return "failed" if status == "failed" else f"was {status}"
