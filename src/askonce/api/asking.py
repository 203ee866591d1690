"""The doors that ask: one handler for every shape of question, with that shape's codec."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from askonce.api.asgi import Receive
from askonce.api.replies import (
    JSON,
    NO_STORE,
    About,
    Headers,
    Reply,
    StreamReply,
    error_reply,
    limit_headers,
    nothing_held,
    stream_headers,
)
from askonce.api.requests import ClientLeft, Request
from askonce.api.slow_bodies import SlowBodies
from askonce.api.voices import OURS, Voice
from askonce.cache.policy import Unsaid
from askonce.domain.answer import CacheState, Entry, Piece
from askonce.domain.call import Ask, Candidate
from askonce.domain.caller import Caller
from askonce.domain.clock import Clock
from askonce.domain.errors import AskonceError, OverBudget
from askonce.domain.ports import Observer, Window
from askonce.gate.answering import Arrival, Joined
from askonce.gate.pipeline import Road
from askonce.gate.plan import Visit
from askonce.routing.explain import explanation
from askonce.routing.explain import header as route_header
from askonce.routing.route import Route, Tried
from askonce.wire.asides import with_headers
from askonce.wire.cache_headers import REPLAY_STATUS, cache_status, read_cache_control
from askonce.wire.door import Codec, Facts
from askonce.wire.retry_key import read_retry_key

T = TypeVar("T")

# How long a stream may say nothing at all. The first nudge after that (they come every 15 seconds) begins it.
PATIENCE_S = 10.0
# Tells who answered, and after how many attempts: `openai:gpt-4o; attempts=2`.
ROUTE = b"x-askonce-route"
# Tells that an answer's price is not known, where it would else look free: of plain answers that were just paid.
UNPRICED = (b"x-askonce-cost", b"unknown")
# Tells that this very request was answered before, and how (Stripe's header).
REPLAYED = (b"idempotent-replayed", b"true")


class Intake(Struct, frozen=True):
    """Hold how bodies are taken in: at most so many bytes, and not for ever."""

    body_limit: int
    slow_bodies: SlowBodies


class Refusals(Protocol):
    """Add up what is refused, for the audit (`api.trail`)."""

    async def add_up(self, caller: Caller, request: Request, error: AskonceError) -> None:
        """Add one."""
        ...


class Desk(Struct, frozen=True):
    """Hold what all asking doors share."""

    road: Road
    clock: Clock
    observer: Observer
    intake: Intake
    unsaid: Unsaid = Unsaid()
    refusals: Refusals | None = None


class Asked(Struct, frozen=True):
    """Hold one request with what was understood of it and who may answer."""

    request: Request
    ask: Ask
    route: Route


class AskDoor:
    """Answer questions of one shape. `name` is the door's in the table of doors."""

    def __init__(self, name: str, codec: Codec, desk: Desk, voice: Voice = OURS) -> None:
        self._name = name
        self._codec = codec
        self._limits = voice.limits
        self._passes = voice.passes
        self._explains = voice is OURS  # the vendors' shapes have no room for it
        self._intake = desk.intake
        self._road = desk.road
        self._clock = desk.clock
        self._observer = desk.observer
        self._unsaid = desk.unsaid
        self._refusals = desk.refusals

    async def __call__(self, request: Request, caller: Caller, window: Window | None) -> Reply | StreamReply:
        """Answer one request. Raises what is refused before the admission; later errors are replies."""
        body = await request.json_body(self._intake.body_limit, self._intake.slow_bodies)
        unsaid = self._unsaid.mode(request.path, caller)
        ask = self._codec.read(body, caller.tenant, read_cache_control(request.text(b"cache-control"), unsaid))
        if self._passes:
            ask = with_headers(ask, request.named(self._passes))
        name = request.headers.get(b"idempotency-key")
        if name is not None:
            ask = replace(ask, retry_key=read_retry_key(name))
        origin = request.id, request.trace_id(), request.started_ns, request.traceparent()
        visit = Visit(caller, window, self._codec, self._name, *origin)
        admitted = await self._road.travel(ask, visit)
        now_ms = self._clock.wall_ms()
        headers = limit_headers(admitted.window, admitted.verdict, now_ms)
        if admitted.window is not None and admitted.verdict is not None:
            headers += self._limits(admitted.window, admitted.verdict, now_ms)
        asked = Asked(request, ask, admitted.route)
        if isinstance(admitted.outcome, Entry):
            if admitted.replayed:
                headers.append(REPLAYED)
            reply = self._hit(asked, admitted.outcome, headers, now_ms)
            reply.about = _about(admitted.outcome, "hit", admitted.entered_us)
            return reply
        try:
            reply = await self._reply(asked, admitted.outcome, headers)
            if reply.about is not None:
                reply.about.entered_us = admitted.entered_us
            if isinstance(admitted.outcome, Joined) and admitted.outcome.replayed:
                reply.headers.append(REPLAYED)
            return reply
        except AskonceError as error:
            self._note(error)
            if isinstance(error, OverBudget) and self._refusals is not None:
                await self._refusals.add_up(caller, request, error)
            if isinstance(admitted.outcome, Joined) and admitted.outcome.attempts_begun:
                headers.append((ROUTE, route_header(admitted.outcome.candidate, admitted.outcome.attempts_begun)))
            return error_reply(error, self._codec.error(error, request.id), headers)

    async def _reply(self, asked: Asked, outcome: Joined | AskonceError, headers: Headers) -> Reply | StreamReply:
        if isinstance(outcome, AskonceError):
            raise outcome
        if asked.ask.call.stream:
            return await self._live(asked, outcome, headers)
        try:
            arrival = await unless_left(asked.request.receive, outcome.arrival())
        finally:
            outcome.leave()
        headers += _cache_headers(arrival.entry, arrival.state, self._clock.wall_ms(), stored=arrival.stored)
        headers.append((ROUTE, route_header(_who(arrival.entry), outcome.attempts_begun)))
        if not arrival.entry.cost_nano and not arrival.entry.open().priced:
            headers.append(UNPRICED)
        facts = self._facts(asked, arrival, outcome.attempts)
        body = self._codec.render(arrival.entry, facts)
        return Reply(200, [JSON, NO_STORE, *headers], body, _about(arrival.entry, arrival.state))

    async def _live(self, asked: Asked, joined: Joined, headers: Headers) -> StreamReply:
        """Begin a stream once its first piece is there; until then a failure is an ordinary reply.

        Where a model thinks for long, the stream begins before its first piece, and a failure is an event of it:
        proxies and clients give up on who says nothing at all.
        """
        try:
            first = await unless_left(asked.request.receive, _first(joined))
        except BaseException:
            joined.leave()
            raise
        headers.append((b"cache-status", cache_status(joined.state, 0, False).encode()))
        headers.append((ROUTE, route_header(joined.candidate, joined.attempts_begun)))
        about = About(joined.state, joined.candidate.provider, joined.candidate.model)
        return StreamReply(stream_headers(headers), self._events(asked, joined, first, about), joined.leave, about)

    async def _events(
        self, asked: Asked, joined: Joined, pieces: Sequence[Piece] | None, about: About
    ) -> AsyncGenerator[bytes, None]:
        """Write what comes as it comes: pieces that are there together go out together."""
        request, ask = asked.request, asked.ask
        writer = self._codec.writer(ask)
        candidate = joined.candidate
        now_ms = self._clock.wall_ms()
        started = Facts(
            joined.state,
            0,
            0,
            self._id(request),
            ask,
            candidate.provider,
            candidate.model,
            now_ms=now_ms,
            told=joined.told,
        )
        begun = writer.start(started)
        try:
            while pieces is not None:
                written = b"".join(map(writer.piece, pieces)) if pieces else writer.still_here()
                yield begun + written
                begun = b""
                pieces = await joined.more()
            arrival = await joined.arrival()
            _fill(about, arrival.entry, arrival.state)
            yield begun + writer.done(arrival.entry, self._facts(asked, arrival, joined.attempts))
        except AskonceError as error:
            self._note(error)
            about.code = error.code
            yield begun + writer.error(error, request.id)

    def _note(self, error: AskonceError) -> None:
        if error.status >= 500:
            self._observer.failed(error)

    def _facts(self, asked: Asked, arrival: Arrival, attempts: Sequence[Tried] | None) -> Facts:
        entry = arrival.entry
        facts = self._facts_of(asked, entry, arrival.state, self._clock.wall_ms())
        if not self._explains:
            return facts
        limit = asked.ask.routing.max_cost_nano
        spent = arrival.state in ("miss", "refresh", "off") and limit is not None and entry.cost_nano > limit
        over_nano = entry.cost_nano if spent else None
        return replace(facts, explanation=explanation(asked.route, _who(entry), attempts, over_nano))

    def _facts_of(self, asked: Asked, entry: Entry, state: CacheState, now_ms: int) -> Facts:
        age_s, request = _age_s(entry, state, now_ms), asked.request
        return Facts(state, age_s, request.latency_ms(), self._id(request), asked.ask, entry.provider, entry.model)

    def _id(self, request: Request) -> str:
        """Return what a reply is called by: ours has the request's id, the vendors' shapes have ids of the answer."""
        return request.id if self._explains else request.answer_id

    def _hit(self, asked: Asked, entry: Entry, headers: Headers, now_ms: int) -> Reply | StreamReply:
        """Answer from the store, without waiting for anything."""
        headers += _replay_headers(entry, now_ms) if REPLAYED in headers else _cache_headers(entry, "hit", now_ms)
        who = _who(entry)
        headers.append((ROUTE, route_header(who, 0)))
        facts = self._facts_of(asked, entry, "hit", now_ms)
        if self._explains:
            facts = replace(facts, explanation=explanation(asked.route, who, (), None))
        if asked.ask.call.stream:
            return StreamReply(stream_headers(headers), self._replay(entry, facts), nothing_held)
        return Reply(200, [JSON, NO_STORE, *headers], self._codec.render(entry, facts))

    async def _replay(self, entry: Entry, facts: Facts) -> AsyncGenerator[bytes, None]:
        """Send a stored answer as a stream, at once."""
        writer = self._codec.writer(facts.ask)
        yield writer.start(facts) + writer.done(entry, facts)


def _about(entry: Entry, state: CacheState, entered_us: int = 0) -> About:
    saved_nano = entry.cost_nano if state in ("hit", "coalesced") else 0
    return About(state, entry.provider, entry.model, "", saved_nano, entered_us)


def _fill(about: About, entry: Entry, state: CacheState) -> None:
    about.cache, about.provider, about.model = state, entry.provider, entry.model
    about.saved_nano = entry.cost_nano if state in ("hit", "coalesced") else 0


def _who(entry: Entry) -> Candidate:
    return Candidate(entry.provider, entry.model)


def _age_s(entry: Entry, state: CacheState, now_ms: int) -> int:
    """Return how old an answer is; a clock that went back makes it new, not negative."""
    return max(0, now_ms - entry.stored_ms) // 1000 if state == "hit" else 0


def _replay_headers(entry: Entry, now_ms: int) -> Headers:
    """Tell of an answer that this very request was given before: whether the question has one in store is not said."""
    return [(b"cache-status", REPLAY_STATUS), (b"age", b"%d" % _age_s(entry, "hit", now_ms))]


def _cache_headers(entry: Entry, state: CacheState, now_ms: int, *, stored: bool = True) -> Headers:
    status = cache_status(state, max(0, entry.expires_ms - now_ms) // 1000, stored)
    return [(b"cache-status", status.encode()), (b"age", b"%d" % _age_s(entry, state, now_ms))]


async def _first(joined: Joined) -> Sequence[Piece] | None:
    """Return the first pieces, none of them where they are long in coming; None if the flight ends without any."""
    loop = asyncio.get_running_loop()
    patient_until = loop.time() + PATIENCE_S
    while (pieces := await joined.more()) is not None:
        if pieces or loop.time() >= patient_until:
            return pieces
    return None


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
