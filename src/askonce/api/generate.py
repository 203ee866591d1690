"""POST /llm/generate: the road's door for people who want code."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

from msgspec import Struct

from askonce.api.asgi import Receive
from askonce.api.replies import JSON, NO_SNIFF, NO_STORE, Headers, Reply, StreamReply, error_reply, limit_headers
from askonce.api.requests import ClientLeft, Request
from askonce.api.slow_bodies import SlowBodies
from askonce.domain.answer import CacheState, Entry
from askonce.domain.call import Ask
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError
from askonce.domain.ports import Observer, Window
from askonce.gate.answering import Arrival, Joined
from askonce.gate.pipeline import Road
from askonce.wire.cache_headers import cache_status, read_cache_control
from askonce.wire.native import read_generate
from askonce.wire.native_answer import NATIVE, EventWriter, Facts, Started, render

# What a stream says while it waits: a comment, which event-stream clients skip.
STILL_HERE = b": still here\n\n"

T = TypeVar("T")


class Intake(Struct, frozen=True):
    """Hold how bodies are taken in: at most so many bytes, and not for ever."""

    body_limit: int
    slow_bodies: SlowBodies


class Generate:
    """Answer prompts."""

    def __init__(self, road: Road, clock: Clock, intake: Intake, observer: Observer) -> None:
        self._intake = intake
        self._observer = observer
        self._road = road
        self._clock = clock

    async def __call__(self, request: Request, caller: Caller, window: Window | None) -> Reply | StreamReply:
        """Answer one request. Raises what is refused before the admission; later errors are replies."""
        body = await request.json_body(self._intake.body_limit, self._intake.slow_bodies)
        ask = read_generate(body, caller.tenant, read_cache_control(request.text(b"cache-control")))
        admitted = await self._road.travel(ask, caller, window, NATIVE, request.id)
        now_ms = self._clock.wall_ms()
        headers = limit_headers(admitted.window, admitted.verdict, now_ms)
        if isinstance(admitted.outcome, Entry):
            return _hit(request, ask, admitted.outcome, headers, now_ms)
        try:
            return await self._reply(request, ask, admitted.outcome, headers)
        except AskonceError as error:
            self._note(error)
            return error_reply(error, request.id, headers)

    async def _reply(
        self, request: Request, ask: Ask, outcome: Joined | AskonceError, headers: Headers
    ) -> Reply | StreamReply:
        if isinstance(outcome, AskonceError):
            raise outcome
        if ask.call.stream:
            return await self._live(request, ask, outcome, headers)
        try:
            arrival = await unless_left(request.receive, outcome.arrival())
        finally:
            outcome.leave()
        headers += _cache_headers(arrival.entry, arrival.state, self._clock.wall_ms(), stored=arrival.stored)
        facts = self._facts(request, ask, arrival)
        return Reply(200, [JSON, NO_STORE, NO_SNIFF, *headers], render(arrival.entry, facts))

    async def _live(self, request: Request, ask: Ask, joined: Joined, headers: Headers) -> StreamReply:
        """Begin a stream once its first piece is there; until then a failure is an ordinary reply."""
        texts = joined.texts()
        try:
            first = await unless_left(request.receive, _first_text(texts))
        except BaseException:
            joined.leave()
            raise
        headers.append((b"cache-status", cache_status(joined.state, 0, False).encode()))
        return StreamReply(_stream_headers(headers), self._events(request, ask, joined, texts, first), joined.leave)

    async def _events(
        self, request: Request, ask: Ask, joined: Joined, texts: AsyncIterator[str], first: str
    ) -> AsyncGenerator[bytes, None]:
        writer = EventWriter()
        candidate = joined.plan.candidates[0]
        try:
            yield writer.start(Started(request.id, joined.state, candidate.provider, candidate.model))
            if first:
                yield writer.delta(first)
            async for piece in texts:
                yield writer.delta(piece) if piece else STILL_HERE
            arrival = await joined.arrival()
            if not writer.text_sent:
                yield writer.delta(arrival.entry.open().text)
            yield writer.done(arrival.entry, self._facts(request, ask, arrival))
        except AskonceError as error:
            self._note(error)
            yield writer.error(error, request.id)

    def _note(self, error: AskonceError) -> None:
        if error.status >= 500:
            self._observer.failed(error)

    def _facts(self, request: Request, ask: Ask, arrival: Arrival) -> Facts:
        age_s = _age_s(arrival.entry, arrival.state, self._clock.wall_ms())
        return Facts(arrival.state, age_s, request.latency_ms(), request.id, ask.routing.mode)


def _hit(request: Request, ask: Ask, entry: Entry, headers: Headers, now_ms: int) -> Reply | StreamReply:
    """Answer from the store, without waiting for anything."""
    headers += _cache_headers(entry, "hit", now_ms, stored=True)
    facts = Facts("hit", _age_s(entry, "hit", now_ms), request.latency_ms(), request.id, ask.routing.mode)
    if ask.call.stream:
        return StreamReply(_stream_headers(headers), _replay(entry, facts), _nothing)
    return Reply(200, [JSON, NO_STORE, NO_SNIFF, *headers], render(entry, facts))


def _age_s(entry: Entry, state: CacheState, now_ms: int) -> int:
    """Return how old an answer is; a clock that went back makes it new, not negative."""
    return max(0, now_ms - entry.stored_ms) // 1000 if state == "hit" else 0


def _cache_headers(entry: Entry, state: CacheState, now_ms: int, *, stored: bool) -> Headers:
    status = cache_status(state, max(0, entry.expires_ms - now_ms) // 1000, stored)
    return [(b"cache-status", status.encode()), (b"age", b"%d" % _age_s(entry, state, now_ms))]


async def _replay(entry: Entry, facts: Facts) -> AsyncGenerator[bytes, None]:
    """Send a stored answer as a stream, in one piece."""
    writer = EventWriter()
    start = writer.start(Started(facts.request_id, facts.state, entry.provider, entry.model))
    yield start + writer.delta(entry.open().text) + writer.done(entry, facts)


def _stream_headers(headers: Headers) -> Headers:
    # X-Accel-Buffering keeps nginx from holding chunks back.
    return [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        NO_STORE,
        NO_SNIFF,
        (b"x-accel-buffering", b"no"),
        *headers,
    ]


async def _first_text(texts: AsyncIterator[str]) -> str:
    """Return the first piece; "" if the flight ends without any."""
    async for text in texts:
        if text:
            return text
    return ""


def _nothing() -> None:
    """Release nothing: a replay holds no seat."""


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Return what `work` returns, unless the caller hangs up first: then cancel it and raise `ClientLeft`.

    The work is done in the caller's own task: a task for it would cost each miss some 20 µs.
    """
    doing = asyncio.current_task()
    gone = False

    async def watch() -> None:
        nonlocal gone
        await _left(receive)
        gone = True
        if doing is not None:
            doing.cancel()

    watching = asyncio.get_running_loop().create_task(watch())
    try:
        return await work
    except asyncio.CancelledError:
        if not gone or doing is None or doing.uncancel() > 0:
            raise  # somebody else cancels us: the server stops
        raise ClientLeft from None
    finally:
        watching.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
