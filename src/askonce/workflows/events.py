"""The events of an execution, as their data is written: JSON objects with camelCase names.

A reader of `text` begins anew where `at` is 0: the words that came before belonged to a try that failed.
"""

import msgspec
from msgspec import Raw, Struct

from askonce.domain.errors import AskonceError
from askonce.domain.executions import Execution, ExecutionStatus, NewEvent, NodeRun
from askonce.domain.graph import NodeStatus


class NodeTold(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Tell how a node is. `waits_for` is the code of what it waits for, `wait_ms` how long until it looks again."""

    id: str
    status: NodeStatus
    attempts: int = 0
    provider: str = ""
    model: str = ""
    cache: str = ""
    cost_nano: int = 0
    saved_nano: int = 0
    score: int = -1
    note: str = ""
    error_code: str = ""
    error: str = ""
    waits_for: str = ""
    wait_ms: int = 0


class TextTold(Struct, frozen=True):
    """Tell the next words of a node, which begin behind `at` characters."""

    id: str
    at: int
    text: str


class ExecutionTold(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Tell how an execution is."""

    status: ExecutionStatus
    round: int
    progress: int
    error_code: str = ""
    error: str = ""


def node_event(run: NodeRun) -> NewEvent:
    """Tell that a node is as this says."""
    return NewEvent(
        "node",
        _raw(
            NodeTold(
                id=run.node,
                status=run.status,
                attempts=run.attempts,
                provider=run.provider,
                model=run.model,
                cache=run.cache,
                cost_nano=run.cost_nano,
                saved_nano=run.saved_nano,
                score=run.score,
                note=run.note,
                error_code=run.error_code,
                error=run.error,
            )
        ),
    )


def waiting_event(run: NodeRun, reason: AskonceError, wait_s: float) -> NewEvent:
    """Tell that a node waits, and for what."""
    told = NodeTold(
        run.node,
        "waiting",
        run.attempts,
        error=reason.message,
        waits_for=reason.code,
        wait_ms=round(wait_s * 1000),
    )
    return NewEvent("node", _raw(told))


def text_event(node: str, at: int, text: str) -> NewEvent:
    """Tell the next words."""
    return NewEvent("text", _raw(TextTold(node, at, text)))


def ending_events(ended: Execution) -> tuple[NewEvent, NewEvent]:
    """Tell how an execution ended, and that nothing more comes in this round."""
    told = _raw(ExecutionTold(ended.status, ended.round, ended.progress, ended.error_code, ended.error))
    return NewEvent("execution", told), NewEvent("done", told)


def _raw(told: Struct) -> Raw:
    return Raw(msgspec.json.encode(told))
