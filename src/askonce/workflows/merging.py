"""Files of several nodes become one set: by path, later nodes in the graph's order replacing earlier ones.

Nothing is ever taken away: a node that wants a file gone cannot say so. Paths are those that `wire.fences` let in.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence

from msgspec import Struct

from askonce.domain.executions import NodeRun
from askonce.domain.graph import Graph
from askonce.wire.fences import File
from askonce.workflows.files_of import files_of
from askonce.workflows.graph import order_of

# Pairs of equal lines up to which changes are aligned: its time grows with their number, and doors tell of it.
MAX_PAIRS = 20_000
MAX_LINES = 2_000  # likewise


class Change(Struct, frozen=True, rename="camel"):
    """Say what one node did to a file: how many lines it added and took away. The first one made it."""

    node: str
    added: int
    removed: int


def merged(graph: Graph, runs: Mapping[str, NodeRun]) -> tuple[File, ...]:
    """Return the files that nodes left, each as the last of them wrote it, in the order of their first appearance."""
    found: dict[str, File] = {}
    for node in order_of(graph):
        if node.id in runs:
            found |= {file.path: file for file in files_of(runs[node.id])}
    return tuple(found.values())


def history(graph: Graph, runs: Mapping[str, NodeRun]) -> dict[str, tuple[Change, ...]]:
    """Return who wrote each file, in order; a node that wrote it as it was is among them, with nothing changed."""
    before: dict[str, str] = {}
    found: dict[str, tuple[Change, ...]] = {}
    for node in order_of(graph):
        for file in files_of(runs[node.id]) if node.id in runs else ():
            added, removed = changed_lines(before.get(file.path, ""), file.content)
            found[file.path] = (*found.get(file.path, ()), Change(node.id, added, removed))
            before[file.path] = file.content
    return found


def changed_lines(before: str, after: str) -> tuple[int, int]:
    """Count the lines that were added and taken away, as a unified diff does.

    Where aligning what differs would take long, lines that only moved count as unchanged.
    """
    old, new = _differing(_lines(before), _lines(after))
    counted, recounted = Counter(old), Counter(new)
    pairs = sum(number * recounted[line] for line, number in counted.items())
    if pairs > MAX_PAIRS or max(len(old), len(new)) > MAX_LINES:
        kept = (counted & recounted).total()
    else:
        blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
        kept = sum(block.size for block in blocks)
    return len(new) - kept, len(old) - kept


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _differing(old: list[str], new: list[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Leave out what is alike at both ends."""
    shorter = min(len(old), len(new))
    first = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    room = shorter - first
    last = next((at for at in range(room) if old[-1 - at] != new[-1 - at]), room)
    return old[first : len(old) - last], new[first : len(new) - last]
