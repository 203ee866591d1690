"""What a node is shown of the nodes before it: plans, files, findings, opinions, failures, each as a section.

What matters most depends on the work: whoever writes needs the plan before the files, whoever judges needs the files
before the plan. What matters least goes first where a model reads little (`room`).
"""

from collections.abc import Iterator

import msgspec

from askonce.domain.executions import NodeRun
from askonce.domain.graph import Node
from askonce.wire.fence_blocks import Fence, fence_at
from askonce.workflows.crafts import Task
from askonce.workflows.quality.report import Finding, Report
from askonce.workflows.review.report import Review
from askonce.workflows.standard.room import Section

# The worst of what was found; a model mends no more at once.
MAX_FINDINGS = 50

# Ranks: the lower, the more important. 0 and 1 are the request's.
_PLAN, _TOLD, _FILES, _REST = 2, 3, 4, 5
_JUDGES = ("validate", "review")
_FILES_OF_JUDGES = 1


def sections_of(task: Task) -> list[Section]:
    """Return all that a node could be shown, in the order in which it is shown."""
    nodes = {node.id: node for node in task.graph.nodes}
    told = [section for id, run in task.runs.items() for section in _sections(nodes[id], run)]
    rank = _FILES_OF_JUDGES if task.node.type in _JUDGES else _FILES
    files = [Section("The files so far", rank, files=task.files)] if task.files else []
    first = [section for section in told if section.rank == _PLAN]
    return [*first, *files, *(section for section in told if section.rank != _PLAN)]


def report_of(run: NodeRun) -> Report | None:
    """Return what a quality node found; None where it left nothing that can be read."""
    try:
        return msgspec.json.decode(run.report, type=Report)
    except msgspec.DecodeError:
        return None


def findings_text(findings: tuple[Finding, ...]) -> str:
    """List findings, those that matter."""
    lines = [
        f"- {finding.path}, line {finding.line}, column {finding.column}: {finding.message} ({finding.rule})"
        for finding in findings
        if finding.severity != "note"
    ]
    more = [f"- and {len(lines) - MAX_FINDINGS} more"] if len(lines) > MAX_FINDINGS else []
    return "\n".join(lines[:MAX_FINDINGS] + more)


def prose_of(text: str) -> str:
    """Return a text without its fenced blocks."""
    kept: list[str] = []
    inside: Fence | None = None
    for line in text.split("\n"):
        fence = fence_at(line)
        if inside is None and fence is None:
            kept.append(line)
        elif inside is None:
            inside = fence
        elif fence is not None and fence.bare() and fence.closes(inside):
            inside = None
    return "\n".join(kept).strip()


def _sections(node: Node, run: NodeRun) -> Iterator[Section]:
    if run.status == "failed":
        yield Section(f"`{node.id}` failed", _TOLD, run.error or run.error_code)
    elif run.status != "succeeded":
        return
    elif node.type == "plan":
        yield Section(f"The plan (`{node.id}`)", _PLAN, run.text.strip() or "(empty)")
    elif node.type == "quality":
        report = report_of(run)
        if report and (text := findings_text(report.findings)):
            yield Section(f"What parsers and linters found (`{node.id}`)", _TOLD, text)
    elif node.type == "review":
        if text := _review_text(run):
            yield Section(f"What the reviewer said (`{node.id}`)", _TOLD, text)
    elif text := prose_of(run.text):
        yield Section(f"What `{node.id}` said besides its files", _REST, text)


def _review_text(run: NodeRun) -> str:
    try:
        review = msgspec.json.decode(run.report, type=Review)
    except msgspec.DecodeError:
        return ""
    if review.verdict == "absent":
        return ""
    issues = [f"- {issue.file or 'everywhere'}, line {issue.line}: {issue.message}" for issue in review.issues]
    return "\n".join([f"{review.verdict}: {review.summary}", *issues])
