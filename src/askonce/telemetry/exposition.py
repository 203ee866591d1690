"""Show merged meters as Prometheus reads them: its text format, or OpenMetrics where that is asked for.

Source: prometheus.io/docs/instrumenting/exposition_formats; written by prometheus-client, whose own counting is not
used: its files for several processes take a system call per label set and never shrink.
"""

from collections.abc import Iterator, Mapping

from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Shown

from askonce.domain.durations import DURATIONS_US
from askonce.telemetry.catalog import METRICS, SHOWN_US, Metric
from askonce.telemetry.meters import Family, Labels, Merged

_MICRO = 1e-6


def expose(merged: Merged, accept: str) -> tuple[bytes, str]:
    """Return the page and its media type, as the header Accept wants it."""
    encode, media = choose_encoder(accept)
    return encode(_Page(merged)), media


class _Page:
    def __init__(self, merged: Merged) -> None:
        self._merged = merged

    def collect(self) -> Iterator[Shown]:
        gauges: dict[str, dict[Labels, float]] = {}
        for (name, labels), value in self._merged.gauges.items():
            gauges.setdefault(name, {})[labels] = value
        for metric in METRICS:
            if metric.kind == "gauge":
                yield _gauges(metric, gauges.get(metric.name, {}))
            elif metric.kind == "counter":
                yield _counters(metric, self._merged.family(metric))
            else:
                yield _histograms(metric, self._merged.family(metric))


def _gauges(metric: Metric, values: Mapping[Labels, float]) -> Shown:
    shown = GaugeMetricFamily(metric.name, metric.sentence, labels=metric.labels)
    for labels, value in sorted(values.items()):
        shown.add_metric(labels, value)
    return shown


def _counters(metric: Metric, family: Family) -> Shown:
    shown = CounterMetricFamily(metric.name, metric.sentence, labels=metric.labels)
    for labels, (value,) in sorted(family.items()):
        shown.add_metric(labels, value)
    return shown


def _histograms(metric: Metric, family: Family) -> Shown:
    shown = HistogramMetricFamily(metric.name, metric.sentence, labels=metric.labels)
    for labels, series in sorted(family.items()):
        timed = metric.bounds is DURATIONS_US
        buckets, below = [], 0
        for bound, count in zip(metric.bounds, series, strict=False):
            below += count
            if not timed:
                buckets.append((str(bound), below))
            elif bound in SHOWN_US:
                buckets.append((repr(bound / 1_000_000), below))
        buckets.append(("+Inf", below + series[-2]))
        shown.add_metric(labels, buckets, series[-1] * _MICRO if timed else series[-1])
    return shown
