"""Count in one process, and add up what several have counted.

Counting is an addition to a list that the caller keeps: the hot path pays no look-up by name and no lock. Each process
writes a snapshot of its meters beside those of the others once a second; whoever is scraped adds them up. A process
goes on with what its predecessor of the same name had counted, so that sums never fall when a process dies: Prometheus
would take that for a restart and count everything again.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from askonce.telemetry.catalog import BY_NAME, Metric

MAX_SERIES = 500  # of one metric; further labels are counted together, as OTHER
OTHER = "other"
FORMAT = 1  # of a snapshot

Labels = tuple[str, ...]
Family = dict[Labels, list[int]]


class Snapshot(Struct, frozen=True, array_like=True):
    """Hold what a process has counted (by the metric's name, then its labels), and what it measures now.

    `at_ns` is the machine's monotonic clock, by which others tell whether it still lives.
    """

    format: int
    process: str
    at_ns: int
    counted: dict[str, list[tuple[Labels, list[int]]]]
    gauges: list[tuple[str, Labels, float]]


class Meters:
    """Hold one process's series."""

    def __init__(self, process: str) -> None:
        self.process = process
        self._families: dict[str, Family] = {}
        self._gauges: dict[tuple[str, Labels], float] = {}

    def series(self, metric: Metric, *labels: str) -> list[int]:
        """Return the list to add to (see `catalog`). Where there are too many, that of `other`."""
        family = self._families.setdefault(metric.name, {})
        found = family.get(labels)
        if found is None:
            if len(family) >= MAX_SERIES:
                labels = (OTHER,) * len(labels)
            found = family.setdefault(labels, [0] * metric.width)
        return found

    def count(self, metric: Metric, *labels: str, by: int = 1) -> None:
        """Add to a counter."""
        if by:
            self.series(metric, *labels)[0] += by

    def observe(self, metric: Metric, value: int, *labels: str) -> None:
        """Add a value to a histogram."""
        add(self.series(metric, *labels), metric.bounds, value)

    def gauge(self, metric: Metric, value: float, *labels: str) -> None:
        """Say how much there is now."""
        self._gauges[metric.name, labels] = float(value)  # also of a bool, which is not read back as one

    def forget_gauges(self) -> None:
        """Let go of all gauges, before they are measured anew."""
        self._gauges.clear()

    def snapshot(self, at_ns: int) -> Snapshot:
        """Return everything, as of now."""
        counted = {name: [(k, list(v)) for k, v in family.items()] for name, family in self._families.items()}
        gauges = [(name, labels, value) for (name, labels), value in self._gauges.items()]
        return Snapshot(FORMAT, self.process, at_ns, counted, gauges)

    def resume(self, former: Snapshot) -> None:
        """Go on counting where a predecessor stopped; what is no longer counted, or in other buckets, is left out."""
        for name, labels, values in counted_of(former):
            series = self.series(BY_NAME[name], *labels)
            for index, value in enumerate(values):
                series[index] += value


class Merged(Struct, frozen=True):
    """Hold the sums of several processes, and the gauges of those that live."""

    counted: Mapping[str, Family]
    gauges: Mapping[tuple[str, Labels], float]

    def family(self, metric: Metric) -> Family:
        """Return a metric's series."""
        return self.counted.get(metric.name, {})


def add(series: list[int], bounds: tuple[int, ...], value: int) -> None:
    """Add a value to a histogram's series."""
    series[bisect_left(bounds, value)] += 1
    series[-1] += value


def merge(snapshots: Iterable[Snapshot], living: Iterable[str]) -> Merged:
    """Add up what all have counted; take the gauges of the processes named in `living`."""
    alive = frozenset(living)
    counted: dict[str, Family] = {}
    gauges: dict[tuple[str, Labels], float] = {}
    for snapshot in snapshots:
        for name, labels, values in counted_of(snapshot):
            family = counted.setdefault(name, {})
            series = family.get(labels)
            if series is None:
                family[labels] = list(values)
            else:
                for index, value in enumerate(values):
                    series[index] += value
        if snapshot.process in alive:
            gauges.update({(name, labels): value for name, labels, value in snapshot.gauges if name in BY_NAME})
    return Merged(counted, gauges)


def counted_of(snapshot: Snapshot) -> Iterable[tuple[str, Labels, list[int]]]:
    """Return those series that this version knows in this very shape."""
    for name, family in snapshot.counted.items():
        metric = BY_NAME.get(name)
        if metric is None:
            continue
        for labels, values in family:
            if len(labels) == len(metric.labels) and len(values) == metric.width:
                yield name, labels, values


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Snapshot).decode


def pack(snapshot: Snapshot) -> bytes:
    """Write a snapshot as MessagePack."""
    return _encode(snapshot)


def unpack(packed: bytes) -> Snapshot | None:
    """Read what `pack` wrote; None for anything else, another version's included."""
    try:
        snapshot = _decode(packed)
    except msgspec.DecodeError:
        return None
    return snapshot if snapshot.format == FORMAT else None
