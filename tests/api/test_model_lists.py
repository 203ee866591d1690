"""The doors that list models: in OpenAI's shape, and in Anthropic's for its own clients."""

from typing import Any

import pytest

from askonce.domain.fleet import Offer

CLAUDES = {"anthropic-version": "2023-06-01"}
NAMES = (
    Offer("a", "fake", "a", context_window=1000),
    Offer("org/b", "fake", "org/b"),
    Offer("other:a", "other", "a"),
    Offer("vectors", "fake", "vectors", "embedding"),
    Offer("quick", "askonce", "quick"),
)


def test_openais_list_names_everything(world: Any) -> None:
    world.named = NAMES

    async def story(client: Any) -> None:
        got = (await client.get("/v1/models?client_version=1")).json
        assert got["object"] == "list"
        assert [one["id"] for one in got["data"]] == ["a", "org/b", "other:a", "vectors", "quick"]
        assert got["data"][2] == {"id": "other:a", "object": "model", "created": 0, "owned_by": "other"}

    world.run(story)


@pytest.mark.parametrize("name", ["a", "org/b", "fake:org/b", "a-latest"])
def test_one_model_is_found_by_any_of_its_names(world: Any, name: str) -> None:
    world.named = NAMES

    async def story(client: Any) -> None:
        got = (await client.get(f"/v1/models/{name}")).json
        assert (got["id"], got["owned_by"], got["object"]) == (name, "fake", "model")
        got = (await client.get(f"/v1/models/{name}", headers=CLAUDES)).json
        assert (got["id"], got["display_name"], got["type"]) == (name, name, "model")

    world.run(story)


def test_an_unknown_model_is_404_in_the_shape_of_who_looks(world: Any) -> None:
    world.named = NAMES

    async def story(client: Any) -> None:
        got = await client.get("/v1/models/vectorz")
        assert (got.status, got.json["error"]["code"]) == (404, "model_not_found")
        assert "The nearest is 'vectors'" in got.json["error"]["message"]
        got = await client.get("/v1/models/vectors", headers=CLAUDES)  # no model of Anthropic's doors
        assert (got.status, got.json["type"], got.json["error"]["type"]) == (404, "error", "not_found_error")
        assert (await client.get("/v1/models/")).status == 404

    world.run(story)


@pytest.mark.parametrize(
    ("query", "ids", "more"),
    [
        ("", ["a", "org/b", "other:a", "quick"], False),
        ("?limit=2", ["a", "org/b"], True),
        ("?limit=2&after_id=org/b&beta=true", ["other:a", "quick"], False),
        ("?limit=1&after_id=org%2Fb", ["other:a"], True),
        ("?after_id=quick", [], False),
        ("?limit=2&before_id=quick", ["org/b", "other:a"], True),
        ("?before_id=org/b", ["a"], False),
    ],
)
def test_anthropics_list_has_pages(world: Any, query: str, ids: list[str], more: bool) -> None:
    world.named = NAMES

    async def story(client: Any) -> None:
        got = (await client.get(f"/v1/models{query}", headers=CLAUDES)).json
        assert [one["id"] for one in got["data"]] == ids
        assert (got["has_more"], got["first_id"], got["last_id"]) == (
            more,
            ids[0] if ids else None,
            ids[-1] if ids else None,
        )

    world.run(story)


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=x", "limit"), ("after_id=z", "after_id"), ("after_id=a&before_id=a", "before_id")],
)
def test_a_page_that_does_not_exist_is_refused_by_name(world: Any, query: str, field: str) -> None:
    world.named = NAMES

    async def story(client: Any) -> None:
        got = await client.get(f"/v1/models?{query}", headers=CLAUDES)
        assert (got.status, got.json["error"]["type"]) == (400, "invalid_request_error")
        assert got.json["error"]["message"].startswith(field)

    world.run(story)


def test_the_doors_are_guarded_and_counted_as_any_other(world: Any) -> None:
    world.keys = [("k-1", "t")]

    async def story(client: Any) -> None:
        assert (await client.get("/v1/models")).json["error"]["code"] == "invalid_api_key"
        refused = await client.get("/v1/models/m", headers=CLAUDES)
        assert (refused.status, refused.json["error"]["type"]) == (401, "authentication_error")
        key = {"authorization": "Bearer k-1"}
        assert (await client.get("/v1/models", headers=key)).headers["x-ratelimit-remaining-requests"] == "99"
        for _ in range(99):
            counted = await client.get("/v1/models/m", headers=key | CLAUDES)
        assert counted.headers["anthropic-ratelimit-requests-remaining"] == "0"
        over = await client.get("/v1/models", headers=key | CLAUDES)
        assert (over.status, over.json["error"]["type"]) == (429, "rate_limit_error")

    world.run(story)
