"""Any endpoint that speaks OpenAI's chat completions, as a `Provider`.

Rules of this file:
- What cannot be told from a whole answer is not one: a stream counts as whole only after a finish reason or `[DONE]`.
- The endpoint is asked for on every call, so that one which is still starting (the embedded model) is awaited.
- A plain call's first byte is its last, so the deadline for the first byte holds for streams only.
- Nothing here costs money unless `ask` is called.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct

from askonce.domain.answer import Answer, Delta, Piece, ThinkingDelta
from askonce.domain.call import Call
from askonce.domain.content import text_of
from askonce.domain.errors import AskonceError, ConfigError, ProviderFailed, unsent
from askonce.providers.catalog import Vendor
from askonce.providers.failures import Refusal, failure
from askonce.providers.http import Http, Limits, Reply, Request, retry_after_s
from askonce.providers.tokens import count_usage
from askonce.wire.openai import decode_models, encode_call
from askonce.wire.openai_answers import DONE, Gathering, decode_answer, decode_piece
from askonce.wire.sse import Decoder, SseTooLarge

PROBE_S = 5.0  # a listing is answered from memory; slower is not healthy
SETTLE_S = 0.05  # the end of a stream comes with its last event or right behind it


class Address(Struct, frozen=True):
    """Hold where an endpoint listens (without a slash at the end) and the key it wants, if any."""

    base_url: str
    key: str = ""


# Finds the address within so many seconds. Raises `ModelLoading` or `ModelUnavailable` where there is none yet.
Endpoint = Callable[[float], Awaitable[Address]]


def fixed(base_url: str, key: str = "") -> Endpoint:
    """Make an endpoint that is always there. Raises `ConfigError` for a key that no header can hold."""
    if not all("!" <= letter <= "~" for letter in key):
        raise ConfigError("The API key holds a space, a line break or a letter beyond ASCII: copy it again, whole.")
    address = Address(base_url.rstrip("/"), key)

    async def find(deadline_s: float) -> Address:
        return address

    return find


class ChatProvider:
    """Ask one OpenAI-shaped endpoint."""

    def __init__(self, vendor: Vendor, endpoint: Endpoint, http: Http, limits: Limits) -> None:
        self.name = vendor.name
        self.drains = vendor.drains
        self.drains_plain = vendor.drains_plain
        self._vendor = vendor
        self._endpoint = endpoint
        self._http = http
        self._limits = limits

    async def ask(self, call: Call, model: str, deadline_s: float) -> AsyncIterator[Piece | Answer]:
        """Make one call: pieces (only if `call.stream`), then the whole answer.

        The answer's cost is 0 and unpriced. Closing the iterator or cancelling its task hangs up at once. Raises the
        provider errors of `domain.errors`, and `Invalid`, before anything is sent, for what cannot be said here.
        """
        watch = _Watch()
        end = time.monotonic() + deadline_s
        with unsent():
            body = encode_call(call, model, self._vendor.dialect)
            address = await self._endpoint(deadline_s)
            limits = self._bounded(end - time.monotonic(), call.stream)
        request = self._request(address, "chat/completions", body, call.stream)
        gathered = Gathering()
        async with self._http.exchange(request, limits) as reply:
            if reply.status != 200:
                raise await self._failure(reply, address, model)
            if call.stream and not _is_json(reply):
                reading = _Reading(reply, gathered, self._vendor.title)
                while pieces := await reading.pieces():
                    watch.first_token()
                    for piece in pieces:
                        yield piece
            else:
                pieces = gathered.add(decode_answer(await reply.body(), self._vendor.title))
                watch.first_token()
                for piece in pieces if call.stream else ():
                    yield piece
        parts = gathered.parts()
        usage = gathered.usage or await count_usage(call, model, text_of(parts) or gathered.text)
        usage = gathered.tiered(usage)
        yield Answer(
            text=gathered.text,
            finish=gathered.finish or "unknown",
            usage=usage,
            provider=self.name,
            model=model,
            model_version=gathered.model_version or model,
            priced=False,
            took_ms=watch.took_ms(),
            first_token_ms=watch.first_ms,
            parts=parts,
        )

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
        async with self._http.exchange(self._request(address, "models", b"", False), limits) as reply:
            if reply.status in (404, 405):
                return b""
            if reply.status != 200:
                raise await self._failure(reply, address, "")
            return await reply.body()

    async def _failure(self, reply: Reply, address: Address, model: str) -> AskonceError:
        wait = retry_after_s(reply.headers, time.time())
        body = await reply.beginning()
        return failure(Refusal(self._vendor.title, model, reply.status, body, address.key, wait))

    def _bounded(self, left_s: float, stream: bool) -> Limits:
        total = max(min(self._limits.total_s, left_s), 0.0)
        first = self._limits.first_byte_s if stream else total
        return Limits(self._limits.connect_s, first, self._limits.idle_s, total)

    def _request(self, address: Address, path: str, body: bytes, stream: bool) -> Request:
        headers = [("Accept", "text/event-stream" if stream else "application/json")]
        if body:
            headers.append(("Content-Type", "application/json"))
        if address.key:
            name = self._vendor.key_header
            headers.append((name, address.key) if name else ("Authorization", f"Bearer {address.key}"))
        url = f"{address.base_url}/{path}"
        return Request("POST" if body else "GET", url, tuple(headers), body, self._vendor.title)


class _Reading:
    """Read a stream of events to its end."""

    def __init__(self, reply: Reply, gathered: Gathering, who: str) -> None:
        self._reply = reply
        self._gathered = gathered
        self._who = who
        self._decoder = Decoder()
        self._done = False
        self._failure: ProviderFailed | None = None
        reply.begins_with_an_event()

    async def pieces(self) -> list[Piece]:
        """Return the next pieces, joined only from what came together; none at the end. Raises `ProviderFailed`.

        What came before a failure is returned before it is raised, however the bytes were cut.
        """
        while not (self._done or self._failure) and (piece := await self._reply.piece()):
            if pieces := self._take(piece):
                return pieces
        if self._failure:
            raise self._failure
        if self._done:
            await self._reply.settle(SETTLE_S)
        elif self._gathered.finish is None:
            raise ProviderFailed(f"{self._who} ended the stream before the answer was whole.")
        return []

    def _take(self, piece: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        try:
            events = self._decoder.feed(piece)
            if events:
                self._reply.heard()
            for event in events:
                if event.data == DONE:
                    self._done = True
                    break
                pieces += self._gathered.add(decode_piece(event.data, self._who))
        except SseTooLarge:
            self._failure = ProviderFailed(f"{self._who} sent an event that is too long.")
        except ProviderFailed as failed:
            self._failure = failed
        return _joined(pieces) if len(pieces) > 1 else pieces


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Make one piece of neighbours that are text, or reasoning."""
    whole: list[Piece] = []
    for piece in pieces:
        last = whole[-1] if whole else None
        if isinstance(piece, Delta) and isinstance(last, Delta):
            whole[-1] = Delta(last.text + piece.text)
        elif isinstance(piece, ThinkingDelta) and isinstance(last, ThinkingDelta):
            whole[-1] = ThinkingDelta(last.text + piece.text)
        else:
            whole.append(piece)
    return whole


class _Watch:
    """Measure a call in milliseconds, rounded to the nearest."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.first_ms = 0

    def took_ms(self) -> int:
        return round((time.monotonic() - self._started) * 1000)

    def first_token(self) -> None:
        self.first_ms = self.first_ms or max(self.took_ms(), 1)


def _is_json(reply: Reply) -> bool:
    """Say whether a server answered a stream request with a whole answer, as some do."""
    return reply.headers.get("content-type", "").startswith("application/json")
