"""Any endpoint that speaks Anthropic's Messages, as a `Provider`.

Rules of this file, besides those of `chat`:
- A stream is whole only after its stop reason. A plain reply to a call that was to stream has no pieces: whoever writes
  the stream has the whole answer at once, with all blocks in their order, also those that no piece can carry.
- The version is fixed: 2023-06-01 takes everything that a question can hold, `temperature` included, which later
  versions do not know (Anthropic's "Versions"). Betas that a caller asked for are passed on as they came.
- Counting tokens and listing models cost nothing.
"""

import time
from collections.abc import AsyncIterator, Mapping, Sequence

import msgspec

from askonce.domain.answer import Answer, Piece
from askonce.domain.call import Call, Candidate
from askonce.domain.content import Text, text_of
from askonce.domain.errors import AskonceError, ProviderBusy, ProviderDenied, ProviderFailed, UnknownModel, unsent
from askonce.domain.ports import Provider
from askonce.domain.usage import Usage
from askonce.providers.catalog import Vendor
from askonce.providers.chat import PROBE_S, SETTLE_S, Address, Endpoint
from askonce.providers.failures import Refusal, failure
from askonce.providers.http import Http, Limits, Reply, Request, retry_after_s
from askonce.providers.tokens import count_usage
from askonce.wire.anthropic import encode_call, encode_count
from askonce.wire.anthropic_answers import (
    BUSY_WAIT_S,
    Body,
    ErrorField,
    Whole,
    decode_answer,
    decode_count,
    decode_models,
)
from askonce.wire.anthropic_parts import SHAPE
from askonce.wire.anthropic_stream import StreamReader
from askonce.wire.asides import HEADERS
from askonce.wire.sse import Decoder, SseTooLarge

VERSION = "2023-06-01"
OVERLOADED = 529  # Anthropic's "Errors"
BETAS = "anthropic-beta"
PING = "ping"

Headers = tuple[tuple[str, str], ...]


class MessagesProvider:
    """Ask one Anthropic-shaped endpoint."""

    def __init__(self, vendor: Vendor, endpoint: Endpoint, http: Http, limits: Limits) -> None:
        self.name = vendor.name
        self.drains = vendor.drains
        self.drains_plain = vendor.drains_plain
        self._vendor = vendor
        self._endpoint = endpoint
        self._http = http
        self._limits = limits

    async def ask(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Piece | Usage | Answer]:
        """Make one call: pieces (only if `call.stream`), then the whole answer.

        The answer's cost is 0 and unpriced. Closing the iterator or cancelling its task hangs up at once. Raises the
        provider errors of `domain.errors`, and `Invalid`, before anything is sent, for what cannot be said here.
        """
        started, first_ms = time.monotonic(), 0
        with unsent():
            body = encode_call(call, model)
            address = await self._endpoint(deadline_s)
            limits = self._bounded(started + deadline_s - time.monotonic(), call.stream)
        who = self._vendor.title
        async with self._http.exchange(self._request(address, "messages", body, _betas(call)), limits) as reply:
            if reply.status != 200:
                raise await self._failure(reply, address, model)
            if call.stream and not reply.headers.get("content-type", "").startswith("application/json"):
                reading = _Reading(reply, who)
                while pieces := await reading.pieces():
                    for piece in pieces:
                        first_ms = first_ms or (0 if isinstance(piece, Usage) else _ms_since(started))
                        yield piece
                whole = reading.whole()
            else:
                whole = decode_answer(await reply.body(), who)
        answer = await self._answer(call, model, whole)
        took_ms = _ms_since(started)
        yield msgspec.structs.replace(answer, took_ms=took_ms, first_token_ms=first_ms or took_ms)

    async def count(self, call: Call, model: str, deadline_s: float) -> int:
        """Ask how many tokens the prompt has: unpaid. Raises the provider errors of `domain.errors` and `Invalid`."""
        body = encode_count(call, model)
        address = await self._endpoint(deadline_s)
        request = self._request(address, "messages/count_tokens", body, _betas(call))
        async with self._http.exchange(request, self._bounded(deadline_s, stream=False)) as reply:
            if reply.status != 200:
                raise await self._failure(reply, address, model)
            return decode_count(await reply.body(), self._vendor.title)

    async def probe(self) -> str:
        """Ask for the list of models; "" if something answers, else why not. Never a paid call."""
        try:
            await self._list()
        except AskonceError as error:
            return error.message
        return ""

    async def models(self) -> tuple[str, ...]:
        """Return the names that the endpoint lists; empty if it cannot say. Never a paid call."""
        try:
            body = await self._list()
            return decode_models(body, self._vendor.title) if body else ()
        except AskonceError:
            return ()

    async def _list(self) -> bytes:
        """Fetch the list of models; b"" where the endpoint is there but has no list."""
        address = await self._endpoint(PROBE_S)
        limits = Limits(min(self._limits.connect_s, PROBE_S), PROBE_S, PROBE_S, PROBE_S)
        async with self._http.exchange(self._request(address, "models?limit=1000", b""), limits) as reply:
            if reply.status in (404, 405):
                return b""
            if reply.status != 200:
                raise await self._failure(reply, address, "")
            return await reply.body()

    async def _answer(self, call: Call, model: str, whole: Whole) -> Answer:
        texts = tuple(part for part in whole.parts if isinstance(part, Text))
        usage = whole.usage or await count_usage(call, model, text_of(whole.parts))
        return Answer(
            text=text_of(texts),
            finish=whole.finish,
            usage=usage,
            provider=self.name,
            model=model,
            model_version=whole.model_version or model,
            priced=False,
            parts=whole.parts if len(texts) != len(whole.parts) else (),
            stop_sequence=whole.stop_sequence,
        )

    async def _failure(self, reply: Reply, address: Address, model: str) -> AskonceError:
        wait = retry_after_s(reply.headers, time.time())
        body = await reply.beginning()
        said = _error_in(body)
        who = self._vendor.title
        if reply.status == OVERLOADED:
            return ProviderBusy(f"{who} is overloaded.", retry_after_s=BUSY_WAIT_S if wait is None else wait)
        if reply.status == 404 and said.type == "not_found_error" and said.message.startswith("model:"):
            return UnknownModel(f"{who} has no model {model!r}.")
        if reply.status == 400 and "credit balance is too low" in said.message:
            return ProviderDenied(f"{who} has no credit left for our API key.")
        return failure(Refusal(who, model, reply.status, body, address.key, wait))

    def _bounded(self, left_s: float, stream: bool) -> Limits:
        total = max(min(self._limits.total_s, left_s), 0.0)
        first = self._limits.first_byte_s if stream else total
        return Limits(self._limits.connect_s, first, self._limits.idle_s, total)

    def _request(self, address: Address, path: str, body: bytes, betas: Headers = ()) -> Request:
        headers = [("Accept", "application/json"), ("anthropic-version", VERSION), *betas]
        if body:
            headers.append(("Content-Type", "application/json"))
        if address.key:
            headers.append(("x-api-key", address.key))
        # Anthropic's own clients want the address without the version's path; people write it with it as well.
        url = f"{address.base_url.removesuffix('/v1')}/v1/{path}"
        return Request("POST" if body else "GET", url, tuple(headers), body, self._vendor.title)


class _Reading:
    """Read a stream of events to its end."""

    def __init__(self, reply: Reply, who: str) -> None:
        self._reply = reply
        self._who = who
        self._decoder = Decoder()
        self._reader = StreamReader(who)
        self._failure: AskonceError | None = None
        self._told = 0  # times
        self._begun = False
        reply.begins_with_an_event()

    async def pieces(self) -> list[Piece | Usage]:
        """Return the next pieces, and what was told of usage; none at the end.

        Raises `ProviderFailed`, `ProviderBusy`.
        What came before a failure is returned before it is raised, however the bytes were cut.
        """
        while not (self._reader.done or self._failure) and (chunk := await self._reply.piece()):
            if pieces := self._take(chunk):
                return pieces
        if self._failure:
            raise self._failure
        if self._reader.done:
            await self._reply.settle(SETTLE_S)
        return []

    def whole(self) -> Whole:
        """Return the whole message. Raises `ProviderFailed`."""
        return self._reader.whole()

    def _take(self, chunk: bytes) -> list[Piece | Usage]:
        pieces: list[Piece | Usage] = []
        try:
            events = self._decoder.feed(chunk)
            # Pings come before the answer as well as within it; only there they tell that it goes on.
            self._begun = self._begun or any(event.event != PING for event in events)
            if events and self._begun:
                self._reply.heard()
            for event in events:
                pieces += self._reader.take(event.data)
        except SseTooLarge:
            self._failure = ProviderFailed(f"{self._who} sent an event that is too long.")
        except (ProviderFailed, ProviderBusy) as failed:
            self._failure = failed
        if self._reader.told != self._told:
            self._told = self._reader.told
            if (usage := self._reader.usage_so_far) is not None:
                pieces.insert(0, usage)
        return pieces


def _ms_since(started: float) -> int:
    return max(round((time.monotonic() - started) * 1000), 1)


def _betas(call: Call) -> Headers:
    if call.shape != SHAPE:
        return ()
    found = (msgspec.json.decode(aside.json) for aside in call.asides if aside.at == (HEADERS, BETAS))
    return tuple((BETAS, value) for value in found if isinstance(value, str))


def _error_in(body: bytes) -> ErrorField:
    try:
        return msgspec.json.decode(body, type=Body).error or ErrorField()
    except (msgspec.DecodeError, UnicodeError):
        return ErrorField()


class Counter:
    """Count a prompt's tokens: by the vendor where that is Anthropic-shaped, else here."""

    def __init__(self, providers: Mapping[str, Sequence[Provider]], deadline_s: float) -> None:
        self._providers = providers
        self._deadline_s = deadline_s

    async def count(self, call: Call, candidate: Candidate) -> tuple[int, bool]:
        """Return the tokens, and whether they are estimated. Raises the provider errors of `domain.errors`.

        Where the vendor refuses or slows one of its keys, the next is asked.
        """
        failure: AskonceError | None = None
        for provider in self._providers.get(candidate.provider, ()):
            if isinstance(provider, MessagesProvider):
                try:
                    return await provider.count(call, candidate.model, self._deadline_s), False
                except (ProviderBusy, ProviderDenied) as error:
                    failure = failure or error
        if failure is not None:
            raise failure
        tools = msgspec.json.encode(call.tools).decode() if call.tools else ""
        usage = await count_usage(call, candidate.model, tools)
        return usage.total_tokens, True
