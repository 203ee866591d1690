"""Which names are offered: those that lead to the model that they stand beside."""

import pytest

from askonce.domain.call import Candidate
from askonce.domain.errors import UnknownModel
from askonce.domain.fleet import ModelInfo, Offer
from askonce.routing.offers import offer_named, offered
from askonce.routing.resolve import by_name
from askonce.routing.roster import Group, Member, Roster, Share

ROSTER = Roster(
    (
        Member("groq", "Groq", False, "", "oss", ("oss",)),
        Member("one", "One", True, "", "big", ("big", "oss", "quick", "two:small"), unfit=("vec",)),
        Member("two", "Two", True, "", "oss", ("oss", "llama3.2:1b", "small")),
    ),
    {"quick": "two:oss", "vectors": "one:vec", "dead": "groq:oss"},
    groups={"pair": Group((Share("one:big"), Share("two:oss")))},
    embedders=(Member("one", "One", True, "", "", ("vec",)), Member("two", "Two", True, "", "", ("vec",))),
)
MODELS = (
    *(ModelInfo("one", name, context_window=10) for name in ("big", "oss", "quick", "two:small")),
    *(ModelInfo("two", name) for name in ("oss", "llama3.2:1b")),
    *(ModelInfo(provider, "vec", kind="embedding") for provider in ("one", "two")),
)


def test_a_name_is_plain_where_it_means_the_model_and_else_has_its_provider() -> None:
    offers = offered(MODELS, ROSTER)
    assert [offer.name for offer in offers] == [
        *("big", "oss", "one:quick", "one:two:small", "two:oss", "llama3.2:1b", "vec", "two:vec"),
        *("quick", "vectors", "pair"),
    ]
    assert [offer.kind for offer in offers[-3:]] == ["chat", "embedding", "chat"]
    for offer in offers:
        found = by_name(offer.name, ROSTER.of(offer.kind)).candidates[0]
        assert offer.owner == "askonce" or found == Candidate(offer.owner, offer.model)


def test_a_model_is_found_by_its_providers_name_too_and_by_its_date() -> None:
    offers = offered(MODELS, ROSTER)
    assert offer_named("one:big", offers) == Offer("one:big", "one", "big", "chat", 10)
    assert offer_named("big-2026-01-31", offers).owner == "one"
    with pytest.raises(UnknownModel, match="The nearest is 'big'"):
        offer_named("bigg", offers)
