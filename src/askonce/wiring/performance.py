"""What took how long in the last minutes, over all processes of this node."""

from askonce.api.admin.performance import DoorTimes, Performance, ProcessUse, ProviderTimes, StageTimes
from askonce.domain.clock import Clock
from askonce.domain.durations import spread
from askonce.telemetry import catalog
from askonce.telemetry.catalog import Metric
from askonce.telemetry.meters import Merged
from askonce.telemetry.percentiles import recent
from askonce.wiring.measures import Measures


class Performing:
    """Answer from a process's measures."""

    def __init__(self, measures: Measures, clock: Clock) -> None:
        self._measures = measures
        self._clock = clock

    def look(self, minutes: int) -> Performance:
        """Return the last minutes, at most an hour."""
        now_ms, merged, past = self._clock.wall_ms(), self._measures.merged(), self._measures.past(minutes)

        def of(metric: Metric) -> list[tuple[tuple[str, ...], list[int]]]:
            return sorted(recent(merged, past, metric).items())

        first = dict(of(catalog.FIRST_TOKEN_TIME))
        nothing = [0] * catalog.CALL_TIME.width
        return Performance(
            past.at_ms,
            now_ms,
            [DoorTimes(door, cache, spread(series)) for (door, cache), series in of(catalog.REQUEST_TIME)],
            [
                ProviderTimes(provider, model, spread(series), spread(first.get((provider, model), nothing)))
                for (provider, model), series in of(catalog.CALL_TIME)
            ],
            [
                *(StageTimes("store", spread(series)) for _, series in of(catalog.STORE_TIME)),
                *(StageTimes(stage, spread(series)) for (stage,), series in of(catalog.STAGE_TIME)),
                *(StageTimes("ledger", spread(series)) for _, series in of(catalog.LEDGER_TIME)),
            ],
            _processes(merged),
        )


def _processes(merged: Merged) -> list[ProcessUse]:
    def value(metric: Metric, process: str) -> float:
        return merged.gauges.get((metric.name, (process,)), 0.0)

    names = sorted(labels[0] for name, labels in merged.gauges if name == catalog.STARTED.name)
    return [
        ProcessUse(
            name,
            round(value(catalog.CPU, name), 2),
            int(value(catalog.MEMORY, name)),
            int(value(catalog.FILES, name)),
            int(value(catalog.IN_FLIGHT, name)),
            int(1000 * value(catalog.STARTED, name)),
        )
        for name in names
    ]
