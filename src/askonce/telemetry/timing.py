"""How long answers from the store took: they leave no rows, so their times go to the ledger by the minute."""

from collections.abc import Sequence

from askonce.domain.clock import Clock
from askonce.domain.durations import DURATIONS_US, bucket_of
from askonce.domain.errors import AskonceError, StoreUnavailable
from askonce.domain.ledger import CallRow, TimesRow
from askonce.domain.outcome import Spared
from askonce.domain.watching import Course, Served, Worked

TENANTS_MAX = 1_000  # of one minute; the times of more are left out
MINUTE_MS = 60_000


class Timing:
    """Observe endings and keep the times of hits (port `Observer`), until `take` fetches them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._series: dict[str, list[int]] = {}  # by tenant: a count for each bucket, then the sum

    def served(self, served: Served) -> None:
        """Keep how long a hit took."""
        if served.cache != "hit":
            return
        series = self._series.get(served.tenant)
        if series is None:
            if len(self._series) >= TENANTS_MAX:
                return
            series = self._series[served.tenant] = [0] * (len(DURATIONS_US) + 2)
        series[bucket_of(served.took_us)] += 1
        series[-1] += served.took_us

    def take(self) -> Sequence[TimesRow]:
        """Return what was kept since the last time, and begin anew."""
        taken, self._series = self._series, {}
        minute = self._clock.wall_ms() // MINUTE_MS
        return [
            TimesRow(minute, tenant, {bucket: n for bucket, n in enumerate(series[:-1]) if n}, series[-1])
            for tenant, series in taken.items()
        ]

    def paid(self, row: CallRow, course: Course) -> None:
        """Leave it: its times are in its row."""

    def worked(self, worked: Worked) -> None:
        """Leave it."""

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Leave it."""

    def failed(self, error: AskonceError) -> None:
        """Leave it."""

    def defect(self, error: BaseException) -> None:
        """Leave it."""
