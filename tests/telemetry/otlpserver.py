"""A collector for tests: a real server on loopback that decodes what OTLP exporters send over HTTP."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class OtlpServer:
    """Take spans and metrics. `raw`: the spans' bodies; `headers`: of the last request."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.raw_metrics: list[bytes] = []
        self.headers: dict[str, str] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                outer.headers = {name.lower(): value for name, value in self.headers.items()}
                taker = {"/v1/traces": outer.raw, "/v1/metrics": outer.raw_metrics}.get(self.path)
                if taker is not None:
                    taker.append(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
                self.send_response(404 if taker is None else 200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def endpoint(self) -> str:
        """Return what to set as OTEL_EXPORTER_OTLP_ENDPOINT."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def resources(self) -> list[dict[str, Any]]:
        """Return the resources' attributes."""
        return [_attributes(each.resource.attributes) for each in self._told()]

    @property
    def spans(self) -> list[dict[str, Any]]:
        """Return the spans so far, their ids in hexadecimal."""
        return [
            {
                "name": span.name,
                "trace": span.trace_id.hex(),
                "id": span.span_id.hex(),
                "parent": span.parent_span_id.hex(),
                "kind": span.kind,
                "failed": span.status.code == 2,
                "start": span.start_time_unix_nano,
                "end": span.end_time_unix_nano,
                "events": [event.name for event in span.events],
                **_attributes(span.attributes),
            }
            for each in self._told()
            for scope in each.scope_spans
            for span in scope.spans
        ]

    @property
    def histograms(self) -> list[dict[str, Any]]:
        """Return the points of histograms that were told last."""
        if not self.raw_metrics:
            return []
        told = ExportMetricsServiceRequest.FromString(self.raw_metrics[-1])
        return [
            {
                "name": metric.name,
                "unit": metric.unit,
                "count": point.count,
                "sum": point.sum,
                "bounds": list(point.explicit_bounds),
                **_attributes(point.attributes),
            }
            for each in told.resource_metrics
            for scope in each.scope_metrics
            for metric in scope.metrics
            for point in metric.histogram.data_points
        ]

    def _told(self) -> list[Any]:
        return [each for body in list(self.raw) for each in ExportTraceServiceRequest.FromString(body).resource_spans]

    def __enter__(self) -> "OtlpServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
