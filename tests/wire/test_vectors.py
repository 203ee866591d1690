"""Rows of embeddings in both encodings: what they hold stays the same."""

import array
import base64
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from askonce.domain.answer import Answer
from askonce.domain.content import Foreign
from askonce.domain.errors import ProviderFailed
from askonce.domain.usage import Usage
from askonce.wire.vectors import part_of, part_of_numbers, rows_of

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
VECTORS = st.lists(st.lists(FLOATS, max_size=20), min_size=1, max_size=4)


def answer(part: Foreign) -> Answer:
    return Answer("", "stop", Usage(1, 0), "p", "m", "m", parts=(part,))


def rows(*embeddings: object) -> Raw:
    data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(embeddings)]
    return Raw(json.dumps(data).encode())


def packed(vector: list[float]) -> str:
    """Write a vector as OpenAI's library reads it: 32-bit floats in the machine's order, here least byte first."""
    return base64.b64encode(array.array("f", vector).tobytes()).decode()


@given(VECTORS)
def test_numbers_of_32_bits_survive_both_ways(vectors: list[list[float]]) -> None:
    bare = part_of_numbers([Raw(json.dumps(vector).encode()) for vector in vectors], "V")
    base = part_of(rows(*map(packed, vectors)), len(vectors), "V")
    for part in (bare, base):
        numbers = json.loads(rows_of(answer(part), "float"))
        texts = json.loads(rows_of(answer(part), "base64"))
        assert [row["embedding"] for row in numbers] == vectors
        assert [row["embedding"] for row in texts] == list(map(packed, vectors))
        assert [row["index"] for row in texts] == list(range(len(vectors)))


def test_rows_that_are_wanted_as_they_came_are_byte_for_byte_the_vendors() -> None:
    came = Raw(b'[ {"embedding":[0.10, 2e-1,3], "object":"embedding","index":0,"own":{"x":null}} ]')
    part = part_of(came, 1, "V")
    for wanted in ("float", None):
        assert rows_of(answer(part), wanted) == bytes(came)
    (row,) = json.loads(rows_of(answer(part), "base64"))
    assert (row["own"], row["index"]) == ({"x": None}, 0)
    assert array.array("f", base64.b64decode(row["embedding"])).tolist() == array.array("f", [0.1, 0.2, 3]).tolist()


@pytest.mark.parametrize("embedding", [[[1.0], [2.0]], [1e300], {"int8": [1]}, None, "not base64!", "AAA="])
def test_what_is_no_vector_of_floats_stays_as_it_is(embedding: object) -> None:
    part = part_of(rows(embedding), 1, "V")
    for wanted in ("float", "base64"):
        assert json.loads(rows_of(answer(part), wanted))[0]["embedding"] == embedding


@pytest.mark.parametrize(
    "sent", [b"{}", b"[]", b"[1]", b'[{"index":0}]', b'[{"embedding":[1]},{"embedding":[1]}]', b"nul"]
)
def test_rows_that_are_not_one_for_each_input_are_a_failure(sent: bytes) -> None:
    with pytest.raises(ProviderFailed, match="V sent"):
        part_of(Raw(sent), 1, "V")


def test_an_answer_without_vectors_is_a_failure() -> None:
    with pytest.raises(ProviderFailed, match="p answered without"):
        rows_of(Answer("x", "stop", Usage(1, 0), "p", "m", "m"), "float")
    with pytest.raises(ProviderFailed, match="make no sense"):
        part_of_numbers([Raw(b'"x"')], "V")


def test_tiny_and_special_numbers_keep_their_sign() -> None:
    part = part_of(rows(packed([-0.0, 1.401298464324817e-45])), 1, "V")
    zero, least = json.loads(rows_of(answer(part), "float"))[0]["embedding"]
    assert (math.copysign(1, zero), least) == (-1.0, 1.401298464324817e-45)
