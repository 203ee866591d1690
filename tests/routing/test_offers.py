"""Which names are offered: those that lead to the model that they stand beside."""

import pytest
from msgspec.structs import replace

from askonce.domain.call import Candidate, Kind
from askonce.domain.errors import AskonceError, Invalid, UnknownModel
from askonce.domain.fleet import ModelInfo, Offer
from askonce.routing import resolve
from askonce.routing.offers import offer_named, offered
from askonce.routing.resolve import by_name
from askonce.routing.roster import Group, Member, Roster, Share

KINDS: tuple[Kind, ...] = ("chat", "embedding")
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


def finds(name: str, roster: Roster) -> bool | None:
    try:
        return bool(by_name(name, roster).candidates)
    except Invalid:
        return None
    except AskonceError:
        return False


def test_who_leads_is_told_as_by_name_does_but_without_looking_for_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {"a": "two:", "b": "groq:x", "c": "one:vec", "d": "nosuch", "e": "vec", "f": "big-2026-01-31", "g": "oss"}
    groups = {
        "half": Group((Share("nosuch"), Share("big"))),
        "none": Group((Share("groq:oss"),)),
        "bad": Group((Share("big"), Share("vec"))),
    }
    rosters = [
        replace(ROSTER, aliases={**ROSTER.aliases, **odd}, groups=ROSTER.groups | groups).of(kind) for kind in KINDS
    ]
    names = [*rosters[0].aliases, *rosters[0].groups, "big", "nobody:x", "two:new"]
    expected = [[finds(name, roster) for name in names] for roster in rosters]
    monkeypatch.setattr(resolve, "nearest", None)

    def told(name: str, roster: Roster) -> bool | None:
        try:
            return resolve.leads(name, roster)
        except Invalid:
            return None

    assert [[told(name, roster) for name in names] for roster in rosters] == expected
    assert {None, True, False} == {word for row in expected for word in row}
