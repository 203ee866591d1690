import pytest

from askonce.domain.errors import Invalid
from askonce.routing.capabilities import ABILITIES, PURPOSES, purpose_of, understood


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        (("tools", "vision"), ("tools", "vision")),
        (("Function_Calling", "tools", " TOOL USE "), ("tools",)),
        (("code-generation", "codegen"), ("code",)),
        ((), ()),
    ],
)
def test_words_have_one_spelling(sent: tuple[str, ...], meant: tuple[str, ...]) -> None:
    assert understood(sent) == meant


def test_every_unknown_word_is_named_with_the_nearest() -> None:
    with pytest.raises(Invalid) as caught:
        understood(("tols", "tools", "x" * 500, "qqq"))
    problems = [detail.problem for detail in caught.value.details]
    assert len(problems) == 3
    assert problems[0] == "does not know 'tols' (did you mean tools?)"
    assert "known are streaming" in problems[2]
    assert len(caught.value.message) < 2000


def test_the_first_word_for_a_kind_of_work_is_the_purpose() -> None:
    assert purpose_of(("tools", "review", "plan")) == "review"
    assert purpose_of(("tools",)) == ""


def test_a_word_is_an_ability_or_a_purpose() -> None:
    assert not set(ABILITIES) & set(PURPOSES)
    assert {"plan", "scaffold", "build", "validate", "quality", "review"} <= set(PURPOSES)  # the workflows' nodes
