"""What watchers are told of executions that end (port `Observer`): each end once, by whoever wrote it."""

from askonce.domain.executions import Execution, NodeRun, Submission
from askonce.domain.watching import Worked


def round_told(execution: Execution) -> Worked:
    """Say how a round ended."""
    totals = execution.totals
    return Worked(
        execution.submission,
        execution.round,
        execution.status,
        execution.started_ms,
        execution.ended_ms,
        execution.error_code,
        prompt_tokens=totals.prompt_tokens,
        completion_tokens=totals.completion_tokens,
        cost_nano=totals.cost_nano,
        saved_nano=totals.saved_nano,
    )


def node_told(submission: Submission, round: int, type: str, run: NodeRun) -> Worked:
    """Say how a node of that type ended."""
    return Worked(
        submission,
        round,
        run.status,
        run.started_ms,
        run.ended_ms,
        run.error_code,
        run.node,
        type,
        run.attempts,
        run.cache,
        run.provider,
        run.model,
        run.prompt_tokens,
        run.completion_tokens,
        run.cost_nano,
        run.saved_nano,
    )
