"""Our OpenAPI document and our doors say the same, whoever asks and whatever they send (schemathesis, fixed seed).

Each role sends what the document allows and what it forbids. Nothing is a defect, every status and body is a documented
one, and a role gets past the guard exactly where its scope does.
"""

import asyncio
import json
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core import NOT_SET
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.api.adminworld import ROLES, AdminWorld
from tests.api.conftest import Client
from tests.api.conftest import Response as Answer

from askonce.api.doors import DOORS
from askonce.api.openapi import openapi
from askonce.gate.scopes import ALLOWS

Mode = Literal["allowed", "forbidden"]
MODES: dict[Mode, GenerationMode] = {"allowed": GenerationMode.POSITIVE, "forbidden": GenerationMode.NEGATIVE}
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 150  # of each role and mode: each door several times, half a minute for all of them
CREDENTIALS = {"authorization", "x-api-key", "x-session-id", "cookie", "host", "origin"}  # the role's are sent instead

SCHEMA = schemathesis.openapi.from_dict(json.loads(json.dumps(openapi(DOORS))))
BY_NAME = {door.name: door for door in DOORS}
# Streams and pages are not JSON; the vendors' doors have clients and matrices of their own; a whole cache is one file.
JSON = "application/json"
LEFT_OUT = {"root"} | {
    door.name for door in DOORS if door.path.startswith("/v1/") or {door.media, door.takes} != {JSON}
}
OPERATIONS = [
    result.ok()
    for result in SCHEMA.get_all_operations()
    if isinstance(result, Ok) and result.ok().definition.raw["operationId"] not in LEFT_OUT
]


def cases(mode: Mode) -> st.SearchStrategy[Any]:
    """Make requests that the document allows or forbids."""
    able = OPERATIONS if mode == "allowed" else [one for one in OPERATIONS if BY_NAME[name_of(one)].body is not None]
    return st.one_of([operation.as_strategy(generation_mode=MODES[mode]) for operation in able])


def name_of(operation: Any) -> str:
    """Return the door's name."""
    return str(operation.definition.raw["operationId"])


async def send(client: Client, case: Any, key: str) -> Answer:
    """Send a case as a client of HTTP would."""
    path = case.formatted_path
    query = "&".join(f"{quote(str(name))}={quote(str(value))}" for name, value in (case.query or {}).items())
    sent = {name.lower(): str(value) for name, value in (case.headers or {}).items()}
    headers = {name: value for name, value in sent.items() if value.isascii() and name not in CREDENTIALS}
    headers |= {"authorization": f"Bearer {key}"} if key else {}
    body = (
        case.body if isinstance(case.body, bytes) else b"" if case.body is NOT_SET else json.dumps(case.body).encode()
    )
    if case.body is NOT_SET:
        headers["content-type"] = ""
    return await client.ask(case.method, f"{path}?{query}" if query else path, body=body, headers=headers)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("role", ["", *ROLES])
def test_the_document_and_the_doors_agree_for_every_role(tmp_path: Path, role: str, mode: Mode) -> None:
    may = {"open"} | ({"any"} if role else set()) | {door for one in ROLES.get(role, ()) for door in ALLOWS[one]}
    world = AdminWorld(tmp_path)
    world.limits = {}
    world.work.at_once = True  # some wait for the end
    with asyncio.Runner() as runner:

        async def furnished() -> Client:
            client = Client(world.build())
            await world.furnish()
            return client

        client = runner.run(furnished())
        try:

            @settings(
                max_examples=EXAMPLES,
                derandomize=True,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(cases(mode))
            def agree(case: Any) -> None:
                door = BY_NAME[name_of(case.operation)]
                answer = runner.run(send(client, case, world.key["acme", role] if role else ""))
                assert not world.defects, (door.name, case.body)
                if door.scope not in may:
                    assert answer.status == (403 if role else 401), (door.name, answer.body)
                elif door.name != "open_session":
                    assert answer.status != 401, (door.name, answer.body)
                request = requests.Request(case.method, "http://127.0.0.1:3001").prepare()
                headers = {name: [value] for name, value in answer.headers.items()}
                told = Response(answer.status, headers, answer.body, request, 0.0, False)
                if answer.headers.get("content-type", "").startswith("application/json"):
                    case.validate_response(told, checks=CHECKS)

            agree()
        finally:
            runner.run(world.hub.close())
            runner.run(world.administration.close())
