"""Embeddings of OpenAI-shaped endpoints and of Google, against real servers on loopback; others refuse them by name."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw
from tests.providers.upstream import Play, Upstream, reply, silence

from askonce.domain.answer import Answer
from askonce.domain.call import Aside, Call, Message, Params
from askonce.domain.content import Foreign
from askonce.domain.errors import (
    AskonceError,
    ContextExceeded,
    Invalid,
    ProviderBusy,
    ProviderDenied,
    ProviderFailed,
    ProviderRejected,
    ProviderTimeout,
    UnknownModel,
    was_unsent,
)
from askonce.domain.ports import Provider
from askonce.domain.usage import Usage
from askonce.providers.catalog import Vendor, vendor_named
from askonce.providers.chat import ChatProvider, fixed
from askonce.providers.embeddings import OpenAIProvider
from askonce.providers.gemini_embeddings import GoogleProvider
from askonce.providers.http import Http, Limits
from askonce.providers.messages import MessagesProvider
from askonce.providers.script import Play as Scripted
from askonce.providers.script import Script, ScriptedError, ScriptedUsage
from askonce.providers.scripted import ScriptedProvider
from askonce.wire.vectors import rows_of

LIMITS = Limits(connect_s=5, first_byte_s=5, idle_s=5, total_s=10)
KEY = "not-a-real-key-0123456789"
VENDOR = Vendor(name="vendor", title="Vendor")
Making = Callable[[Vendor, Any, Http, Limits], Provider]


def row(name: str) -> Vendor:
    found = vendor_named(name)
    assert found is not None
    return found


def call(*inputs: str | Foreign, **extra: Any) -> Call:
    return Call(
        "t",
        tuple(Message("user", one if isinstance(one, str) else (one,)) for one in inputs),
        Params(),
        kind="embedding",
        shape="openai",
        extra=tuple((name, Raw(json.dumps(value).encode())) for name, value in extra.items()),
        asides=(Aside(("user",), Raw(b'"me"')),),
    )


TOKENS = Foreign("openai", "tokens", Raw(b"[1,2,3]"))


def ask(
    making: Making, asked: Call, given: Play, vendor: Vendor = VENDOR, deadline_s: float = 5
) -> tuple[Answer, Upstream]:
    async def main() -> tuple[Answer, Upstream]:
        async with Upstream(given) as up:
            http = Http()
            base = up.base_url if vendor is VENDOR else up.base_url.removesuffix("/v1") + vendor.path
            try:
                provider = making(vendor, fixed(base, KEY), http, LIMITS)
                items = [item async for item in provider.ask(asked, "e-1", deadline_s)]
            finally:
                await http.close()
            (answer,) = items
            assert isinstance(answer, Answer)
            return answer, up

    return asyncio.run(main())


def embeddings(answer: Answer) -> list[Any]:
    return [one["embedding"] for one in json.loads(rows_of(answer, "float"))]


def rows(*vectors: object, **more: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "e-1-v2", "usage": {"prompt_tokens": 8, "total_tokens": 8}} | more


def test_an_endpoint_of_openais_shape_is_asked_once_for_all_inputs() -> None:
    # OpenAI's API reference, "Create embeddings".
    answer, up = ask(OpenAIProvider, call("red", "blue", dimensions=2), reply(200, rows([0.5, 1], [2, -1e-3])))
    assert embeddings(answer) == [[0.5, 1], [2, -1e-3]]
    assert (answer.text, answer.finish, answer.usage) == ("", "stop", Usage(8, 0))
    assert (answer.provider, answer.model, answer.model_version) == ("vendor", "e-1", "e-1-v2")
    assert answer.first_token_ms > 0
    (seen,) = up.seen
    assert (seen.method, seen.path) == ("POST", "/v1/embeddings")
    assert seen.json == {"model": "e-1", "input": ["red", "blue"], "dimensions": 2, "user": "me"}
    assert seen.headers["authorization"] == f"Bearer {KEY}"


def test_tokens_that_the_vendor_does_not_count_are_estimated() -> None:
    answer, _ = ask(OpenAIProvider, call("x" * 40, TOKENS), reply(200, rows([1], [2], usage=None)))
    assert answer.usage == Usage(10 + 3, 0, estimated=True)


def test_google_is_asked_in_its_own_words() -> None:
    # Google's Gemini API reference, `models.batchEmbedContents`.
    sent = {"embeddings": [{"values": [0.5]}, {"values": [-1]}], "usageMetadata": {"promptTokenCount": 7}}
    answer, up = ask(GoogleProvider, call("red", "blue", dimensions=1), reply(200, sent), row("gemini"))
    assert embeddings(answer) == [[0.5], [-1]]
    assert (answer.provider, answer.model, answer.usage) == ("gemini", "e-1", Usage(7, 0))
    (seen,) = up.seen
    assert (seen.path, seen.headers["x-goog-api-key"]) == ("/v1beta/models/e-1:batchEmbedContents", KEY)
    assert seen.json == {
        "requests": [
            {"model": "models/e-1", "content": {"parts": [{"text": text}]}, "outputDimensionality": 1}
            for text in ("red", "blue")
        ]
    }
    answer, _ = ask(GoogleProvider, call("x" * 40), reply(200, {"embeddings": [{"values": [1]}]}), row("gemini"))
    assert answer.usage == Usage(10, 0, estimated=True)


@pytest.mark.parametrize(
    ("making", "name", "asked", "said"),
    [
        (
            GoogleProvider,
            "gemini",
            call("red", TOKENS, input_type="query"),
            r"input_type is a field.*input\[1\] is a list",
        ),
        (MessagesProvider, "anthropic", call("red"), "Anthropic has no embeddings"),
        (ChatProvider, "local", call("red"), "is asked for embeddings"),
    ],
)
def test_what_a_vendor_cannot_do_is_refused_by_name_before_it_is_asked(
    making: Making, name: str, asked: Call, said: str
) -> None:
    with pytest.raises(Invalid, match=said) as caught:
        ask(making, asked, reply(500, {}), row(name))
    assert was_unsent(caught.value)


@pytest.mark.parametrize("making", [OpenAIProvider, GoogleProvider])
@pytest.mark.parametrize(
    ("given", "error"),
    [
        (reply(401, {"error": {"message": "no"}}), ProviderDenied),
        (reply(404, {"error": {"message": "no", "status": "NOT_FOUND", "code": "model_not_found"}}), UnknownModel),
        (reply(400, {"error": {"message": "maximum context length is 8192 tokens"}}), ContextExceeded),
        (reply(400, {"error": {"message": "bad"}}), ProviderRejected),
        (reply(429, {"error": {"message": "slow"}}), ProviderBusy),
        (reply(500, {}), ProviderFailed),
        (reply(200, rows()), ProviderFailed),
        (reply(200, rows([1], [2])), ProviderFailed),
        (reply(200, {"embeddings": [{"values": [1]}, {"values": [2]}]}), ProviderFailed),
        (reply(200, {"embeddings": [{"values": "x"}]}), ProviderFailed),
        (reply(200, "nonsense"), ProviderFailed),
    ],
)
def test_failures_are_those_of_every_call(making: Making, given: Play, error: type[AskonceError]) -> None:
    with pytest.raises(error):
        ask(making, call("red"), given, VENDOR if making is OpenAIProvider else row("gemini"))


@pytest.mark.parametrize("making", [OpenAIProvider, GoogleProvider])
def test_a_vendor_that_does_not_answer_is_given_up_at_the_deadline(making: Making) -> None:
    with pytest.raises(ProviderTimeout):
        ask(making, call("red"), silence(), VENDOR if making is OpenAIProvider else row("gemini"), deadline_s=0.1)


def played(asked: Call, *plays: Scripted) -> Answer:
    async def main() -> Answer:
        (answer,) = [item async for item in ScriptedProvider(Script(plays)).ask(asked, "e", 5)]
        assert isinstance(answer, Answer)
        return answer

    return asyncio.run(main())


def test_a_script_makes_of_each_text_a_vector_of_its_own() -> None:
    play = Scripted(dimensions=64, model_version="e-9")
    answer = played(call("red", "blue", "red", TOKENS), Scripted(text="words"), play)
    one, other, again, tokens = embeddings(answer)
    assert one == again
    assert len({tuple(vector) for vector in (one, other, tokens)}) == 3
    assert {len(vector) for vector in (one, other, tokens)} == {64}
    assert sum(number * number for number in one) == pytest.approx(1)
    assert (
        json.loads(rows_of(answer, "base64"))[0]["embedding"] != json.loads(rows_of(answer, "base64"))[1]["embedding"]
    )
    assert (answer.model_version, answer.usage) == ("e-9", Usage(1 + 1 + 1 + 3, 0, estimated=True))
    assert embeddings(played(call("red"), play)) == [one]
    (small,) = embeddings(played(call("red", dimensions=3), play))
    assert len(small) == 3


def test_a_scripts_embeddings_may_fail_and_cost_as_it_says() -> None:
    usage = ScriptedUsage(50, 0)
    assert played(call("red"), Scripted(dimensions=2, usage=usage)).usage == Usage(50, 0)
    with pytest.raises(ProviderBusy):
        played(call("red"), Scripted(error=ScriptedError(429)), Scripted(dimensions=2))
    for asked, said in ((call("red", input_type="x"), "input_type"), (call("red", dimensions=4097), "4096")):
        with pytest.raises(ProviderRejected, match=said):
            played(asked, Scripted(dimensions=2))
    with pytest.raises(ProviderRejected, match="no play"):
        played(call("red"), Scripted(text="words"))
