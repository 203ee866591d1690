"""Read a log of requests: one JSON object per line, a request's body by itself or inside what was logged around it.

Bodies go through the doors' own codecs, so that two lines are one question exactly where the server would say so. What
cannot be read is counted, with the first reasons; nothing is skipped silently.
"""

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from askonce.cache.fingerprint import fingerprints
from askonce.domain.call import Ask, CacheWish, Candidate
from askonce.domain.content import text_of
from askonce.domain.errors import AskonceError
from askonce.domain.ports import Prices
from askonce.domain.usage import Usage
from askonce.providers.catalog import VENDORS
from askonce.providers.tokens import estimate
from askonce.simulation.requests import PastRequest, Prefix
from askonce.wire.codecs import CODECS

TIMES = ("time", "timestamp", "ts", "at", "created_at", "createdAt", "start_time", "startTime", "created")
BODIES = ("body", "request", "request_body", "requestBody", "input", "payload")
PATHS = ("path", "url", "endpoint", "door", "route")
DURATIONS = {"took_ms": 1, "duration_ms": 1, "latency_ms": 1, "latencyMs": 1, "duration": 1000, "response_time": 1000}
EVERYBODY = "everybody"
GAP_MS = 1_000  # between requests of a log without times
TOKENS_PER_S, FIRST_MS = 60, 500  # how fast answers came, where the log does not say
BYTES_PER_TOKEN, ENTRY_BYTES = 4, 700  # of a stored answer: its text, and what stands around it
LONGEST_MS = 86_400_000
REORDERED = 10_000  # lines held back to be put in order: some megabytes
FAILS_FROM = 400  # HTTP's
SHOWN_REASONS = 5
SHOWN_FIELDS = 100
_LATEST_MS = 253_402_300_799_000  # the last second of the year 9999
_VENDORS = frozenset(vendor.name for vendor in VENDORS)
_BY_NAME = {"claude": "anthropic", "gemini": "gemini", "grok": "xai", "mistral": "mistral", "deepseek": "deepseek"}


class Reading(Struct):
    """Tell how the reading went: what lines did not say (a time, an output, a known price), and which were refused.

    `extra_fields` are those that only a vendor may know, with the number of requests that have them: each of them is
    part of the question, as it is for the server.
    """

    lines: int = 0
    requests: int = 0
    timeless: int = 0
    without_output: int = 0
    unpriced: int = 0
    backwards: int = 0
    failed: int = 0
    refused: int = 0
    reasons: list[str] = []
    extra_fields: dict[str, int] = {}


def took_ms(completion_tokens: int) -> int:
    """Guess how long an answer of so many tokens took to come."""
    return FIRST_MS + 1000 * completion_tokens // TOKENS_PER_S


def answer_bytes(completion_tokens: int) -> int:
    """Guess what a stored answer of so many tokens takes of the room."""
    return ENTRY_BYTES + BYTES_PER_TOKEN * completion_tokens


class Unreadable(Exception):
    """Say why a line is no request."""


class Reader:
    """Turn lines into requests. `tenant_field` names whose answers are shared, inside the line; "" for one tenant.

    `ignored` are fields of a line that are no part of the question, besides those that logs are known to write.
    """

    def __init__(self, prices: Prices, tenant_field: str = "", ignored: Iterable[str] = ()) -> None:
        self._prices = prices
        self._tenant_field = tenant_field
        self._beside = _AROUND | {tenant_field, *ignored}
        self._now_ms = 0
        self._passed_ms = 0
        self.told = Reading()

    def read(self, lines: Iterable[bytes]) -> Iterator[PastRequest]:
        """Yield the requests of a log in the order of their times.

        Logs are written when calls end, so a line may be a little out of order: `REORDERED` lines are held back.
        """
        held: list[tuple[int, int, PastRequest]] = []
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            self.told.lines += 1
            try:
                request = self._request(line)
            except Unreadable as error:
                self.told.refused += 1
                if len(self.told.reasons) < SHOWN_REASONS:
                    self.told.reasons.append(f"line {number}: {error}")
                continue
            self.told.requests += 1
            heappush(held, (request.at_ms, number, request))
            if len(held) > REORDERED:
                yield self._in_order(heappop(held)[2])
        while held:
            yield self._in_order(heappop(held)[2])

    def _in_order(self, request: PastRequest) -> PastRequest:
        """Return a request as it was, or with the time of the one before where it is earlier all the same."""
        if request.at_ms < self._passed_ms:
            self.told.backwards += 1
            return replace(request, at_ms=self._passed_ms)
        self._passed_ms = request.at_ms
        return request

    def _request(self, line: bytes) -> PastRequest:
        try:
            logged = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Unreadable(f"no JSON: {error}") from None
        if not isinstance(logged, dict):
            raise Unreadable("no JSON object")
        body = _body(logged)
        at_ms = self._time(logged)
        tenant = str(_inside(logged, self._tenant_field) or EVERYBODY) if self._tenant_field else EVERYBODY
        # Around a body of its own stands the log, inside it nothing of the log does.
        ask = _read(_path(logged, body), body, tenant, self._beside if body is logged else frozenset())
        for field, _ in ask.call.extra:
            if field in self.told.extra_fields or len(self.told.extra_fields) < SHOWN_FIELDS:
                self.told.extra_fields[field] = self.told.extra_fields.get(field, 0) + 1
        model = ask.routing.model or ask.routing.active_provider or ""
        usage, counted = self._usage(logged, ask)
        provider, name = _provider(model)
        price = self._prices.price(provider, name, "")
        if price is None:
            self.told.unpriced += 1
        failed = _has_failed(logged)
        if failed:
            self.told.failed += 1
        elif not counted:
            self.told.without_output += 1
        return PastRequest(
            at_ms=at_ms,
            tenant=tenant,
            caller=str(_inside(logged, "user") or _inside(logged, "key") or tenant),
            fingerprint=fingerprints(ask.call, (Candidate(provider, name),)).entries[0],
            model=model,
            prompt_tokens=usage.prompt_tokens,
            completion_tokens=usage.completion_tokens,
            took_ms=_duration(logged, usage.completion_tokens),
            answer_bytes=answer_bytes(usage.completion_tokens),
            cost_nano=None if price is None else price.cost_nano(usage),
            prefixes=_prefixes(ask, usage.prompt_tokens),
            mode=ask.cache.mode,
            failed=failed,
        )

    def _time(self, logged: dict[str, Any]) -> int:
        """Return when a request came; what has no time came a second after the line before.

        Raises `Unreadable` for a time that is none.
        """
        written = [(name, logged[name]) for name in TIMES if logged.get(name) is not None]
        at_ms = next((found for _, value in written if (found := _moment(value)) is not None), None)
        if at_ms is None:
            if written:
                name, value = written[0]
                raise Unreadable(f"its {name} is no time: {str(value)[:40]!r}")
            self.told.timeless += 1
            at_ms = self._now_ms + GAP_MS
        self._now_ms = at_ms
        return at_ms

    def _usage(self, logged: dict[str, Any], ask: Ask) -> tuple[Usage, bool]:
        """Return the tokens of a call, and whether the log tells those of the answer."""
        told = next((one for path in _USAGES if isinstance(one := _inside(logged, path), dict)), logged)
        prompt = _count(told, "prompt_tokens", "input_tokens", "promptTokens")
        completion = _count(told, "completion_tokens", "output_tokens", "completionTokens")
        read = _count(told, "cache_read_input_tokens")
        written = _count(told, "cache_creation_input_tokens") or 0
        if prompt is None:
            prompt = sum(estimate([text_of(message.content) for message in ask.call.messages]))
        elif read is not None:
            prompt += read + written  # Anthropic counts them apart
        else:
            details = told.get("prompt_tokens_details", told.get("input_tokens_details"))
            read = _count(details, "cached_tokens") if isinstance(details, dict) else 0
        usage = Usage(prompt, completion or 0, read or 0, written)
        if not usage.is_possible:
            raise Unreadable("its usage cannot be: a part is more than the whole, or a count beyond all windows")
        return usage, completion is not None or ask.call.kind == "embedding"


_USAGES = ("usage", "response.usage", "response.body.usage", "metadata.usage", "response.metadata.usage")


def _has_failed(logged: dict[str, Any]) -> bool:
    """Say whether a log tells that a call brought no answer: those are paid as they were, and never stored."""
    for path in ("status", "status_code", "response.status_code"):
        status = _inside(logged, path)
        if isinstance(status, int) and not isinstance(status, bool) and status >= FAILS_FROM:
            return True
        if isinstance(status, str) and status.lower() in ("failed", "failure", "error"):
            return True
    return any(_inside(logged, path) for path in ("error", "exception", "response.error", "response.body.error"))


def _count(told: dict[str, Any], *names: str) -> int | None:
    """Return the first of these that is a count."""
    counts = (told.get(name) for name in names)
    return next((one for one in counts if isinstance(one, int) and not isinstance(one, bool) and one >= 0), None)


def _body(logged: dict[str, Any]) -> dict[str, Any]:
    """Return the request's body: the line itself, or what it holds under a usual name."""
    if any(name in logged for name in ("messages", "prompt")) or ("input" in logged and "model" in logged):
        return logged
    for name in BODIES:
        found = logged.get(name)
        if isinstance(found, str):
            try:
                found = msgspec.json.decode(found)
            except msgspec.DecodeError:
                continue
        if isinstance(found, dict):
            return found
    raise Unreadable(f"no request in it: neither `messages`, `prompt` or `input`, nor one of {', '.join(BODIES)}")


def _path(logged: dict[str, Any], body: dict[str, Any]) -> str:
    """Return the door that a body is for: as the line says, else by what it looks like."""
    for name in PATHS:
        said = logged.get(name)
        if isinstance(said, str):
            for path in CODECS:
                if said.partition("?")[0].endswith(path):
                    return path
    if "messages" in body:
        is_theirs = "system" in body or str(body.get("model", "")).startswith("claude")
        return "/v1/messages" if is_theirs and "max_tokens" in body else "/v1/chat/completions"
    if "input" in body:
        return "/v1/embeddings" if "embed" in str(body.get("model", "")) else "/v1/responses"
    return "/llm/generate"


# What logs write beside the fields of a body, LiteLLM's spend log among them: no part of any question.
_AROUND = frozenset(
    """usage response tenant team custom_id method key id request_id call_type api_key spend response_cost cache_hit
    cache_key total_tokens prompt_tokens completion_tokens endTime end_time completionStartTime litellm_call_id status
    status_code error""".split()
) | {*TIMES, *PATHS, *DURATIONS}


def _read(path: str, body: dict[str, Any], tenant: str, left_out: frozenset[str]) -> Ask:
    """Read a body as its door does; what a log writes beside the fields of a body is taken out first."""
    fields = {name: value for name, value in body.items() if name not in left_out}
    if path == "/llm/generate":
        fields.pop("user", None)  # who asked, in a log: the door itself has no such field
    try:
        return CODECS[path].read(msgspec.json.encode(fields), tenant, CacheWish())
    except AskonceError as error:
        raise Unreadable(f"{path} would refuse it: {error}") from None


def _inside(logged: dict[str, Any], path: str) -> Any:
    found: Any = logged
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def _moment(value: Any) -> int | None:
    """Read epoch seconds, milliseconds, or an ISO 8601 time, as epoch milliseconds."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        at_ms = value if value > 1e11 else value * 1000
        return int(at_ms) if 0 <= at_ms <= _LATEST_MS else None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000))
    return None


def _duration(logged: dict[str, Any], completion_tokens: int) -> int:
    for name, factor in DURATIONS.items():
        value = logged.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_MS / factor:
            return int(value * factor)
    return took_ms(completion_tokens)


def _provider(model: str) -> tuple[str, str]:
    """Return whose prices a model has, by its name."""
    for separator in (":", "/"):
        provider, _, name = model.partition(separator)
        if name and provider in _VENDORS:
            return provider, name
    return next((vendor for word, vendor in _BY_NAME.items() if model.startswith(word)), "openai"), model


def _prefixes(ask: Ask, prompt_tokens: int) -> tuple[Prefix, ...]:
    """Return how the prompt begins after each of its messages, its tokens shared out by length."""
    lengths = [len(text_of(message.content)) for message in ask.call.messages]
    whole, read, digest = sum(lengths) or 1, 0, hashlib.sha256(ask.call.tenant.encode())
    found = []
    for message, length in zip(ask.call.messages, lengths, strict=True):
        digest.update(msgspec.msgpack.encode((message.role, text_of(message.content))))
        read += length
        found.append(Prefix(digest.digest()[:16], prompt_tokens * read // whole))
    return tuple(found)
