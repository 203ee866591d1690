"""Those who watch one process: its log, its meters, and Sentry where that is set."""

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote

from askonce.config.settings import Config
from askonce.domain.clock import Clock
from askonce.domain.ports import Observer
from askonce.domain.tracing import TraceOut, untraced
from askonce.telemetry.log_files import LogFile, rotate
from askonce.telemetry.metering import NAMES_MAX, Known
from askonce.telemetry.naming import bounded
from askonce.telemetry.observers import Observers
from askonce.telemetry.requests import RequestLog, Worth
from askonce.telemetry.timing import Timing
from askonce.wiring.measures import Measures
from askonce.wiring.state import node_name

if TYPE_CHECKING:
    from askonce.telemetry.genai_metrics import GenAiMetrics
    from askonce.telemetry.traces import Tracing


# Doors whose replies last as long as anybody follows them: that is not slow.
FOLLOWED = frozenset(("execution_events", "overview_events", "request_events"))


class Watchers:
    """Hold them, and close them. `process` names this one among those of its node."""

    def __init__(self, process: str, config: Config, clock: Clock, known: Known) -> None:
        self.measures = Measures(process, config.data_dir, clock, known)
        self._log = RequestLog(Worth(config.log_sample, config.slow_request_s, FOLLOWED))
        self.timing = Timing(clock)
        observers: list[Observer] = [self._log, self.timing]
        if config.metrics != "off":
            observers.append(self.measures.metering)
        self._tracking = None
        if config.sentry_dsn:
            # Imported by who has one only: the library takes 0.4 s and 15 MB.
            from askonce.telemetry.errors import Destination, ErrorTracking  # noqa: PLC0415

            to = Destination(config.sentry_dsn, config.sentry_environment, node_name(config.data_dir), process)
            self._tracking = ErrorTracking(to)
            observers.append(self._tracking)
        self._tracing, self._genai = self._tell_collector(process, config, known)
        self.trace_out: TraceOut = untraced
        if self._tracing is not None:
            observers.append(self._tracing)
            self.trace_out = self._tracing.out
        if self._genai is not None:
            observers.append(self._genai)
        self.observer = Observers(*observers)
        self._file = LogFile(config.log_file, config.log_file_size_bytes, config.log_files)

    def beat(self, beat: int) -> None:
        """Do what is due every second."""
        self.measures.beat(beat)
        if self._file.path:
            rotate(self._file)

    async def close(self) -> None:
        """Write, count and send what is left; for two seconds at most."""
        self._log.flush()
        self.measures.close()
        if self._tracking is not None:
            await asyncio.to_thread(self._tracking.close)
        for told in (self._tracing, self._genai):
            if told is not None:
                await asyncio.to_thread(told.close)

    def _tell_collector(
        self, process: str, config: Config, known: Known
    ) -> tuple["Tracing | None", "GenAiMetrics | None"]:
        if not config.otel_endpoint:
            return None, None
        # Imported by who has a collector only: the libraries take half a second and 30 MB.
        from askonce.api.doors import DOORS  # noqa: PLC0415
        from askonce.telemetry.collector import Collector  # noqa: PLC0415
        from askonce.telemetry.traces import Tracing  # noqa: PLC0415

        pairs = [pair.partition("=") for pair in config.otel_headers.split(",") if pair.strip()]
        headers = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
        service, node = config.otel_service_name, node_name(config.data_dir)
        to = Collector(config.otel_endpoint, headers, config.otel_sample, service, node, process)
        tracing = Tracing(to, {door.name: (door.method, door.path) for door in DOORS}, content=config.otel_content)
        if config.otel_metrics == "none":
            return tracing, None
        from askonce.telemetry.genai_metrics import GenAiMetrics  # noqa: PLC0415

        return tracing, GenAiMetrics(to, bounded(known, NAMES_MAX))
