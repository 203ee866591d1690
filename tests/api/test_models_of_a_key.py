"""A key is shown the models that it may ask, and no others."""

import asyncio
from collections.abc import Sequence

import pytest

from askonce.api.model_lists import _is_for
from askonce.api.resources import FleetDoors
from askonce.domain.call import Candidate
from askonce.domain.caller import Caller
from askonce.domain.fleet import ModelInfo, Offer
from askonce.domain.identity import KeyCard, Standing
from askonce.routing.offers import offered
from askonce.routing.roster import Group, Member, Roster, Share

MODELS = (ModelInfo("a", "small"), ModelInfo("a", "large"), ModelInfo("b", "large"))
ROSTER = Roster(
    members=(
        Member("a", "A", configured=True, models=("small", "large")),
        Member("b", "B", configured=True, models=("large",)),
    ),
    aliases={"quick": "a:small"},
    groups={"any": Group((Share("a:small"), Share("b:large")))},
)


class TheFleet:
    """Have these models."""

    async def models(self) -> Sequence[ModelInfo]:
        return MODELS


def holder(*models: str, providers: tuple[str, ...] = ()) -> Caller:
    card = KeyCard("k", b"", "ask_k", "k", "acme", models=models, providers=providers)
    return Caller("key:k", "acme", "k", standing=Standing(card))


def seen(caller: Caller) -> set[str]:
    """Return what `/v1/models` lists."""
    return {offer.name for offer in offered(MODELS, ROSTER) if _is_for(caller, offer)}


@pytest.mark.parametrize(
    ("caller", "names"),
    [
        (Caller("addr:1", "anonymous"), {"small", "large", "b:large", "quick", "any"}),
        (holder(), {"small", "large", "b:large", "quick", "any"}),
        (holder("small"), {"small", "quick", "any"}),
        (holder("b:*"), {"b:large", "any"}),
        (holder(providers=("b",)), {"b:large", "any"}),
        (holder("none"), set()),
    ],
)
def test_a_name_is_listed_for_whoever_may_ask_one_of_those_that_it_stands_for(caller: Caller, names: set[str]) -> None:
    assert seen(caller) == names


@pytest.mark.parametrize(
    ("caller", "count"), [(Caller("addr:1", "anonymous"), 3), (holder("large"), 2), (holder("none"), 0)]
)
def test_the_native_list_leaves_out_the_same(caller: Caller, count: int) -> None:
    doors = FleetDoors(TheFleet(), None)  # type: ignore[arg-type]  # no more of a fleet is asked for
    assert len(asyncio.run(doors.models(caller)).models) == count


def test_an_alias_and_a_group_say_for_whom_they_stand() -> None:
    by_name = {offer.name: offer for offer in offered(MODELS, ROSTER)}
    assert by_name["quick"].leads_to == (Candidate("a", "small"),)
    assert by_name["any"].leads_to == (Candidate("a", "small"), Candidate("b", "large"))
    assert by_name["small"] == Offer("small", "a", "small")
