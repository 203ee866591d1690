"""Tell an OpenTelemetry collector of requests, paid calls and work, as spans made once they are over (OTLP over HTTP).

    POST /llm/generate (server)          from `served`; its parent is the caller's span
    ├── admission, boarding, settlement  from `paid`: the stages of the road
    └── chat gpt-4o (client)             from `paid`: one for each attempt; providers are sent its id

    POST /llm/workflows (server)
    └── invoke_workflow site             from `worked`: one for each round; long after its request, as a rule
        └── node generator               from `worked`; and so on below it, as below a request

Names and attributes follow the semantic conventions for HTTP servers and for generative AI
(opentelemetry.io/docs/specs/semconv/gen-ai). Prompts and answers are told only where that is switched on (`words`). A
collector that is away, or slow, costs its spans: they wait in a queue of fixed length, and are sent by a thread.
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
from askonce.domain.tracing import is_sampled, server_span_id, trace_id, work_span_id
from askonce.domain.watching import Course, Served, Worked
from askonce.telemetry.collector import TIMEOUT_S, Collector, resource
from askonce.telemetry.words import finish_reason, words_of

QUEUE = 4096  # spans that wait for the collector; further ones are dropped
BATCH = 512
DELAY_MS = 1_000.0
# Stages that are spans of their own; the others are inside the client's span.
_ROAD = ("admission", "boarding", "settlement")
_SCOPE = InstrumentationScope("askonce", __version__)

_log = logging.getLogger("askonce.telemetry")

Attributes = dict[str, str | int | float | bool | tuple[str, ...]]


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

    `routes`: method and path of each door, by its name. `content`: tell prompts and answers too.
    """

    def __init__(
        self,
        to: Collector,
        routes: Mapping[str, tuple[str, str]],
        exporter: SpanExporter | None = None,
        *,
        content: bool = False,
    ) -> None:
        self._share = to.share
        self._routes = routes
        self._content = content
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
        parent = course.span or server_span_id(origin.request_id)
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
        attributes = _call(row, course)
        if self._content and course.call is not None and course.answer is not None:
            attributes |= words_of(course.call, course.answer)
        self._tell(
            _span(trace, course.sent[36:52] or secrets.token_hex(8)),
            parent,
            f"{course.operation} {row.model}",
            (began_ns + course.asked_us * 1000, began_ns + answered_us * 1000),
            attributes,
            SpanKind.CLIENT,
            failed=row.ending != "answered",
            events=events,
        )

    def worked(self, worked: Worked) -> None:
        """Tell of a round of an execution, or of one of its nodes; not of what never began."""
        from_whom = worked.submission
        trace = trace_id(from_whom.request_id, from_whom.traceparent, from_whom.trace_id)
        if not worked.began_ms or not is_sampled(from_whom.traceparent, trace, self._share):
            return
        whole = work_span_id(from_whom.id, worked.round)
        if worked.node:
            span, parent, name = work_span_id(from_whom.id, worked.round, worked.node), whole, f"node {worked.type}"
        else:
            span, parent = whole, server_span_id(from_whom.request_id)
            name = f"invoke_workflow {from_whom.name}".strip() if from_whom.kind == "workflow" else "job"
        self._tell(
            _span(trace, span),
            parent,
            name,
            (worked.began_ms * 1_000_000, max(worked.began_ms, worked.ended_ms) * 1_000_000),
            _work(worked),
            SpanKind.INTERNAL,
            failed=worked.status == "failed",
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


def _work(worked: Worked) -> Attributes:
    """Return the attributes of work in the background."""
    submission = worked.submission
    attributes: Attributes = {"askonce.execution_id": submission.id, "askonce.status": worked.status}
    if not worked.node and submission.kind == "workflow":
        attributes |= {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": submission.name}
    named: Attributes = {
        "askonce.node": worked.node,
        "askonce.node_type": worked.type,
        "askonce.attempts": worked.attempts,
        "askonce.cache": worked.cache,
        "askonce.queue": "" if worked.node else submission.queue,
        "askonce.round": worked.round if worked.round > 1 else 0,
        "askonce.tenant": submission.submitter.tenant,
        "askonce.key_id": submission.submitter.key_id,
        "askonce.request_id": submission.request_id,
        "gen_ai.provider.name": worked.provider,
        "gen_ai.request.model": worked.model,
        "gen_ai.usage.input_tokens": worked.prompt_tokens,
        "gen_ai.usage.output_tokens": worked.completion_tokens,
        "askonce.cost_nanodollars": worked.cost_nano,
        "askonce.saved_nanodollars": worked.saved_nano,
        "error.type": worked.code,
    }
    return attributes | {name: value for name, value in named.items() if value}


def _call(row: CallRow, course: Course) -> Attributes:
    """Return the attributes of a paid call."""
    attributes: Attributes = {
        "gen_ai.operation.name": course.operation,
        "gen_ai.provider.name": row.provider,
        "gen_ai.request.model": row.model,
        "gen_ai.usage.input_tokens": row.prompt_tokens,
        "gen_ai.usage.output_tokens": row.completion_tokens,
        "askonce.cost_nanodollars": row.cost_nano,
        "askonce.ending": row.ending,
    }
    if row.model_version:
        attributes["gen_ai.response.model"] = row.model_version
    if course.operation == "chat" and row.ending == "answered" and course.answer is not None:
        attributes["gen_ai.response.finish_reasons"] = (finish_reason(course.answer),)
    if row.error_code:
        attributes["error.type"] = row.error_code
    return attributes


def _span(trace: str, span: str) -> SpanContext:
    return _context(int(trace, 16), int(span, 16), remote=False)


def _context(trace: int, span: int, *, remote: bool) -> SpanContext:
    return SpanContext(trace, span, is_remote=remote, trace_flags=TraceFlags(TraceFlags.SAMPLED))
