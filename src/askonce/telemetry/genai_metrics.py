"""Tell an OpenTelemetry collector of paid calls as metrics: tokens and durations (OTLP over HTTP).

Names, attributes and the histograms' bounds are those of the semantic conventions for generative AI
(opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics). Models are told by the names that we know, others as
`other`; the version that answered is left to the spans, so that there are never more series than models.
"""

import logging
import os

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource

from askonce import __version__
from askonce.domain.errors import AskonceError, StoreUnavailable
from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared
from askonce.domain.watching import Course, Served, Worked
from askonce.telemetry.collector import TIMEOUT_S, Collector, resource
from askonce.telemetry.naming import Named

# From the conventions.
TOKEN_BOUNDS = tuple(4**power for power in range(14))
SECOND_BOUNDS = tuple(0.01 * 2**power for power in range(14))
EVERY_S = 60.0  # as the specification says; OTEL_METRIC_EXPORT_INTERVAL (milliseconds) says otherwise


class GenAiMetrics:
    """Observe paid calls and tell of them (port `Observer`). To be closed. `named` returns what a model is told as."""

    def __init__(self, to: Collector, named: Named, exporter: MetricExporter | None = None) -> None:
        logging.getLogger(OTLPMetricExporter.__module__).setLevel(logging.CRITICAL)  # a collector that is away
        url = f"{to.endpoint.rstrip('/')}/v1/metrics"
        reader = PeriodicExportingMetricReader(
            exporter or OTLPMetricExporter(url, headers=dict(to.headers), timeout=TIMEOUT_S),
            export_interval_millis=float(os.environ.get("OTEL_METRIC_EXPORT_INTERVAL") or 1000 * EVERY_S),
        )
        described: Resource = resource(to)
        self._provider = MeterProvider([reader], described, shutdown_on_exit=False)
        meter = self._provider.get_meter("askonce", __version__)
        self._named = named
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of a call that reached a provider.",
            explicit_bucket_boundaries_advisory=TOKEN_BOUNDS,
        )
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            "s",
            "From sending a call to a provider to the end of its answer.",
            explicit_bucket_boundaries_advisory=SECOND_BOUNDS,
        )

    def paid(self, row: CallRow, course: Course) -> None:
        """Tell of a call."""
        attributes = {
            "gen_ai.operation.name": course.operation,
            "gen_ai.provider.name": row.provider,
            "gen_ai.request.model": self._named(row.provider, row.model),
        }
        if row.prompt_tokens:
            self._tokens.record(row.prompt_tokens, {**attributes, "gen_ai.token.type": "input"})
        if row.completion_tokens:
            self._tokens.record(row.completion_tokens, {**attributes, "gen_ai.token.type": "output"})
        if row.error_code:
            attributes["error.type"] = row.error_code
        self._duration.record(row.took_ms / 1000, attributes)

    def served(self, served: Served) -> None:
        """Leave it: its calls are told."""

    def worked(self, worked: Worked) -> None:
        """Leave it: its calls are told."""

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Leave it: its call is told."""

    def failed(self, error: AskonceError) -> None:
        """Leave it: its calls are told."""

    def defect(self, error: BaseException) -> None:
        """Leave it."""

    def close(self) -> None:
        """Send what is not sent yet, for about `TIMEOUT_S`. Blocks."""
        self._provider.shutdown(1000 * TIMEOUT_S)
