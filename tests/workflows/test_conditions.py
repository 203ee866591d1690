"""Conditions are parsed, typed, and met by how nodes ended."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.errors import Invalid
from askonce.domain.executions import NodeRun
from askonce.workflows.conditions import Condition, read_condition

RUNS = {"a": NodeRun("e", "a", "failed"), "b": NodeRun("e", "b", "succeeded", score=70)}


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ('nodes.a.status == "failed"', True),
        ("nodes.a.status == 'failed'", True),
        ("nodes.a.status==failed", True),
        ("nodes.a.status != succeeded", True),
        ("nodes.b.status == failed", False),
        ("nodes.b.score < 70", False),
        ("nodes.b.score < 70.5", True),
        ("nodes.b.score > 69", True),
        ("nodes.b.score == 70", True),
        ("nodes.b.score != 70", False),
        ("nodes.a.score < 100", False),  # it has none
        ("nodes.a.score != 1", False),
        ("nodes.c.status != failed", False),  # it is not there
    ],
)
def test_a_condition_is_met_by_how_nodes_ended(when: str, met: bool) -> None:
    assert read_condition(when).is_met(RUNS) is met


@pytest.mark.parametrize(
    "when",
    [
        "", "true", "nodes.a.score", "nodes.a.text == 'x'", "nodes.a.status < failed", "nodes.a.status == broken",
        "nodes.a.score == failed", "nodes.a.score == nan", "nodes.a.score == 1e3", "a.status == failed",
        "nodes.a.status == failed or 1 == 1", "nodes.a.status == 'failed\"", "nodes.a.score <= 1", "x" * 300,
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused(when: str) -> None:
    with pytest.raises(Invalid):
        read_condition(when)


@given(st.text(max_size=60) | st.from_regex(r"nodes\.a\.(status|score)\s?(==|<|>|!=)\s?.{0,12}", fullmatch=True))
def test_any_text_is_a_condition_or_refused(when: str) -> None:
    try:
        condition = read_condition(when)
    except Invalid:
        return
    assert isinstance(condition, Condition)
    condition.is_met(RUNS)
