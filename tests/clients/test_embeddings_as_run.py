"""Embeddings and the lists of models of a gateway as it is run, before vendors of two shapes."""

from collections.abc import Iterator

import openai
import pytest
from anthropic import Anthropic
from openai import OpenAI
from tests.clients.backstage import KEY, Stage, stage
from tests.providers.upstream import reply

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("backstage")) as made:
        yield made


@pytest.fixture
def client(world: Stage) -> Iterator[OpenAI]:
    with OpenAI(api_key=KEY, base_url=f"{world.url}/v1", max_retries=0) as made:
        yield made


def test_a_vendor_is_asked_once_for_the_same_texts(world: Stage, client: OpenAI) -> None:
    row = {"object": "embedding", "index": 0, "embedding": "AACAPwAAAMA="}
    vendor = world.play(reply(200, {"object": "list", "data": [row], "usage": {"prompt_tokens": 3}}), on="openai")
    found = [client.embeddings.create(model=model, input="red") for model in ("w-1", "workshop:w-1", "w-1")]
    assert [one.data[0].embedding for one in found] == 3 * [[1.0, -2.0]]
    assert [(seen.path, seen.json) for seen in vendor.seen] == [
        ("/v1/embeddings", {"model": "w-1", "input": "red", "encoding_format": "base64"})
    ]


def test_a_model_that_talks_is_refused_by_name(world: Stage, client: OpenAI) -> None:
    vendor = world.play()
    with pytest.raises(openai.BadRequestError, match="claude-haiku-4-5 answers in words and makes no embeddings"):
        client.embeddings.create(model="claude-haiku-4-5", input="red")
    with pytest.raises(openai.BadRequestError, match="Anthropic has no embeddings"):
        client.embeddings.create(model="anthropic:claude-not-yet", input="red")
    assert vendor.seen == []


def test_the_models_that_are_listed_can_be_asked(world: Stage, client: OpenAI) -> None:
    names = {model.id: model.owned_by for model in client.models.list()}
    assert (names["w-1"], names["claude-haiku-4-5"]) == ("workshop", "anthropic")
    with Anthropic(api_key=KEY, base_url=world.url, max_retries=0) as other:
        assert {model.id for model in other.models.list(limit=1000)} == names.keys()
        assert other.models.retrieve("anthropic:claude-haiku-4-5").type == "model"
