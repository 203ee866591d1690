"""The official `openai` and `anthropic` libraries looking at the models there are."""

import asyncio
from collections.abc import Iterator

import anthropic
import openai
import pytest
from anthropic import Anthropic, AsyncAnthropic
from openai import AsyncOpenAI, OpenAI
from tests.api.conftest import World
from tests.clients.serving import already, served

from askonce.domain.fleet import Offer
from askonce.providers.script import Play, Script
from askonce.providers.scripted import ScriptedProvider

KEY = "sk-of-ours-12345"
NAMES = [f"m-{number}" for number in range(45)]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Serve a gateway with many models, one of which makes embeddings."""
    world = World()
    world.keys = [(KEY, "t")]
    world.named = (
        *(Offer(name, "fake", name, context_window=1000) for name in NAMES),
        Offer("org/vec", "fake", "org/vec", "embedding"),
    )
    with served(world, already(ScriptedProvider(Script((Play(text="x"),))))) as address:
        yield address


def test_openais_library_lists_and_finds_models(url: str) -> None:
    with OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as ask:
        found = list(ask.models.list())
        assert [model.id for model in found] == [*NAMES, "org/vec"]
        assert (found[0].object, found[0].owned_by, found[0].created) == ("model", "fake", 0)
        assert ask.models.retrieve("org/vec").id == "org/vec"
        assert ask.models.retrieve("fake:m-1").owned_by == "fake"
        with pytest.raises(openai.NotFoundError) as caught:
            ask.models.retrieve("org/none")
    assert caught.value.code == "model_not_found"


def test_anthropics_library_pages_through_the_models_that_talk(url: str) -> None:
    with Anthropic(base_url=url, api_key=KEY, max_retries=0) as ask:
        first = ask.models.list()
        assert (len(first.data), first.has_more, first.last_id) == (20, True, "m-19")
        assert [model.id for model in ask.models.list(limit=7)] == NAMES
        assert [model.id for model in ask.models.list(before_id="m-2")] == NAMES[:2]
        found = ask.models.retrieve("m-3")
        assert (found.type, found.display_name, found.max_input_tokens) == ("model", "m-3", 1000)
        assert (found.lifecycle, found.created_at.year) == ("active", 1970)
        assert next(iter(ask.beta.models.list())).id == "m-0"
        with pytest.raises(anthropic.NotFoundError) as caught:
            ask.models.retrieve("claude-99")
    assert caught.value.type == "not_found_error"


def test_the_async_libraries_look_the_same_way(url: str) -> None:
    async def story() -> None:
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as ask:
            assert [model.id async for model in ask.models.list()] == [*NAMES, "org/vec"]
        async with AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0) as other:
            assert [model.id async for model in other.models.list(limit=30)] == NAMES

    asyncio.run(story())
