import asyncio

import pytest

from askonce.domain.call import Ask, CacheWish, Call, Candidate, Message, Params, RoutingWish
from askonce.domain.errors import MaxCostExceeded, UnknownModel
from askonce.domain.money import Price, Rate
from askonce.routing import router as router_module
from askonce.routing.estimate import estimate_nano
from askonce.routing.roster import Member, Roster
from askonce.routing.router import Router

PRICE = Price(Rate(3_000_000_000), Rate(15_000_000_000), cache_read=Rate(1))  # $3 and $15 per million
ROSTER = Roster((Member("v", "V", True, "", "m", ("m",), open_ended=True),))


class OnePrice:
    async def loaded(self) -> None:
        return

    def price(self, provider: str, model: str, version: str) -> Price | None:
        return PRICE if model == "m" else None


def ask(limit: int | None, text: str = "x" * 300, max_tokens: int | None = 100) -> Ask:
    call = Call("t", (Message("user", text),), Params(max_tokens=max_tokens))
    return Ask(call, RoutingWish(max_cost_nano=limit), CacheWish())


@pytest.mark.parametrize(
    ("text", "max_tokens", "nano"),
    [
        ("", 0, 8 * 3_000),
        ("abc", 1, 9 * 3_000 + 15_000),
        ("abcd", 1, 10 * 3_000 + 15_000),
        ("é", 0, 9 * 3_000),
        ("", None, 8 * 3_000 + 4_096 * 15_000),
        ("\ud800", 0, 9 * 3_000),
    ],
)
def test_the_estimate_follows_its_formula(text: str, max_tokens: int | None, nano: int) -> None:
    assert estimate_nano(ask(None, text, max_tokens).call, PRICE) == nano


def test_what_may_cost_more_than_allowed_is_refused_before_it_is_paid() -> None:
    router = Router(ROSTER, OnePrice())
    here = router.candidates(RoutingWish())
    exact = estimate_nano(ask(None).call, PRICE)
    asyncio.run(router.afford(ask(None), here))
    asyncio.run(router.afford(ask(exact), here))
    with pytest.raises(MaxCostExceeded, match=r"v:m may cost up to about \$0\.00\d+, over maxCost"):
        asyncio.run(router.afford(ask(exact - 1), here))


def test_a_limit_on_an_unknown_price_is_refused() -> None:
    router = Router(ROSTER, OnePrice())
    elsewhere = (Candidate("v", "other"),)
    asyncio.run(router.afford(ask(None), elsewhere))
    with pytest.raises(MaxCostExceeded, match="not known"):
        asyncio.run(router.afford(ask(10**12), elsewhere))


def test_a_replaced_roster_counts_at_once() -> None:
    router = Router(ROSTER, OnePrice())
    assert router.candidates(RoutingWish()) == (Candidate("v", "m"),)
    with pytest.raises(UnknownModel):
        router.candidates(RoutingWish(model="new"))
    router.replace(Roster((Member("v", "V", True, "", "new", ("new",)),)))
    assert router.candidates(RoutingWish()) == (Candidate("v", "new"),)
    assert router.candidates(RoutingWish(model="new")) == (Candidate("v", "new"),)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MAX_REMEMBERED", 3)
    router = Router(ROSTER, OnePrice())
    for at in range(10):
        assert router.candidates(RoutingWish(model=f"v:m{at}")) == (Candidate("v", f"m{at}"),)
        assert len(router._remembered) <= 3
