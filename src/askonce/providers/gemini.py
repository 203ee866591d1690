"""Google's Gemini API in its own shape, as a `Provider`.

The doors are `models/{model}:generateContent` and `:streamGenerateContent?alt=sse` (Google's "Gemini API reference").
Rules of this file:
- The key travels in a header (`Vendor.key_header`), never in the address, which is where logs would find it.
- A stream has no last word of its own: it is whole when a finish reason came before its end.
- A plain call's first byte is its last, so the deadline for the first byte holds for streams only.
- Nothing here costs money unless `ask` is called.
"""

import re
import time
from collections.abc import AsyncIterator

from msgspec.structs import replace

from askonce.domain.answer import Answer, Piece
from askonce.domain.call import Call
from askonce.domain.content import text_of
from askonce.domain.errors import AskonceError, ProviderBusy, ProviderFailed, UnknownModel, unsent
from askonce.domain.usage import Usage
from askonce.providers.catalog import Vendor
from askonce.providers.chat import PROBE_S, Address, Endpoint
from askonce.providers.failures import QUOTA_WAIT_S, Refusal, failure
from askonce.providers.http import Http, Limits, Reply, Request, retry_after_s
from askonce.providers.tokens import count_usage
from askonce.wire.gemini import encode_call
from askonce.wire.gemini_answers import Gathering, decode_models
from askonce.wire.gemini_errors import Trouble, read_trouble
from askonce.wire.sse import Decoder, SseTooLarge

LIST_SIZE = 1000  # the most that one page of the list holds; there are under a hundred models

# `gemini-2.5-flash`, or with its collection: `tunedModels/my-own`. Nothing that would lead to another door.
_MODEL = re.compile(r"(?:models/|tunedModels/)?[A-Za-z0-9][\w.-]*", re.ASCII)

# Reasons and status words that are about our key or account, whatever the HTTP status: a bad key is a 400.
_DENIED_REASONS = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED", "SERVICE_DISABLED"})
_DENIED_WORDS = ("UNAUTHENTICATED", "PERMISSION_DENIED")
# What FAILED_PRECONDITION says where it is about our account, and not about a file that is not ready.
_ACCOUNT = re.compile(rb"location is not supported|free tier|billing", re.IGNORECASE)


class GeminiProvider:
    """Ask Google's Gemini API, or an endpoint that speaks its shape."""

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
        began = time.monotonic()
        first_ms = 0
        with unsent():
            path = self._path(model, stream=call.stream)
            body = encode_call(call, model)
            address = await self._endpoint(deadline_s)
            limits = self._bounded(deadline_s - (time.monotonic() - began), call.stream)
        gathered = Gathering(self._vendor.title, len(call.messages))
        async with self._http.exchange(self._request(address, path, body, call.stream), limits) as reply:
            if reply.status != 200:
                raise await self._failure(reply, address, model)
            if call.stream and not reply.headers.get("content-type", "").startswith("application/json"):
                reading = _Reading(reply, gathered, self._vendor.title)
                while pieces := await reading.pieces():
                    if gathered.usage is not None:
                        yield replace(gathered.usage, estimated=True)
                    first_ms = first_ms or max(_ms_since(began), 1)
                    for piece in pieces:
                        yield piece
            else:
                pieces = gathered.add(await reply.body())
                first_ms = max(_ms_since(began), 1)
                for piece in pieces if call.stream else ():
                    yield piece
        gathered.end()
        text, parts = gathered.text, gathered.parts
        yield Answer(
            text=text,
            finish=gathered.finish or "unknown",
            usage=gathered.usage or await count_usage(call, model, text_of(parts) or text),
            provider=self.name,
            model=model,
            model_version=gathered.model_version or model,
            priced=False,
            took_ms=_ms_since(began),
            first_token_ms=first_ms,
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
        request = self._request(address, f"models?pageSize={LIST_SIZE}", b"", stream=False)
        async with self._http.exchange(request, limits) as reply:
            if reply.status in (404, 405):
                return b""
            if reply.status != 200:
                raise await self._failure(reply, address, "")
            return await reply.body()

    async def _failure(self, reply: Reply, address: Address, model: str) -> AskonceError:
        wait = retry_after_s(reply.headers, time.time())
        body = await reply.beginning()
        return refused(Refusal(self._vendor.title, model, reply.status, body, address.key, wait))

    def _bounded(self, left_s: float, stream: bool) -> Limits:
        total = max(min(self._limits.total_s, left_s), 0.0)
        first = self._limits.first_byte_s if stream else total
        return Limits(self._limits.connect_s, first, self._limits.idle_s, total)

    def _path(self, model: str, *, stream: bool) -> str:
        if not _MODEL.fullmatch(model):
            raise UnknownModel(f"{self._vendor.title} has no model {model!r}: its names hold letters, digits, . _ -.")
        name = model if "/" in model else f"models/{model}"
        return f"{name}:streamGenerateContent?alt=sse" if stream else f"{name}:generateContent"

    def _request(self, address: Address, path: str, body: bytes, stream: bool) -> Request:
        headers = [("Accept", "text/event-stream" if stream else "application/json")]
        if body:
            headers.append(("Content-Type", "application/json"))
        if address.key:
            headers.append((self._vendor.key_header, address.key))
        url = f"{address.base_url}/{path}"
        return Request("POST" if body else "GET", url, tuple(headers), body, self._vendor.title)


class _Reading:
    """Read a stream of events to its end."""

    def __init__(self, reply: Reply, gathered: Gathering, who: str) -> None:
        self._reply = reply
        self._gathered = gathered
        self._who = who
        self._decoder = Decoder()
        self._broken: AskonceError | None = None
        reply.begins_with_an_event()

    async def pieces(self) -> list[Piece]:
        """Return the next pieces; none at the end. What came before a failure is returned before it is raised."""
        while self._broken is None and (data := await self._reply.piece()):
            if pieces := self._take(data):
                return pieces
        if self._broken is not None:
            raise self._broken
        return []

    def _take(self, data: bytes) -> list[Piece]:
        pieces: list[Piece] = []
        try:
            events = self._decoder.feed(data)
            if events:
                self._reply.heard()
            for event in events:
                pieces += self._gathered.add(event.data)
        except SseTooLarge:
            self._broken = ProviderFailed(f"{self._who} sent an event that is too long.")
        except AskonceError as error:
            self._broken = error
        return pieces


def refused(refusal: Refusal) -> AskonceError:
    """Choose the error for a refusal: by Google's own words where it has any, else as everywhere. Pure."""
    trouble = read_trouble(refusal.body) or Trouble()
    status, wait = refusal.status, trouble.retry_after_s or refusal.retry_after_s
    account = trouble.status == "FAILED_PRECONDITION" and _ACCOUNT.search(refusal.body)
    if account or trouble.reasons & _DENIED_REASONS or trouble.status in _DENIED_WORDS:
        status = 401
    elif trouble.status == "RESOURCE_EXHAUSTED":
        if trouble.daily:
            said = f"{refusal.who} says that the day's quota of our API key is used up."
            return ProviderBusy(said, retry_after_s=max(wait or 0, QUOTA_WAIT_S))
        status = 429
    elif trouble.status == "NOT_FOUND" and refusal.model:
        return UnknownModel(f"{refusal.who} has no model {refusal.model!r} that answers.")
    return failure(Refusal(refusal.who, refusal.model, status, refusal.body, refusal.key, wait))


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
