"""Keep what was counted minute by minute, so that the last minutes can be told."""

from collections import deque

from msgspec import Struct

from askonce.telemetry.catalog import (
    CALL_TIME,
    FIRST_TOKEN_TIME,
    LEDGER_TIME,
    REQUEST_TIME,
    STAGE_TIME,
    STORE_TIME,
    Metric,
)
from askonce.telemetry.meters import Family, Merged

MINUTES_MAX = 60
TIMED: tuple[Metric, ...] = (REQUEST_TIME, CALL_TIME, FIRST_TOKEN_TIME, STAGE_TIME, STORE_TIME, LEDGER_TIME)


class Past(Struct, frozen=True):
    """Hold what had been counted at a moment (epoch milliseconds), of everything that is timed."""

    at_ms: int
    families: dict[str, dict[tuple[str, ...], list[int]]]


class History:
    """Remember the last hour, a look each minute."""

    def __init__(self) -> None:
        self._looks: deque[Past] = deque(maxlen=MINUTES_MAX + 1)

    def note(self, merged: Merged, at_ms: int) -> None:
        """Take a look."""
        self._looks.append(Past(at_ms, {metric.name: dict(merged.family(metric)) for metric in TIMED}))

    def since(self, minutes: int, now_ms: int) -> Past:
        """Return the look from which on `minutes` are counted: the youngest that is that old, else the oldest."""
        wanted_ms = now_ms - minutes * 60_000
        found = self._looks[0] if self._looks else Past(now_ms, {})
        for look in self._looks:
            if look.at_ms > wanted_ms:
                break
            found = look
        return found


def recent(merged: Merged, past: Past, metric: Metric) -> Family:
    """Return what was counted since then; nothing where a series has none."""
    before = past.families.get(metric.name, {})
    found: Family = {}
    for labels, series in merged.family(metric).items():
        former = before.get(labels)
        fresh = list(series) if former is None else [max(0, a - b) for a, b in zip(series, former, strict=True)]
        if any(fresh[:-1]):
            found[labels] = fresh
    return found
