"""The door of embeddings. Shapes: OpenAI's API reference, "Create embeddings"."""

import json
from typing import Any

import pytest

from askonce.cache.fingerprint import fingerprints
from askonce.domain.answer import Answer, Entry, pack
from askonce.domain.call import Ask, CacheWish, Candidate
from askonce.domain.errors import Invalid, Malformed, ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.door import Facts
from askonce.wire.openai_embeddings import EMBEDDINGS, NAME, decode_embedding, encode_embedding

NO_INPUTS: tuple[Any, ...] = (None, "", [], [""], [[]], 5, {"a": 1}, ["a", 1], [1.5], [True], [-1], [[1], 2])
WHO = (Candidate("p", "m"),)


def read(**fields: Any) -> Ask:
    return EMBEDDINGS.read(json.dumps({"model": "e", "input": "red"} | fields).encode(), "t", CacheWish())


def key(ask: Ask) -> bytes:
    return fingerprints(ask.call, WHO).entries[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"input": "red"}, {"input": ["red"]}),
        ({"input": [1, 2]}, {"input": [[1, 2]]}),
        ({}, {"encoding_format": "base64"}),
        ({}, {"encoding_format": "float"}),
        ({}, {"user": "me", "metadata": {"a": 1}, "stream": False, "dimensions": None}),
        ({"dimensions": 8}, {"dimensions": 8.0, "encoding_format": "base64"}),
    ],
)
def test_what_means_the_same_is_one_question(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert key(read(**one)) == key(read(**other))


def test_what_means_something_else_is_another_question() -> None:
    asked: list[dict[str, Any]] = [
        *({"input": given} for given in ("red", "red ", ["red", "red"], ["red", "blue"], ["blue", "red"])),
        *({"input": given} for given in ([1, 2], [[1], [2]], "[1,2]", ["1", "2"])),
        *({"dimensions": size} for size in (8, 9)),
        {"encoding_format": "int8"},
        {"output_dtype": "int8"},
        {"output_dtype": "int8", "encoding_format": "base64"},
        {"input_type": "query"},
    ]
    assert len({key(read(**fields)) for fields in asked}) == len(asked)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model": None}, "model"),
        ({"model": " "}, "model"),
        ({"model": 5}, "model"),
        ({"model": "x" * 201}, "model"),
        *(({"input": wrong}, "input") for wrong in NO_INPUTS),
        ({"input": ["x"] * 2049}, "input"),
        ({"stream": True}, "stream"),
        *(({"dimensions": wrong}, "dimensions") for wrong in (0, -1, 1.5, "8", True)),
        ({"encoding_format": 1}, "encoding_format"),
    ],
)
def test_what_is_wrong_is_refused_by_name(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(**fields)
    assert [problem.field for problem in caught.value.details] == [named]


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        read(model=None, input=[], stream=True, dimensions=0)
    assert [problem.field for problem in caught.value.details] == ["model", "input", "stream", "dimensions"]
    for body in (b"", b"{", b"\xff", b"[" * 5000):
        with pytest.raises(Malformed):
            EMBEDDINGS.read(body, "t", CacheWish())
    with pytest.raises(Invalid):
        EMBEDDINGS.read(b"[]", "t", CacheWish())


@pytest.mark.parametrize(
    "fields",
    [
        {"input": "red"},
        {"input": ["red", "blue"]},
        {"input": [1, 2, 3]},
        {"input": [[1], [2, 3]]},
        {"input": ["red", [1]]},  # no vendor documents a mixture; it is theirs to refuse
        {"input": "red", "dimensions": 8, "encoding_format": "base64", "user": "me"},
        {"input": "red", "encoding_format": "base64", "output_dtype": "int8", "truncate": {"b": 1, "a": [None]}},
    ],
)
def test_a_vendor_is_asked_as_the_caller_asked(fields: dict[str, Any]) -> None:
    assert json.loads(encode_embedding(read(**fields).call, "e-2")) == {"model": "e-2", **fields}


def entry(reply: bytes) -> Entry:
    part, usage, version = decode_embedding(reply, 1, "V")
    answer = Answer("", "stop", usage or Usage(0, 0), "p", "m", version or "m", parts=(part,))
    return Entry(b"k" * 32, "t", "p", "m", 0, 0, 0, 0, 0, pack(answer), NAME, EMBEDDINGS.rendition(answer))


def reply(embedding: object, **more: Any) -> bytes:
    rows = [{"object": "embedding", "index": 0, "embedding": embedding}]
    whole = {"object": "list", "data": rows, "model": "e-2", "usage": {"prompt_tokens": 5, "total_tokens": 5}}
    return json.dumps(whole | more).encode()


@pytest.mark.parametrize("sent", [[1.0, -2.0], "AACAPwAAAMA="])
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [1.0, -2.0]),
        ({"encoding_format": "float", "dimensions": 2}, [1.0, -2.0]),
        ({"encoding_format": "base64"}, "AACAPwAAAMA="),
    ],
)
def test_one_answer_serves_both_encodings(sent: object, fields: dict[str, Any], expected: object) -> None:
    facts = Facts("hit", 0, 0, "r", read(**fields))
    assert json.loads(EMBEDDINGS.render(entry(reply(sent)), facts)) == json.loads(reply(expected))


def test_beside_unknown_fields_rows_are_passed_on_as_they_came() -> None:
    for sent in ([1, -2], "/wE="):
        facts = Facts("miss", 0, 0, "r", read(output_dtype="int8", encoding_format="base64"))
        assert json.loads(EMBEDDINGS.render(entry(reply(sent)), facts)) == json.loads(reply(sent))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 5, "total_tokens": 5}, 5),
        ({"total_tokens": 5}, 5),  # Voyage
        ({"prompt_tokens": 0, "total_tokens": 0}, None),
        ({"prompt_tokens": -1}, None),
        ({}, None),
        (None, None),
    ],
)
def test_tokens_are_the_vendors_word_if_it_says_any(usage: Any, expected: int | None) -> None:
    _, found, _ = decode_embedding(reply([1.0], usage=usage), 1, "V")
    assert (found and found.prompt_tokens) == expected
    assert found is None or found.completion_tokens == 0


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data":1}', b'{"error":"x"}', b'{"data":[]}'])
def test_what_is_no_reply_is_a_failure(body: bytes) -> None:
    with pytest.raises(ProviderFailed):
        decode_embedding(body, 1, "V")
