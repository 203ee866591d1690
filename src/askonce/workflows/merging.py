"""Files of several nodes become one set: by path, later nodes in the graph's order replacing earlier ones."""

import difflib
from collections.abc import Mapping, Sequence

from msgspec import Struct

from askonce.domain.executions import NodeRun
from askonce.domain.graph import Graph
from askonce.wire.fences import File
from askonce.workflows.files_of import files_of
from askonce.workflows.graph import order_of


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
    """Return who wrote each file, in order."""
    before: dict[str, str] = {}
    found: dict[str, tuple[Change, ...]] = {}
    for node in order_of(graph):
        for file in files_of(runs[node.id]) if node.id in runs else ():
            added, removed = changed_lines(before.get(file.path, ""), file.content)
            found[file.path] = (*found.get(file.path, ()), Change(node.id, added, removed))
            before[file.path] = file.content
    return found


def changed_lines(before: str, after: str) -> tuple[int, int]:
    """Count the lines that were added and taken away."""
    matcher = difflib.SequenceMatcher(None, before.splitlines(), after.splitlines(), autojunk=False)
    added = removed = 0
    for kind, first, last, start, end in matcher.get_opcodes():
        if kind != "equal":
            removed += last - first
            added += end - start
    return added, removed


def paths_of(files: Sequence[File]) -> tuple[str, ...]:
    """Return the paths, in order."""
    return tuple(file.path for file in files)
