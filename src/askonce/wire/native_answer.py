"""The answer of `/llm/generate`: one JSON object, or a stream of named events that ends with the same object.

What all hits on an answer have in common (`rendition`) is encoded once, when the answer is stored; a hit adds the few
fields that are its own.
"""

import functools
from typing import Literal

import msgspec
from msgspec import UNSET, Struct, UnsetType

from askonce.domain.answer import Answer, CacheState, Delta, Entry, Piece
from askonce.domain.call import Ask, CacheWish
from askonce.domain.errors import AskonceError
from askonce.domain.money import USUAL_SERVICE, dollars
from askonce.wire import sse
from askonce.wire.door import Facts, Writer
from askonce.wire.fences import FenceReader, File, parse
from askonce.wire.native import read_generate

SHAPE = "native/1"


class UsageField(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Hold token counts; the kinds that a call did not have are left out."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: bool = False
    cache_write_1h_tokens: int = 0
    service_tier: str = ""


class CommonMetadata(Struct, frozen=True, rename="camel"):
    """Hold the metadata that all replies with one answer share.

    `priced` stands there, and is false, where nobody knows what the answer cost; its cost is then counted as 0.
    """

    provider: str
    model: str
    model_version: str
    finish_reason: str
    usage: UsageField
    warnings: tuple[str, ...]
    priced: Literal[False] | UnsetType = UNSET


class Common(Struct, frozen=True):
    """Hold what all replies with one answer share."""

    code: str
    files: tuple[File, ...]
    metadata: CommonMetadata


class Native:
    """Render entries in the native shape."""

    name = SHAPE

    def rendition(self, answer: Answer) -> bytes:
        """Encode what all replies with this answer share, without the closing braces."""
        parsed = parse(answer.text)
        warnings = list(parsed.warnings)
        if not answer.priced:
            warnings.append(_unpriced(answer))
        usage = answer.usage
        common = Common(
            code=parsed.code,
            files=tuple(parsed.files),
            metadata=CommonMetadata(
                provider=answer.provider,
                model=answer.model,
                model_version=answer.model_version,
                finish_reason=answer.finish,
                usage=UsageField(
                    prompt_tokens=usage.prompt_tokens,
                    completion_tokens=usage.completion_tokens,
                    total_tokens=usage.total_tokens,
                    cached_tokens=usage.cached_tokens,
                    cache_write_tokens=usage.cache_write_tokens,
                    reasoning_tokens=usage.reasoning_tokens,
                    estimated=usage.estimated,
                    cache_write_1h_tokens=usage.hour_tokens,
                    service_tier="" if usage.service_tier in USUAL_SERVICE else usage.service_tier,
                ),
                warnings=tuple(warnings),
                priced=UNSET if answer.priced else False,
            ),
        )
        return msgspec.json.encode(common)[:-2]

    def read(self, body: bytes, tenant: str, wish: CacheWish) -> Ask:
        """Turn the body of POST /llm/generate into a question. Raises `Malformed` and `Invalid`."""
        return read_generate(body, tenant, wish)

    def render(self, entry: Entry, facts: Facts) -> bytes:
        """Return the JSON answer."""
        return render(entry, facts)

    def writer(self, ask: Ask) -> Writer:
        """Return a writer of named events."""
        return EventWriter()

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Return the JSON error."""
        return error_body(error, request_id)


def _unpriced(answer: Answer) -> str:
    tier = answer.usage.service_tier
    served = "" if tier in USUAL_SERVICE else f" in the service tier {tier!r}"
    return f"No price is known for {answer.provider}:{answer.model}{served}; its cost is counted as $0."


NATIVE = Native()


def render(entry: Entry, facts: Facts) -> bytes:
    """Return the JSON answer."""
    head = entry.rendition if entry.shape == SHAPE else NATIVE.rendition(entry.open())
    return head + _own(facts.state, entry.cost_nano) % (
        facts.age_s,
        facts.latency_ms,
        facts.request_id.encode(),
        facts.ask.routing.mode.encode(),
        b',"routing":' + facts.explanation.encode() if facts.explanation else b"",
    )


@functools.lru_cache(maxsize=1024)
def _own(state: CacheState, cost_nano: int) -> bytes:
    """Return the template of a reply's own fields. Request ids are printable ASCII without quotes (api.requests)."""
    spared = state in ("hit", "coalesced")
    cost, saved = (0, cost_nano) if spared else (cost_nano, 0)
    return (
        f',"cached":{"true" if spared else "false"},"cache":"{state}"'
        f',"cost":"{dollars(cost)}","costNano":{cost},"saved":"{dollars(saved)}","savedNano":{saved}'
        ',"ageSeconds":%d,"latencyMs":%d,"requestId":"%b","routingMode":"%b"%b}}'
    ).encode()


class Started(Struct, frozen=True, rename="camel"):
    """Open a stream: who answers and how the answer comes about."""

    request_id: str
    cache: CacheState
    provider: str
    model: str


class Text(Struct, frozen=True):
    """Carry a piece of the answer."""

    text: str


class EventWriter:
    """Write one reply's named events: start, then deltas and files, then done or error. Only text is passed on."""

    def __init__(self) -> None:
        self._fences = FenceReader()
        self._silent = True

    def start(self, facts: Facts) -> bytes:
        """Write the first event."""
        started = Started(facts.request_id, facts.state, facts.provider, facts.model)
        return sse.encode("start", msgspec.json.encode(started))

    def piece(self, piece: Piece) -> bytes:
        """Write a piece of text, and every file that it completes."""
        if not isinstance(piece, Delta):
            return b""
        self._silent = False
        files = self._fences.feed(piece.text)
        event = sse.encode("delta", msgspec.json.encode(Text(piece.text)))
        return event + b"".join(map(_file_event, files)) if files else event

    def still_here(self) -> bytes:
        """Write a comment."""
        return b": still here\n\n"

    def done(self, entry: Entry, facts: Facts) -> bytes:
        """Write the text if none came, the files that only the end completed, then the whole answer."""
        whole = self.piece(Delta(entry.open().text)) if self._silent else b""
        return whole + b"".join(map(_file_event, self._fences.close())) + sse.encode("done", render(entry, facts))

    def error(self, error: AskonceError, request_id: str) -> bytes:
        """Write the last event of a stream that broke."""
        return sse.encode("error", error_body(error, request_id))


def _file_event(file: File) -> bytes:
    return sse.encode("file", msgspec.json.encode(file))


class ErrorDetail(Struct, frozen=True):
    """Point at what is wrong with one field."""

    field: str
    problem: str


class ErrorBody(Struct, frozen=True, rename="camel", omit_defaults=True):
    """Hold the error that `/llm/*` and everything else of ours answers with."""

    error: str
    message: str
    code: str
    request_id: str
    retry_after: int | None = None
    details: tuple[ErrorDetail, ...] = ()


def error_body(error: AskonceError, request_id: str) -> bytes:
    """Return the JSON body of an error."""
    return msgspec.json.encode(
        ErrorBody(
            error=error.title,
            message=error.message,
            code=error.code,
            request_id=request_id,
            retry_after=error.retry_after_s,
            details=tuple(ErrorDetail(d.field, d.problem) for d in error.details),
        )
    )
