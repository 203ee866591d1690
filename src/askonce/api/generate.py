"""POST /llm/generate: the road's door for people who want code."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from typing import Any, TypeVar

from askonce.api.asgi import Receive
from askonce.api.replies import JSON, NO_SNIFF, NO_STORE, Headers, Reply, StreamReply, error_reply, limit_headers
from askonce.api.requests import ClientLeft, Request
from askonce.api.slow_bodies import SlowBodies
from askonce.domain.answer import CacheState, Entry
from askonce.domain.call import Ask
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError
from askonce.domain.ports import Window
from askonce.gate.answering import Joined
from askonce.gate.pipeline import Admitted, Road
from askonce.wire.cache_headers import cache_status, read_cache_control
from askonce.wire.native import read_generate
from askonce.wire.native_answer import NATIVE, EventWriter, Facts, Started, render

# What a stream says while it waits: a comment, which event-stream clients skip.
STILL_HERE = b": still here\n\n"

T = TypeVar("T")


class Generate:
    """Answer prompts."""

    def __init__(self, road: Road, clock: Clock, body_limit: int, slow_bodies: SlowBodies) -> None:
        self._slow_bodies = slow_bodies
        self._road = road
        self._clock = clock
        self._body_limit = body_limit

    async def __call__(self, request: Request, caller: Caller, window: Window | None) -> Reply | StreamReply:
        """Answer one request. Raises what is refused before the admission; later errors are replies."""
        body = await request.json_body(self._body_limit, self._slow_bodies)
        ask = read_generate(body, caller.tenant, read_cache_control(request.text(b"cache-control")))
        admitted = await self._road.travel(ask, caller, window, NATIVE, request.id)
        headers = limit_headers(admitted.window, admitted.verdict, self._clock.wall_ms())
        try:
            return await self._reply(request, ask, admitted, headers)
        except AskonceError as error:
            return error_reply(error, request.id, headers)

    async def _reply(self, request: Request, ask: Ask, admitted: Admitted, headers: Headers) -> Reply | StreamReply:
        outcome = admitted.outcome
        if isinstance(outcome, AskonceError):
            raise outcome
        if isinstance(outcome, Entry):
            headers += self._cache_headers(outcome, "hit", stored=True)
            facts = self._facts(request, ask, outcome, "hit")
            if ask.call.stream:
                return StreamReply(_stream_headers(headers), _replay(outcome, facts), _nothing)
            return Reply(200, [JSON, NO_STORE, NO_SNIFF, *headers], render(outcome, facts))
        if ask.call.stream:
            return await self._live(request, ask, outcome, headers)
        try:
            arrival = await unless_left(request.receive, outcome.arrival())
        finally:
            outcome.leave()
        headers += self._cache_headers(arrival.entry, arrival.state, stored=arrival.stored)
        facts = self._facts(request, ask, arrival.entry, arrival.state)
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
            yield writer.done(arrival.entry, self._facts(request, ask, arrival.entry, arrival.state))
        except AskonceError as error:
            yield writer.error(error, request.id)

    def _facts(self, request: Request, ask: Ask, entry: Entry, state: CacheState) -> Facts:
        return Facts(state, self._age_s(entry, state), request.latency_ms(), request.id, ask.routing.mode)

    def _age_s(self, entry: Entry, state: CacheState) -> int:
        return max(0, self._clock.wall_ms() - entry.stored_ms) // 1000 if state == "hit" else 0

    def _cache_headers(self, entry: Entry, state: CacheState, *, stored: bool) -> Headers:
        ttl_s = max(0, entry.expires_ms - self._clock.wall_ms()) // 1000
        status = cache_status(state, ttl_s, stored).encode()
        return [(b"cache-status", status), (b"age", b"%d" % self._age_s(entry, state))]


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
    """Return what `work` returns, unless the caller hangs up first: then cancel it and raise `ClientLeft`."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ClientLeft
    finally:
        leaving.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.gather(doing, return_exceptions=True)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
