"""What really changed: unified diffs, bounded in time and size.

A new file has no diff, since all of it is new. Comparing takes up to quadratic time, so that long stretches are not
compared line by line: beyond the bounds the old lines count as removed and the new ones as added, and the change says
that it is `cut`.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from askonce.domain.executions import NodeRun
from askonce.workflows.files_of import files_of

# Lines on either side, without what is the same at both ends: comparing so many takes a few hundredths of a second.
MAX_LINES = 2000
# All that is compared in one review.
MAX_LINES_IN_ALL = 10_000
# Diffs are kept in rows and travel in documents of executions.
MAX_DIFF_CHARS = 20_000
MAX_CHARS_IN_ALL = 200_000
CONTEXT_LINES = 3

_HUNK = re.compile(r"@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@")


class Change(Struct, frozen=True, omit_defaults=True):
    """Say what became of one file, in lines; `before` is how many it had. `node` wrote it.

    `cut`: the diff is not whole, or the lines were not compared one by one.
    """

    path: str
    kind: Literal["added", "changed", "removed"]
    added: int
    removed: int
    before: int = 0
    diff: str = ""
    cut: bool = False
    node: str = ""


class _Room:
    """Count down what is left of the bounds over all files."""

    def __init__(self) -> None:
        self.lines = MAX_LINES_IN_ALL
        self.chars = MAX_CHARS_IN_ALL


def changes_of(runs: Mapping[str, NodeRun]) -> tuple[Change, ...]:
    """Return what each node changed of what the nodes before it left; `runs` in the graph's order."""
    room, before, found = _Room(), dict[str, str](), list[Change]()
    for id, run in runs.items():
        wrote = {file.path: file.content for file in files_of(run)}
        was = {path: before[path] for path in wrote if path in before}
        found += _changes(was, wrote, room, id)
        before |= wrote
    return tuple(found)


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """Compare two sets of files, content by path; in the order of paths. What is the same is left out."""
    return tuple(_changes(before, after, _Room(), ""))


def _changes(before: Mapping[str, str], after: Mapping[str, str], room: _Room, node: str) -> list[Change]:
    paths = sorted(before.keys() | after.keys())
    return [
        _change(path, before.get(path), after.get(path), room, node) for path in paths if _differ(path, before, after)
    ]


def _differ(path: str, before: Mapping[str, str], after: Mapping[str, str]) -> bool:
    return before.get(path) != after.get(path)


def _change(path: str, before: str | None, after: str | None, room: _Room, node: str) -> Change:
    if before is None:
        return Change(path, "added", len((after or "").splitlines()), 0, node=node)
    if after is None:
        length = len(before.splitlines())
        return Change(path, "removed", 0, length, length, node=node)
    old, new = before.splitlines(), after.splitlines()
    start, old_end, new_end = _differing(old, new)
    most = max(old_end, new_end) - start
    if most > min(MAX_LINES, room.lines):
        return Change(path, "changed", new_end - start, old_end - start, len(old), cut=True, node=node)
    room.lines -= most
    above = max(0, start - CONTEXT_LINES)
    part = old[above : old_end + CONTEXT_LINES], new[above : new_end + CONTEXT_LINES]
    compared = difflib.unified_diff(*part, f"a/{path}", f"b/{path}", lineterm="", n=CONTEXT_LINES)
    lines = [_moved(line, above) for line in compared]
    added = sum(line.startswith("+") for line in lines[2:])
    removed = sum(line.startswith("-") for line in lines[2:])
    diff, cut = _bounded("\n".join(lines), min(MAX_DIFF_CHARS, room.chars))
    room.chars -= len(diff)
    return Change(path, "changed", added, removed, len(old), diff, cut, node)


def _differing(old: list[str], new: list[str]) -> tuple[int, int, int]:
    """Return where two texts begin to differ, and behind which lines they do so no more."""
    start, old_end, new_end = 0, len(old), len(new)
    while start < min(old_end, new_end) and old[start] == new[start]:
        start += 1
    while min(old_end, new_end) > start and old[old_end - 1] == new[new_end - 1]:
        old_end, new_end = old_end - 1, new_end - 1
    return start, old_end, new_end


def _moved(line: str, by: int) -> str:
    """Count a hunk's lines from the file's beginning. Lines of the files have a sign before them."""
    hunk = _HUNK.fullmatch(line)
    return f"@@ -{int(hunk[1]) + by}{hunk[2] or ''} +{int(hunk[3]) + by}{hunk[4] or ''} @@" if hunk else line


def _bounded(text: str, most: int) -> tuple[str, bool]:
    if len(text) <= most:
        return text, False
    return text[:most].rpartition("\n")[0], True
