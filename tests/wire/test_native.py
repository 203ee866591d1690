"""Every body becomes a question or a refusal that says what is wrong with it."""

import json
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from askonce.domain.call import Ask, CacheWish, Message, Params
from askonce.domain.errors import AskonceError, Invalid, Malformed
from askonce.wire import native
from askonce.wire.native import SYSTEM, read_generate


def read(body: Any, header: CacheWish | None = None) -> Ask:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_generate(raw, "acme", header or CacheWish())


def refused(body: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        read(body)
    details = {detail.field: detail.problem for detail in caught.value.details}
    assert all(name in caught.value.message for name in details)
    return details


def test_a_prompt_is_enough() -> None:
    ask = read({"prompt": "hello"})
    assert ask.call.tenant == "acme"
    assert ask.call.messages == (Message("system", SYSTEM), Message("user", "hello"))
    assert ask.call.params == Params()
    assert not ask.call.stream
    assert ask.routing.mode == "single-model"
    assert ask.routing.allow_failover
    assert ask.cache == CacheWish()


def test_every_field_arrives() -> None:
    ask = read(
        {
            "prompt": "hello",
            "model": "openai:gpt-4o",
            "routingMode": "manual",
            "activeProvider": "openai",
            "allowFailover": False,
            "capabilities": ["vision"],
            "priority": "cost",
            "maxCost": 0.01,
            "system": "Be brief.",
            "temperature": 1,
            "maxTokens": 100,
            "topP": 0.5,
            "seed": -7,
            "stop": ["a", "b"],
            "stream": True,
            "cache": {"mode": "refresh", "ttl": 60},
        }
    )
    assert ask.call.messages[0] == Message("system", "Be brief.")
    assert ask.call.params == Params(1.0, 100, 0.5, -7, ("a", "b"))
    assert ask.call.stream
    routing = ask.routing
    assert (routing.mode, routing.model, routing.active_provider) == ("manual", "openai:gpt-4o", "openai")
    assert (routing.allow_failover, routing.capabilities, routing.priority) == (False, ("vision",), "cost")
    assert routing.max_cost_nano == 10_000_000
    assert ask.cache == CacheWish("refresh", 60)


def test_null_is_absent() -> None:
    names = [name for name in native._WIRE_NAMES if name != "prompt"]
    assert read({"prompt": "a", **dict.fromkeys(names)}) == read({"prompt": "a"})
    assert read({"prompt": "a", "cache": {"mode": None, "ttl": None}}) == read({"prompt": "a"})


def test_an_empty_system_is_no_system() -> None:
    assert read({"prompt": "a", "system": ""}).call.messages == (Message("user", "a"),)


@pytest.mark.parametrize(
    ("fields", "streams"),
    [
        ({}, False),
        ({"stream": True}, True),
        ({"streaming": True}, True),
        ({"stream": True, "streaming": True}, True),
        ({"stream": False, "streaming": None}, False),
        ({"stream": None, "streaming": True}, True),
    ],
)
def test_streaming_is_an_alias_of_stream(fields: dict[str, Any], streams: bool) -> None:
    assert read({"prompt": "a", **fields}).call.stream is streams


@pytest.mark.parametrize(
    ("body", "header", "wish"),
    [
        (None, CacheWish("off"), CacheWish("off")),
        ({"mode": "refresh"}, CacheWish("off"), CacheWish("refresh")),
        ({"mode": "default"}, CacheWish("refresh"), CacheWish("default")),
        ({"ttl": 9}, CacheWish("refresh"), CacheWish("refresh", 9)),
        ({"mode": "default"}, CacheWish("default", None, 30), CacheWish("default", None, 30)),
        ({"ttl": 5.0}, CacheWish(), CacheWish("default", 5)),
        ({}, CacheWish("only"), CacheWish("only")),
    ],
)
def test_the_body_wins_over_the_header(body: Any, header: CacheWish, wish: CacheWish) -> None:
    assert read({"prompt": "a", "cache": body}, header).cache == wish


def test_of_duplicate_keys_the_last_one_counts() -> None:
    ask = read(b'{"prompt":"first","temperature":1,"prompt":"last","temperature":0}')
    assert ask.call.messages[1].content == "last"
    assert ask.call.params.temperature == 0.0


BAD_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"prompt": ""}, "prompt", "blank"),
    ({"prompt": " \n\t\u2003"}, "prompt", "blank"),
    ({"prompt": 3}, "prompt", "expected str, got int"),
    ({"prompt": None}, "prompt", "expected str, got null"),
    ({"prompt": ["a"]}, "prompt", "got array"),
    ({"model": ""}, "model", "blank"),
    ({"model": "m" * 201}, "model", "at most 200"),
    ({"model": 4}, "model", "got int"),
    ({"routingMode": "fast"}, "routingMode", "choose one of single-model, manual"),
    ({"activeProvider": " "}, "activeProvider", "blank"),
    ({"allowFailover": "yes"}, "allowFailover", "expected bool"),
    ({"capabilities": "vision"}, "capabilities", "expected array"),
    ({"capabilities": [1]}, "capabilities", "expected str"),
    ({"priority": "cheap"}, "priority", "choose one of quality, speed, cost"),
    ({"maxCost": -1}, "maxCost", ">= 0"),
    ({"maxCost": 10**400}, "maxCost", "is wrong"),
    ({"system": 1}, "system", "expected str"),
    ({"temperature": "1"}, "temperature", "expected float, got str"),
    ({"temperature": 2.1}, "temperature", "<= 2"),
    ({"temperature": -0.1}, "temperature", ">= 0"),
    ({"temperature": True}, "temperature", "got bool"),
    ({"maxTokens": 0}, "maxTokens", ">= 1"),
    ({"maxTokens": 1.5}, "maxTokens", "whole number"),
    ({"maxTokens": 1e12}, "maxTokens", "is wrong"),
    ({"topP": 1.01}, "topP", "<= 1"),
    ({"seed": 0.5}, "seed", "whole number"),
    ({"seed": 2**63}, "seed", "64 bits"),
    ({"seed": 1e300}, "seed", "64 bits"),
    ({"seed": True}, "seed", "got bool"),
    ({"stop": [""]}, "stop", "none of them empty"),
    ({"stop": ""}, "stop", "none of them empty"),
    ({"stop": ["s"] * 17}, "stop", "at most 16"),
    ({"stop": 3}, "stop", "got int"),
    ({"stream": "true"}, "stream", "expected bool"),
    ({"stream": True, "streaming": False}, "streaming", "alias"),
    ({"cache": "off"}, "cache", "expected object, got str"),
    ({"cache": {"mode": "never"}}, "cache.mode", "choose one of default, refresh, off, only"),
    ({"cache": {"ttl": 0}}, "cache.ttl", ">= 1"),
    ({"cache": {"ttl": 1.5}}, "cache.ttl", "whole number"),
    ({"cache": {"ttl": 10**9}}, "cache.ttl", "<="),
    ({"cache": {"tll": 5}}, "cache.tll", "did you mean ttl?"),
    ({"max_tokens": 5}, "max_tokens", "did you mean maxTokens?"),
    ({"top_p": 1}, "top_p", "did you mean topP?"),
    ({"routing_mode": "manual"}, "routing_mode", "did you mean routingMode?"),
    ({"promt": "a"}, "promt", "did you mean prompt?"),
    ({"Stream": True}, "Stream", "did you mean stream?"),
    ({"zzzz": 1}, "zzzz", "is not a known field"),
    ({"": 1}, "", "is not a known field"),
]


@pytest.mark.parametrize(("fields", "name", "problem"), BAD_FIELDS)
def test_a_bad_field_is_named_with_what_is_wrong(fields: dict[str, Any], name: str, problem: str) -> None:
    details = refused({"prompt": "a", **fields})
    assert list(details) == [name]
    assert problem in details[name]


def test_all_bad_fields_are_named_at_once() -> None:
    details = refused(
        {
            "prompt": " ",
            "max_tokens": 1,
            "temperature": "hot",
            "seed": 1.5,
            "cache": {"mode": "x", "age": 1},
            "stream": True,
            "streaming": False,
        }
    )
    assert set(details) == {"prompt", "max_tokens", "temperature", "seed", "cache.mode", "cache.age", "streaming"}


def test_a_missing_prompt_is_named() -> None:
    assert refused({}) == {"prompt": "is required"}
    assert refused({"temperature": 9}).keys() == {"prompt", "temperature"}


def test_a_flood_of_bad_fields_is_answered_shortly_and_quickly() -> None:
    body = b"{" + b",".join(b'"field%d":%d' % (n, n) for n in range(60_000)) + b"}"
    assert len(body) < native.EXPLAINED_MAX_BYTES * 2
    began = time.process_time()
    assert len(refused(body[: native.EXPLAINED_MAX_BYTES // 2].rpartition(b",")[0] + b"}")) <= 21
    refused(body)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("tail", "name", "problem"),
    [
        (b'"stop":["a",1]', "stop[1]", "expected str, got int"),
        (b'"max_tokens":1', "max_tokens", "did you mean maxTokens?"),
        (b'"cache":{"tll":1}', "cache.tll", "did you mean ttl?"),
        (b'"cache":{"mode":"x"}', "cache.mode", "invalid enum value"),
    ],
)
def test_of_a_large_body_the_first_bad_field_is_named(tail: bytes, name: str, problem: str) -> None:
    details = refused(b'{"prompt":"' + b"a" * native.EXPLAINED_MAX_BYTES + b'",' + tail + b"}")
    assert list(details) == [name]
    assert problem in details[name]


def test_a_refusal_does_not_send_back_all_that_was_sent() -> None:
    for body in ({"prompt": "a", "priority": "x" * 5000}, {"prompt": "a", "y" * 5000: 1}):
        with pytest.raises(Invalid) as caught:
            read(body)
        assert len(caught.value.message) < 1000


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"{", "not valid JSON"),
        (b'{"prompt":"a"', "not valid JSON"),
        (b'{"prompt":"a",}', "trailing comma"),
        (b'{"prompt":"a"} x', "trailing characters"),
        (b"{'prompt':'a'}", "not valid JSON"),
        (b'{"prompt":"a\nb"}', "invalid character"),
        (b'{"prompt":"a","temperature":NaN}', "not valid JSON"),
        (b'{"prompt":"a","temperature":Infinity}', "not valid JSON"),
        (b'{"prompt":"a","temperature":-Infinity}', "not valid JSON"),
        (b'{"prompt":"a","temperature":1e999}', "out of range"),
        (b'{"prompt":"a","seed":' + b"1" * 5000 + b"}", "out of range"),
        (b'{"prompt":"a","seed":01}', "not valid JSON"),
        (b'\xef\xbb\xbf{"prompt":"a"}', "not valid JSON"),
        (b'{"prompt":"\xff"}', "not valid UTF-8"),
        (b'{"prompt":"\xc3"}', "not valid UTF-8"),
        (b'{"prompt":"\xed\xa0\x80"}', "not valid UTF-8"),
        (b'{"prompt":"\xc0\x80"}', "not valid UTF-8"),
        (b'{"prompt":1,"x":"\xff"}', "not valid UTF-8"),
        ('{"prompt":"a"}'.encode("utf-16"), "not valid UTF-8"),
        (rb'{"prompt":"\ud800"}', "not valid JSON"),
        (rb'{"prompt":"\ud800 and more than that"}', "surrogate"),
        (rb'{"prompt":"\udc00 and more than that"}', "surrogate"),
        (rb'{"\ud800":1}', "not valid JSON"),
        (b'{"prompt":' + b"[" * 100_000, "too deep"),
        (b'{"prompt":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "too deep"),
        (b'{"x":' * 100_000, "too deep"),
        (b'{"prompt":"a","x":' + b'{"y":' * 100_000 + b"1" + b"}" * 100_001, "too deep"),
        (b"[" * 100_000, "too deep"),
        (b'{"prompt":"' + b"a" * (1 << 20) + b'\xff"}', "not valid UTF-8"),
        (b'{"prompt":"' + b"a" * (1 << 20), "not valid JSON"),
    ],
)
def test_what_is_not_json_is_malformed(body: bytes, said: str) -> None:
    with pytest.raises(Malformed, match=said) as caught:
        read(body)
    assert caught.value.message.endswith((".", "}."))
    assert "`" not in caught.value.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"[]", "an array"),
        (b"null", "null"),
        (b'"a"', "a text"),
        (b"3", "a number"),
        (b"3.5", "a number"),
        (b"true", "true or false"),
    ],
)
def test_json_that_is_not_an_object_is_invalid(body: bytes, kind: str) -> None:
    with pytest.raises(Invalid, match=f"must be a JSON object, not {kind}"):
        read(body)


def test_nul_and_what_is_not_a_letter_are_part_of_a_prompt() -> None:
    assert read(rb'{"prompt":"a\u0000\u202eb"}').call.messages[1].content == "a\x00\u202eb"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(sorted(native._WIRE_NAMES)) | st.text(max_size=6)
BODIES = (
    st.binary(max_size=60)
    | st.dictionaries(NAMES, JSON, max_size=6).map(lambda fields: json.dumps(fields).encode())
    | st.fixed_dictionaries({"prompt": st.text(), "cache": JSON}).map(lambda fields: json.dumps(fields).encode())
)


@settings(deadline=None)
@given(BODIES, st.integers(0, 60), st.binary(max_size=2))
@example(b'{"prompt":"a"}', 60, b"")
def test_any_bytes_are_a_question_or_a_refusal_and_nothing_else(body: bytes, cut: int, inserted: bytes) -> None:
    for whole in (body, body[:cut] + inserted + body[cut:]):
        outcome = outcome_of(whole)
        if isinstance(outcome, AskonceError):
            assert isinstance(outcome, (Malformed, Invalid))
            assert outcome.message
            assert len(outcome.details) <= native.PROBLEMS_CEILING + 1


def outcome_of(body: bytes) -> Ask | AskonceError:
    try:
        return read(body)
    except AskonceError as error:
        return error
