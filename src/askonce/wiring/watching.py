"""Those who watch one process: its log, its meters, and Sentry where that is set."""

import asyncio

from askonce.config.settings import Config
from askonce.domain.clock import Clock
from askonce.domain.ports import Observer
from askonce.telemetry.log_files import LogFile, rotate
from askonce.telemetry.metering import Known
from askonce.telemetry.observers import Observers
from askonce.telemetry.requests import RequestLog, Worth
from askonce.wiring.measures import Measures
from askonce.wiring.state import node_name


class Watchers:
    """Hold them, and close them. `process` names this one among those of its node."""

    def __init__(self, process: str, config: Config, clock: Clock, known: Known) -> None:
        self.measures = Measures(process, config.data_dir, clock, known)
        self._log = RequestLog(Worth(config.log_sample, config.slow_request_s))
        observers: list[Observer] = [self._log]
        if config.metrics != "off":
            observers.append(self.measures.metering)
        self._tracking = None
        if config.sentry_dsn:
            # Imported by who has one only: the library takes 0.4 s and 15 MB.
            from askonce.telemetry.errors import Destination, ErrorTracking  # noqa: PLC0415

            to = Destination(config.sentry_dsn, config.sentry_environment, node_name(config.data_dir), process)
            self._tracking = ErrorTracking(to)
            observers.append(self._tracking)
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
