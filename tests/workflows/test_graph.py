"""Graphs are refused as a whole, with everything that is wrong named."""

from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.errors import Invalid
from askonce.domain.graph import Graph, Node
from askonce.workflows.graph import circle_of, levels_of, needs_of, order_of, read_graph

A: dict[str, Any] = {"id": "a", "type": "plan"}
B: dict[str, Any] = {"id": "b", "type": "build", "dependsOn": ["a"]}
C: dict[str, Any] = {"id": "c", "type": "build"}
INPUT = {"x": 1, "deep": {"y": 2}}
ID_RULE = "must begin with a letter and hold letters, digits, - and _ only, 64 at most"
STATUSES = "waiting, running, succeeded, failed, skipped, cancelled"
FORMS = "{{input.NAME}}, {{nodes.ID.text}} and {{nodes.ID.files}}"
CONDITION = 'is no condition: write it as nodes.ID.status == "failed" or nodes.ID.score < 70'


def refused(told: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as refusal:
        read_graph(told, INPUT)
    return {detail.field: detail.problem for detail in refusal.value.details}


def test_a_graph_is_read_with_all_that_it_says_and_survives_json() -> None:
    told = {
        **B,
        "prompt": "Do {{input.x}} as {{nodes.a.text}} says.",
        "model": "m",
        "provider": "p",
        "temperature": 0.5,
        "maxTokens": 9,
        "retries": 0,
        "when": "nodes.a.score < 7",
    }
    graph = read_graph({"nodes": [A, told], "name": "mine"}, INPUT)
    said = "Do {{input.x}} as {{nodes.a.text}} says."
    full = Node("b", "build", said, ("a",), "m", "p", 0.5, 9, 0, "nodes.a.score < 7")
    assert graph == Graph((Node("a", "plan"), full), "mine")
    assert msgspec.json.decode(msgspec.json.encode(graph), type=Graph) == graph
    assert graph.nodes[1].attempts == 1


def test_null_means_absent() -> None:
    fields = ("prompt", "dependsOn", "model", "provider", "temperature", "maxTokens", "retries", "when")
    told = {"nodes": [{**A, **dict.fromkeys(fields)}], "name": None}
    assert read_graph(told, {}) == Graph((Node("a", "plan"),), "custom")


@pytest.mark.parametrize(
    ("node", "field", "says"),
    [
        ({"type": "plan"}, ".id", "is required"),
        ({"id": "a"}, ".type", "is required"),
        ({**A, "promt": "x"}, ".promt", "is not a known field (did you mean prompt?)"),
        ({**A, "depends_on": []}, ".depends_on", "is not a known field (did you mean dependsOn?)"),
        ({**A, "zzz": 1}, ".zzz", "is not a known field"),
        (
            {**A, "type": "biuld"},
            ".type",
            "is no type of node (did you mean 'build'?): there are plan, scaffold, build, validate, quality, review",
        ),
        ({**A, "type": None}, ".type", "is wrong: expected str, got null"),
        ({**A, "id": "1a"}, ".id", ID_RULE),
        ({**A, "id": ""}, ".id", ID_RULE),
        ({**A, "id": "a\n"}, ".id", ID_RULE),
        ({**A, "id": "ä"}, ".id", ID_RULE),
        ({**A, "id": "a" * 65}, ".id", ID_RULE),
        ({**A, "id": 1}, ".id", "is wrong: expected str, got int"),
        ({**A, "prompt": 1}, ".prompt", "is wrong: expected str, got int"),
        ({**A, "prompt": "x" * 200_001}, ".prompt", "is wrong: expected str of length <= 200000"),
        ({**A, "dependsOn": "a"}, ".dependsOn", "is wrong: expected array, got str"),
        ({**A, "dependsOn": ["a", 1]}, ".dependsOn[1]", "must be the id of a node"),
        ({**A, "dependsOn": ["a"] * 51}, ".dependsOn", "is wrong: expected array of length <= 50"),
        ({**A, "retries": 11}, ".retries", "is wrong: expected int <= 10"),
        ({**A, "retries": -1}, ".retries", "is wrong: expected int >= 0"),
        ({**A, "temperature": 2.1}, ".temperature", "is wrong: expected float <= 2.0"),
        ({**A, "maxTokens": 0}, ".maxTokens", "is wrong: expected int >= 1"),
        ({**A, "model": "m" * 201}, ".model", "is wrong: expected str of length <= 200"),
        ({**A, "provider": []}, ".provider", "is wrong: expected str, got array"),
        ({**A, "when": 1}, ".when", "is wrong: expected str, got int"),
        ("a", "", "must be an object"),
    ],
)
def test_what_is_wrong_with_a_field_is_named(node: Any, field: str, says: str) -> None:
    assert refused({"nodes": [node]}) == {f"graph.nodes[0]{field}": says}


@pytest.mark.parametrize(
    ("nodes", "field", "says"),
    [
        ([A, {**C, "id": "a"}], "graph.nodes[1].id", "is that of graph.nodes[0], too: a"),
        (
            [A, {**B, "dependsOn": ["ab"]}],
            "graph.nodes[1].dependsOn[0]",
            "names 'ab', which is no node (did you mean 'a'?)",
        ),
        ([A, {**B, "dependsOn": ["zz"]}], "graph.nodes[1].dependsOn[0]", "names 'zz', which is no node"),
        ([A, {**B, "dependsOn": ["a", "a"]}], "graph.nodes[1].dependsOn[1]", "names 'a' once more"),
        *(
            (
                [{"id": "q", "type": type}],
                "graph.nodes[0].dependsOn",
                f"is empty: a node of type {type} has nothing to look at",
            )
            for type in ("quality", "review", "validate")
        ),
        ([{**A, "dependsOn": ["a"]}], "graph.nodes", "wait for each other in a circle: a → a"),
        ([{**A, "dependsOn": ["b"]}, B], "graph.nodes", "wait for each other in a circle: a → b → a"),
        (
            [{**C, "dependsOn": ["b"]}, {**A, "dependsOn": ["b"]}, B],
            "graph.nodes",
            "wait for each other in a circle: b → a → b",
        ),
        (
            [{**A, "id": f"n{at}", "prompt": "x" * 200_000} for at in range(6)],
            "graph.nodes",
            "hold 1,200,000 characters of prompts; there may be 1,000,000",
        ),
        ([], "graph.nodes", "must be a list of nodes, one at least"),
        ([{**A, "id": f"n{at}"} for at in range(51)], "graph.nodes", "are 51; there may be 50"),
    ],
)
def test_what_is_wrong_between_nodes_is_named(nodes: list[Any], field: str, says: str) -> None:
    assert refused({"nodes": nodes}) == {field: says}


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ("{{nodes.c1.text}}", "names the node 'c1', which is not there (did you mean 'c'?)"),
        ("{{nodes.zz.text}}", "names the node 'zz', which is not there"),
        ("{{nodes.c.files}}", "names the node 'c', which this one does not depend on: add it to dependsOn"),
        ("{{nodes.b.text}}", "names the node 'b', which is this one: it has not ended when it begins"),
        ("{{input.z}}", "names input.z, but there is no 'z'"),
        ("{{input.depp.y}}", "names input.depp.y, but there is no 'depp' (did you mean 'deep'?)"),
        ("{{input.deep.z}}", "names input.deep.z, but there is no 'z'"),
        ("{{input.x.y}}", "names input.x.y, but what stands before .y is no object"),
        ("{{x", "holds {{ without }} behind it (write {{{{ for two braces)"),
        ("x}}", "holds }} without {{ before it (write }}}} for two braces)"),
        ("{{x}}", f"holds {{{{x}}}}, which is nothing that can be put in: there are {FORMS}"),
        (
            "{{nodes.a.txt}}",
            "holds {{nodes.a.txt}}, which is nothing that can be put in "
            f"(did you mean {{{{nodes.a.text}}}}?): there are {FORMS}",
        ),
    ],
)
def test_what_a_prompt_cannot_name_is_told(prompt: str, says: str) -> None:
    assert refused({"nodes": [A, {**B, "prompt": prompt}, C]}) == {"graph.nodes[1].prompt": says}


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("nodes.x.score > 1", "names the node 'x', which is not there"),
        ("nodes.cc.score > 1", "names the node 'cc', which is not there (did you mean 'c'?)"),
        ("nodes.c.score > 1", "names the node 'c', which this one does not depend on: add it to dependsOn"),
        ("nodes.b.score > 1", "names the node 'b', which is this one: it has not ended when it begins"),
        ("nodes.a.status == 1", f"compares a status with 1: a status is one of {STATUSES}"),
        ("nodes.a.status < failed", "compares a status by size: use == or !="),
        ("nodes.a.score == failed", "compares a score with what is no number"),
        ("true", CONDITION),
    ],
)
def test_what_a_condition_cannot_ask_is_told(when: str, says: str) -> None:
    assert refused({"nodes": [A, {**B, "when": when}, C]}) == {"graph.nodes[1].when": says}


def test_what_is_needed_over_others_may_be_named() -> None:
    last = {**C, "dependsOn": ["b"], "prompt": "{{nodes.a.text}}", "when": "nodes.a.status == succeeded"}
    assert len(read_graph({"nodes": [last, B, A]}, {}).nodes) == 3


def test_every_problem_is_named_at_once() -> None:
    told = {"nodes": [{"id": "a", "type": "plan", "y": 1}, {"type": "plan"}], "title": "t", "name": 1}
    assert list(refused(told)) == ["graph.title", "graph.name", "graph.nodes[0].y", "graph.nodes[1].id"]
    words = [{**A, "prompt": "{{input.a}} {{input.b}}", "when": "x"}, {**B, "when": "y"}]
    with pytest.raises(Invalid) as refusal:
        read_graph({"nodes": words}, {})
    places = ["prompt", "prompt", "when"]
    assert [detail.field.rpartition(".")[2] for detail in refusal.value.details] == [*places, "when"]


@pytest.mark.parametrize("told", [None, [], "x", 1, {}, {"nodes": None}, {"nodes": {}}, {"nodes": "ab"}])
def test_what_is_no_graph_is_none(told: Any) -> None:
    assert list(refused(told)) in (["graph"], ["graph.nodes"])


def test_a_flood_of_problems_names_the_first_twenty() -> None:
    needs = [f"x{at}" for at in range(50)]
    nodes = [{**B, "id": f"n{at}", "dependsOn": needs} for at in range(50)]
    assert len(refused({"nodes": nodes})) == 20
    slots = " ".join(f"{{{{nodes.x{at}.text}}}}" for at in range(5_000))
    assert len(refused({"nodes": [{**A, "prompt": slots}]})) == 1  # one field, named twenty times


@st.composite
def dags(draw: st.DrawFn) -> list[Node]:
    """Draw nodes that depend only on earlier ones, and shuffle them."""
    count = draw(st.integers(1, 12))
    nodes = []
    for at in range(count):
        needs = draw(st.sets(st.integers(0, at - 1))) if at else set()
        nodes.append(Node(f"n{at}", "build", depends_on=tuple(f"n{need}" for need in sorted(needs))))
    return draw(st.permutations(nodes))


def told_of(nodes: list[Node]) -> dict[str, Any]:
    return {"nodes": [{"id": node.id, "type": node.type, "dependsOn": list(node.depends_on)} for node in nodes]}


@given(dags())
def test_each_comes_after_all_that_it_depends_on(nodes: list[Node]) -> None:
    graph = read_graph(told_of(nodes), {})
    assert graph == Graph(tuple(nodes))
    order = order_of(graph)
    assert sorted(order, key=lambda node: node.id) == sorted(nodes, key=lambda node: node.id)
    seen: set[str] = set()
    for node in order:
        assert seen.issuperset(node.depends_on)
        seen.add(node.id)
    assert order_of(Graph(order)) == order
    assert circle_of(nodes) == ()


@given(dags())
def test_a_level_needs_only_those_before_it_and_of_them_the_last(nodes: list[Node]) -> None:
    levels = [{node.id for node in level} for level in levels_of(nodes)]
    assert sum(map(len, levels)) == len(nodes)
    seen: set[str] = set()
    for number, level in enumerate(levels_of(nodes)):
        for node in level:
            assert seen.issuperset(node.depends_on)
            assert not number or levels[number - 1].intersection(node.depends_on)
        seen |= levels[number]


@given(dags())
def test_needs_are_those_of_needs_too(nodes: list[Node]) -> None:
    needs = needs_of(nodes)
    assert needs.keys() == {node.id for node in nodes}
    for node in nodes:
        reached, left = set[str](), list(node.depends_on)
        while left:
            id = left.pop()
            reached.add(id)
            left += next(other.depends_on for other in nodes if other.id == id)
        assert needs[node.id] == reached


@given(dags(), st.data())
def test_an_edge_back_is_always_refused_and_its_circle_is_one(nodes: list[Node], data: st.DataObject) -> None:
    last = data.draw(st.sampled_from(nodes))
    first = data.draw(st.sampled_from(sorted({last.id, *needs_of(nodes)[last.id]})))
    back = {node.id: node.depends_on for node in nodes}
    back[first] = (*back[first], last.id)
    turned = [Node(node.id, node.type, depends_on=back[node.id]) for node in nodes]
    circle = circle_of(turned)
    assert circle[0] == circle[-1]
    assert len(set(circle)) == len(circle) - 1
    assert all(after in back[before] for before, after in pairwise(circle))
    assert refused(told_of(turned)) == {"graph.nodes": f"wait for each other in a circle: {' → '.join(circle)}"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(["id", "type", "prompt", "dependsOn", "model", "temperature", "maxTokens", "when", "x"])
VALUES = JSON | st.sampled_from(["a", "b", "plan", "quality", ["a"], ["b"], "{{input.x}}", "nodes.a.score > 1", "{{"])


@given(st.lists(st.dictionaries(FIELDS, VALUES, max_size=6) | JSON, max_size=4) | JSON, JSON)
def test_anything_is_a_graph_or_refused(nodes: Any, name: Any) -> None:
    try:
        graph = read_graph({"nodes": nodes, "name": name}, INPUT)
    except Invalid:
        return
    assert len(order_of(graph)) == len(nodes)
