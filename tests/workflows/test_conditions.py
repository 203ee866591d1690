"""Conditions are parsed, typed, and met by how nodes ended."""

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.errors import Invalid
from askonce.domain.executions import NodeRun
from askonce.domain.graph import NodeStatus
from askonce.workflows.conditions import FORM, STATUSES, Condition, Operator, read_condition

RUNS = {"a": NodeRun("e", "a", "failed"), "b": NodeRun("e", "b", "succeeded", score=70)}


@pytest.mark.parametrize(
    ("when", "met"),
    [
        ('nodes.a.status == "failed"', True),
        ("nodes.a.status == 'failed'", True),
        ("nodes.a.status==failed", True),
        ("  nodes.a.status  ==  failed  ", True),
        ("nodes.a.status != succeeded", True),
        ("nodes.b.status == failed", False),
        ("nodes.b.score < 70", False),
        ("nodes.b.score < 70.5", True),
        ("nodes.b.score > 69", True),
        ("nodes.b.score > -1", True),
        ("nodes.b.score == 70", True),
        ("nodes.b.score == 70.0", True),
        ("nodes.b.score != 70", False),
        ("nodes.a.score < 100", False),  # it has none
        ("nodes.a.score != 1", False),
        ("nodes.a.score == -1", False),
        ("nodes.c.status != failed", False),  # it is not there
        ("nodes.c.score > 0", False),
    ],
)
def test_a_condition_is_met_by_how_nodes_ended(when: str, met: bool) -> None:
    assert read_condition(when).is_met(RUNS) is met


@pytest.mark.parametrize(
    "when",
    [
        "", "true", "nodes.a.score", "nodes.a.text == 'x'", "a.status == failed", "nodes.a.score <= 1", "x" * 300,
        "nodes.ä.score > 1", "nodes.a.score > 1\nnodes.b.score > 1",
        "nodes.a.score > " + "1" * 200, "not nodes.a.score > 1", "nodes.a.score >", "nodes..score > 1",
        "nodes.a.status === failed",
    ],
)  # fmt: skip
def test_what_has_not_their_form_is_no_condition(when: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_condition(when)
    assert refusal.value.message == f"is no condition: {FORM}"


NO_STATUS = "a status is one of waiting, running, succeeded, failed, skipped, cancelled"


@pytest.mark.parametrize(
    ("when", "says"),
    [
        ("nodes.a.status == broken", f"compares a status with broken: {NO_STATUS}"),
        ("nodes.a.status == 1", f"compares a status with 1: {NO_STATUS}"),
        ("nodes.a.status == Failed", f"compares a status with Failed: {NO_STATUS}"),
        ("nodes.a.status == 'failed\"", f"compares a status with 'failed\": {NO_STATUS}"),
        ("nodes.a.status == failed or 1 == 1", f"compares a status with failed or 1 == 1: {NO_STATUS}"),
        ("nodes.a.status == " + "x" * 99, f"compares a status with {'x' * 40}: {NO_STATUS}"),
        ("nodes.a.status < failed", "compares a status by size: use == or !="),
        ("nodes.a.status > 'failed'", "compares a status by size: use == or !="),
        *(
            (f"nodes.a.score == {literal}", "compares a score with what is no number")
            for literal in ("failed", "nan", "inf", "1e3", "0x1", "'1'", "1 or 1", ".5", "1.", "--1", "1_0", "٣")
        ),
    ],
)
def test_what_cannot_be_compared_is_told(when: str, says: str) -> None:
    with pytest.raises(Invalid) as refusal:
        read_condition(when)
    assert refusal.value.message == says
    assert [(detail.field, detail.problem) for detail in refusal.value.details] == [("when", says)]


@given(st.text(max_size=60) | st.from_regex(r"nodes\.a\.(status|score)\s?(==|<|>|!=)\s?.{0,12}", fullmatch=True))
def test_any_text_is_a_condition_or_refused(when: str) -> None:
    try:
        condition = read_condition(when)
    except Invalid:
        return
    assert isinstance(condition, Condition)
    condition.is_met(RUNS)


@given(
    st.sampled_from(get_args(Operator)),
    st.integers(-1, 100),
    st.integers(-(10**9) + 1, 10**9 - 1) | st.decimals(-999, 999, places=3).map(float),
)
def test_scores_are_compared_as_numbers(operator: Operator, score: int, literal: float) -> None:
    condition = read_condition(f"nodes.q.score {operator} {literal}")
    meaning = {"==": score == literal, "!=": score != literal, "<": score < literal, ">": score > literal}
    assert condition.is_met({"q": NodeRun("e", "q", "succeeded", score=score)}) is (score >= 0 and meaning[operator])
    assert msgspec.json.decode(msgspec.json.encode(condition), type=Condition) == condition


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("asked", STATUSES)
def test_statuses_are_compared_as_words(status: NodeStatus, asked: NodeStatus) -> None:
    runs = {"n": NodeRun("e", "n", status)}
    assert read_condition(f"nodes.n.status == {asked}").is_met(runs) is (status == asked)
    assert read_condition(f"nodes.n.status != {asked}").is_met(runs) is (status != asked)
