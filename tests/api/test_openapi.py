"""The description of the doors: valid, complete, and the same for programs and people."""

import json

from openapi_spec_validator import validate

from askonce.api.doors import DOORS
from askonce.api.openapi import openapi


def test_it_is_valid_openapi():
    validate(json.loads(json.dumps(openapi(DOORS))))


def test_every_door_is_described(world):
    async def story(client):
        document = (await client.get("/openapi.json")).json
        page = (await client.get("/docs")).body.decode()
        for door in DOORS:
            operation = document["paths"][door.path][door.method.lower()]
            assert operation["operationId"] == door.name
            assert f'id="{door.name}"' in page
        assert "http" not in page.replace("http://127.0.0.1:3001", "")

    world.run(story)
