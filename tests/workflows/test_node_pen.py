"""What a node's answers cost, added up while it runs."""

from typing import Any

import pytest
from tests.workflows.workflow_world import COST_NANO, answer_of, entry_of

from askonce.domain.executions import NodeRun, Turn
from askonce.workflows.asking import Answered
from askonce.workflows.node import Pace, Pen


def answered(cache: str) -> Answered:
    spared = cache in ("hit", "coalesced")
    cost, saved = (0, COST_NANO) if spared else (COST_NANO, 0)
    nobody: Any = None
    told_again = cache == "resumed"
    state: Any = "miss" if told_again else cache
    return Answered(entry_of("words", 0), answer_of("words"), state, cost, saved, nobody, (), nobody, told_again)


@pytest.mark.parametrize(
    ("came", "says"),
    [
        (("hit",), "hit"),
        (("hit", "coalesced"), "coalesced"),
        (("resumed", "hit"), "resumed"),
        (("miss", "coalesced", "resumed"), "miss"),
        (("off", "hit"), "off"),
    ],
)
def test_of_several_answers_the_dearest_says_how_they_came(came, says):
    nobody: Any = None
    pen = Pen(nobody, Turn("e1", 1, 1), NodeRun("e1", "a"), Pace(1, 0))
    for cache in came:
        pen.answered(answered(cache))
    paid = sum(cache not in ("hit", "coalesced") for cache in came)
    run = pen.run
    assert (run.cache, run.cost_nano, run.saved_nano) == (says, paid * COST_NANO, (len(came) - paid) * COST_NANO)
    assert (run.prompt_tokens, run.completion_tokens) == (10 * len(came), 5 * len(came))


@pytest.mark.parametrize(("total", "ended", "percent"), [(3, 0, 0), (3, 1, 33), (3, 2, 66), (3, 3, 100), (0, 0, 0)])
def test_progress_is_rounded_down(total, ended, percent):
    assert Pace(total, ended).percent() == percent
