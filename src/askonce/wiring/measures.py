"""What one process measures of itself, and what it shows of all processes of its node."""

import platform
from collections.abc import Callable, Iterable
from pathlib import Path

from askonce import __version__
from askonce.config.paths import RUN_FOLDER
from askonce.domain.clock import Clock
from askonce.domain.fleet import PartHealth, PartStatus
from askonce.telemetry import catalog
from askonce.telemetry.metering import Known, Metering
from askonce.telemetry.meters import Merged, Meters
from askonce.telemetry.percentiles import History, Past
from askonce.telemetry.process import measure
from askonce.telemetry.shelf import Shelf

FOLDER = "metrics"
USE_BEATS = 5  # between two looks at what the process uses
MINUTE_BEATS = 60
_UP: dict[PartStatus, float] = {"ok": 1.0, "degraded": 0.5, "down": 0.0}
# How each part of a process is measured, besides what is counted. Called once a second.
Gauge = Callable[[Meters], None]


class Measures:
    """Hold a process's meters, and leave them where those of its node look. `process` is its name among them."""

    def __init__(self, process: str, data_dir: str, clock: Clock, known: Known) -> None:
        self._clock = clock
        self._shelf = Shelf(Path(data_dir) / RUN_FOLDER / FOLDER)
        self.meters = Meters(process)
        self._shelf.resume(self.meters)
        self.metering = Metering(self.meters, known)
        self._history = History()
        self._look()  # before it serves: what it tells begins with its first request
        self._gauges: list[Gauge] = []

    def add(self, gauge: Gauge) -> None:
        """Have something measured at every beat. It must not wait."""
        self._gauges.append(gauge)

    def beat(self, beat: int) -> None:
        """Do what is due every second."""
        for gauge in self._gauges:
            gauge(self.meters)
        if beat % USE_BEATS == 0:
            measure(self.meters)
        if beat % MINUTE_BEATS == 0:
            self._look()
        self._shelf.put(self.meters)

    def close(self) -> None:
        """Leave the last word."""
        self._shelf.put(self.meters)

    def merged(self) -> Merged:
        """Return the sums of all processes of this node."""
        return self._shelf.merged(self.meters)

    def page(self, parts: Iterable[PartHealth], accept: str) -> tuple[bytes, str]:
        """Return /metrics with its media type. Slow the first time: what writes it is imported then."""
        from askonce.telemetry.exposition import expose  # noqa: PLC0415 - 0.15 s that only who is scraped spends

        merged = self.merged()
        gauges = dict(merged.gauges)
        gauges |= {(catalog.PART.name, (part.name,)): _UP[part.status] for part in parts if part.status in _UP}
        gauges[catalog.BUILD.name, (__version__, platform.python_version())] = 1.0
        return expose(Merged(merged.counted, gauges), accept)

    def past(self, minutes: int) -> Past:
        """Return what had been counted so many minutes ago (at most an hour), or as early as is known."""
        return self._history.since(minutes, self._clock.wall_ms())

    def _look(self) -> None:
        self._history.note(self.merged(), self._clock.wall_ms())
