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

# Ranks, the lower the more important; 0 is the request's. Whoever judges sees the files before anything else.
_JUDGES = ("validate", "review")
_PLAN, _TOLD, _FILES, _REST = "plan", "told", "files", "rest"
_WRITING = {_PLAN: 1, _TOLD: 2, _FILES: 3, _REST: 4}
_JUDGING = {_FILES: 1, _TOLD: 2, _PLAN: 3, _REST: 4}


def sections_of(task: Task) -> list[Section]:
    """Return all that a node could be shown, in the order in which it is shown."""
    ranks = _JUDGING if task.node.type in _JUDGES else _WRITING
    nodes = {node.id: node for node in task.graph.nodes}
    told = [(kind, head, text) for id, run in task.runs.items() for kind, head, text in _told(nodes[id], run)]
    plans = [Section(head, ranks[kind], text) for kind, head, text in told if kind == _PLAN]
    files = [Section("The files so far", ranks[_FILES], files=task.files)] if task.files else []
    rest = [Section(head, ranks[kind], text) for kind, head, text in told if kind != _PLAN]
    return [*plans, *files, *rest]


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


def _told(node: Node, run: NodeRun) -> Iterator[tuple[str, str, str]]:
    """Return what one node has to tell: its kind, its heading, its text."""
    if run.status == "failed":
        yield _TOLD, f"`{node.id}` failed", run.error or run.error_code
    elif run.status != "succeeded":
        return
    elif node.type == "plan":
        yield _PLAN, f"The plan (`{node.id}`)", run.text.strip() or "(empty)"
    elif node.type == "quality":
        report = report_of(run)
        if report and (text := findings_text(report.findings)):
            yield _TOLD, f"What parsers and linters found (`{node.id}`)", text
    elif node.type == "review":
        if text := _review_text(run):
            yield _TOLD, f"What the reviewer said (`{node.id}`)", text
    elif text := prose_of(run.text):
        yield _REST, f"What `{node.id}` said besides its files", text


def _review_text(run: NodeRun) -> str:
    try:
        review = msgspec.json.decode(run.report, type=Review)
    except msgspec.DecodeError:
        return ""
    if review.verdict == "absent":
        return ""
    issues = [f"- {issue.file or 'everywhere'}, line {issue.line}: {issue.message}" for issue in review.issues]
    return "\n".join([f"{review.verdict}: {review.summary}", *issues])
