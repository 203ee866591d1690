"""The shorthand: words become the standard graph."""

from typing import Any, get_args

import pytest

from askonce.domain.errors import Invalid
from askonce.workflows.graph import order_of, read_graph
from askonce.workflows.shorthand import Complexity, read_wanted, refuse_both, standard_graph


def test_what_is_wanted_becomes_a_graph_and_its_input() -> None:
    graph, input = read_wanted({"prompt": "a parser", "language": "go", "requirements": ["fast"], "framework": None})
    assert [node.id for node in graph.nodes] == ["plan", "scaffold", "build", "validate", "quality", "review"]
    assert input == {"prompt": "a parser", "language": "go", "requirements": ("fast",), "complexity": "moderate"}


@pytest.mark.parametrize("complexity", get_args(Complexity))
def test_the_standard_graphs_pass_the_rules_of_all_graphs(complexity: Complexity) -> None:
    graph = standard_graph(complexity)
    told: list[dict[str, Any]] = [
        {"id": node.id, "type": node.type, "prompt": node.prompt, "dependsOn": list(node.depends_on)}
        for node in graph.nodes
    ]
    assert read_graph({"nodes": told, "name": graph.name}, {"prompt": "p"}) == graph
    assert len(order_of(graph)) == len(graph.nodes)


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({}, "prompt"),
        ({"prompt": " "}, "prompt"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": "p", "complexity": "hard"}, "complexity"),
        ({"prompt": "p", "requirement": []}, "requirement"),
        ({"prompt": "p", "constraints": "none"}, "constraints"),
    ],
)
def test_what_is_wrong_is_named(told: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_wanted(told)
    assert [detail.field for detail in refusal.value.details] == [field]


def test_a_graph_and_the_shorthand_together_are_refused() -> None:
    refuse_both({"graph": {}, "input": {}})
    refuse_both({"prompt": "p"})
    with pytest.raises(Invalid, match="prompt belongs to the shorthand"):
        refuse_both({"graph": {}, "prompt": "p"})
