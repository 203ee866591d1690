"""When a retry is the same request."""

import itertools

import pytest
from msgspec import Raw
from msgspec.structs import replace

from askonce.cache.fingerprint import fingerprints
from askonce.cache.promise import own_flight, promise_of
from askonce.domain.call import Aside, Ask, CacheWish, Call, Candidate, Message, Params, RoutingWish
from askonce.domain.ports import Promise

ASK = Ask(Call("acme", (Message("user", "hi"),), Params()), RoutingWish(model="m"), CacheWish(), retry_key="k")
WHO = "key:a"


def promised(ask: Ask, identity: str = WHO) -> Promise:
    promise = promise_of(ask, identity)
    assert promise is not None
    return promise


def test_without_a_name_nothing_is_promised() -> None:
    assert promise_of(replace(ASK, retry_key=""), WHO) is None


@pytest.mark.parametrize(
    "retry",
    [
        replace(ASK, call=replace(ASK.call, stream=True)),
        replace(ASK, call=replace(ASK.call, asides=(Aside(("user",), Raw(b'"me"')),))),
        replace(ASK, cache=CacheWish("off", 60, 5)),
        replace(ASK, echo=b"{}"),
    ],
    ids=["stream", "asides", "cache", "echo"],
)
def test_how_the_answer_travels_makes_no_other_request(retry: Ask) -> None:
    assert promised(retry) == promised(ASK)


@pytest.mark.parametrize(
    "other",
    [
        replace(ASK, call=replace(ASK.call, messages=(Message("user", "ho"),))),
        replace(ASK, call=replace(ASK.call, params=Params(temperature=1.0))),
        replace(ASK, call=replace(ASK.call, kind="embedding")),
        replace(ASK, routing=RoutingWish(model="m2")),
        replace(ASK, routing=RoutingWish(model="m", allow_failover=False)),
    ],
    ids=["prompt", "parameter", "kind", "model", "failover"],
)
def test_another_question_or_another_model_has_the_same_key_and_another_question(other: Ask) -> None:
    assert promised(other).key == promised(ASK).key
    assert promised(other).question != promised(ASK).question


def test_every_caller_has_names_of_its_own() -> None:
    tenants, callers, names = ("a", "ab", 'a"'), ("", "b", '"'), ("c", "bc", '","c')
    keys = {
        promised(replace(ASK, call=replace(ASK.call, tenant=tenant), retry_key=name), caller).key
        for tenant, caller, name in itertools.product(tenants, callers, names)
    }
    assert len(keys) == 27


def test_digests_of_different_purposes_never_meet() -> None:
    prints = fingerprints(ASK.call, [Candidate("p", "m")])
    promise = promised(ASK)
    digests = {*prints.entries, prints.flight, promise.key, promise.question, own_flight(promise)}
    assert len(digests) == 5
    assert {len(digest) for digest in digests} == {32}
