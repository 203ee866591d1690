"""Files in, report out. Nothing of theirs is executed; what reads them runs in processes of its own.

Of Python, Ruff's parser has the last word; where Ruff does not answer, tree-sitter's grammar has it. A file whose
parser spins, grows too large or crashes is unchecked, and the next process goes on behind it.

Cancelled: the processes are killed and reaped.
"""

import asyncio
import sys
import time
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from askonce.wire.fences import File
from askonce.workflows.quality.languages import parser_of
from askonce.workflows.quality.process import ask
from askonce.workflows.quality.report import Checked, Finding, Report, State, make_report
from askonce.workflows.quality.ruff import FATAL, Linted, lint
from askonce.workflows.quality.sheets import Parsed, Sheet

# Longer ones are data, or an accident; nobody wrote them by hand, or reads them.
MAX_FILE_BYTES = 1 << 20
# All files of an inspection: what a process is handed at once.
MAX_BYTES = 16 << 20
# An inspection's parsing in all, by the clock; then what is left is unchecked.
SECONDS = 60.0
# What one process writes: its findings are bounded per file.
MOST_BYTES = 16 << 20
# Each takes a core and up to 100 MB; nodes that come at once wait for their turn.
AT_ONCE = 2

UNKNOWN = "No parser of ours reads this language."
TOO_LONG = f"It is longer than {MAX_FILE_BYTES >> 20} MiB."
TOO_MUCH = f"The files before it have {MAX_BYTES >> 20} MiB already."
GAVE_UP = "Its parser took too much time or memory, or crashed."
NO_TIME = "The time for parsing was over before its turn came."
NO_PROCESS = "No process could be started to parse it."
EMPTY = "This file is empty."

# Files that are often empty on purpose.
_MARKERS = ("__init__.py", "py.typed", ".gitkeep", ".keep", ".nojekyll")
_decoder = msgspec.json.Decoder(Parsed)


class _Sorted(NamedTuple):
    sheets: tuple[Sheet, ...]
    unchecked: tuple[Checked, ...]
    findings: tuple[Finding, ...]


class Inspector:
    """Inspect files, a few inspections at once."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._turns = asyncio.Semaphore(at_once)

    async def inspect(self, files: Sequence[File]) -> Report:
        """Parse every file in its language, and lint Python. Raises nothing but cancellation."""
        sheets, unchecked, findings = _sort({file.path: file for file in files}.values())
        async with self._turns:
            parsed = await _parse(sheets)
            # What made one parser give up may end Ruff too, for all files.
            gave_up = {one.checked.path for one in parsed if one.checked.state == "unchecked"}
            python = [sheet for sheet in sheets if sheet.parser == "python" and sheet.path not in gave_up]
            linted = await lint({sheet.path: sheet.content for sheet in python})
        parsed = [_with_ruff(one, linted) for one in parsed]
        return make_report(
            (*unchecked, *(one.checked for one in parsed)),
            (*findings, *(finding for one in parsed for finding in one.findings)),
            (linted.problem,) if linted.problem else (),
        )


def _sort(files: Iterable[File]) -> _Sorted:
    """Tell what can be parsed from what cannot."""
    sheets: list[Sheet] = []
    unchecked: list[Checked] = []
    findings: list[Finding] = []
    total = 0
    for file in files:
        parser = parser_of(file.path, file.language)
        size = len(file.content.encode("utf-8", "replace"))
        if not file.content.strip() and file.path.rpartition("/")[2] not in _MARKERS:
            findings.append(Finding(file.path, 1, 1, "empty", "warning", EMPTY))
        reason = UNKNOWN if not parser else TOO_LONG if size > MAX_FILE_BYTES else ""
        if not reason and total + size > MAX_BYTES:
            reason = TOO_MUCH
        if reason:
            unchecked.append(Checked(file.path, parser or file.language, "unchecked", "", reason))
        else:
            total += size
            sheets.append(Sheet(file.path, parser, file.content))
    return _Sorted(tuple(sheets), tuple(unchecked), tuple(findings))


async def _parse(sheets: Sequence[Sheet]) -> list[Parsed]:
    """Parse in processes, each of which goes on behind the file that ended the one before."""
    until = time.monotonic() + SECONDS
    done: list[Parsed] = []
    while len(done) < len(sheets):
        rest = sheets[len(done) :]
        left_s = until - time.monotonic()
        if left_s <= 0:
            return done + [_unchecked(sheet, NO_TIME) for sheet in rest]
        try:
            said = await ask(
                (sys.executable, "-P", "-m", "askonce.workflows.quality.child"),
                msgspec.msgpack.encode(rest),
                left_s,
                MOST_BYTES,
            )
        except OSError:
            return done + [_unchecked(sheet, NO_PROCESS) for sheet in rest]
        done += [_decoder.decode(line) for line in said.out.split(b"\n")[:-1]]
        if len(done) < len(sheets):
            done.append(_unchecked(sheets[len(done)], GAVE_UP))
    return done


def _with_ruff(parsed: Parsed, linted: Linted) -> Parsed:
    """Let Ruff judge a Python file that it has read."""
    found = linted.findings.get(parsed.checked.path)
    if found is None:
        return parsed
    state: State = "broken" if any(finding.rule in FATAL for finding in found) else "parsed"
    return Parsed(replace(parsed.checked, state=state, by="ruff", reason=""), found)


def _unchecked(sheet: Sheet, reason: str) -> Parsed:
    return Parsed(Checked(sheet.path, sheet.parser, "unchecked", "", reason), ())
