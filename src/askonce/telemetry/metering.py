"""Count what is told: one who watches, and turns endings into series.

Labels are bounded. Doors, outcomes and codes are closed sets. A provider's model is counted under its name where the
price table or the settings know it, and else as `other`: callers can make names up.
"""

from collections.abc import Callable

from askonce.domain.durations import DURATIONS_US
from askonce.domain.errors import AskonceError, StoreUnavailable
from askonce.domain.ledger import CallRow
from askonce.domain.outcome import Spared
from askonce.domain.watching import CLIENT_LEFT, Course, Served, Worked
from askonce.telemetry import catalog
from askonce.telemetry.meters import OTHER, Meters, add
from askonce.telemetry.naming import bounded

# Statuses that say more than their hundred.
_OUTCOMES = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    402: "over_budget",
    429: "rate_limited",
    CLIENT_LEFT: "left",
}
_REFUSED = frozenset((401, 402, 403, 429))
_SAVINGS = {"hit": "exact", "coalesced": "coalesced"}
NAMES_MAX = 256  # providers' models that are counted by their names

Known = Callable[[str, str], bool]


class Metering:
    """Observe endings and count them (port `Observer`)."""

    def __init__(self, meters: Meters, known: Known) -> None:
        self._meters = meters
        self._named = bounded(known, NAMES_MAX)
        self._cells: dict[tuple[str, int, str, str], tuple[list[int], list[int]]] = {}
        self._store = meters.series(catalog.STORE_TIME)

    def served(self, served: Served) -> None:
        """Count a request by its door."""
        key = (served.door, served.status, served.code, served.cache)
        cells = self._cells.get(key) or self._cells_of(served)
        cells[0][0] += 1
        add(cells[1], DURATIONS_US, served.took_us)
        if served.entered_us:
            add(self._store, DURATIONS_US, served.entered_us)
        if served.saved_nano:
            self._meters.count(catalog.SAVED, _SAVINGS.get(served.cache, OTHER), by=served.saved_nano)

    def paid(self, row: CallRow, course: Course) -> None:
        """Count a call that reached a provider."""
        meters, provider = self._meters, row.provider
        model = self._named(provider, row.model)
        meters.count(catalog.CALLS, provider, model, row.ending)
        meters.observe(catalog.CALL_TIME, 1000 * row.took_ms, provider, model)
        if row.first_token_ms:
            meters.observe(catalog.FIRST_TOKEN_TIME, 1000 * row.first_token_ms, provider, model)
        for kind, tokens in (
            ("prompt", row.prompt_tokens),
            ("completion", row.completion_tokens),
            ("cached", row.cached_tokens),
            ("cache_write", row.cache_write_tokens),
            ("reasoning", row.reasoning_tokens),
        ):
            meters.count(catalog.TOKENS, provider, model, kind, by=tokens)
        meters.count(catalog.COST, provider, model, by=row.cost_nano)
        meters.count(catalog.SAVED, "prompt_cache", by=row.saved_prompt_cache_nano)
        for stage, took_us in course.stages():
            meters.observe(catalog.STAGE_TIME, took_us, stage)
        if course.seated_us:
            meters.observe(catalog.FOLLOWERS_PER_FLIGHT, max(0, course.followers))

    def worked(self, worked: Worked) -> None:
        """Count what has ended in the background."""
        if worked.node:
            self._meters.count(catalog.NODES, worked.type, worked.status)
        else:
            self._meters.count(catalog.EXECUTIONS, worked.submission.kind, worked.status)

    def unbooked(self, ending: CallRow | Spared, error: StoreUnavailable) -> None:
        """Count an ending that was not booked."""
        self._meters.count(catalog.UNBOOKED)

    def failed(self, error: AskonceError) -> None:
        """Leave it: its request is counted."""

    def defect(self, error: BaseException) -> None:
        """Count a defect."""
        self._meters.count(catalog.DEFECTS)

    def _cells_of(self, served: Served) -> tuple[list[int], list[int]]:
        """Return the series of a request's kind; refusals are counted by their codes on the way, so never kept."""
        meters, status = self._meters, served.status
        outcome = outcome_of(status, served.code)
        cells = (
            meters.series(catalog.REQUESTS, served.door, outcome, served.cache),
            meters.series(catalog.REQUEST_TIME, served.door, served.cache),
        )
        if status in _REFUSED:
            meters.count(catalog.REFUSALS, served.code or str(status))
        elif len(self._cells) < 2 * NAMES_MAX:
            self._cells[served.door, status, served.code, served.cache] = cells
        return cells


def outcome_of(status: int, code: str) -> str:
    """Say in a word how a request ended."""
    if code == "over_budget":
        return "over_budget"
    if status < 400:
        return "server_error" if code else "ok"  # a stream that broke after it had begun
    return _OUTCOMES.get(status) or ("server_error" if status >= 500 else "client_error")
