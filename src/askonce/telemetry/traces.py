"""Tell an OpenTelemetry collector of requests and paid calls, as spans made once they are over (OTLP over HTTP).

    POST /llm/generate (server)          from `served`; its parent is the caller's span
    ├── admission, boarding, settlement  from `paid`: the stages of the road
    └── chat gpt-4o (client)             from `paid`: one for each attempt; providers are sent its id

Names and attributes follow the semantic conventions for HTTP servers and for generative AI
(opentelemetry.io/docs/specs/semconv/gen-ai). No prompt and no answer is ever told. A collector that is away, or slow,
costs its spans: they wait in a queue of fixed length, and are sent by a thread.
"""

import logging
import secrets
import time
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status, StatusCode

from askonce import __version__
from askonce.domain.errors import AskonceError, StoreUnavailable
from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared
from askonce.domain.tracing import is_sampled, server_span_id, trace_id
from askonce.domain.watching import Course, Served
from askonce.telemetry.collector import TIMEOUT_S, Collector, resource

QUEUE = 4096  # spans that wait for the collector; further ones are dropped
BATCH = 512
DELAY_MS = 1_000.0
# Stages that are spans of their own; the others are inside the client's span.
_ROAD = ("admission", "boarding", "settlement")
_SCOPE = InstrumentationScope("askonce", __version__)

_log = logging.getLogger("askonce.telemetry")

Attributes = dict[str, str | int | float | bool]


class _Sender(SpanExporter):
    """Send by the library's exporter, and say once when that begins to fail, and once when it goes on.

    The exporter itself would say it with every batch, twice.
    """

    def __init__(self, inner: SpanExporter, endpoint: str) -> None:
        self._inner = inner
        self._endpoint = endpoint
        self._fails = False
        logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.CRITICAL)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch; in the library's thread."""
        result = self._inner.export(spans)
        fails = result is not SpanExportResult.SUCCESS
        if fails and not self._fails:
            _log.warning(
                "the collector at %s takes no traces, they are dropped until it does: is OTEL_EXPORTER_OTLP_ENDPOINT "
                "its address for OTLP over HTTP?",
                self._endpoint,
            )
        elif self._fails and not fails:
            _log.info("the collector at %s takes traces again", self._endpoint)
        self._fails = fails
        return result

    def shutdown(self) -> None:
        """Let go of the connection."""
        self._inner.shutdown()


class Tracing:
    """Observe endings and tell of them as spans (port `Observer`). To be closed.

    `routes`: method and path of each door, by its name.
    """

    def __init__(
        self, to: Collector, routes: Mapping[str, tuple[str, str]], exporter: SpanExporter | None = None
    ) -> None:
        self._share = to.share
        self._routes = routes
        self._resource = resource(to)
        url = f"{to.endpoint.rstrip('/')}/v1/traces"
        self._processor = BatchSpanProcessor(
            exporter or _Sender(OTLPSpanExporter(url, headers=dict(to.headers), timeout=TIMEOUT_S), to.endpoint),
            max_queue_size=QUEUE,
            schedule_delay_millis=DELAY_MS,
            max_export_batch_size=BATCH,
        )

    def out(self, request_id: str, traceparent: str, known: str) -> str:
        """Return what an attempt sends to its provider: the span that it will be told as."""
        trace = trace_id(request_id, traceparent, known)
        sampled = is_sampled(traceparent, trace, self._share)
        return f"00-{trace}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"

    def served(self, served: Served) -> None:
        """Tell of a request at its door."""
        trace = trace_id(served.request_id, served.traceparent)
        if not is_sampled(served.traceparent, trace, self._share):
            return
        method, path = self._routes.get(served.door, ("HTTP", ""))
        attributes: Attributes = {"http.response.status_code": served.status, "askonce.request_id": served.request_id}
        if path:
            attributes |= {"http.request.method": method, "http.route": path}
        named = {
            "askonce.cache": served.cache,
            "gen_ai.provider.name": served.provider,
            "gen_ai.request.model": served.model,
            "error.type": served.code,
            "askonce.tenant": served.tenant,
            "askonce.key_id": served.key_id,
        }
        attributes |= {name: value for name, value in named.items() if value}
        if served.saved_nano:
            attributes["askonce.saved_nanodollars"] = served.saved_nano
        end_ns = time.time_ns()
        failed = served.status >= 500 or (served.status < 400 and bool(served.code))
        self._tell(
            _span(trace, server_span_id(served.request_id)),
            served.traceparent[36:52],
            f"{method} {path}".strip(),
            (end_ns - served.took_us * 1000, end_ns),
            attributes,
            SpanKind.SERVER,
            failed=failed,
        )

    def paid(self, row: CallRow, course: Course) -> None:
        """Tell of a call that reached a provider, and of the stages around it."""
        origin = row.origin
        trace = trace_id(origin.request_id, course.traceparent, origin.trace_id)
        if not course.settled_us or not is_sampled(course.traceparent, trace, self._share):
            return
        began_ns = time.time_ns() - course.settled_us * 1000
        parent = server_span_id(origin.request_id)
        at_us = 0
        for name, took_us in course.stages():
            if name in _ROAD:
                span = (began_ns + at_us * 1000, began_ns + (at_us + took_us) * 1000)
                self._tell(_span(trace, secrets.token_hex(8)), parent, name, span, {}, SpanKind.INTERNAL)
            at_us += took_us
        if not course.asked_us:
            return
        answered_us = max(course.answered_us, course.asked_us)
        events: tuple[Event, ...] = ()
        if course.first_token_us:
            moment_ns = began_ns + min(course.first_token_us, answered_us) * 1000
            events = (Event("first_token", {}, moment_ns),)
        self._tell(
            _span(trace, course.sent[36:52] or secrets.token_hex(8)),
            parent,
            f"chat {row.model}",
            (began_ns + course.asked_us * 1000, began_ns + answered_us * 1000),
            _call(row),
            SpanKind.CLIENT,
            failed=row.ending != "answered",
            events=events,
        )

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Leave it: its call is told."""

    def failed(self, error: AskonceError) -> None:
        """Leave it: its request is told."""

    def defect(self, error: BaseException) -> None:
        """Leave it: its request is told."""

    def close(self) -> None:
        """Send what waits, for about `TIMEOUT_S`. Blocks."""
        self._processor.force_flush(int(1000 * TIMEOUT_S))
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _tell(
        self,
        span: SpanContext,
        parent: str,
        name: str,
        times_ns: tuple[int, int],
        attributes: Attributes,
        kind: SpanKind,
        *,
        failed: bool = False,
        events: tuple[Event, ...] = (),
    ) -> None:
        above = _context(span.trace_id, int(parent, 16), remote=kind is SpanKind.SERVER) if parent else None
        status = Status(StatusCode.ERROR) if failed else Status()
        self._processor.on_end(
            ReadableSpan(
                name,
                span,
                above,
                self._resource,
                attributes,
                events,
                kind=kind,
                status=status,
                start_time=times_ns[0],
                end_time=times_ns[1],
                instrumentation_scope=_SCOPE,
            )
        )


def _call(row: CallRow) -> Attributes:
    """Return the attributes of a paid call."""
    attributes: Attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": row.provider,
        "gen_ai.request.model": row.model,
        "gen_ai.usage.input_tokens": row.prompt_tokens,
        "gen_ai.usage.output_tokens": row.completion_tokens,
        "askonce.cost_nanodollars": row.cost_nano,
        "askonce.ending": row.ending,
    }
    if row.model_version:
        attributes["gen_ai.response.model"] = row.model_version
    if row.error_code:
        attributes["error.type"] = row.error_code
    return attributes


def _span(trace: str, span: str) -> SpanContext:
    return _context(int(trace, 16), int(span, 16), remote=False)


def _context(trace: int, span: int, *, remote: bool) -> SpanContext:
    return SpanContext(trace, span, is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))
