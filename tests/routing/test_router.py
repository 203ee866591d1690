import asyncio
from collections.abc import Collection
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from askonce.domain.call import Aside, Ask, CacheWish, Call, Candidate, Message, Params, RoutingWish
from askonce.domain.errors import ContextExceeded, Invalid, MaxCostExceeded, ProviderUnavailable, UnknownModel
from askonce.domain.money import Price, Rate
from askonce.routing import router as router_module
from askonce.routing.estimate import estimate_nano
from askonce.routing.health import Health
from askonce.routing.roster import Member, Roster
from askonce.routing.route import Considered, Route
from askonce.routing.router import Router

PRICE = Price(Rate(3_000_000_000), Rate(15_000_000_000), cache_read=Rate(1))  # $3 and $15 per million
ROSTER = Roster((Member("v", "V", True, "", "m", ("m",), open_ended=True),))


class OnePrice:
    names_awaited = False

    async def loaded(self) -> None:
        return

    def price(self, provider: str, model: str, version: str) -> Price | None:
        return PRICE if model == "m" else None

    def context_window(self, provider: str, model: str, features: Collection[str] = ()) -> int | None:
        return 1000 if model == "small" else None

    def abilities(self, provider: str, model: str) -> frozenset[str]:
        return frozenset()

    def room(self, provider: str) -> int | None:
        return None


class NoTime:
    def steady_ns(self) -> int:
        return 0

    def wall_ms(self) -> int:
        return 0


def make(roster: Roster = ROSTER) -> Router:
    return Router(roster, OnePrice(), Health(NoTime()))


def wishing(**wish: Any) -> Ask:
    return replace(ask(None), routing=RoutingWish(**wish))


def among(*models: str) -> Route:
    candidates = tuple(Candidate("v", model) for model in models)
    return Route("single-model", candidates, tuple(map(Considered, candidates)))


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
    router = make()
    here = router.route(ask(None))
    exact = estimate_nano(ask(None).call, PRICE)
    assert asyncio.run(router.afford(ask(None), here)) is here
    assert asyncio.run(router.afford(ask(exact), here)) is here
    with pytest.raises(MaxCostExceeded, match=r"v:m may cost up to about \$0\.00\d+, over maxCost"):
        asyncio.run(router.afford(ask(exact - 1), here))


def test_a_limit_on_an_unknown_price_is_refused() -> None:
    router = make()
    asyncio.run(router.afford(ask(None), among("other")))
    with pytest.raises(MaxCostExceeded, match="not known"):
        asyncio.run(router.afford(ask(10**12), among("other")))


def test_who_cannot_keep_the_limit_is_left_out_while_another_can() -> None:
    narrowed = asyncio.run(make().afford(ask(10**12), among("other", "m")))
    assert narrowed.candidates == among("other", "m").candidates  # a stored answer of either will do
    assert narrowed.askable == (Candidate("v", "m"),)
    assert "not known" in narrowed.considered[0].skipped


def test_a_prompt_that_no_window_holds_is_refused_before_it_is_paid() -> None:
    router, long = make(), "word " * 2000
    with pytest.raises(ContextExceeded, match=r"at least 12\d\d tokens, and v:small reads 1000"):
        asyncio.run(router.afford(ask(None, long), among("small")))
    assert asyncio.run(router.afford(ask(None, long), among("small", "m"))).askable == (Candidate("v", "m"),)
    # A run of spaces is few tokens; and what is perhaps too long, but not certainly, is asked.
    assert asyncio.run(router.afford(ask(None, " " * 100_000), among("small"))).askable
    assert asyncio.run(router.afford(ask(None, "x" * 7_000), among("small"))).askable


def test_a_replaced_roster_counts_at_once() -> None:
    router = make()
    assert router.route(wishing()).candidates == (Candidate("v", "m"),)
    with pytest.raises(UnknownModel):
        router.route(wishing(model="new"))
    router.replace(Roster((Member("v", "V", True, "", "new", ("new",)),)))
    assert router.route(wishing()).candidates == (Candidate("v", "new"),)
    assert router.route(wishing(model="new")).candidates == (Candidate("v", "new"),)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_module, "MAX_REMEMBERED", 3)
    router = make()
    for at in range(10):
        assert router.route(wishing(model=f"v:m{at}")).candidates == (Candidate("v", f"m{at}"),)
        assert len(router._remembered) <= 3


def test_without_failover_there_is_one_candidate() -> None:
    roster = Roster((Member("v", "V", True, "", "m", ("m",)), Member("w", "W", True, "", "n", ("n",))))
    assert len(make(roster).route(wishing()).candidates) == 2
    alone = make(roster).route(wishing(allow_failover=False))
    assert alone.candidates == (Candidate("v", "m"),)
    assert [one.skipped for one in alone.considered] == ["", "failover is not allowed"]


def test_a_capability_that_is_not_known_is_refused_in_every_mode() -> None:
    for mode in ("single-model", "manual", "heuristic", "cost-aware", "orchestrated"):
        with pytest.raises(Invalid, match=r"'visoin' .did you mean vision") as caught:
            make().route(wishing(mode=mode, active_provider="v", capabilities=("visoin", "Code_Generation")))
        assert [detail.field for detail in caught.value.details] == ["capabilities"]


def test_a_name_is_not_called_unknown_while_names_are_still_to_come() -> None:
    class Early(OnePrice):
        names_awaited = True

    router = Router(ROSTER, Early(), Health(NoTime()))
    with pytest.raises(ProviderUnavailable) as refused:
        router.route(wishing(model="of-the-table"))
    assert refused.value.retry_after_s == 2
    assert router.route(wishing(model="v:anything")).candidates == (Candidate("v", "anything"),)


def test_the_callers_experiments_are_asked_for_when_the_window_is_checked() -> None:
    class Lifted(OnePrice):
        def context_window(self, provider: str, model: str, features: Collection[str] = ()) -> int | None:
            return 10**6 if "long" in features else 1000

    router, question = Router(ROSTER, Lifted(), Health(NoTime())), ask(None, "word " * 2000)
    with pytest.raises(ContextExceeded):
        asyncio.run(router.afford(question, among("small")))
    lifted = replace(question, call=replace(question.call, features=("long",)))
    assert asyncio.run(router.afford(lifted, among("small"))).askable


def test_what_is_to_be_written_to_the_vendors_cache_is_estimated_as_written() -> None:
    price = replace(PRICE, cache_write=Rate(3_750_000_000), cache_write_1h=Rate(6_000_000_000))
    plain = ask(None, "x" * 30_000, 1).call

    def marked(mark: bytes) -> int:
        aside = Aside(("messages", 0, "content", 0, "cache_control"), Raw(mark))
        return estimate_nano(replace(plain, asides=(aside,)), price) - 15_000

    base = estimate_nano(plain, price) - 15_000
    assert marked(b'{"type":"ephemeral"}') == base * 5 // 4
    assert marked(b'{"type":"ephemeral","ttl":"1h"}') == base * 2
    assert marked(b"null") == marked(b'"odd"') == base
