"""Graphs are refused as a whole, with everything that is wrong named."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.errors import Invalid
from askonce.domain.graph import Graph, Node
from askonce.workflows.graph import circle_of, order_of, read_graph

A: dict[str, Any] = {"id": "a", "type": "plan"}
B: dict[str, Any] = {"id": "b", "type": "build", "dependsOn": ["a"]}


def refused(*nodes: Any, **more: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as refusal:
        read_graph({"nodes": list(nodes), **more}, {"x": 1, "deep": {"y": 2}})
    return {detail.field: detail.problem for detail in refusal.value.details}


def test_a_graph_is_read_with_all_that_it_says_and_survives_json() -> None:
    told = {
        **B,
        "model": "m",
        "provider": "p",
        "temperature": 0.5,
        "maxTokens": 9,
        "retries": 0,
        "when": "nodes.a.score < 7",
    }
    graph = read_graph({"nodes": [A, told], "name": "mine"}, {})
    assert graph == Graph(
        (Node("a", "plan"), Node("b", "build", "", ("a",), "m", "p", 0.5, 9, 0, "nodes.a.score < 7")), "mine"
    )
    assert msgspec.json.decode(msgspec.json.encode(graph), type=Graph) == graph
    assert graph.nodes[1].attempts == 1


@pytest.mark.parametrize(
    ("nodes", "field", "says"),
    [
        ([{"type": "plan"}], "graph.nodes[0].id", "is required"),
        ([{**A, "promt": "x"}], "graph.nodes[0].promt", "did you mean prompt?"),
        ([{**A, "type": "think"}], "graph.nodes[0].type", "is wrong"),
        ([{**A, "id": "1a"}], "graph.nodes[0].id", "must begin with a letter"),
        ([A, {**A}], "graph.nodes[1].id", "is that of graph.nodes[0], too: a"),
        ([{**A, "retries": 11}], "graph.nodes[0].retries", "is wrong"),
        ([{**A, "temperature": 2.1}], "graph.nodes[0].temperature", "is wrong"),
        (
            [A, {**B, "dependsOn": ["ab"]}],
            "graph.nodes[1].dependsOn[0]",
            "names 'ab', which is no node (did you mean 'a'?)",
        ),
        ([A, {**B, "dependsOn": ["a", "a"]}], "graph.nodes[1].dependsOn[1]", "names 'a' once more"),
        ([{"id": "q", "type": "quality"}], "graph.nodes[0].dependsOn", "has nothing to look at"),
        ([A, {**B, "prompt": "{{nodes.c.text}}"}], "graph.nodes[1].prompt", "names the node 'c', which is not there"),
        ([A, {**A, "id": "c"}, {**B, "prompt": "{{nodes.c.text}}"}], "graph.nodes[2].prompt", "does not depend on"),
        ([{**A, "prompt": "{{input.z}}"}], "graph.nodes[0].prompt", "names input.z, but input has no 'z'"),
        ([{**A, "prompt": "{{input.deep.z}}"}], "graph.nodes[0].prompt", "names input.deep.z, but input has no 'z'"),
        ([{**A, "prompt": "{{x"}], "graph.nodes[0].prompt", "holds {{ without }} behind it"),
        ([A, {**B, "when": "nodes.a.status == 1"}], "graph.nodes[1].when", "a status is one of"),
        ([A, {**B, "when": "nodes.x.score > 1"}], "graph.nodes[1].when", "names the node 'x', which is not there"),
        ([{**A, "dependsOn": ["b"]}, B], "graph.nodes", "wait for each other in a circle: a → b → a"),
        ([{**A, "dependsOn": ["a"]}], "graph.nodes", "wait for each other in a circle: a → a"),
        ([], "graph.nodes", "must be a list of nodes, one at least"),
        ([{**A, "id": f"n{at}"} for at in range(51)], "graph.nodes", "are 51; there may be 50"),
        (["a"], "graph.nodes[0]", "must be an object"),
    ],
)
def test_what_is_wrong_is_named(nodes: list[Any], field: str, says: str) -> None:
    problems = refused(*nodes)
    assert says in problems[field]


def test_every_problem_is_named_at_once_and_what_is_no_graph_is_none() -> None:
    assert set(refused({"id": "a", "type": "x", "y": 1}, {"type": "plan"}, title="t")) == {
        "graph.title", "graph.nodes[0].type", "graph.nodes[0].y", "graph.nodes[1].id",
    }  # fmt: skip
    others: tuple[Any, ...] = (None, [], "x", 1, {}, {"nodes": {}})
    for told in others:
        with pytest.raises(Invalid):
            read_graph(told, {})


@st.composite
def dags(draw: st.DrawFn) -> list[Node]:
    """Draw nodes that depend only on earlier ones, and shuffle them."""
    count = draw(st.integers(1, 12))
    nodes = []
    for at in range(count):
        needs = draw(st.sets(st.integers(0, at - 1))) if at else set()
        nodes.append(Node(f"n{at}", "build", depends_on=tuple(f"n{need}" for need in sorted(needs))))
    return draw(st.permutations(nodes))


@given(dags())
def test_each_comes_after_all_that_it_depends_on(nodes: list[Node]) -> None:
    order = order_of(Graph(tuple(nodes)))
    assert sorted(order, key=lambda node: node.id) == sorted(nodes, key=lambda node: node.id)
    seen: set[str] = set()
    for node in order:
        assert seen.issuperset(node.depends_on)
        seen.add(node.id)
    assert circle_of(nodes) == []


@given(dags(), st.data())
def test_a_circle_is_found_whatever_else_there_is(nodes: list[Node], data: st.DataObject) -> None:
    first = data.draw(st.sampled_from(nodes))
    path = [first]
    while path[-1].depends_on:
        path.append(next(node for node in nodes if node.id == path[-1].depends_on[0]))
    last = path[-1]
    turned = [Node(node.id, node.type, depends_on=(first.id,)) if node is last else node for node in nodes]
    circle = circle_of(turned)
    assert circle[0] == circle[-1]
    needs = {node.id: node.depends_on for node in turned}
    assert all(after in needs[before] for before, after in pairwise(circle))
