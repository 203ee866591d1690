"""Whoever submitted an execution, hours later."""

import pytest
from tests.gate.gate_world import LoopClock, play
from tests.workflows.workflow_world import TENANT, PlainDirectory, card

from askonce.domain.caller import Caller
from askonce.domain.errors import Forbidden
from askonce.domain.executions import Submitter
from askonce.domain.identity import Bounds, Budget, Holder, Standing
from askonce.workflows.submitters import Submitters

BY_KEY = Submitter("key:k1", TENANT, "k1", "u1", b"d", "10.0.0.9")
BY_LOGIN = Submitter("user:u1", TENANT, "", "u1", b"", "10.0.0.9")
BOUNDS = Bounds((Budget("nano_dollars", "day", 1),))


def caller(submitter: Submitter, standing: Standing | None = None, *holders: Holder) -> Caller:
    directory = PlainDirectory()
    if standing is not None:
        directory.cards[submitter.key_digest] = standing
    directory.known = {holder.name: holder for holder in holders}
    return play(Submitters(directory, LoopClock()).caller(submitter))  # type: ignore[arg-type]


def test_a_key_of_the_database_has_its_standing():
    standing = card(scopes=("use", "report"))
    found = caller(BY_KEY, standing)
    assert found == Caller("key:k1", TENANT, "k1", ("use", "report"), "u1", standing, None, "10.0.0.9")


@pytest.mark.parametrize("submitter", [Submitter("addr:127.0.0.1", "anonymous"), Submitter("key:abc", TENANT, "abc")])
def test_static_keys_and_the_anonymous_have_none(submitter):
    assert caller(submitter).standing is None


DISABLED = "The account of this key is disabled. Ask the operator."
REFUSED = [
    (None, "The key that this was submitted with is not known any more."),
    (card(revoked_ms=1), "This key was revoked. Ask the operator for a new one."),
    (card(expires_ms=1), "This key has expired. Ask the operator for a new one."),
    (Standing(card().card, Holder("user:u1", disabled_ms=1)), DISABLED),
    (Standing(card().card, None, Holder("tenant:acme", disabled_ms=1)), DISABLED),
    (card(addresses=("192.168.0.0/16",)), "This key may not be used from the address 10.0.0.9."),
    (card(scopes=("report",)), "This needs the scope 'use' (ask models). Use a key or login that has it."),
]


@pytest.mark.parametrize(("standing", "words"), REFUSED)
def test_a_key_that_may_not_ask_any_more_is_refused_with_the_reason(standing, words):
    with pytest.raises(Forbidden) as refused:
        caller(BY_KEY, standing)
    assert refused.value.message == words


def test_a_login_has_its_users_and_its_tenants_budgets():
    user, tenant = Holder("user:u1", BOUNDS, scopes=("use",)), Holder(f"tenant:{TENANT}", BOUNDS)
    standing = caller(BY_LOGIN, None, user, tenant).standing
    assert standing is not None
    assert (standing.user, standing.tenant, standing.card.user_id) == (user, tenant, "u1")


@pytest.mark.parametrize(
    "holders",
    [
        (),
        (Holder("user:u1", disabled_ms=1, scopes=("use",)),),
        (Holder("user:u1", scopes=("use",)), Holder(f"tenant:{TENANT}", disabled_ms=1)),
        (Holder("user:u1", scopes=("report",)),),
    ],
)
def test_a_login_whose_user_may_not_ask_any_more_is_refused(holders):
    with pytest.raises(Forbidden):
        caller(BY_LOGIN, None, *holders)
