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
# Of all files together, lines and pairs: less than half a second. Beyond it, lines that only moved count as unchanged.
MAX_PAIRS_IN_ALL = 400_000


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
    left = MAX_PAIRS_IN_ALL
    found: dict[str, tuple[Change, ...]] = {}
    for node in order_of(graph):
        for file in files_of(runs[node.id]) if node.id in runs else ():
            added, removed, pairs = _compared(before.get(file.path, ""), file.content, min(left, MAX_PAIRS))
            left -= pairs
            found[file.path] = (*found.get(file.path, ()), Change(node.id, added, removed))
            before[file.path] = file.content
    return found


def changed_lines(before: str, after: str) -> tuple[int, int]:
    """Count the lines that were added and taken away, as a unified diff does.

    Where aligning what differs would take long, lines that only moved count as unchanged.
    """
    return _compared(before, after, MAX_PAIRS)[:2]


def _compared(before: str, after: str, most_pairs: int) -> tuple[int, int, int]:
    """Return how many lines were added and taken away, and what aligning them took, in lines and pairs."""
    old, new = _differing(_lines(before), _lines(after))
    counted, recounted = Counter(old), Counter(new)
    pairs = sum(number * recounted[line] for line, number in counted.items())
    if not pairs or pairs > most_pairs or max(len(old), len(new)) > MAX_LINES:
        kept, pairs = (counted & recounted).total(), 0
    else:
        blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
        kept = sum(block.size for block in blocks)
        pairs += len(old) + len(new)
    return len(new) - kept, len(old) - kept, pairs


def _lines(text: str) -> list[str]:
    return text.removesuffix("\n").split("\n") if text else []


def _differing(old: list[str], new: list[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Leave out what is alike at both ends."""
    shorter = min(len(old), len(new))
    first = next((at for at in range(shorter) if old[at] != new[at]), shorter)
    room = shorter - first
    last = next((at for at in range(room) if old[-1 - at] != new[-1 - at]), room)
    return old[first : len(old) - last], new[first : len(new) - last]
