import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from askonce.domain.call import Call, Message, Params
from askonce.domain.ports import Meter as MeterPort
from askonce.domain.usage import Usage
from askonce.providers.tokens import Meter, count_usage, encoding_of, estimate


def call(*texts: str) -> Call:
    return Call("t", tuple(Message("user", text) for text in texts), Params())


@pytest.mark.parametrize(
    ("model", "encoding"),
    [
        ("gpt-4o-2024-08-06", "o200k_base"),
        ("openai/gpt-4.1-mini", "o200k_base"),
        ("gpt-5-mini", "o200k_base"),
        ("o3", "o200k_base"),
        ("accounts/fireworks/models/gpt-oss-120b", "o200k_base"),
        ("gpt-4-turbo", "cl100k_base"),
        ("gpt-3.5-turbo", "cl100k_base"),
        ("claude-haiku-4-5", None),
        ("llama3.2:1b", None),
        ("my-o3-clone", None),
    ],
)
def test_public_vocabularies_are_known(model: str, encoding: str | None) -> None:
    assert encoding_of(model) == encoding


def test_openai_models_are_counted_exactly() -> None:
    # "hello world" is two tokens of o200k_base (OpenAI's tokenizer page); 4 around each message, 3 before the answer.
    counted = asyncio.run(count_usage(call("hello world"), "gpt-4o", "hello world"))
    assert counted == Usage(2 + 4 + 3, 2, estimated=True)


def test_other_models_are_estimated_from_their_length() -> None:
    port: MeterPort = Meter()
    counted = asyncio.run(port.usage(call("a" * 40, "b"), "claude", "é" * 3))
    assert counted == Usage(10 + 1 + 2 * 4 + 3, 2, estimated=True)


@given(st.text())
def test_the_estimate_is_a_quarter_of_the_bytes_rounded_up(text: str) -> None:
    (count,) = estimate([text])
    size = len(text.encode("utf-8", "surrogatepass"))
    assert size <= 4 * count < size + 4
