"""Whose budgets a call must fit into."""

from askonce.domain.budget import Account, accounts_of
from askonce.domain.identity import Bounds, Budget, Holder, KeyCard, Standing

DAY = (Budget("tokens", "day", 5),)


def a_card(bounds: Bounds) -> KeyCard:
    return KeyCard("k1", b"d" * 32, "ask_", "ci", "team", "u1", bounds=bounds)


def test_a_call_presents_its_key_its_user_and_its_tenant() -> None:
    standing = Standing(
        a_card(Bounds(DAY, 2)), Holder("user:u1", Bounds(concurrency=1)), Holder("tenant:team", Bounds(DAY))
    )
    assert accounts_of(standing) == (
        Account("key:k1", DAY, 2, "team"),
        Account("user:u1", (), 1, "team"),
        Account("tenant:team", DAY, 0, "team"),
    )


def test_who_has_no_bounds_has_no_account() -> None:
    assert accounts_of(Standing(a_card(Bounds()), None, Holder("tenant:team"))) == ()
