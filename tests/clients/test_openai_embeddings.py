"""The official `openai` library asking for embeddings: base64, as it does by itself, and numbers."""

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from tests.api.conftest import World
from tests.clients.serving import Opening, already, served
from tests.providers.upstream import Play as Turn
from tests.providers.upstream import Upstream, reply

from askonce.providers.catalog import Vendor
from askonce.providers.chat import fixed
from askonce.providers.embeddings import OpenAIProvider
from askonce.providers.http import Http, Limits
from askonce.providers.script import Play, Script
from askonce.providers.scripted import ScriptedProvider
from askonce.providers.scripted_vectors import vector

KEY = "sk-of-ours-12345"
TEXTS = ["red", "blue"]


class Scripted(ScriptedProvider):
    """Play a script, counting."""

    calls = 0

    def _choose(self, *given: str) -> Play:
        self.calls += 1
        return super()._choose(*given)


def script(dimensions: int = 8) -> Scripted:
    return Scripted(Script((Play(dimensions=dimensions),)))


@contextmanager
def address(opening: Opening) -> Iterator[str]:
    world = World()
    world.keys = [(KEY, "t")]
    with served(world, opening) as found:
        yield f"{found}/v1"


@contextmanager
def client(opening: Opening) -> Iterator[OpenAI]:
    with address(opening) as url, OpenAI(base_url=url, api_key=KEY, max_retries=0) as opened:
        yield opened


def vectors(found: Any) -> list[list[float]]:
    return [row.embedding for row in found.data]


def test_one_stored_answer_serves_both_encodings() -> None:
    expected = [vector(text.encode(), 8) for text in TEXTS]
    for first, then in ((None, "float"), ("float", "base64")):
        provider = script()
        with client(already(provider)) as ask:
            formats: list[Any] = [first, then, first]
            for one in formats:
                given = {} if one is None else {"encoding_format": one}
                found = ask.embeddings.create(model="e", input=TEXTS, user=one or "", **given)
                if one != "base64":  # asked for by name, the library leaves it as it is
                    assert vectors(found) == expected
                assert [row.index for row in found.data] == [0, 1]
                assert found.usage.prompt_tokens == found.usage.total_tokens == 2
        assert provider.calls == 1


def test_a_text_and_a_list_of_it_are_one_question_and_dimensions_are_not() -> None:
    provider = script()
    with client(already(provider)) as ask:
        one = ask.embeddings.with_raw_response.create(model="e", input="red")
        again = ask.embeddings.with_raw_response.create(model="e", input=["red"])
        small = ask.embeddings.create(model="e", input="red", dimensions=3)
        tokens = ask.embeddings.create(model="e", input=[[1, 2], [3]])
    assert vectors(one.parse()) == vectors(again.parse())
    assert again.headers["cache-status"].startswith("askonce; hit")
    assert [len(row) for row in vectors(small)] == [3]
    assert (len(tokens.data), tokens.usage.prompt_tokens) == (2, 3)
    assert provider.calls == 3


def test_the_async_client_asks_the_same_way() -> None:
    async def story(url: str) -> None:
        async with AsyncOpenAI(base_url=url, api_key=KEY, max_retries=0) as ask:
            found = await asyncio.gather(*(ask.embeddings.create(model="e", input="red") for _ in range(10)))
            assert {tuple(row.data[0].embedding) for row in found} == {tuple(vector(b"red", 8))}

    provider = script()
    with address(already(provider)) as url:
        asyncio.run(story(url))
    assert provider.calls == 1


def test_what_is_refused_is_named() -> None:
    with client(already(script())) as ask:
        for wrong, param in (({"model": ""}, "model"), ({"input": []}, "input"), ({"dimensions": 0}, "dimensions")):
            with pytest.raises(openai.BadRequestError) as caught:
                ask.embeddings.create(**({"model": "e", "input": "red"} | wrong))
            assert caught.value.param == param
        with pytest.raises(openai.BadRequestError, match="no play"):
            ask.chat.completions.create(model="e", messages=[{"role": "user", "content": "red"}])


@contextmanager
def relayed(*turns: Turn) -> Iterator[tuple[OpenAI, Upstream]]:
    """Serve a gateway before a vendor of the same shape."""
    up = Upstream(*turns)

    @asynccontextmanager
    async def opened() -> Any:
        async with up:
            http = Http()
            yield OpenAIProvider(Vendor("fake", "Fake"), fixed(up.base_url, "k"), http, Limits(5, 5, 5, 10))
            await http.close()

    with client(opened) as ask:
        yield ask, up


def rows(*embeddings: object, **more: Any) -> dict[str, Any]:
    data = [{"object": "embedding", "index": at, "embedding": one} for at, one in enumerate(embeddings)]
    return {"object": "list", "data": data, "model": "e-2", "usage": {"prompt_tokens": 4, "total_tokens": 4}} | more


@pytest.mark.parametrize("sent", ["AACAPwAAAMA=", [1.0, -2.0]])
def test_a_vendor_is_asked_as_the_client_asked_and_may_answer_either_way(sent: object) -> None:
    with relayed(reply(200, rows(sent))) as (ask, up):
        found = ask.embeddings.create(model="e", input="red", user="me", dimensions=2)
        plain = ask.embeddings.create(model="e", input="red", dimensions=2, encoding_format="float")
    assert vectors(found) == vectors(plain) == [[1.0, -2.0]]
    assert (found.model, found.usage.total_tokens) == ("e-2", 4)
    assert [(seen.path, seen.json) for seen in up.seen] == [
        (
            "/v1/embeddings",
            {"model": "e", "input": "red", "dimensions": 2, "user": "me", "encoding_format": "base64"},
        )
    ]
