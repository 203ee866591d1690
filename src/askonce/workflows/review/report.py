"""The report of a review: what changed, the risk, and the opinion, or why there is none."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from askonce.wire.fences import File
from askonce.workflows.review.diffs import Change
from askonce.workflows.review.opinion import Absent, Issue, Opinion
from askonce.workflows.review.risk import Risk

Verdict = Literal["approve", "changes", "reject", "absent"]


class Review(Struct, frozen=True):
    """Hold a review. `verdict` absent: nobody has judged, and `reason` says why; that is no approval."""

    verdict: Verdict
    reason: str
    summary: str
    issues: tuple[Issue, ...]
    risk: Risk
    changes: tuple[Change, ...]


def make_review(opinion: Opinion | Absent, risk: Risk, changes: Sequence[Change], files: Sequence[File]) -> Review:
    """Put a review together. Of what the reviewer named only files and lines that exist are kept as such."""
    if isinstance(opinion, Absent):
        return Review("absent", opinion.reason, "", (), risk, tuple(changes))
    lengths = {file.path: len(file.content.splitlines()) for file in files}
    issues = tuple(_placed(issue, lengths) for issue in opinion.issues)
    return Review(opinion.verdict, "", opinion.summary, issues, risk, tuple(changes))


def _placed(issue: Issue, lengths: dict[str, int]) -> Issue:
    if not issue.file:
        return replace(issue, line=0)
    if issue.file in lengths:
        return replace(issue, line=issue.line if issue.line <= lengths[issue.file] else 0)
    ends = [path for path in lengths if path.endswith(f"/{issue.file}")]
    if len(ends) == 1:
        return _placed(replace(issue, file=ends[0]), lengths)
    return replace(issue, file="", line=0, message=f"{issue.message} ({issue.file}, which is not among the files)")
