"""Graphs of nodes: read strictly, and refused as a whole with everything that is wrong named, before anything is paid.

What a node's prompt and condition name must be among what it depends on, directly or not: only that has ended when it
begins.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta, Struct

from askonce.domain.errors import Detail, Invalid
from askonce.domain.graph import MAX_NODES, Graph, Node, NodeType
from askonce.routing.resolve import nearest
from askonce.wire.strict import PROBLEMS_MAX, invalid, problems_of
from askonce.workflows.conditions import read_condition
from askonce.workflows.templates import read_template, slots_of

MAX_PROMPT_CHARS = 200_000
# Of all prompts together: what is kept per execution, and read again whenever it is looked at.
MAX_GRAPH_CHARS = 1_000_000
MAX_NAME_CHARS = 100
# What says nothing of its own must have something to say it of.
NEED_OTHERS: Final[frozenset[NodeType]] = frozenset({"quality", "review", "validate"})

TYPES: Final[tuple[NodeType, ...]] = get_args(NodeType)
_ID = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
_Retries = Annotated[int, Meta(ge=0, le=10)]
_Temperature = Annotated[float, Meta(ge=0, le=2)]
_Tokens = Annotated[int, Meta(ge=1, le=10_000_000)]
_Name = Annotated[str, Meta(max_length=200)]


class NodeBody(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hold one node of a request's graph. `null` means absent."""

    id: Annotated[str, Meta(pattern=_ID)]
    type: NodeType
    prompt: Annotated[str, Meta(max_length=MAX_PROMPT_CHARS)] | None = None
    depends_on: Annotated[tuple[str, ...], Meta(max_length=MAX_NODES)] | None = None
    model: _Name | None = None
    provider: _Name | None = None
    temperature: _Temperature | None = None
    max_tokens: _Tokens | None = None
    retries: _Retries | None = None
    when: str | None = None


class GraphBody(Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hold a request's graph. `null` means absent."""

    nodes: Annotated[tuple[NodeBody, ...], Meta(min_length=1, max_length=MAX_NODES)]
    name: Annotated[str, Meta(max_length=MAX_NAME_CHARS)] | None = None


def read_graph(told: Any, input: Mapping[str, Any]) -> Graph:
    """Make a graph of decoded JSON. Raises `Invalid`, which names every problem."""
    nodes = _nodes(told)
    _refuse(chain(_id_problems(nodes), _need_problems(nodes)))
    if circle := circle_of(nodes):
        _refuse([Detail("graph.nodes", f"wait for each other in a circle: {' → '.join(circle)}")])
    size = sum(len(node.prompt) for node in nodes)
    if size > MAX_GRAPH_CHARS:
        _refuse([Detail("graph.nodes", f"hold {size:,} characters of prompts; there may be {MAX_GRAPH_CHARS:,}")])
    _refuse(_word_problems(nodes, input))
    return Graph(nodes, told.get("name") or "custom")


def order_of(graph: Graph) -> tuple[Node, ...]:
    """Return the nodes so that each comes after all that it depends on; else as they were written."""
    left, done, found = list(graph.nodes), set[str](), list[Node]()
    while left:
        ready = next(node for node in left if done.issuperset(node.depends_on))
        left.remove(ready)
        done.add(ready.id)
        found.append(ready)
    return tuple(found)


def levels_of(nodes: Sequence[Node]) -> tuple[tuple[Node, ...], ...]:
    """Return which nodes can run side by side: each level needs only those before it. A circle's are in none."""
    left, done, found = list(nodes), set[str](), list[tuple[Node, ...]]()
    while level := tuple(node for node in left if done.issuperset(node.depends_on)):
        left = [node for node in left if node not in level]
        done.update(node.id for node in level)
        found.append(level)
    return tuple(found)


def needs_of(nodes: Sequence[Node]) -> dict[str, frozenset[str]]:
    """Return what each node depends on, directly or not. A circle's nodes are left out."""
    found: dict[str, frozenset[str]] = {}
    for level in levels_of(nodes):
        for node in level:
            found[node.id] = frozenset(node.depends_on).union(*(found[need] for need in node.depends_on))
    return found


def circle_of(nodes: Sequence[Node]) -> tuple[str, ...]:
    """Return the ids of a circle, its first one repeated at the end; none where there is no circle."""
    free = needs_of(nodes)
    left = {node.id: node.depends_on for node in nodes if node.id not in free}
    if not left:
        return ()
    walked: list[str] = []
    id = next(iter(left))
    while id not in walked:
        walked.append(id)
        id = next(need for need in left[id] if need in left)
    return (*walked[walked.index(id) :], id)


# --- what is wrong, the first few ---


def _refuse(problems: Iterable[Detail]) -> None:
    """Raise `Invalid` where there are problems. No more are looked for than are named: each may cost a search."""
    if named := tuple(islice(problems, PROBLEMS_MAX)):
        raise invalid(named)


def _nodes(told: Any) -> tuple[Node, ...]:
    """Read the nodes, each for itself."""
    if not isinstance(told, dict):
        raise invalid([Detail("graph", "must be an object with nodes")])
    listed = told.get("nodes")
    others = [problem for problem in problems_of(GraphBody, {**told, "nodes": []}) if problem.field != "nodes"]
    problems = [_at("graph.", problem) for problem in others]
    if not isinstance(listed, list) or not listed:
        raise invalid([*problems, Detail("graph.nodes", "must be a list of nodes, one at least")])
    if len(listed) > MAX_NODES:
        raise invalid([*problems, Detail("graph.nodes", f"are {len(listed):,}; there may be {MAX_NODES}")])
    each = (_node_problems(f"graph.nodes[{number}]", node) for number, node in enumerate(listed))
    _refuse(chain(problems, chain.from_iterable(each)))
    return tuple(_node(msgspec.convert(node, NodeBody)) for node in listed)


def _node_problems(place: str, told: Any) -> Iterator[Detail]:
    if not isinstance(told, dict):
        yield Detail(place, "must be an object")
        return
    judged: dict[str, Any] = {}  # what is right stands in for what was named here, with more than its kind to say
    if isinstance(id := told.get("id"), str) and re.fullmatch(_ID, id) is None:
        yield Detail(f"{place}.id", "must begin with a letter and hold letters, digits, - and _ only, 64 at most")
        judged["id"] = "a"
    if isinstance(type := told.get("type"), str) and type not in TYPES:
        yield Detail(f"{place}.type", f"is no type of node{_near(type, TYPES)}: there are {', '.join(TYPES)}")
        judged["type"] = TYPES[0]
    needs = told.get("dependsOn")
    for at, need in enumerate(needs[:MAX_NODES] if isinstance(needs, list) else ()):
        if not isinstance(need, str):
            yield Detail(f"{place}.dependsOn[{at}]", "must be the id of a node")
            judged["dependsOn"] = None
    for problem in problems_of(NodeBody, told | judged):
        yield _at(f"{place}.", problem)


def _at(place: str, problem: Detail) -> Detail:
    return Detail(f"{place}{problem.field}", problem.problem)


def _node(body: NodeBody) -> Node:
    return Node(
        body.id,
        body.type,
        body.prompt or "",
        body.depends_on or (),
        body.model or "",
        body.provider or "",
        body.temperature,
        body.max_tokens,
        body.retries,
        body.when or "",
    )


def _id_problems(nodes: Sequence[Node]) -> Iterator[Detail]:
    seen: dict[str, int] = {}
    for number, node in enumerate(nodes):
        if node.id in seen:
            yield Detail(f"graph.nodes[{number}].id", f"is that of graph.nodes[{seen[node.id]}], too: {node.id}")
        seen.setdefault(node.id, number)


def _need_problems(nodes: Sequence[Node]) -> Iterator[Detail]:
    ids = {node.id: None for node in nodes}  # in the order as written, so that the same one is suggested every time
    for number, node in enumerate(nodes):
        place = f"graph.nodes[{number}].dependsOn"
        for at, need in enumerate(node.depends_on):
            if need not in ids:
                hint = _near(need, [id for id in ids if id != node.id])
                yield Detail(f"{place}[{at}]", f"names {need[:64]!r}, which is no node{hint}")
            elif need in node.depends_on[:at]:
                yield Detail(f"{place}[{at}]", f"names {need!r} once more")
        if node.type in NEED_OTHERS and not node.depends_on:
            yield Detail(place, f"is empty: a node of type {node.type} has nothing to look at")


def _word_problems(nodes: Sequence[Node], input: Mapping[str, Any]) -> Iterator[Detail]:
    """Look at what prompts and conditions name."""
    needs = needs_of(nodes)
    for number, node in enumerate(nodes):
        place = f"graph.nodes[{number}]"
        try:
            slots = dict.fromkeys(slots_of(read_template(node.prompt)))
        except Invalid as error:
            yield Detail(f"{place}.prompt", error.message)
            slots = {}
        for slot in slots:
            if slot.node:
                yield from _unknown(f"{place}.prompt", slot.node, node, needs)
            else:
                yield from _missing(f"{place}.prompt", slot.path, input)
        try:
            asked = read_condition(node.when).node if node.when else ""
        except Invalid as error:
            yield Detail(f"{place}.when", error.message)
            asked = ""
        if asked:
            yield from _unknown(f"{place}.when", asked, node, needs)


def _unknown(place: str, id: str, node: Node, needs: Mapping[str, frozenset[str]]) -> Iterator[Detail]:
    if id not in needs:
        hint = _near(id, [other for other in needs if other != node.id])
        yield Detail(place, f"names the node {id[:64]!r}, which is not there{hint}")
    elif id == node.id:
        yield Detail(place, f"names the node {id!r}, which is this one: it has not ended when it begins")
    elif id not in needs[node.id]:
        yield Detail(place, f"names the node {id!r}, which this one does not depend on: add it to dependsOn")


def _missing(place: str, path: Sequence[str], input: Mapping[str, Any]) -> Iterator[Detail]:
    known: Any = input
    for name in path:
        if not isinstance(known, dict):
            yield Detail(place, f"names input.{_shown(path)}, but what stands before .{name[:64]} is no object")
            return
        if name not in known:
            hint = _near(name, known)
            yield Detail(place, f"names input.{_shown(path)}, but there is no {name[:64]!r}{hint}")
            return
        known = known[name]


def _shown(path: Sequence[str]) -> str:
    return ".".join(path)[:100]


def _near(name: str, known: Iterable[str]) -> str:
    close = nearest(name, known)
    return f" (did you mean {close!r}?)" if close else ""
