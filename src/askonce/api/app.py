"""Plain ASGI: find the door, guard it, count the request, let its handler answer, send.

Head of the guard. Every door but the `open` ones needs an identity, and the scope that its row names. Order: path,
method, Host and Origin, identity, scope, body, question, window. What is refused before the window is not counted in
it, but in a second window of refusals, so that a flood of nonsense is stopped as well; so is who fails to log in.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from askonce.api.asgi import Receive, Scope, Send
from askonce.api.asking import unless_left
from askonce.api.cookies import renewal, sets_cookie
from askonce.api.crossing import NOWHERE, Crossing
from askonce.api.door import Door
from askonce.api.doors import DoorMap, Match, read_query
from askonce.api.errands import Errand, Handler
from askonce.api.looks import looks
from askonce.api.metrics import MetricsDoor
from askonce.api.pages import PAGES, Pages
from askonce.api.replies import GUARDS, JSON, About, Headers, Reply, StreamReply, error_reply, json_reply, limit_headers
from askonce.api.requests import ClientLeft, Request
from askonce.api.resources import CacheDoors, FleetDoors
from askonce.api.slow_bodies import SlowBodies
from askonce.api.trail import Trail
from askonce.api.voices import id_headers, voice_of
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import (
    AskonceError,
    DatabaseAway,
    InternalError,
    MethodNotAllowed,
    NotFound,
    StoreUnavailable,
)
from askonce.domain.ledger import LedgerUnavailable
from askonce.domain.ports import Observer, Window, Windows
from askonce.domain.watching import CLIENT_LEFT, Served
from askonce.gate.admission import Admission, Approach, OverLimit
from askonce.gate.scopes import require
from askonce.telemetry.logs import request_id
from askonce.wire.strict import BODY_MAX, read_body

# Refusals that count in the second window: the request was no good, whoever sent it.
FLOOD_STATUSES = frozenset((400, 401, 403, 404, 405, 408, 413, 415))

STANDARD_MESSAGE = "Too many requests, please wait before trying again."
FLOOD_MESSAGE = "Too many refused requests, please wait before trying again."
AWAY = (
    "The database of keys, reports and the audit does not answer; questions are answered without it, and nothing that "
    "was counted is lost. Look at DATABASE_URL and at the log of `askonce worker`, and try again."
)
AWAY_S = 5  # when to try again
SAFE_METHODS = frozenset(("GET", "HEAD"))
BROKEN = "Something unexpected happened. It has been logged under this request id."


# A door that takes a question in and admits it itself.
Asking = Callable[[Request, Caller, Window | None], Awaitable[Reply | StreamReply]]


NOTHING_SAID = About()


class LimitRule(Struct, frozen=True):
    """Allow `requests` in any `span_ns`, and say `message` to those over it."""

    requests: int
    span_ns: int
    message: str = STANDARD_MESSAGE


class Services(Struct, frozen=True):
    """Hold what the doors need. `limits` maps limit classes (and `refused`) to rules; absent: unlimited.

    `more` are the handlers of the doors that log in and administer.
    """

    admission: Admission
    windows: Windows
    asking: Mapping[str, Asking]
    cache: CacheDoors
    fleet: FleetDoors
    pages: Pages
    limits: Mapping[str, LimitRule]
    clock: Clock
    observer: Observer
    trail: Trail
    slow_bodies: SlowBodies
    more: Mapping[str, Handler] = {}
    crossing: Crossing = NOWHERE
    metrics: MetricsDoor | None = None


class Passing(Struct):
    """Hold what becomes known of a request on its way: its door's name, and who came."""

    door: str = ""
    caller: Caller | None = None


class App:
    """Answer HTTP requests. The ASGI application of a gateway."""

    def __init__(self, services: Services, doors: tuple[Door, ...]) -> None:
        self._s = services
        self._doors = DoorMap(doors)
        self.in_flight = 0
        self._looks = looks(services.cache, services.fleet, services.trail) | dict(services.more)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI 3, `http` only)."""
        if scope["type"] != "http":
            await _refuse_protocol(scope, receive, send)
            return
        request = Request(scope, receive)
        request_id.set(request.id)
        self.in_flight += 1
        passing, reply = Passing(), None
        try:
            reply = await self._answer(request, passing)
            if self._s.crossing.origins:
                reply.headers += self._s.crossing.headers(request)
            if isinstance(reply, Reply):
                await _send_whole(reply, request, send)
            else:
                await _send_stream(reply, request, send)
        except ClientLeft:
            return
        finally:
            self.in_flight -= 1
            self._s.observer.served(_served(request, passing, reply))

    async def _answer(self, request: Request, passing: "Passing") -> Reply | StreamReply:
        caller: Caller | None = None
        approach = request.approach()
        match: Match | None = None
        try:
            if request.method == "OPTIONS" and (methods := self._doors.methods(request.path)):
                preflight = self._s.crossing.preflight(request, methods)
                if preflight is not None:
                    return preflight
            match = self._find(request)
            passing.door = match.door.name
            request.check()
            if match.door.scope == "open":
                self._s.admission.pass_host(approach)
                return await self._open(match, request, approach)
            caller = await self._s.admission.admit(approach, writes=request.method not in SAFE_METHODS)
            passing.caller = caller
            if match.door.scope != "any":
                require(caller.scopes, match.door.scope)
            reply = await self._enter(match, request, caller, approach)
            if caller.session is not None and approach.by_cookie and not sets_cookie(reply.headers):
                reply.headers += self._renewal(caller, approach)
            return reply
        except AskonceError as error:
            door = "" if match is None else match.door.name
            caller = caller or self._s.admission.address(approach)
            return await self._refuse_counted(error, request, caller, door)
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

    async def _enter(self, match: Match, request: Request, caller: Caller, approach: Approach) -> Reply | StreamReply:
        window = self._window(match.door.limit, caller)
        asking = self._s.asking.get(match.door.name)
        if asking is not None:
            return await asking(request, caller, window)
        return await self._run(match, request, caller, approach)

    async def _run(self, match: Match, request: Request, caller: Caller, approach: Approach) -> Reply | StreamReply:
        """Answer at a door that asks no model."""
        door = match.door
        if not caller.address:
            caller = replace(caller, address=self._s.admission.whence(approach))
        query = None if door.query is None else read_query(door.query, request.query)
        body = await self._body(door, request)
        headers: Headers = []
        window = self._window(door.limit, caller)
        if window is not None:
            verdict = await self._s.windows.take(window)
            if not verdict.admitted:
                raise OverLimit("", window, verdict)
            headers = limit_headers(window, verdict, self._s.clock.wall_ms())
        secure = self._s.admission.is_secure(approach)
        try:
            answer = await self._looks[door.name](Errand(caller, request, match.key, query, body, secure))
        except AskonceError as error:
            if error.status in (401, 403):
                raise
            return self._told(error, request, headers)
        except LedgerUnavailable as error:
            self._s.observer.failed(DatabaseAway(str(error)))
            return self._told(DatabaseAway(AWAY, retry_after_s=AWAY_S), request, headers)
        if isinstance(answer, Reply | StreamReply):
            answer.headers += headers
            return answer
        return json_reply(msgspec.json.encode(answer), headers, door.status)

    async def _body(self, door: Door, request: Request) -> Struct | None:
        if door.body is None:
            return None
        raw = await request.json_body(BODY_MAX, self._s.slow_bodies) if request.has_body else b""
        return read_body(door.body, raw)

    async def _open(self, match: Match, request: Request, approach: Approach) -> Reply | StreamReply:
        name = match.door.name
        if name == "health":
            return Reply(200, [JSON], msgspec.json.encode(self._s.fleet.health()))
        if name == "ready":
            ready = await self._s.fleet.ready()
            return json_reply(msgspec.json.encode(ready), status=200 if ready.ready else 503)
        if name == "metrics" and self._s.metrics is not None:
            return await self._s.metrics(request)
        if name in PAGES:
            return await self._s.pages.serve(name, request, match.key)
        return await self._run(match, request, self._s.admission.address(approach), approach)

    def _told(self, error: AskonceError, request: Request, headers: Headers) -> Reply:
        return error_reply(error, voice_of(request.path, request.headers).error(error, request.id), headers)

    def _renewal(self, caller: Caller, approach: Approach) -> Headers:
        secure = self._s.admission.is_secure(approach)
        return renewal(caller, approach, self._s.clock.wall_ms(), secure=secure)

    def _window(self, limit: str, caller: Caller) -> Window | None:
        rule = self._s.limits.get(limit)
        return Window(f"{limit}|{caller.identity}", rule.requests, rule.span_ns) if rule is not None else None

    async def _refuse_counted(self, error: AskonceError, request: Request, caller: Caller, door: str) -> Reply:
        if error.status < 500:
            address = caller.address or self._s.admission.whence(request.approach())
            await self._s.trail.refused(replace(caller, address=address), request, error, door)
        if error.status not in FLOOD_STATUSES:
            return self._refuse(error, request)
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


def _served(request: Request, passing: Passing, reply: Reply | StreamReply | None) -> Served:
    """Say how a request ended."""
    took_us = (time.perf_counter_ns() - request.started_ns) // 1000
    caller = passing.caller
    tenant, key_id = ("", "") if caller is None else (caller.tenant, caller.key_id)
    if reply is None:
        about, status = NOTHING_SAID, CLIENT_LEFT
    else:
        about = reply.about or NOTHING_SAID
        status = reply.status if isinstance(reply, Reply) else 200
    return Served(
        passing.door,
        status,
        took_us,
        request.id,
        about.code,
        about.cache,
        about.provider,
        about.model,
        about.saved_nano,
        about.entered_us,
        tenant,
        key_id,
        request.traceparent(),
    )


async def _send_whole(reply: Reply, request: Request, send: Send) -> None:
    headers = reply.headers
    if reply.status != 204:  # it has no length (RFC 9110, 8.6)
        headers.append((b"content-length", b"%d" % len(reply.body)))
    headers += id_headers(request)
    headers += GUARDS
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _send_stream(reply: StreamReply, request: Request, send: Send) -> None:
    """Send pieces as they come, until the caller leaves."""
    reply.headers += id_headers(request)
    reply.headers += GUARDS
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
