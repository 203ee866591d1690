"""Deny by default: what is not held is refused by name, what is another tenant's is not there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.errors import Forbidden, NotFound, Unauthorized
from askonce.domain.identity import Holder, KeyCard, Scope, Standing
from askonce.gate.scopes import (
    ALLOWS,
    GIVES,
    holds,
    permits,
    permitted,
    require,
    require_address,
    require_grantable,
    require_standing,
    visible_tenant,
)

SCOPES: tuple[Scope, ...] = ("use", "report", "admin", "root")
NOW = 1_000_000


def a_card(
    models: tuple[str, ...] = (), providers: tuple[str, ...] = (), expires_ms: int = 0, revoked_ms: int = 0
) -> KeyCard:
    return KeyCard(
        "id", b"d", "ask_id", "name", "team", models=models, providers=providers, expires_ms=expires_ms,
        revoked_ms=revoked_ms,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("held", "allowed"),
    [
        ((), set()),
        (("use",), {"use"}),
        (("report",), {"report"}),
        (("admin",), {"admin", "report"}),
        (("use", "admin"), {"use", "admin", "report"}),
        (("root",), {"use", "report", "admin", "root"}),
    ],
)
def test_scopes_allow_what_the_table_says_and_nothing_else(held: tuple[Scope, ...], allowed: set[Scope]) -> None:
    for scope in SCOPES:
        assert holds(held, scope) == (scope in allowed)
        if scope in allowed:
            require(held, scope)
        else:
            with pytest.raises(Forbidden, match=f"'{scope}'"):
                require(held, scope)


@given(st.lists(st.sampled_from(SCOPES)), st.lists(st.sampled_from(SCOPES)))
def test_nobody_gives_what_leads_above_themselves(held: list[Scope], wanted: list[Scope]) -> None:
    try:
        require_grantable(held, wanted)
    except Forbidden:
        return
    given_scopes = {scope for own in wanted for scope in GIVES[own]}
    assert given_scopes <= {scope for own in held for scope in GIVES[own]}
    assert "root" not in wanted or "root" in held


def test_allowing_is_transitive() -> None:
    for own in SCOPES:
        assert all(ALLOWS[other] <= ALLOWS[own] for other in ALLOWS[own])


def test_only_root_looks_beyond_its_tenant() -> None:
    assert visible_tenant(("root",), "team", "") == ""
    assert visible_tenant(("root",), "team", "other") == "other"
    assert visible_tenant(("admin",), "team", "") == "team"
    assert visible_tenant(("admin",), "team", "team") == "team"
    with pytest.raises(NotFound):
        visible_tenant(("admin", "report", "use"), "team", "other")


@pytest.mark.parametrize(
    ("standing", "told"),
    [
        (Standing(a_card(revoked_ms=NOW)), "revoked"),
        (Standing(a_card(expires_ms=NOW)), "expired"),
        (Standing(a_card(), user=Holder("user:a", disabled_ms=5)), "disabled"),
        (Standing(a_card(), tenant=Holder("tenant:a", disabled_ms=5)), "disabled"),
        (Standing(a_card(revoked_ms=NOW + 1, expires_ms=NOW + 1), user=Holder("user:a")), ""),
        (Standing(a_card()), ""),
    ],
)
def test_a_key_is_in_force_until_its_end(standing: Standing, told: str) -> None:
    if told:
        with pytest.raises(Unauthorized, match=told):
            require_standing(standing, NOW)
    else:
        assert require_standing(standing, NOW) is standing.card


@pytest.mark.parametrize(
    ("networks", "address", "inside"),
    [
        ((), "203.0.113.9", True),
        ((), "unknown", True),
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "::ffff:10.1.2.3", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("10.0.0.0/8", "2001:db8::/32"), "2001:db8:1::5", True),
        (("2001:db8::/32",), "10.0.0.1", False),
        (("192.168.1.7",), "192.168.1.7", True),
        (("192.168.1.7",), "192.168.1.70", False),
        (("0.0.0.0/0", "::/0"), "unknown", False),
        (("0.0.0.0/0",), "", False),
    ],
)
def test_addresses(networks: tuple[str, ...], address: str, inside: bool) -> None:
    if inside:
        require_address(networks, address)
    else:
        with pytest.raises(Forbidden):
            require_address(networks, address)


@pytest.mark.parametrize(
    ("models", "providers", "allowed"),
    [
        ((), (), True),
        (("gpt-4o",), (), True),
        (("gpt-4*",), (), True),
        (("*",), ("*",), True),
        (("openai:gpt-4o",), (), True),
        (("openai:*",), (), True),
        (("gpt-4",), (), False),
        (("gpt-4o-mini",), (), False),
        (("claude-*",), (), False),
        (("azure:gpt-4o",), (), False),
        (("GPT-4o",), (), False),
        ((), ("openai",), True),
        ((), ("open*",), True),
        ((), ("anthropic",), False),
        (("gpt-4o",), ("anthropic",), False),
        (("",), (), False),
    ],
)
def test_models_and_providers(models: tuple[str, ...], providers: tuple[str, ...], allowed: bool) -> None:
    assert permits(a_card(models=models, providers=providers), "openai", "gpt-4o") is allowed


def test_candidates_that_may_not_be_asked_fall_away_and_the_order_stays() -> None:
    card = a_card(models=("gpt-*", "ollama:llama3:8b"))
    candidates = [("anthropic", "claude"), ("openai", "gpt-5"), ("ollama", "llama3:8b"), ("openai", "gpt-4o")]
    assert permitted(card, candidates) == tuple(candidates[1:])
    with pytest.raises(Forbidden, match=r"anthropic:claude.*gpt-\*"):
        permitted(card, candidates[:1])
    assert permitted(card, []) == ()
