"""Ruff on Python, as a process of its own that sees copies of the files and no configuration.

The rules are those that tell of defects, not of taste; so that nobody's style costs points:

    E9, F, PLE, W605      what does not compile, or fails when it runs: undefined names, wrong formats, bad escapes
    B, RUF (a choice)     what does something else than it says: mutable defaults, loop variables in closures
    ASYNC (a choice)      what stops an event loop
    S (a choice)          holes that are holes anywhere: shells, `eval`, no certificate checks, SQL made of strings;
                          not asserts, temporary paths, or what merely looks like a password

A file cannot silence it (`noqa` is ignored): it is the judged one.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct
from ruff import find_ruff_bin  # type: ignore[import-untyped] # it has no types

from askonce.gate.unbroken import unbroken
from askonce.workflows.quality.process import ask
from askonce.workflows.quality.report import Finding, Severity

SELECTED = """
    E9 F PLE W605
    B002 B003 B006 B012 B015 B016 B018 B020 B021 B022 B023 B025 B029 B030 B031 B032 B035 B039
    RUF006 RUF008 RUF016 RUF024
    ASYNC210 ASYNC220 ASYNC221 ASYNC222 ASYNC251
    S102 S113 S202 S306 S307 S501 S502 S503 S506 S507 S602 S604 S605 S608 S701
""".split()

# By the longest beginning of a rule's code that stands here.
_SEVERITIES: dict[str, Severity] = {
    "": "warning",
    "E9": "error",
    "F": "error",
    "F401": "note",  # unused import
    "F402": "warning",
    "F403": "note",  # `import *`, and what may come from it
    "F405": "note",
    "F504": "warning",  # arguments that no format uses
    "F522": "warning",
    "F523": "warning",
    "F541": "note",  # an f-string without a placeholder
    "F601": "warning",
    "F602": "warning",
    "F632": "warning",
    "F811": "warning",
    "F84": "note",  # unused variables
    "PLE": "error",
    "invalid-syntax": "error",
}
# With these Python does not compile a file.
FATAL = frozenset(
    "invalid-syntax E902 E999 F404 F407 F621 F622 F701 F702 F704 F706 F707 PLE0115 PLE0117 PLE0118".split()
)
# The newest Python whose grammar Ruff knows: what is valid anywhere is no error.
TARGET = "py314"

# Ruff reads a megabyte in less than a second; the rest is for a machine that is busy.
SECONDS = 30.0
# Some 600 bytes a finding. Ruff orders them by file and place, so that a cut is the same each time.
MOST_BYTES = 8 << 20
MAX_PER_FILE = 50

_LINE_ENDS = re.compile(r"\s*\n\s*")


class _Place(Struct, frozen=True):
    row: int
    column: int


class _Diagnostic(Struct, frozen=True):
    filename: str
    location: _Place
    message: str
    code: str | None = None


class Linted(Struct, frozen=True):
    """Hold what Ruff said of each path that it read to the end. `problem`: why it did not read all, "" if it did."""

    findings: Mapping[str, tuple[Finding, ...]]
    problem: str = ""


_decoder = msgspec.json.Decoder(_Diagnostic)


async def lint(sources: Mapping[str, str]) -> Linted:
    """Run Ruff over Python files: content by path. Raises nothing but cancellation; leaves nothing behind."""
    if not sources:
        return Linted({})
    try:
        folder = TemporaryDirectory(prefix="askonce-ruff-")
        try:
            return await _run(await unbroken(asyncio.to_thread(_write, Path(folder.name), sources)))
        finally:
            await unbroken(asyncio.to_thread(folder.cleanup))
    except OSError as error:
        return Linted({}, f"Ruff could not be run ({error.strerror or error}).")


def severity_of(rule: str) -> Severity:
    """Tell how bad a rule's findings are."""
    return next(_SEVERITIES[rule[:end]] for end in range(len(rule), -1, -1) if rule[:end] in _SEVERITIES)


def _write(folder: Path, sources: Mapping[str, str]) -> dict[str, str]:
    """Copy files under names of ours; only what means something to Ruff is kept of theirs. Returns path by copy."""
    copies: dict[str, str] = {}
    for number, (path, content) in enumerate(sources.items()):
        name = path.rpartition("/")[2]
        name = (
            name if name in ("__init__.py", "conftest.py") else "module.pyi" if name.endswith(".pyi") else "module.py"
        )
        copy = folder / str(number) / name
        copy.parent.mkdir()
        copy.write_text(content, "utf-8", "replace", newline="\n")
        copies[str(copy)] = path
    return copies


async def _run(copies: Mapping[str, str]) -> Linted:
    command = (
        *(find_ruff_bin(), "check", "--isolated", "--no-cache", "--no-fix", "--ignore-noqa", "--quiet", "--exit-zero"),
        *("--output-format", "json-lines", "--target-version", TARGET, "--select", ",".join(SELECTED)),
        *copies,
    )
    said = await ask(command, b"", SECONDS, MOST_BYTES)
    lines = said.out.split(b"\n")[:-1]
    if said.cut == "size":
        return Linted(_sorted_out(lines, copies, ()), "Ruff found more than is read; its last findings are left out.")
    if said.cut or said.code:
        return Linted({}, "Ruff did not answer in time." if said.cut else f"Ruff failed ({said.code}).")
    return Linted(_sorted_out(lines, copies, tuple(copies.values())))


def _sorted_out(
    lines: Sequence[bytes], copies: Mapping[str, str], paths: Sequence[str]
) -> dict[str, tuple[Finding, ...]]:
    found: dict[str, list[Finding]] = {path: [] for path in paths}
    for line in lines:
        diagnostic = _decoder.decode(line)
        path, rule = copies[diagnostic.filename], diagnostic.code or "invalid-syntax"
        message = _LINE_ENDS.sub(" ", diagnostic.message)
        place = diagnostic.location
        found.setdefault(path, []).append(Finding(path, place.row, place.column, rule, severity_of(rule), message))
    return {path: tuple(ours[:MAX_PER_FILE]) for path, ours in found.items()}
