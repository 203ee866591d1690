"""What is reported of files, and the score.

States of a file:

    parsed      its parser read all of it
    doubtful    its parser stumbled, but there may be a dialect, a macro or a leniency that it does not know
    broken      it is not right in its language
    unchecked   nothing can be said: an unknown language, a template, too long, or its parser gave up

The score (0–100) is the mean of the scores of all files that were checked, rounded down:

    file   0 if broken, else 100 - 10 per error - 3 per warning - 1 per note, at least 0
    all    the mean; at most 49 where any file is broken, since a project with such a file does not run

Where nothing was checked there is no score (-1).
"""

from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

State = Literal["parsed", "doubtful", "broken", "unchecked"]
Severity = Literal["error", "warning", "note"]

# Nobody reads more; what is left out is counted. Errors are kept before warnings, warnings before notes.
MAX_FINDINGS = 500
POINTS: dict[Severity, int] = {"error": 10, "warning": 3, "note": 1}
FULL, MOST_IF_BROKEN, NONE = 100, 49, -1
_ORDER: tuple[Severity, ...] = ("error", "warning", "note")


class Finding(Struct, frozen=True):
    """Hold one finding. `line` and `column` count from 1, in characters; `rule` is Ruff's code, or one of ours."""

    path: str
    line: int
    column: int
    rule: str
    severity: Severity
    message: str


class Checked(Struct, frozen=True, omit_defaults=True):
    """Say how a file is. `by` names what read it; `reason` says why it is not simply parsed."""

    path: str
    language: str
    state: State
    by: str = ""
    reason: str = ""


class Report(Struct, frozen=True):
    """Hold what was found, ordered by path, line and column; `omitted` findings are not among them.

    `notes` are sentences for people, such as that Ruff did not answer.
    """

    score: int
    files: tuple[Checked, ...]
    findings: tuple[Finding, ...]
    omitted: int = 0
    notes: tuple[str, ...] = ()

    @property
    def broken(self) -> tuple[str, ...]:
        """Return the paths of the files that are not right in their languages."""
        return tuple(file.path for file in self.files if file.state == "broken")


def make_report(files: Sequence[Checked], findings: Iterable[Finding], notes: Sequence[str] = ()) -> Report:
    """Put a report together: order, bound, score. The order in which things come makes no difference."""
    every = sorted(set(findings), key=_place)
    kept = sorted(every, key=lambda finding: _ORDER.index(finding.severity))[:MAX_FINDINGS]
    return Report(
        score_of(files, every),
        tuple(sorted(files, key=lambda file: file.path)),
        tuple(sorted(kept, key=_place)),
        len(every) - len(kept),
        tuple(notes),
    )


def score_of(files: Sequence[Checked], findings: Iterable[Finding]) -> int:
    """Return the score: see the head of this file."""
    lost: dict[str, int] = {}
    for finding in findings:
        lost[finding.path] = lost.get(finding.path, 0) + POINTS[finding.severity]
    checked = [file for file in files if file.state != "unchecked"]
    if not checked:
        return NONE
    mean = sum(_points(file, lost.get(file.path, 0)) for file in checked) // len(checked)
    return min(mean, MOST_IF_BROKEN) if any(file.state == "broken" for file in checked) else mean


def _points(file: Checked, lost: int) -> int:
    return 0 if file.state == "broken" else max(0, FULL - lost)


def _place(finding: Finding) -> tuple[str, int, int, str, str]:
    return (finding.path, finding.line, finding.column, finding.rule, finding.message)
