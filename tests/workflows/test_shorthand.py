"""The shorthand: words become the standard graph."""

from typing import Any, get_args

import msgspec
import pytest

from askonce.domain.errors import Invalid
from askonce.domain.graph import Graph
from askonce.workflows.graph import levels_of, read_graph
from askonce.workflows.shorthand import Complexity, read_wanted, refuse_both, standard_graph


def test_what_is_wanted_becomes_a_graph_and_its_input() -> None:
    graph, input = read_wanted({"prompt": "a parser", "language": "go", "requirements": ["fast"], "framework": None})
    assert graph == standard_graph("moderate")
    assert input == {"prompt": "a parser", "language": "go", "requirements": ["fast"], "complexity": "moderate"}
    assert msgspec.json.decode(msgspec.json.encode(input)) == input


@pytest.mark.parametrize(
    ("complexity", "levels"),
    [
        ("simple", ["plan", "build", "quality"]),
        ("moderate", ["plan", "scaffold", "build", "validate", "quality", "review"]),
        ("complex", ["plan", "scaffold", "build tests", "validate", "quality", "review"]),
    ],
)
def test_complexity_says_which_nodes_there_are(complexity: Complexity, levels: list[str]) -> None:
    graph, _ = read_wanted({"prompt": "p", "complexity": complexity})
    assert [" ".join(node.id for node in level) for level in levels_of(graph.nodes)] == levels
    assert graph.name == "standard"


def test_what_is_simple_may_write_less_and_all_else_what_its_type_may() -> None:
    told = {
        node.id: node.max_tokens for kind in get_args(Complexity) for node in standard_graph(kind).nodes[::-1]
    }  # the last word is that of the complex one
    assert set(told.values()) == {None}
    assert {node.id: node.max_tokens for node in standard_graph("simple").nodes}["build"] == 4_096


@pytest.mark.parametrize("complexity", get_args(Complexity))
def test_the_standard_graphs_pass_the_rules_of_all_graphs(complexity: Complexity) -> None:
    graph = standard_graph(complexity)
    fields = {"depends_on": "dependsOn", "max_tokens": "maxTokens"}
    told = [
        {fields.get(name, name): value for name, value in msgspec.to_builtins(node).items()} for node in graph.nodes
    ]
    assert read_graph({"nodes": told, "name": graph.name}, {"prompt": "p"}) == graph
    assert msgspec.json.decode(msgspec.json.encode(graph), type=Graph) == graph


TEXT = "is wrong: expected str, got int"


@pytest.mark.parametrize(
    ("told", "field", "says"),
    [
        ({}, "prompt", "is required"),
        ({"prompt": " \n"}, "prompt", "must not be blank"),
        ({"prompt": 1}, "prompt", TEXT),
        ({"prompt": None}, "prompt", "is wrong: expected str, got null"),
        ({"prompt": "x" * 200_001}, "prompt", "is wrong: expected str of length <= 200000"),
        ({"prompt": "p", "language": 1}, "language", TEXT),
        ({"prompt": "p", "language": "x" * 61}, "language", "is wrong: expected str of length <= 60"),
        ({"prompt": "p", "framework": []}, "framework", "is wrong: expected str, got array"),
        (
            {"prompt": "p", "complexity": "hard"},
            "complexity",
            "must be one of simple, moderate, complex",
        ),
        ({"prompt": "p", "requirement": []}, "requirement", "is not a known field (did you mean requirements?)"),
        ({"prompt": "p", "constraints": "none"}, "constraints", "is wrong: expected array, got str"),
        ({"prompt": "p", "constraints": ["a", 1]}, "constraints", TEXT),
        ({"prompt": "p", "requirements": ["x" * 4001]}, "requirements", "is wrong: expected str of length <= 4000"),
        ({"prompt": "p", "requirements": ["x"] * 51}, "requirements", "is wrong: expected array of length <= 50"),
    ],
)
def test_what_is_wrong_is_named(told: dict[str, Any], field: str, says: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_wanted(told)
    assert [(detail.field, detail.problem) for detail in refusal.value.details] == [(field, says)]


@pytest.mark.parametrize("own", ["graph", "input"])
def test_a_graph_and_the_shorthand_together_are_refused(own: str) -> None:
    refuse_both({"graph": {}, "input": {}})
    refuse_both({"prompt": "p"})
    refuse_both({own: {}, "wait": True})
    with pytest.raises(Invalid) as refusal:
        refuse_both({own: {}, "prompt": "p", "language": "go"})
    assert [(detail.field, detail.problem) for detail in refusal.value.details] == [
        (field, "belongs to the shorthand: send that, or graph and input") for field in ("prompt", "language")
    ]
