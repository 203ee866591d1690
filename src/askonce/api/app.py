"""Plain ASGI: find the door, guard it, count the request, let its handler answer, send.

Head of the guard. Every door but the `open` ones needs an identity. Order: path, method, Host and Origin, identity,
body, question, window. What is refused before the window is not counted in it, but in a second window of refusals, so
that a flood of nonsense is stopped as well.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any

import msgspec
from msgspec import Struct

from askonce.api.asgi import Receive, Scope, Send
from askonce.api.asking import unless_left
from askonce.api.doors import Door, DoorMap, Match, read_query
from askonce.api.pages import Pages
from askonce.api.replies import JSON, Headers, Reply, StreamReply, error_reply, json_reply, limit_headers
from askonce.api.requests import ClientLeft, Request
from askonce.api.resources import CacheDoors, FleetDoors
from askonce.api.voices import id_headers, voice_of
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import (
    AskonceError,
    InternalError,
    MethodNotAllowed,
    NotFound,
    StoreUnavailable,
)
from askonce.domain.ports import Observer, Window, Windows
from askonce.gate.admission import Admission, OverLimit
from askonce.telemetry.logs import request_id

# Refusals that count in the second window: the request was no good, whoever sent it.
FLOOD_STATUSES = frozenset((400, 401, 403, 404, 405, 408, 413, 415))

STANDARD_MESSAGE = "Too many requests, please wait before trying again."
FLOOD_MESSAGE = "Too many refused requests, please wait before trying again."
BROKEN = "Something unexpected happened. It has been logged under this request id."


# A door that takes a question in and admits it itself.
Asking = Callable[[Request, Caller, Window | None], Awaitable[Reply | StreamReply]]


class LimitRule(Struct, frozen=True):
    """Allow `requests` in any `span_ns`, and say `message` to those over it."""

    requests: int
    span_ns: int
    message: str = STANDARD_MESSAGE


class Services(Struct, frozen=True):
    """Hold what the doors need. `limits` maps limit classes (and `refused`) to rules; absent: unlimited."""

    admission: Admission
    windows: Windows
    asking: Mapping[str, Asking]
    cache: CacheDoors
    fleet: FleetDoors
    pages: Pages
    limits: Mapping[str, LimitRule]
    clock: Clock
    observer: Observer


class App:
    """Answer HTTP requests. The ASGI application of a gateway."""

    def __init__(self, services: Services, doors: tuple[Door, ...]) -> None:
        self._s = services
        self._doors = DoorMap(doors)
        self._looks = looks(services.cache, services.fleet)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3, `http` only)."""
        if scope["type"] != "http":
            await _refuse_protocol(scope, receive, send)
            return
        request = Request(scope, receive)
        request_id.set(request.id)
        try:
            reply = await self._answer(request, scope)
        except ClientLeft:
            return
        if isinstance(reply, Reply):
            await _send_whole(reply, request, send)
        else:
            await _send_stream(reply, request, send)

    async def _answer(self, request: Request, scope: Scope) -> Reply | StreamReply:
        caller: Caller | None = None
        approach = request.approach(scope)
        try:
            match = self._find(request)
            request.check()
            if match.door.scope == "open":
                self._s.admission.pass_host(approach)
                return await self._open(match, request)
            caller = self._s.admission.identify(approach)
            return await self._enter(match, request, caller)
        except AskonceError as error:
            if error.status not in FLOOD_STATUSES:
                return self._refuse(error, request)
            return await self._count_refusal(error, request, caller or self._s.admission.address(approach))
        except (ClientLeft, GeneratorExit):
            raise
        except Exception as error:  # the last guard: a defect is answered, logged, and hides nothing
            self._s.observer.defect(error)
            return self._refuse(InternalError(BROKEN), request)

    def _find(self, request: Request) -> Match:
        match = self._doors.find(request.method, request.path)
        if match is None and request.method == "HEAD":
            match = self._doors.find("GET", request.path)  # the server leaves the body out
        if match is not None:
            return match
        methods = self._doors.methods(request.path)
        if methods:
            raise MethodNotAllowed(f"{request.path} answers to {', '.join(methods)}.", methods)
        raise NotFound(f"There is nothing at {request.path[:200]}. GET /docs lists what there is.")

    async def _enter(self, match: Match, request: Request, caller: Caller) -> Reply | StreamReply:
        door = match.door
        window = self._window(door.limit, caller)
        asking = self._s.asking.get(door.name)
        if asking is not None:
            return await asking(request, caller, window)
        query = _query(door, request)
        headers: Headers = []
        if window is not None:
            verdict = await self._s.windows.take(window)
            if not verdict.admitted:
                raise OverLimit("", window, verdict)
            headers = limit_headers(window, verdict, self._s.clock.wall_ms())
        try:
            body = await self._looks[door.name](caller, match.key, query)
        except AskonceError as error:
            return error_reply(error, voice_of(request.path, request.headers).error(error, request.id), headers)
        return json_reply(msgspec.json.encode(body), headers)

    async def _open(self, match: Match, request: Request) -> Reply:
        name = match.door.name
        if name == "health":
            return Reply(200, [JSON], msgspec.json.encode(self._s.fleet.health()))
        if name == "ready":
            ready = await self._s.fleet.ready()
            return json_reply(msgspec.json.encode(ready), status=200 if ready.ready else 503)
        return self._s.pages.serve(name, request)

    def _window(self, limit: str, caller: Caller) -> Window | None:
        rule = self._s.limits.get(limit)
        return Window(f"{limit}|{caller.identity}", rule.requests, rule.span_ns) if rule is not None else None

    async def _count_refusal(self, error: AskonceError, request: Request, caller: Caller) -> Reply:
        window = self._window("refused", caller)
        if window is not None:
            try:
                verdict = await self._s.windows.take(window)
            except StoreUnavailable:
                return self._refuse(error, request)
            if not verdict.admitted:
                return self._refuse(OverLimit(FLOOD_MESSAGE, window, verdict), request)
        return self._refuse(error, request)

    def _refuse(self, error: AskonceError, request: Request) -> Reply:
        voice = voice_of(request.path, request.headers)
        if error.status >= 500:
            self._s.observer.failed(error)
        if not isinstance(error, OverLimit):
            return error_reply(error, voice.error(error, request.id))
        rule = self._s.limits[error.window.name.partition("|")[0]]
        error.message = error.message or rule.message
        now_ms = self._s.clock.wall_ms()
        headers = limit_headers(error.window, error.verdict, now_ms)
        headers += voice.limits(error.window, error.verdict, now_ms)
        return error_reply(error, voice.error(error, request.id), headers)


Look = Callable[[Caller, str, Any], Awaitable[Struct]]


def looks(cache: CacheDoors, fleet: FleetDoors) -> dict[str, Look]:
    """Return the handlers of the doors that only look or delete, by the door's name.

    Each gets the caller, the key in the path, and the query as the door's row types it.
    """
    return {
        "cache_stats": lambda caller, _key, _query: cache.stats(caller),
        "cache_entries": lambda caller, _key, query: cache.entries(caller, query),
        "cache_entry": lambda caller, key, _query: cache.entry(caller, key),
        "drop_entry": lambda caller, key, _query: cache.drop(caller, key),
        "purge_cache": lambda caller, _key, query: cache.purge(caller, query),
        "models": lambda _caller, _key, _query: fleet.models(),
        "providers": lambda _caller, _key, _query: fleet.providers(),
    }


def _query(door: Door, request: Request) -> Struct | None:
    if door.query is None:
        return None
    return read_query(door.query, request.query)


async def _send_whole(reply: Reply, request: Request, send: Send) -> None:
    headers = reply.headers
    headers.append((b"content-length", b"%d" % len(reply.body)))
    headers += id_headers(request)
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _send_stream(reply: StreamReply, request: Request, send: Send) -> None:
    """Send pieces as they come, until the caller leaves."""
    reply.headers += id_headers(request)
    try:
        await send({"type": "http.response.start", "status": 200, "headers": reply.headers})
        await unless_left(request.receive, _pump(reply, send))
    except ClientLeft:
        return
    finally:
        reply.release()


async def _pump(reply: StreamReply, send: Send) -> None:
    async with aclosing(reply.pieces) as pieces:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _refuse_protocol(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1003})
