"""OpenAPI 3.1, generated from the table of doors (https://spec.openapis.org/oas/v3.1.1)."""

from typing import Any

import msgspec
from msgspec import Struct

from askonce import __version__
from askonce.api.door import Door
from askonce.api.voices import voice_of
from askonce.domain.errors import BY_CODE

# What every guarded door can answer with, whatever it does.
COMMON_ERRORS = ("unauthorized", "forbidden", "rate_limited", "internal_error")
OPEN_ERRORS = ("forbidden", "internal_error")
KEYLESS = ("any", "use", "report")  # what needs no more than a server without keys lets its own machine do


def openapi(doors: tuple[Door, ...]) -> dict[str, Any]:
    """Return the description of the doors as an OpenAPI document."""
    types = [t for door in doors for t in (door.body, *_replies(door), voice_of(door.path).body) if t is not None]
    refs, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schemas = dict(zip(types, refs, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for door in doors:
        paths.setdefault(door.path, {})[door.method.lower()] = _operation(door, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Askonce",
            "version": __version__,
            "summary": "No answer is paid for twice.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "session": {"type": "apiKey", "in": "header", "name": "X-Session-Id"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "sessionId"},
            },
        },
    }


def _replies(door: Door) -> tuple[type[Struct] | None, ...]:
    return (door.reply, *(also.reply for also in door.also))


def _operation(door: Door, schemas: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": door.name,
        "summary": door.summary,
        "parameters": _parameters(door),
        "responses": _responses(door, schemas),
        "x-limit-class": door.limit,
    }
    if door.scope != "open":
        # The empty requirement: a server without keys serves its own machine without one.
        without: list[dict[str, list[str]]] = [{}] if door.scope in KEYLESS else []
        operation["security"] = [{"bearer": []}, {"apiKey": []}, {"session": []}, {"cookie": []}, *without]
        operation["x-scope"] = door.scope
    if door.body is not None:
        operation["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(door.body)),
            "content": {door.takes: {"schema": schemas[door.body]}},
        }
    elif door.takes != "application/json":
        lines = {"type": "string", "description": "One JSON object a line."}
        operation["requestBody"] = {"required": True, "content": {door.takes: {"schema": lines}}}
    return operation


# What replies carry besides a body: name, what it says, and whether only limited doors or only asking ones have it.
_HEADERS = (
    ("X-Request-Id", "the id of this request, also in the log", "all"),
    ("X-RateLimit-Limit", "how many requests the window allows", "limited"),
    ("X-RateLimit-Remaining", "how many it still allows", "limited"),
    ("X-RateLimit-Reset", "when the oldest counted request leaves the window, in epoch milliseconds", "limited"),
    ("RateLimit-Policy", "the window, by draft-ietf-httpapi-ratelimit-headers", "limited"),
    ("RateLimit", "what is left of it, by the same draft", "limited"),
    ("Cache-Status", "how the answer came about (RFC 9211)", "asking"),
    ("Age", "seconds since the answer was stored", "asking"),
    ("X-Askonce-Route", "who answered, and after how many attempts", "asking"),
    ("Idempotent-Replayed", "true where this very request was here before (Idempotency-Key)", "once"),
    ("Location", "where the work is looked at", "outliving"),
    ("Preference-Applied", "how long was waited at the most, where Prefer said it", "outliving"),
)


def _headers(door: Door) -> dict[str, Any]:
    kinds = {"all", *(["limited"] if door.limit != "none" else []), *(["once"] if door.limit == "llm" else [])}
    if door.limit == "llm":
        kinds.add("outliving" if door.outlives else "asking")
    return {name: {"description": says, "schema": {"type": "string"}} for name, says, kind in _HEADERS if kind in kinds}


def _parameters(door: Door) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{key}" in door.path:
        found.append({"name": "key", "in": "path", "required": True, "schema": {"type": "string"}})
    if door.query is not None:
        _, components = msgspec.json.schema_components([door.query])
        properties = components[door.query.__name__]["properties"]
        found += [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]
    if door.limit == "llm":
        if door.outlives:
            found.append(_header_parameter("Prefer", "wait=N: wait so many seconds for the end; respond-async: do not"))
        else:
            found.append(_header_parameter("Cache-Control", _CACHE_CONTROL))
        found.append(_header_parameter("Idempotency-Key", "your name for this request: its retries are told the same"))
    found.append(_header_parameter("X-Request-Id", "an id of your own, kept if it is short and harmless"))
    return found


_CACHE_CONTROL = "no-cache, no-store, only-if-cached, max-age=N; the body wins"


def _header_parameter(name: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": description, "schema": {"type": "string"}}


def _stream(door: Door) -> dict[str, Any]:
    events = "; ".join(f"{name}: {holds}" for name, holds in door.stream)
    return {"schema": {"type": "string", "description": f"Events. {events}."}}


_RETRY_AFTER = {"description": "seconds to wait", "schema": {"type": "integer"}}


def _responses(door: Door, schemas: dict[Any, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {door.media: {"schema": schemas[door.reply]} if door.reply is not None else {}}
    if door.stream and door.status == 200:
        content["text/event-stream"] = _stream(door)
    responses: dict[str, Any] = {
        str(door.status): {"description": "Done.", "content": content, "headers": _headers(door)}
    }
    for also in door.also:
        told: dict[str, Any] = {door.media: {"schema": schemas[also.reply]}} if also.reply is not None else {}
        if door.stream and also.status == 200:
            told["text/event-stream"] = _stream(door)
        responses[str(also.status)] = {"description": also.says, "headers": _headers(door)}
        responses[str(also.status)] |= {"content": told} if told else {}
    if door.name == "root":
        responses = {"307": {"description": "To the docs."}}
    if door.name == "ready":
        responses["503"] = {"description": "A needed part is down.", "content": content}
    by_status: dict[int, list[str]] = {}
    for code in (*door.errors, *(OPEN_ERRORS if door.scope == "open" else COMMON_ERRORS)):
        by_status.setdefault(BY_CODE[code].status, []).append(code)
    for status, codes in sorted(by_status.items()):
        responses.setdefault(
            str(status),
            {
                "description": f"Refused or failed: {', '.join(codes)}.",
                "content": {"application/json": {"schema": schemas[voice_of(door.path).body]}},
                "headers": _headers(door) | ({"Retry-After": _RETRY_AFTER} if status in (429, 503) else {}),
            },
        )
    return responses
