"""The trades of nodes as they are (port `crafts.Crafts`): prompts, parsers, diffs and opinions."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw

from askonce.routing.estimate import BYTES_PER_TOKEN
from askonce.wire.fences import File
from askonce.workflows.crafts import Brief, Inspection, Reviewed, Task
from askonce.workflows.quality.inspector import Inspector
from askonce.workflows.quality.report import Report
from askonce.workflows.review.diffs import changes_of
from askonce.workflows.review.opinion import Absent, read_opinion
from askonce.workflows.review.report import make_review
from askonce.workflows.review.risk import risk_of
from askonce.workflows.standard.context import report_of
from askonce.workflows.standard.prompts import brief, repair
from askonce.workflows.standard.room import Count


def likely_count(text: str) -> int:
    """Count tokens on the high side, for any model."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_PER_TOKEN)


class Trades:
    """Know the trades. `count` counts tokens, and should rather count too many."""

    def __init__(self, inspector: Inspector, count: Count = likely_count) -> None:
        self._inspector = inspector
        self._count = count

    def brief(self, task: Task, window: int) -> Brief:
        """Say what a node asks. Raises `Invalid` and `ContextExceeded` (see `standard.prompts`)."""
        return brief(task, window, self._count)

    async def inspect(self, files: Sequence[File]) -> Inspection:
        """Parse and lint files, executing nothing."""
        report = await self._inspector.inspect(files)
        return Inspection(Raw(msgspec.json.encode(report)), report.score, report.broken)

    def repair(self, task: Task, broken: Sequence[File], inspection: Inspection, window: int) -> Brief:
        """Say how `task.node` is asked to correct what it wrote. Raises `ContextExceeded`."""
        return repair(task, broken, msgspec.json.decode(inspection.report, type=Report), window, self._count)

    def review(self, task: Task, said: str, absent: str) -> Reviewed:
        """Make the report of a review; an opinion that is none is absent, with the reason."""
        opinion = Absent(absent) if absent else read_opinion(said)
        changes = changes_of(task.runs)
        reports = [report for run in task.runs.values() if (report := report_of(run)) is not None]
        broken = reports[-1].broken if reports else ()
        review = make_review(opinion, risk_of(changes, task.files, broken), changes, task.files)
        note = f"No opinion: {review.reason}" if review.verdict == "absent" else ""
        return Reviewed(Raw(msgspec.json.encode(review)), note)
