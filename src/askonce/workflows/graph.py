"""Graphs of nodes: read strictly, and refused as a whole with everything that is wrong named, before anything is paid.

What a node's prompt and condition name must be among what it depends on, directly or not: only that has ended when it
begins.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from askonce.domain.errors import Detail, Invalid
from askonce.domain.graph import MAX_NODES, Graph, Node, NodeType
from askonce.wire.strict import PROBLEMS_MAX, invalid, problems_of
from askonce.workflows.conditions import read_condition
from askonce.workflows.templates import Part, read_template, slots_of, value_at

MAX_PROMPT_CHARS = 200_000
MAX_NAME_CHARS = 100
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
# What says nothing of its own must have something to say it of.
_NEEDS_OTHERS = ("quality", "review", "validate")

_Retries = Annotated[int, Meta(ge=0, le=10)]
_Temperature = Annotated[float, Meta(ge=0, le=2)]
_Tokens = Annotated[int, Meta(ge=1, le=10_000_000)]
_Name = Annotated[str, Meta(max_length=200)]


class NodeBody(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hold one node of a request's graph."""

    id: str
    type: NodeType
    prompt: Annotated[str, Meta(max_length=MAX_PROMPT_CHARS)] = ""
    depends_on: tuple[str, ...] = ()
    model: _Name | None = None
    provider: _Name | None = None
    temperature: _Temperature | None = None
    max_tokens: _Tokens | None = None
    retries: _Retries | None = None
    when: str | None = None


class GraphBody(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hold a request's graph."""

    nodes: tuple[NodeBody, ...]
    name: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] = "custom"


def read_graph(told: Any, input: Mapping[str, Any]) -> Graph:
    """Make a graph of decoded JSON. Raises `Invalid`, which names every problem."""
    nodes = _nodes(told)
    problems = [*_id_problems(nodes), *_need_problems(nodes)]
    if problems:
        raise invalid(problems[:PROBLEMS_MAX])
    if circle := circle_of(nodes):
        raise invalid([Detail("graph.nodes", f"wait for each other in a circle: {' → '.join(circle)}")])
    problems = _text_problems(nodes, input)
    if problems:
        raise invalid(problems[:PROBLEMS_MAX])
    return Graph(tuple(map(_node, nodes)), told.get("name") or "custom")


def order_of(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes so that each comes after all that it depends on; else as they were written."""
    return _ordered(graph.nodes)


def circle_of(nodes: Sequence[Node | NodeBody]) -> list[str]:
    """Return the ids of a circle, its first one repeated at the end; none where there is no circle."""
    left = {node.id: set(node.depends_on) for node in nodes}
    while free := [id for id, needs in left.items() if not needs]:
        for id in free:
            del left[id]
        for needs in left.values():
            needs.difference_update(free)
    if not left:
        return []
    walked: list[str] = []
    id = next(iter(left))
    while id not in walked:
        walked.append(id)
        id = min(need for need in left[id] if need in left)
    return [*walked[walked.index(id) :], id]


def _ordered(nodes: Sequence[Node]) -> tuple[Node, ...]:
    left, done, found = list(nodes), set[str](), list[Node]()
    while left:
        ready = next(node for node in left if done.issuperset(node.depends_on))
        left.remove(ready)
        done.add(ready.id)
        found.append(ready)
    return tuple(found)


def _nodes(told: Any) -> list[NodeBody]:
    if not isinstance(told, dict):
        raise invalid([Detail("graph", "must be an object with nodes")])
    problems = [_at("graph.", problem) for problem in problems_of(GraphBody, told) if problem.field != "nodes"]
    nodes = told.get("nodes")
    if not isinstance(nodes, list) or not nodes:
        raise invalid([*problems, Detail("graph.nodes", "must be a list of nodes, one at least")])
    if len(nodes) > MAX_NODES:
        raise invalid([*problems, Detail("graph.nodes", f"are {len(nodes):,}; there may be {MAX_NODES}")])
    for number, node in enumerate(nodes):
        place = f"graph.nodes[{number}]."
        if not isinstance(node, dict):
            problems.append(Detail(place[:-1], "must be an object"))
        else:
            problems += [_at(place, problem) for problem in problems_of(NodeBody, node)]
    if problems:
        raise invalid(problems[:PROBLEMS_MAX])
    return [msgspec.convert(node, NodeBody) for node in nodes]


def _at(place: str, problem: Detail) -> Detail:
    return Detail(f"{place}{problem.field}", problem.problem)


def _id_problems(nodes: Sequence[NodeBody]) -> Iterable[Detail]:
    seen: dict[str, int] = {}
    for number, node in enumerate(nodes):
        place = f"graph.nodes[{number}].id"
        if _ID.fullmatch(node.id) is None:
            yield Detail(place, "must begin with a letter and hold letters, digits, - and _ only, 64 at most")
        if node.id in seen:
            yield Detail(place, f"is that of graph.nodes[{seen[node.id]}], too: {node.id[:64]}")
        seen.setdefault(node.id, number)


def _need_problems(nodes: Sequence[NodeBody]) -> Iterable[Detail]:
    ids = {node.id for node in nodes}
    for number, node in enumerate(nodes):
        place = f"graph.nodes[{number}].dependsOn"
        for at, need in enumerate(node.depends_on):
            if need not in ids:
                yield Detail(f"{place}[{at}]", f"names {need[:64]!r}, which is no node{_near(need, ids - {node.id})}")
            elif need in node.depends_on[:at]:
                yield Detail(f"{place}[{at}]", f"names {need!r} once more")
        if node.type in _NEEDS_OTHERS and not node.depends_on:
            yield Detail(place, f"is empty: a node of type {node.type} has nothing to look at")


def _text_problems(nodes: Sequence[NodeBody], input: Mapping[str, Any]) -> list[Detail]:
    needs = _all_needs(nodes)
    found: list[Detail] = []
    for number, node in enumerate(nodes):
        place = f"graph.nodes[{number}]."
        try:
            slots = slots_of(read_template(node.prompt))
        except Invalid as error:
            found.append(Detail(f"{place}prompt", error.message))
            slots = []
        for slot in slots:
            if slot.node:
                found += _unknown(f"{place}prompt", slot.node, needs[node.id], nodes)
            else:
                found += _missing(f"{place}prompt", slot.path, input)
        if node.when is not None:
            try:
                asked = read_condition(node.when).node
            except Invalid as error:
                found.append(Detail(f"{place}when", error.message))
            else:
                found += _unknown(f"{place}when", asked, needs[node.id], nodes)
    return found


def _all_needs(nodes: Sequence[NodeBody]) -> dict[str, frozenset[str]]:
    """Return what each node depends on, directly or not. There is no circle."""
    direct = {node.id: node.depends_on for node in nodes}
    found: dict[str, frozenset[str]] = {}
    left = list(direct)
    while left:
        for id in [id for id in left if all(need in found for need in direct[id])]:
            found[id] = frozenset(direct[id]).union(*(found[need] for need in direct[id]))
            left.remove(id)
    return found


def _unknown(place: str, id: str, needed: frozenset[str], nodes: Sequence[NodeBody]) -> Iterable[Detail]:
    ids = {node.id for node in nodes}
    if id not in ids:
        yield Detail(place, f"names the node {id[:64]!r}, which is not there{_near(id, ids)}")
    elif id not in needed:
        yield Detail(place, f"names the node {id!r}, which this one does not depend on: add it to dependsOn")


def _missing(place: str, path: Sequence[str], input: Mapping[str, Any]) -> Iterable[Detail]:
    try:
        value_at(dict(input), path)
    except KeyError as missing:
        name = str(missing.args[0])
        yield Detail(place, f"names input.{'.'.join(path)}, but input has no {name!r}{_near(name, input)}")


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name[:64], list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _node(body: NodeBody) -> Node:
    return Node(
        body.id,
        body.type,
        body.prompt,
        body.depends_on,
        body.model or "",
        body.provider or "",
        body.temperature,
        body.max_tokens,
        body.retries,
        body.when or "",
    )


def template_of(node: Node) -> tuple[Part, ...]:
    """Take a node's prompt apart; it was found right."""
    return read_template(node.prompt)
