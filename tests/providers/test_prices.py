import pytest

from askonce.domain.money import Price, Rate
from askonce.providers import prices as prices_module
from askonce.providers.prices import FREE, Dated, Model, PriceBook, PriceTable, Rule, VendorPrices

NEW_YEAR_S = 1_798_761_600
CHEAP, DEAR, LATER = (Price(Rate(n), Rate(n)) for n in (1, 2, 3))
OWN = Price(Rate(9), Rate(9))


class At:
    """A clock that stands where it was put."""

    def __init__(self, second: int) -> None:
        self.second = second

    def steady_ns(self) -> int:
        return 0

    def wall_ms(self) -> int:
        return self.second * 1000


def model(name: str, *prices: Dated, **known: int | bool | None) -> Model:
    return Model(name, Rule("equals", name), prices or (Dated(CHEAP),), **known)  # type: ignore[arg-type]


def book(*models: Model, at_s: int = 0, lends: tuple[Model, ...] = (), **more: object) -> PriceBook:
    return PriceBook(PriceTable({"v": VendorPrices(models, lends)}, **more), At(at_s))  # type: ignore[arg-type]


def test_what_nobody_knows_has_no_price() -> None:
    assert book().price("v", "nothing", "") is None
    assert PriceBook(PriceTable(), At(0)).price("v", "m", "m") is None


@pytest.mark.parametrize(
    ("rule", "fits", "misses"),
    [
        (Rule("equals", "gpt-4o"), "gpt-4o", "gpt-4o-mini"),
        (Rule("starts", "gpt"), "gpt-4o", "a-gpt"),
        (Rule("ends", "-mini"), "gpt-4o-mini", "mini-gpt"),
        (Rule("contains", "4o"), "gpt-4o-x", "gpt-4"),
        (Rule("regex", r"^o\d$"), "o3", "o33"),
        (Rule("any", parts=(Rule("equals", "a"), Rule("equals", "b"))), "b", "c"),
        (Rule("all", parts=(Rule("starts", "a"), Rule("ends", "z"))), "abz", "ab"),
    ],
)
def test_each_kind_of_rule(rule: Rule, fits: str, misses: str) -> None:
    assert rule.fits(fits)
    assert not rule.fits(misses)


@pytest.mark.parametrize(
    ("at_s", "expected"),
    [
        (0, DEAR),  # 00:00 lies in the night, which passes midnight
        (3600 * 5, CHEAP),
        (3600 * 22, DEAR),
        (NEW_YEAR_S - 1, DEAR),
        (NEW_YEAR_S + 3600 * 23, LATER),
    ],
)
def test_the_last_price_that_holds_counts(at_s: int, expected: Price) -> None:
    night = (3600 * 22, 3600 * 5)
    found = book(model("m", Dated(CHEAP), Dated(DEAR, 0, night), Dated(LATER, NEW_YEAR_S)), at_s=at_s)
    assert found.price("v", "m", "") == expected


def test_before_any_price_holds_the_first_counts() -> None:
    assert book(model("m", Dated(DEAR, NEW_YEAR_S))).price("v", "m", "") == DEAR


def test_the_vendors_version_is_more_exact_than_the_name() -> None:
    found = book(model("m", Dated(CHEAP)), model("m-2026", Dated(DEAR)))
    assert found.price("v", "m", "m-2026") == DEAR
    assert found.price("v", "m", "m-unheard-of") == CHEAP
    assert found.price("v", "M", "") == CHEAP


def test_a_compact_date_is_understood() -> None:
    assert book(model("m-2025-12-11")).price("v", "m-20251211", "") == CHEAP


def test_models_that_are_lent_count_after_ones_own() -> None:
    found = book(model("a", Dated(CHEAP)), lends=(model("a", Dated(DEAR)), model("b", Dated(DEAR))))
    assert (found.price("v", "a", ""), found.price("v", "b", "")) == (CHEAP, DEAR)


def test_the_owners_price_wins_and_free_is_free() -> None:
    found = book(model("m"), overrides={"v": {"m": OWN}, "home": {"x": OWN}}, free=("home",))
    assert found.price("v", "m", "") == OWN
    assert found.price("home", "anything", "") == FREE
    assert found.price("home", "x", "") == OWN
    assert found.price("elsewhere", "m", "") is None


def test_the_list_shows_what_can_be_asked() -> None:
    found = book(
        model("m", context_window=1000),
        model("old", deprecated=True),
        model("ears", chat=False),
        overrides={"v": {"mine": OWN}},
    )
    assert [(m.name, m.context_window, m.price) for m in found.models("v")] == [("m", 1000, CHEAP), ("mine", None, OWN)]
    assert found.models("elsewhere") == ()
    assert found.context_window("v", "m") == 1000
    assert found.knows("v", "old")
    assert found.knows("v", "mine")
    assert not found.knows("v", "nothing")


def test_remembered_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices_module, "MAX_REMEMBERED", 3)
    found = book(model("m"))
    for at in range(10):
        found.price("v", f"n{at}", "")
    assert len(found._remembered) == 3
    assert found.price("v", "m", "") == CHEAP
