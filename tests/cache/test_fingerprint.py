"""When two questions are the same, and when they are not."""

import hashlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from askonce.cache.fingerprint import fingerprints
from askonce.domain.call import CacheWish, Call, Candidate, ForeignTool, Format, Message, Params, Tool
from askonce.domain.content import ordered_json
from askonce.wire.native import SYSTEM, read_generate

WHO = Candidate("openai", "gpt-4o")
BASE: dict[str, Any] = {"prompt": "hello"}


def key_of(body: dict[str, Any] | str | bytes, tenant: str = "acme", who: Candidate = WHO) -> bytes:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return fingerprints(read_generate(raw, tenant, CacheWish()).call, (who,)).entries[0]


def key(call: Call, who: Candidate = WHO) -> bytes:
    return fingerprints(call, (who,)).entries[0]


SAME = [
    '{"prompt":"hello","temperature":1}',
    '{"prompt":"hello","temperature":1.0}',
    '{"prompt":"hello","temperature":1e0}',
    '{"prompt":"hello","temperature":10E-1}',
    '{ "temperature" : 1 , "prompt" : "hello" }',
    '\n{"prompt":\t"hello","temperature":1}\r\n',
    '{"prompt":"\\u0068ello","temperature":1}',
    '{"\\u0070rompt":"hello","temperature":1}',
    '{"prompt":"hello","temperature":1,"topP":null,"seed":null,"stop":null}',
    '{"prompt":"hello","temperature":1,"stream":true}',
    '{"prompt":"hello","temperature":1,"streaming":false}',
    '{"prompt":"hello","temperature":1,"cache":{"mode":"refresh","ttl":5}}',
    '{"prompt":"x","prompt":"hello","temperature":1}',
    '{"prompt":"hello","temperature":1,"maxCost":5}',
    json.dumps({"prompt": "hello", "temperature": 1, "system": SYSTEM}),
]


@pytest.mark.parametrize("body", SAME)
def test_no_respelling_makes_another_question(body: str) -> None:
    assert key_of(body) == key_of(SAME[0])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"temperature": 0}, {"temperature": -0.0}),
        ({"maxTokens": 100}, {"maxTokens": 1e2}),
        ({"seed": 5}, {"seed": 5.0}),
        ({"topP": 1}, {"topP": 1.0}),
        ({"stop": "a"}, {"stop": ["a"]}),
        ({"prompt": "é"}, {"prompt": "\u00e9"}),
        ({"prompt": "a/b"}, {"prompt": "a\u002fb"}),
    ],
)
def test_what_means_the_same_is_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key_of(BASE | one) == key_of(BASE | other)


def test_a_slash_and_a_character_beyond_the_plane_may_be_escaped() -> None:
    assert key_of(rb'{"prompt":"a\/b \ud83d\ude00"}') == key_of('{"prompt":"a/b 😀"}')


# Each differs from all others, the base included: what is absent is not its default.
DIFFERENT: list[dict[str, Any]] = [
    {},
    {"prompt": "hello "},
    {"prompt": "Hello"},
    {"prompt": "e\u0301"},
    {"prompt": "\u00e9"},
    {"prompt": "a\r\nb"},
    {"prompt": "a\nb"},
    {"prompt": '","'},
    {"system": ""},
    {"system": "hello"},
    {"system": SYSTEM + " "},
    {"temperature": 1},
    {"temperature": 0},
    {"temperature": 0.1},
    {"temperature": 0.1 + 1e-17 + 2e-17},
    {"topP": 1},
    {"topP": 0},
    {"maxTokens": 1},
    {"maxTokens": 4096},
    {"seed": 0},
    {"seed": 1},
    {"seed": -1},
    {"seed": 2**63 - 1},
    {"seed": 2**63 - 2},
    {"stop": "a"},
    {"stop": "b"},
    {"stop": ["a", "b"]},
    {"stop": ["b", "a"]},
    {"stop": ["ab"]},
    {"stop": ['a","b']},
    {"temperature": 1, "topP": 1},
    {"temperature": 1, "seed": 1},
]


def test_every_parameter_and_every_byte_of_text_counts() -> None:
    keys = [key_of(BASE | change) for change in DIFFERENT]
    for (one, a), (other, b) in itertools.combinations(zip(DIFFERENT, keys, strict=True), 2):
        assert (a == b) == (one == other), (one, other)


def test_tenant_provider_and_model_count() -> None:
    keys = {
        key_of(BASE),
        key_of(BASE, tenant="Acme"),
        key_of(BASE, tenant=""),
        key_of(BASE, who=Candidate("openai", "gpt-4o-mini")),
        key_of(BASE, who=Candidate("xai", "gpt-4o")),
        key_of(BASE, who=Candidate("openaigpt", "-4o")),
        key_of(BASE, who=Candidate('openai","gpt', "4o")),
    }
    assert len(keys) == 7


def test_roles_and_the_borders_between_messages_count() -> None:
    ways = [
        (Message("user", "ab"),),
        (Message("user", "a"), Message("user", "b")),
        (Message("user", "b"), Message("user", "a")),
        (Message("assistant", "ab"),),
        (Message("system", "ab"),),
        (Message("user", ""), Message("user", "ab")),
        (Message("user", "ab"), Message("user", "")),
        (Message("user", 'a"],["user","b'),),
        (),
    ]
    assert len({key(Call("t", way, Params())) for way in ways}) == len(ways)


def test_the_flight_is_of_the_question_and_the_set_of_those_who_may_answer_it() -> None:
    call = Call("t", (Message("user", "a"),), Params())
    one, two = Candidate("a", "m"), Candidate("b", "m")
    alone, both, turned = fingerprints(call, (one,)), fingerprints(call, (one, two)), fingerprints(call, (two, one))
    assert both.entries == (alone.entries[0], turned.entries[0])
    assert both.flight == turned.flight
    every = {*both.entries, alone.flight, both.flight}
    assert len(every) == 4
    assert {len(k) for k in every} == {32}


def test_a_vendors_experiments_count_where_the_vendor_answers() -> None:
    claude, other = Candidate("anthropic", "m"), Candidate("openai", "m")
    shapes = {"anthropic": "anthropic", "openai": "openai"}
    plain = Call("t", (Message("user", "a"),), Params(), shape="anthropic")
    told = replace(plain, features=("one-2025",))
    bare, with_them = fingerprints(plain, (claude, other), shapes), fingerprints(told, (claude, other), shapes)
    assert with_them.entries[1] == bare.entries[1]
    assert len({with_them.entries[0], bare.entries[0], with_them.flight, bare.flight}) == 4
    assert fingerprints(told, (other,), shapes) == fingerprints(plain, (other,), shapes)
    # Who is not known may be told all.
    assert fingerprints(told, (other,)) != fingerprints(plain, (other,))


def test_a_schema_is_sent_as_it_came_but_the_order_of_its_keys_makes_no_other_question() -> None:
    one, other = (
        {"why": {"type": "string"}, "answer": {"a": 1.0, "b": []}},
        {"answer": {"b": [], "a": 1}, "why": {"type": "string"}},
    )
    assert bytes(ordered_json(one)) == b'{"why":{"type":"string"},"answer":{"a":1,"b":[]}}'
    asked = [
        Call(
            "t",
            (Message("user", "x"),),
            Params(format=Format("schema", "n", ordered_json(schema))),
            tools=(Tool("f", "", ordered_json(schema)), ForeignTool("openai", "custom", ordered_json(schema))),
        )
        for schema in (one, other, {**one, "more": 1}, {"filler": "x" * 20_000, **one}, {**one, "filler": "x" * 20_000})
    ]
    keys = [key(call) for call in asked]
    assert keys[0] == keys[1]
    assert keys[3] == keys[4]
    assert len(set(keys)) == 3


def test_streaming_is_not_part_of_the_question() -> None:
    call = Call("t", (Message("user", "a"),), Params())
    assert fingerprints(call, (WHO,)) == fingerprints(replace(call, stream=True), (WHO,))


def test_a_key_is_the_same_in_every_process_and_version() -> None:
    """If this fails on purpose, raise `FORMAT`: stored answers would be found under questions that they do not fit."""
    call = Call("t", (Message("user", "é"),), Params(temperature=0.5, stop=("a",)))
    canonical = '[1,"t",[["user","é",""]],{"temperature":0.5,"stop":["a"]}]["openai","gpt-4o"]'
    assert key(call) == hashlib.sha256(canonical.encode()).digest()


NUMBERS = st.floats(0, 1) | st.none()
PARAMS = st.builds(
    Params,
    temperature=NUMBERS,
    max_tokens=st.none() | st.integers(1, 99),
    top_p=NUMBERS,
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    stop=st.none() | st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=3).map(tuple),
)
MESSAGES = st.lists(
    st.builds(Message, st.sampled_from(("system", "user", "assistant")), st.text(max_size=6)), max_size=3
).map(tuple)
CALLS = st.builds(Call, st.text(max_size=4), MESSAGES, PARAMS)
WHOS = st.builds(Candidate, st.text(max_size=4), st.text(max_size=4))


@settings(deadline=None)
@given(CALLS, CALLS, WHOS, WHOS)
def test_keys_are_equal_exactly_when_the_questions_are(
    one: Call, other: Call, who: Candidate, whose: Candidate
) -> None:
    assert (key(one, who) == key(other, whose)) == ((one, who) == (other, whose))


@settings(deadline=None)
@given(CALLS, st.data())
def test_any_changed_parameter_changes_the_key(call: Call, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(Params.__struct_fields__))
    value = getattr(data.draw(PARAMS), name)
    changed = replace(call, params=replace(call.params, **{name: value}))
    assert (key(call) == key(changed)) == (getattr(call.params, name) == value)


def respell(value: Any, data: st.DataObject) -> str:
    """Write JSON that means the same."""
    space = data.draw(st.sampled_from(["", " ", "\n", "\t ", "\r\n"]))
    if isinstance(value, dict):
        items = data.draw(st.permutations(list(value.items())))
        inner = f",{space}".join(f"{respell(k, data)}{space}:{respell(v, data)}" for k, v in items)
        return f"{{{space}{inner}{space}}}"
    if isinstance(value, list):
        return f"[{space}{f'{space},'.join(respell(item, data) for item in value)}]"
    if isinstance(value, str):
        escape = data.draw(st.booleans())
        return json.dumps(value, ensure_ascii=escape)
    if isinstance(value, int) and not isinstance(value, bool) and data.draw(st.booleans()):
        return f"{value}.0" if abs(value) < 2**53 else str(value)
    return json.dumps(value)


BODIES = st.fixed_dictionaries(
    {"prompt": st.text(min_size=1).filter(str.strip)},
    optional={
        "temperature": st.integers(0, 2) | st.floats(0, 2),
        "maxTokens": st.integers(1, 9999),
        "seed": st.integers(-(2**63), 2**63 - 1),
        "stop": st.lists(st.text(min_size=1), min_size=1, max_size=3),
        "system": st.text(),
    },
)


@settings(deadline=None)
@given(BODIES, st.data())
def test_no_respelling_of_the_json_changes_the_key(body: dict[str, Any], data: st.DataObject) -> None:
    assert key_of(respell(body, data)) == key_of(body)
